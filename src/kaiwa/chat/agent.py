"""An agent: a model and the tools it calls, round after round, until it has answered.

What a tool says is data: the calls are checked before they run, and whatever goes wrong in one is
told to the model and never ends the turn. It knows neither the database nor the wire.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kaiwa.chat.ask import Asking, Fallback
from kaiwa.chat.running import Live
from kaiwa.domain.answer import Answer
from kaiwa.domain.app import AgentConfig
from kaiwa.domain.events import Delta, TextDelta, TurnEvent, TurnFile, TurnThought
from kaiwa.domain.file import MessageFile
from kaiwa.domain.prompt import PromptMessage, ToolCall, ToolSpec
from kaiwa.domain.react import react_prompt, round_messages
from kaiwa.domain.react_parser import ReactParser
from kaiwa.domain.text import clean
from kaiwa.domain.thought import Called, Decision, Thought
from kaiwa.domain.tools import legal_name, read_arguments
from kaiwa.errors import KaiwaError, ToolFailed, ToolsNotSupported
from kaiwa.ports import Clock, Kit, NewId, Tool, ToolFile

logger = logging.getLogger(__name__)

KeepFile = Callable[[ToolFile], Awaitable[MessageFile]]
"""Keeps a file that a tool has made, with the message."""


class ToolLimits(Struct, frozen=True):
    """What one call may take."""

    seconds: float = 60
    characters: int = 20_000
    """Of what the model is told; the rest is cut off."""
    files: int = 10


class Agent:
    """One turn of an agent."""

    def __init__(
        self,
        asking: Asking,
        config: AgentConfig,
        tools: Sequence[Tool],
        answer: Answer,
        live: Live,
        keep_file: KeepFile,
        clock: Clock,
        new_id: NewId,
        limits: ToolLimits,
        decision: Decision | None = None,
    ) -> None:
        """`decision`: what its end user has said to the calls that waited in its last thought."""
        self._asking = asking
        self._config = config
        self._tools = {tool.spec.name: tool for tool in tools}
        self._answer = answer
        self._live = live
        self._keep_file = keep_file
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._decision = decision

    async def ask(
        self, kit: Kit, fallback: Fallback | None, history: Sequence[PromptMessage] | None
    ) -> None:
        """Until the model calls no tool, or may call none any more. Raises as `Asking.ask`."""
        if self._tools and kit.model.server.calls_tools is False:
            self._call_in_words()
        number = await self._take_up() if self._decision else 1
        try:
            thought = await self._think(number, lambda: self._asking.ask(kit, fallback, history))
        except ToolsNotSupported:
            if self._answer.begun or self._asking.guide:
                raise
            self._call_in_words()
            self._asking.since = self._retell_all(self._live.thoughts)
            thought = await self._think(number, lambda: self._asking.ask(kit, fallback, history))
        while thought.calls and not self._needs_yes(thought):
            since = await self._act(thought)
            number += 1
            self._limit(number)
            thought = await self._think(number, lambda told=since: self._asking.ask_on(told))

    def _limit(self, number: int) -> None:
        if number > self._config.max_iteration:
            self._asking.tools = ()  # now it has to answer

    def _needs_yes(self, thought: Thought) -> bool:
        """Then the turn ends here, and the end user decides how it goes on."""
        return any(call.tool in self._config.approve for call in thought.calls)

    async def _take_up(self) -> int:
        """Do as its end user has decided; the number of the next round."""
        *earlier, waiting = self._live.thoughts
        self._asking.tell([*self._retell_all(earlier), *await self._act(waiting)])
        self._limit(waiting.position + 1)
        return waiting.position + 1

    def _call_in_words(self) -> None:
        def guide(instruction: str) -> str:
            return react_prompt(
                self._asking.tools, instruction, first_prompt=self._config.first_prompt
            )

        self._asking.guide = guide

    async def _think(self, number: int, ask: Callable[[], Awaitable[None]]) -> Thought:
        """One round of the model. What it calls after its last round is not run."""
        thought = Thought(self._new_id(), number, self._clock())
        self._asking.begins = lambda: self._begin(thought)
        words = None
        if self._asking.guide:
            words = self._asking.hears = _Words(self._answer, f"call_{self._new_id().hex}")
        try:
            await ask()
            if words:
                await self._asking.say(words.finish())
            await self._asking.say(self._answer.finish())
        except BaseException:
            self._keep_thought(thought, words)
            raise
        calls: Sequence[ToolCall] = words.calls if words else self._answer.calls
        if not self._asking.tools or self._answer.taken_back:
            calls = ()
        calls = [self._name(call) for call in calls]
        thought = replace(
            thought,
            text=self._thought_of(words),
            calls=tuple([Called(call.id, call.name, call.arguments) for call in calls]),
            labels={
                tool.spec.name: dict(tool.labels)
                for call in calls
                if (tool := self._tools.get(call.name))
            },
        )
        await self._tell(thought)
        return thought

    def _thought_of(self, words: "_Words | None") -> str:
        return clean(words.parser.thought) if words else self._answer.round_text

    def _keep_thought(self, thought: Thought, words: "_Words | None") -> None:
        """A round that was cut short keeps what was said in it, if it was ever shown."""
        if any(one.position == thought.position for one in self._live.thoughts):
            thought = replace(thought, text=self._thought_of(words))
            self._show(thought)
            self._asking.tell_at_once([TurnThought(thought)])

    def _name(self, call: ToolCall) -> ToolCall:
        """Some servers give calls no ids, by which results are told apart."""
        return call if call.id else replace(call, id=f"call_{self._new_id().hex}")

    async def _act(self, thought: Thought) -> list[PromptMessage]:
        """Run what was called, all at once; what the model is to be told, in the order it asked."""
        found: dict[int, tuple[str, list[UUID]]] = {}

        async def run(number: int, call: Called) -> None:
            found[number] = await self._run(call)

        async with anyio.create_task_group() as tasks:
            for number, call in enumerate(thought.calls):
                tasks.start_soon(run, number, call)
        done = [found[number] for number in range(len(thought.calls))]
        seen = [
            replace(call, observation=text)
            for call, (text, _) in zip(thought.calls, done, strict=True)
        ]
        files = tuple([file for _, files in done for file in files])
        thought = replace(thought, calls=tuple(seen), files=files)
        await self._tell(thought)
        return self._retell(thought)

    def _retell_all(self, thoughts: Sequence[Thought]) -> list[PromptMessage]:
        return [message for thought in thoughts for message in self._retell(thought)]

    def _retell(self, thought: Thought) -> list[PromptMessage]:
        """A finished round, as the model is told it."""
        if self._asking.guide:
            return round_messages([thought], self._config.next_iteration)
        calls = tuple(
            [ToolCall(call.id, legal_name(call.tool), call.arguments) for call in thought.calls]
        )
        return [
            PromptMessage("assistant", thought.text, calls=calls),
            *[PromptMessage("tool", c.observation or "", call_id=c.id) for c in thought.calls],
        ]

    async def _run(self, call: Called) -> tuple[str, list[UUID]]:
        """What came of it, for the model and as the end user sees it, and the files it made."""
        tool = self._tools.get(call.tool)
        if tool is None:
            return self._cut(f"there is not a tool named {call.tool}"), []
        if self._decision == "decline" and call.tool in self._config.approve:
            return "the user has declined this call", []
        try:
            text, made = await self._use(tool, call.arguments)
        except ToolFailed as error:
            return self._cut(f"tool invoke error: {error.message}"), []
        except Exception as error:  # a call: a tool may come from anybody, and ends no turn
            logger.exception("the tool %s broke", call.tool, exc_info=error)
            return "tool invoke error: the tool is broken", []
        files: list[UUID] = []
        for file in made[: self._limits.files]:
            try:
                kept = await self._keep_file(file)
            except KaiwaError as error:
                text += f"\n\nA file that the tool made could not be kept: {error.message}"
                continue
            files.append(kept.id)
            await self._asking.say([TurnFile(kept)])
        return text, files

    async def _use(self, tool: Tool, written: str) -> tuple[str, Sequence[ToolFile]]:
        written = _spread(written, tool.spec) if self._asking.guide else written
        arguments = read_arguments(tool.spec.parameters, written)
        with anyio.move_on_after(self._limits.seconds) as limit:
            try:
                output = await tool.run(arguments)
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) and task.cancelling():
                    raise
                raise ToolFailed("what it waited for was cancelled") from error
            return self._cut(output.text), output.files
        assert limit.cancelled_caught
        raise ToolFailed(f"it took longer than {self._limits.seconds:g} seconds")

    def _cut(self, text: str) -> str:
        return clean(text[: self._limits.characters])

    def _begin(self, thought: Thought) -> TurnThought:
        """The empty round, shown as soon as something of it is told; what is told ends it."""
        if not any(one.position == thought.position for one in self._live.thoughts):
            self._show(thought)
        return TurnThought(thought)

    def _show(self, thought: Thought) -> None:
        """As the message is kept from now on, without words that moderation has changed."""
        thought = self._without_changed(thought)
        earlier = [one for one in self._live.thoughts if one.position != thought.position]
        self._live.thoughts = (*earlier, thought)

    async def _tell(self, thought: Thought) -> None:
        self._show(thought)
        await self._asking.say([TurnThought(self._without_changed(thought))])

    def _without_changed(self, thought: Thought) -> Thought:
        return replace(thought, text="") if self._answer.corrected else thought


class _Words:
    """Stands before the answer when a model calls tools in words: what is no call is said."""

    def __init__(self, answer: Answer, call_id: str) -> None:
        self._answer = answer
        self.parser = ReactParser(call_id)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return (self.parser.action,) if self.parser.action else ()

    def feed(self, deltas: Sequence[Delta]) -> list[TurnEvent]:
        return self._answer.feed(
            [
                TextDelta(self.parser.feed(delta.text)) if isinstance(delta, TextDelta) else delta
                for delta in deltas
            ]
        )

    def finish(self) -> list[TurnEvent]:
        return self._answer.feed([TextDelta(self.parser.finish())])


def _spread(written: str, spec: ToolSpec) -> str:
    """A bare text, as models write one, is meant for the tool's only parameter."""
    names = spec.parameters.get("properties")
    if written.startswith('"') and isinstance(names, dict) and len(names) == 1:
        return f"{{{msgspec.json.encode(next(iter(names))).decode()}: {written}}}"
    return written
