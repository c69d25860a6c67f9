"""How the provider tests ask a model and fold what it says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from kaiwa.domain.events import Delta, ReasoningDelta, TextDelta, ToolCallDelta, UsageDelta
from kaiwa.domain.file import StoredFile
from kaiwa.domain.prompt import ModelRequest, PromptMessage, PromptPicture, ToolCall, ToolSpec
from kaiwa.ports import ChatModel, DeltaStream
from kaiwa.providers.http import Operator
from kaiwa.providers.registry import create_model
from tests.support.model_server import ModelServer

CANARY = "sk-canary-4f9a8c7e6b5d4321"
NETWORK_KINDS = ["openai", "anthropic"]


CLOCK = ToolSpec("clock", "Tells the time.", {"type": "object", "properties": {}})
SUM = ToolSpec(
    "sum", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
)


@dataclass
class Heard:
    """An answer, folded."""

    items: list[Sequence[Delta]] = field(default_factory=list[Sequence[Delta]])

    @property
    def deltas(self) -> list[Delta]:
        return [delta for item in self.items for delta in item]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, ReasoningDelta))

    @property
    def usage(self) -> UsageDelta | None:
        reports = [delta for delta in self.deltas if isinstance(delta, UsageDelta)]
        return reports[-1] if reports else None

    @property
    def tool_calls(self) -> dict[int, tuple[str, str, str]]:
        """Index → id, name, arguments."""
        calls: dict[int, tuple[str, str, str]] = {}
        for delta in self.deltas:
            if isinstance(delta, ToolCallDelta):
                id, name, arguments = calls.get(delta.index, ("", "", ""))
                calls[delta.index] = (
                    id + delta.id,
                    name + delta.name,
                    arguments + delta.arguments,
                )
        return calls


def question(text: str = "What is new?", **params: object) -> ModelRequest:
    messages = (PromptMessage("system", "You help."), PromptMessage("user", text))
    return ModelRequest("model-1", messages, params)


def pictured(data: bytes = b"png") -> ModelRequest:
    """A question with a picture of these bytes."""
    no_id = UUID(int=0)
    file = StoredFile(
        no_id, no_id, "a.png", len(data), "png", "image/png", "image", "a/b.png", datetime.now(UTC)
    )
    shown = PromptPicture(file, "high", data, "image/png")
    return ModelRequest("model-1", (PromptMessage("user", "What is this?", (shown,)),), {})


def equipped(*since: PromptMessage, tools: tuple[ToolSpec, ...] = (CLOCK, SUM)) -> ModelRequest:
    """A question to a model that has tools, and what has come since."""
    messages = (PromptMessage("system", "You help."), PromptMessage("user", "What time is it?"))
    return ModelRequest("model-1", messages + since, {}, tools=tools)


def called(*calls: ToolCall, text: str = "") -> PromptMessage:
    """The assistant wants these to be run."""
    return PromptMessage("assistant", text, calls=calls)


def observed(call_id: str, text: str) -> PromptMessage:
    """What came of a call."""
    return PromptMessage("tool", text, call_id=call_id)


async def hear(model: ChatModel, request: ModelRequest | None = None) -> Heard:
    """The whole answer."""
    heard = Heard()
    await hear_into(heard, model, request)
    return heard


async def hear_into(heard: Heard, model: ChatModel, request: ModelRequest | None = None) -> None:
    """As `hear`; what was said before an error stays in `heard`."""
    async with model.stream(request or question()) as stream:
        await stream.pour(heard.items.append)


async def hear_first(stream: DeltaStream) -> Sequence[Delta]:
    """What comes first; the stream cannot be heard any further."""
    heard: list[Sequence[Delta]] = []

    def take(deltas: Sequence[Delta]) -> None:
        heard.append(deltas)
        raise EOFError

    with pytest.raises(EOFError):
        await stream.pour(take)
    return heard[0]


def network_model(kind: str, server: ModelServer, http: Operator, **options: object) -> ChatModel:
    """A model of this kind that asks our server, and asks again at once."""
    url = server.anthropic_url if kind == "anthropic" else server.openai_url
    given = {"base_url": url, "api_key": CANARY, "retry_wait": 0.001, **options}
    return create_model(kind, given, http)


def any_model(kind: str, server: ModelServer, http: Operator) -> ChatModel:
    """A model of any kind we know."""
    if kind in NETWORK_KINDS:
        return network_model(kind, server, http)
    return create_model(kind, {}, http)
