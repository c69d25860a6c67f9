"""From an opened message to the model: history, prompt, the call, and what it cost.

What a provider finds too long is asked once more with half the history, and with half of what an
agent's tools said; earlier pictures that it cannot look at are left out then; a model that no
longer exists gives way to the app's current one. All of it only before the first word.
"""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from msgspec import Struct
from msgspec.structs import replace

from kaiwa.chat.files import FileRoom, load_history, load_pictures
from kaiwa.chat.relay import Hears, relay, say
from kaiwa.chat.running import Live
from kaiwa.domain.answer import Answer
from kaiwa.domain.app import AppConfig, ModelConfig
from kaiwa.domain.events import TurnEvent, TurnOpened
from kaiwa.domain.history import (
    check_fits,
    history_budget,
    lower_max_tokens,
    max_tokens_of,
    shorten_rounds,
    trim,
)
from kaiwa.domain.knowledge import Passage
from kaiwa.domain.message import Exchange, Inputs, Message
from kaiwa.domain.prompt import (
    Detail,
    ModelRequest,
    PromptMessage,
    PromptPicture,
    ToolCall,
    ToolSpec,
)
from kaiwa.domain.react import STOP
from kaiwa.domain.request import MOST_STOPS, build_request, prompt_tokens
from kaiwa.domain.text import count_tokens
from kaiwa.domain.usage import Round, Usage
from kaiwa.errors import KaiwaError, ModelNotSupported, PicturesNotSupported, PromptTooLong
from kaiwa.ports import Emit, Kit, ModelChoice, Rest
from kaiwa.store.db import Database
from kaiwa.store.messages import read_history

_SHORTENINGS = 3

ChooseHistory = Callable[[Iterator[Exchange]], list[PromptMessage]]
"""From the newest to what a model is told, oldest first."""


class Fallback(Struct, frozen=True):
    """The app's current model with its parameters, for one that no longer exists."""

    kit: Kit
    config: ModelConfig


