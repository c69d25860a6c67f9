"""Template + inputs + history + question → the request a model gets."""

from typing import Literal

from msgspec import Struct

from kaiwa.domain.file import StoredFile
from kaiwa.domain.message import JsonValue

Role = Literal["system", "user", "assistant", "tool"]
Detail = Literal["high", "low"]

_PICTURE_TOKENS = {"high": 1100, "low": 85}


class PromptPicture(Struct, frozen=True):
    """A picture in a prompt: as a file first, then as what the model gets, bytes or a link."""

    file: StoredFile
    detail: Detail
    data: bytes = b""
    mime_type: str = ""
    """Of `data`."""
    url: str = ""

    @property
    def tokens(self) -> int:
        """An estimate; providers count by size, and each in its own way."""
        return _PICTURE_TOKENS[self.detail]


class ToolSpec(Struct, frozen=True):
    """A tool as a model is told of it."""

    name: str
    """Letters, digits, `_` and `-`, at most 64: what every provider takes."""
    description: str
    parameters: dict[str, JsonValue]
    """A JSON schema of an object."""


class ToolCall(Struct, frozen=True):
    """A model's wish that a tool be run."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it: it may be broken."""


class PromptMessage(Struct, frozen=True, omit_defaults=True):
    """One message of a prompt."""

    role: Role
    text: str
    pictures: tuple[PromptPicture, ...] = ()
    documents: tuple[StoredFile, ...] = ()
    """Of an earlier question: those that may still be told before it."""
    calls: tuple[ToolCall, ...] = ()
    """What the assistant wants to be run."""
    call_id: str = ""
    """Which call this `tool` message answers."""


class ModelRequest(Struct, frozen=True):
    """What a model is asked, in no provider's words."""

    model: str
    messages: tuple[PromptMessage, ...]
    params: dict[str, object]
    """`completion_params` of the app: temperature, top_p, max_tokens …"""
    stop: tuple[str, ...] = ()
    user: str = ""
    """The end user's internal id, so that a provider can tell users apart."""
    completion: bool = False
    """For models of the completion kind: one message that holds the whole text."""
    tools: tuple[ToolSpec, ...] = ()
    """What the model may call."""

    @property
    def pictured(self) -> bool:
        """Whether there are pictures in it."""
        return any(message.pictures for message in self.messages)

    @property
    def picture_bytes(self) -> int:
        """How many bytes its pictures have together; links have none."""
        return sum(len(shown.data) for message in self.messages for shown in message.pictures)
