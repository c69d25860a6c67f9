"""Plays a script instead of asking a model: for tests, measurements and building clients.

A script is a list of replies, from a YAML file (option `script`), the option `replies`, or an app's
`completion_params.script`, which wins. The first reply that fits is played; without one the model
says `You said: …`. See `Reply` and `Step` for the format.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from kaiwa.domain.events import Delta, ReasoningDelta, TextDelta, ToolCallDelta, UsageDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage
from kaiwa.errors import CompletionFailed, KaiwaError, OperatorError
from kaiwa.ports import ChatModel, DeltaStream, Sight
from kaiwa.providers.http import Operator
from kaiwa.providers.options import read_options
from kaiwa.providers.refusals import Asked, Refusal, tools_not_supported
from kaiwa.providers.speaking import (
    Spoken,
    question_of,
    since_question,
    split_tokens,
    system_of,
)

_KIND: Final = "scripted"
_PLACEHOLDER: Final = re.compile(r"\{(question|history|system|prompt|tools|observations)\}")

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Burst = Annotated[int, Meta(ge=1)]
FailureKind = Literal[
    "rate_limit",
    "auth",
    "quota",
    "unknown_model",
    "server",
    "connection",
    "too_long",
    "not_initialized",
]


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True):
    """A call, or with an `index` that has come before a further piece of one."""

    name: str = ""
    id: str | None = None
    """None: made of the index, `call_1` for the first."""
    arguments: str = "{}"
    index: Count | None = None
    """None: its place among the step's."""


class Counts(Struct, frozen=True, forbid_unknown_fields=True):
    prompt: Count = 0
    completion: Count = 0


class Failure(Struct, frozen=True, forbid_unknown_fields=True):
    kind: FailureKind
    message: str = "the script says so"