class Asking:
    """One opened question on its way to a model, and the rounds it takes."""

    def __init__(
        self,
        config: AppConfig,
        inputs: Inputs,
        query: str,
        pictures: tuple[PromptPicture, ...],
        user: str,
        answer: Answer,
        live: Live,
        db: Database,
        room: FileRoom,
        emit: Emit,
    ) -> None:
        """`user` is an opaque name of the end user, for the provider."""
        self._config = config
        self._inputs = inputs
        self._query = query
        self._pictures = pictures
        self._room = room
        self._user = user
        self._answer = answer
        self._live = live
        self._db = db
        self._emit = emit
        self._rounds: list[Round] = []
        self._history: Sequence[PromptMessage] = ()
        self._changed = False
        """Whether another question is asked than the history was chosen for."""
        self._model: ModelChoice | None = None
        """Asked last."""
        self.since: list[PromptMessage] = []
        """What an agent has done since the question."""
        self.tools: tuple[ToolSpec, ...] = ()
        """What the model may call."""
        self.guide: Callable[[str], str] | None = None
        """Tells a model that calls tools in words how; what it writes is heard by `hears`."""
        self.hears: Hears = answer
        self.speaks = False
        """Whether the answer is spoken while it is written."""
        self.passages: tuple[Passage, ...] = ()
        """What it is told from knowledge bases, best first."""
        self.begins: Callable[[], TurnEvent] | None = None
        """What it gives is said just before whatever is said next."""

    @property
    def usage(self) -> Usage:
        return Usage(tuple(self._rounds))

    def recall(self, spent: Usage) -> None:
        """What an answer that now goes on has cost before."""
        self._rounds = list(spent.rounds)

    def ask_instead(self, inputs: Inputs, query: str) -> None:
        """Another question, and these of its inputs, than those that were sent."""
        if query != self._query or self._inputs | inputs != self._inputs:
            self._changed = True
            self._inputs = self._inputs | inputs
            self._query = query

    def know(self, passages: Sequence[Passage], model: ModelChoice) -> None:
        """Tell these with the question, as many of the best as this model has room for."""
        self.passages = tuple(passages)
        self._changed = self._changed or bool(passages)
        while self.passages and not self._has_room(model):
            self.passages = self.passages[:-1]

    def _has_room(self, model: ModelChoice) -> bool:
        try:
            self._find_room(model)
        except PromptTooLong:
            return False
        return True

    def choose_history(self, model: ModelChoice) -> ChooseHistory | None:
        """What takes as much of the history as this model has room for.

        None when not even the question fits; `ask` then says so.
        """
        try:
            room = self._find_room(model)
        except PromptTooLong:
            return None
        return lambda newest: trim(newest, room, self._detail)

    async def announce(self, message: Message) -> None:
        """Say that the question is on disk, and under which ids."""
        opened = TurnOpened(
            message.conversation_id,
            message.id,
            self._live.task_id,
            message.created_at,
            self._config.agent is not None,
            self.speaks,
        )
        await say(self._emit, [opened])

    async def say(self, events: Sequence[TurnEvent]) -> None:
        """Beside what the model says."""
        if events:
            await say(self._begin, events)

    def tell_at_once(self, events: Sequence[TurnEvent]) -> None:
        """The same in a turn that is being cut and can wait for nobody."""
        self._begin(events)

    def _begin(self, events: Sequence[TurnEvent]) -> Rest | None:
        first, self.begins = self.begins, None
        return self._emit([first(), *events] if first else events)

    async def ask(
        self, kit: Kit, fallback: Fallback | None, history: Sequence[PromptMessage] | None
    ) -> None:
        """Ask the kit's model, or else the fallback's, and relay its words into the answer.

        `history` is what was chosen for the kit's model, oldest first; None has it read. Raises
        what `ChatModel.stream` raises.
        """
        try:
            await self._ask_model(kit.model, None if self._changed else history)
        except ModelNotSupported:
            if fallback is None or self._answer.begun:
                raise
            self._config = replace(self._config, model=fallback.config)
            await self._ask_model(fallback.kit.model, None)

    async def _ask_model(self, model: ModelChoice, history: Sequence[PromptMessage] | None) -> None:
        history = await self._read_history(model) if history is None else history
        if self._pictures:
            self._pictures = await load_pictures(self._pictures, model, self._room)
        if any(message.pictures or message.documents for message in history):
            history = await load_history(history, model, self._find_room(model), self._room)
        self._history = history
        await self._call_as_it_fits(model)

    async def ask_on(self, since: Sequence[PromptMessage]) -> None:
        """Ask the same model once more, told what has been done since. Raises as `ask`."""
        assert self._model
        self.tell(since)
        await self._call_as_it_fits(self._model)

    def tell(self, since: Sequence[PromptMessage]) -> None:
        """With the next question: a round is over, and this came of it."""
        self.since += since
        self._pictures = ()  # it has seen them
        self._answer.begin_round()

    async def _call_as_it_fits(self, model: ModelChoice) -> None:
        self._model = model
        try:
            await self._call_shortened(model)
        except PicturesNotSupported:
            if self._answer.begun or self._pictures:
                raise
            self._history = [replace(message, pictures=()) for message in self._history]
            await self._call_shortened(model)

    async def _call_shortened(self, model: ModelChoice) -> None:
        """What is found too long is asked once more, shorter; several times within a round."""
        for _ in range(_SHORTENINGS if self.since else 1):
            try:
                return await self._call(model)
            except PromptTooLong:
                if self._answer.begun or not self._shorten():
                    raise
        await self._call(model)

    def _shorten(self) -> bool:
        """What was told, except the question; False when there is nothing left.

        The history and what the tools of an agent said come before what was found.
        """
        rounds = shorten_rounds(self.since)
        if rounds is None and not self._history:
            shorter = self.passages[: len(self.passages) // 2]
            shortened, self.passages = shorter != self.passages, shorter
            return shortened
        self._history = self._history[(len(self._history) + 1) // 2 :]
        self.since = self.since if rounds is None else rounds
        return True

    async def _read_history(self, model: ModelChoice) -> list[PromptMessage]:
        room = self._find_room(model)
        where = self._live.conversation_id
        return await read_history(self._db, where, lambda newest: trim(newest, room, self._detail))

    def _find_room(self, model: ModelChoice) -> int:
        """Tokens left for history. Raises `PromptTooLong`."""
        bare = self._request(model, ())
        max_tokens = max_tokens_of(bare.params)
        check_fits(bare, model.context_size, max_tokens)
        return history_budget(model.context_size, max_tokens, prompt_tokens(bare))

    @property
    def _detail(self) -> Detail | None:
        """How closely earlier pictures are looked at; None when they are not shown again."""
        rules = self._config.files
        return rules.detail if rules.enabled else None

    async def _call(self, model: ModelChoice) -> None:
        request = lower_max_tokens(self._request(model, self._history), model.context_size)
        prompt = prompt_tokens(request)
        asked_at = self._live.ask_model()
        refused = False
        try:
            async with model.server.stream(request) as stream:
                # What was told is not needed for as long as the answer takes.
                del request
                if self._config.agent is None:
                    self._history, self._pictures = (), ()
                emit = self._begin if self._config.agent else self._emit
                await relay(stream, self.hears, self._live, emit)
        except KaiwaError:
            refused = not self._answer.begun
            raise
        finally:
            if not refused:
                latency = monotonic() - asked_at
                self._rounds.append(_round(model, prompt, self._answer, self.hears.calls, latency))
            self._live.asked_at = None

    def _context(self) -> str | None:
        """None for an app that is told nothing from knowledge bases, or finds it by tools."""
        if self._config.knowledge is None or self._config.agent:
            return None
        return tell_passages(self.passages)

    def _request(self, model: ModelChoice, history: Sequence[PromptMessage]) -> ModelRequest:
        request = build_request(
            self._config,
            model=model.name,
            inputs=self._inputs,
            history=history,
            query=self._query,
            pictures=self._pictures,
            user=self._user,
            rounds=self.since,
            tools=() if self.guide else self.tools,
            guide=self.guide,
            context=self._context(),
        )
        if self.guide:
            stop = (*STOP, *request.stop)[:MOST_STOPS]
            request = replace(request, stop=stop)
        return request


def tell_passages(passages: Sequence[Passage]) -> str:
    """As a model is told what was found."""
    return "\n".join([one.segment.told for one in passages])


def _round(
    model: ModelChoice, prompt: int, answer: Answer, calls: Sequence[ToolCall], latency: float
) -> Round:
    """What the call cost: as the provider reports it, else as we estimate it."""
    reported = answer.usage
    return Round(
        provider=model.provider,
        model=model.name,
        prompt_tokens=reported.prompt_tokens if reported else prompt,
        completion_tokens=(
            reported.completion_tokens
            if reported
            else count_tokens(answer.round_said)
            + count_tokens(answer.round_reasoning)
            + sum([count_tokens(call.name + call.arguments) for call in calls])
        ),
        price=model.price,
        estimated=reported is None,
        latency=latency,
    )
