"""A conversation, its messages, and what can be said about them."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar
from uuid import UUID

from msgspec import Struct

from kaiwa.domain.file import MessageFile, StoredFile
from kaiwa.domain.knowledge import Citation
from kaiwa.domain.thought import Thought
from kaiwa.domain.usage import Usage

T = TypeVar("T")
Rating = Literal["like", "dislike"]
if TYPE_CHECKING:
    JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]
else:
    JsonValue = object  # msgspec cannot decode into an alias that names itself
Inputs = dict[str, JsonValue]


class Outcome(StrEnum):
    """How a message stands; every one ends in exactly one of the last four."""

    RUNNING = "running"
    NORMAL = "normal"
    STOPPED = "stopped"
    ERROR = "error"
    INTERRUPTED = "interrupted"

    @property
    def failed(self) -> bool:
        """Whether clients see the status `error`."""
        return self in (Outcome.ERROR, Outcome.INTERRUPTED)


class Conversation(Struct, frozen=True):
    """A thread of messages between one end user and one app."""

    id: UUID
    app_id: UUID
    user_id: UUID
    config_id: UUID
    """The version of the app's configuration this conversation began with."""
    name: str
    inputs: Inputs
    introduction: str
    pinned: bool
    created_at: datetime
    updated_at: datetime


class Message(Struct, frozen=True):
    """One question and its answer."""

    id: UUID
    conversation_id: UUID
    parent_id: UUID | None
    position: int
    """1 for the first message of the conversation; without gaps or repeats."""
    inputs: Inputs
    query: str
    answer: str
    reasoning: str
    """Reasoning that the app keeps out of the answer; else empty."""
    outcome: Outcome
    error_code: str | None
    error: str | None
    created_at: datetime
    rating: Rating | None = None
    files: tuple[MessageFile, ...] = ()
    """In the order they were sent, those in its inputs last."""
    thoughts: tuple[Thought, ...] = ()
    """An agent's rounds, in order."""
    citations: tuple[Citation, ...] = ()
    """What it was told from knowledge bases, best first."""

    @property
    def waits(self) -> bool:
        """Whether an agent has ended its turn so that its end user may say yes or no."""
        return self.outcome is Outcome.NORMAL and bool(self.thoughts) and self.thoughts[-1].waits


REFUSED: Final = "refused"
"""The `error_code` of a message of the outcome `normal` whose question was not let through."""


class Exchange(Struct, frozen=True):
    """An earlier question and its answer, as history."""

    query: str
    answer: str
    files: tuple[StoredFile, ...] = ()
    """The user's, sent with the question."""
    refused: bool = False
    """Whether moderation has not let the question through."""


class Page(Struct, Generic[T], frozen=True):
    """One page of a longer list."""

    items: list[T]
    has_more: bool


class Opening(Struct, frozen=True):
    """What a turn writes before the model is asked."""

    workspace_id: UUID
    app_id: UUID
    key_id: UUID | None
    """The API key that asked; None at the operator's own terminal."""
    user_id: UUID
    """Used only when this end user is new."""
    user: str
    source: str
    """Where the end user's name comes from: `api` or `terminal`."""
    conversation_id: UUID
    new: bool
    """Whether the conversation begins with this message."""
    name: str
    introduction: str
    config_id: UUID
    """The configuration this turn runs with; a new conversation is bound to it."""
    conversation_inputs: Inputs
    """What the conversation keeps for its later turns."""
    message_id: UUID
    inputs: Inputs
    query: str
    owner: UUID
    """The process that runs the turn."""
    now: datetime
    files: tuple[MessageFile, ...] = ()
    """Sent with the question or in its inputs, by its end user."""


class Draft(Struct, frozen=True):
    """How far a running answer has come."""

    message_id: UUID
    answer: str
    reasoning: str
    thoughts: tuple[Thought, ...] = ()
    """All there are, when they have changed."""


class Closing(Struct, frozen=True):
    """How a message ended."""

    message_id: UUID
    answer: str
    reasoning: str
    outcome: Outcome
    error_code: str | None
    error: str | None
    usage: Usage
    now: datetime
    thoughts: tuple[Thought, ...] = ()
    citations: tuple[Citation, ...] = ()
    rounds_before: int = 0
    """How many of the usage's rounds are kept already."""