class Repeat(Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    times: Count
    pace: Seconds | None = None


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said or happens; a step that holds several plays them in this order.

    Texts may hold `{question}`, `{history}` (the number of earlier exchanges), `{system}`,
    `{prompt}` (all messages as JSON), `{tools}` (the names of those offered) and `{observations}`
    (what tools have said since the question).
    """

    silence: Seconds = 0
    """Seconds before anything else."""
    reasoning: str = ""
    text: str = ""
    """Said word by word, CJK character by character."""
    pieces: tuple[str, ...] = ()
    """Said as they are; empty ones are left out."""
    repeat: Repeat | None = None
    """Its text is one piece."""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Counts | None = None
    fail: Failure | None = None
    hang: bool = False
    """Silence until the listener leaves."""
    pace: Seconds = 0
    """Seconds between pieces."""
    burst: Burst | None = None
    """Pieces in one network read."""


class Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """Played when the last user message holds `when` and the system text holds `system`.

    Case does not matter; what is not given fits.
    """

    steps: tuple[Step, ...]
    when: str = ""
    system: str = ""
    after: Count | None = None
    """How many rounds an agent has behind it since the question: 0 when it is first asked."""


class ScriptedOptions(Struct, frozen=True, forbid_unknown_fields=True):
    name: str = _KIND
    script: str = ""
    """The path of a YAML file: a list of replies, or a mapping with that list as `replies`."""
    replies: tuple[Reply, ...] = ()
    burst: Burst = 1
    tools: bool = True
    """False: a model that cannot call tools."""


class _ScriptFile(Struct, frozen=True, forbid_unknown_fields=True):
    replies: tuple[Reply, ...]


_ECHO: Final = Reply((Step(text="You said: {question}"),))


def create(options: Mapping[str, object], http: Operator) -> ChatModel:
    """See `ScriptedOptions`; nothing is sent anywhere."""
    checked = read_options(_KIND, ScriptedOptions, options)
    replies = checked.replies + (_read_file(Path(checked.script)) if checked.script else ())
    return ScriptedModel(checked, replies)


class ScriptedModel:
    """A `ChatModel` that says what it was told to say."""

    def __init__(self, options: ScriptedOptions, replies: tuple[Reply, ...]) -> None:
        self._name = options.name
        self._burst = options.burst
        self._calls_tools = options.tools
        self._replies = replies

    @property
    def calls_tools(self) -> bool:
        return self._calls_tools

    @property
    def sight(self) -> Sight:
        return Sight(able=True)

    @property
    def generative(self) -> bool:
        return True

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[DeltaStream]:
        if request.tools and not self._calls_tools:
            raise tools_not_supported(request.model)
        reply = _find_reply(self._find_script(request), request)
        async with aclosing(self._play(reply, request)) as items:
            yield Spoken(items)

    def _find_script(self, request: ModelRequest) -> tuple[Reply, ...]:
        script = request.params.get("script")
        if script is None:
            return self._replies
        try:
            return msgspec.convert(script, tuple[Reply, ...])
        except msgspec.ValidationError as error:
            sentence = f"[{self._name}] Bad Request Error, the app's script is wrong: {error}"
            raise CompletionFailed(sentence) from error

    async def _play(self, reply: Reply, request: ModelRequest) -> AsyncGenerator[list[Delta]]:
        spoken = False
        for step in reply.steps:
            if step.silence:
                await asyncio.sleep(step.silence)
            pace = step.pace
            if step.repeat is not None and step.repeat.pace is not None:
                pace = step.repeat.pace
            deltas = _say(step, request)
            while item := list(islice(deltas, step.burst or self._burst)):
                await asyncio.sleep(pace * len(item) if spoken else 0)
                spoken = True
                yield item
            if step.fail is not None:
                raise _fail(step.fail, self._name, request.model)
            if step.hang:
                await asyncio.Event().wait()


def _read_file(path: Path) -> tuple[Reply, ...]:
    try:
        content: object = yaml.safe_load(path.read_text("utf-8"))
        if isinstance(content, list):
            return msgspec.convert(content, tuple[Reply, ...])
        return msgspec.convert(content, _ScriptFile).replies
    except (OSError, ValueError, yaml.YAMLError, msgspec.ValidationError) as error:
        line = " ".join(str(error).split())
        raise OperatorError(f"The script {path} cannot be used: {line}.") from error


def _find_reply(replies: tuple[Reply, ...], request: ModelRequest) -> Reply:
    question = question_of(request).lower()
    system = system_of(request).lower()
    rounds = _count_answers(since_question(request))
    for reply in replies:
        fits = reply.when.lower() in question and reply.system.lower() in system
        if fits and reply.after in (None, rounds):
            return reply
    return _ECHO


def _say(step: Step, request: ModelRequest) -> Iterator[Delta]:
    for piece in split_tokens(_fill(step.reasoning, request)):
        yield ReasoningDelta(piece)
    for piece in split_tokens(_fill(step.text, request)):
        yield TextDelta(piece)
    for piece in step.pieces:
        if filled := _fill(piece, request):
            yield TextDelta(filled)
    if step.repeat is not None and (piece := _fill(step.repeat.text, request)):
        for _ in range(step.repeat.times):
            yield TextDelta(piece)
    for position, call in enumerate(step.tool_calls):
        index = position if call.index is None else call.index
        id = f"call_{index + 1}" if call.id is None else call.id
        yield ToolCallDelta(index, id, call.name, call.arguments)
    if step.usage is not None:
        yield UsageDelta(step.usage.prompt, step.usage.completion)


def _fill(text: str, request: ModelRequest) -> str:
    if "{" not in text:
        return text

    def value_of(match: re.Match[str]) -> str:
        match match[1]:
            case "question":
                return question_of(request)
            case "history":
                rounds = _count_answers(since_question(request))
                return str(_count_answers(request.messages) - rounds)
            case "system":
                return system_of(request)
            case "tools":
                return ", ".join(tool.name for tool in request.tools)
            case "observations":
                said = [m.text for m in since_question(request) if m.role == "tool"]
                return "\n".join(said)
            case _:
                return msgspec.json.encode(request.messages).decode()

    return _PLACEHOLDER.sub(value_of, text)


def _count_answers(messages: Sequence[PromptMessage]) -> int:
    return sum(message.role == "assistant" for message in messages)


def _fail(failure: Failure, provider: str, model: str) -> KaiwaError:
    """What a real server with this trouble leads to."""
    if failure.kind == "connection":
        return CompletionFailed(f"[{provider}] Connection Error, {failure.message}")
    statuses: dict[str, int] = {
        "rate_limit": 429,
        "auth": 401,
        "not_initialized": 401,
        "quota": 402,
        "unknown_model": 404,
        "too_long": 413,
    }
    return Refusal(
        provider=provider,
        asked=Asked(model, pictured=False, equipped=False),
        status=statuses.get(failure.kind, 500),
        codes=frozenset(),
        sentence=failure.message,
        retry_after=None,
        keyed=failure.kind != "not_initialized",
    ).to_error()
