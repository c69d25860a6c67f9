"""What clients send, as the OpenAPI document shows it; `body.py` reads it, more leniently."""

from typing import Any, Literal

from msgspec import Struct


class ChatMessageRequest(Struct, frozen=True):
    """A question."""

    query: str
    user: str
    inputs: dict[str, Any] = {}
    response_mode: Literal["streaming", "blocking"] = "blocking"
    conversation_id: str | None = None
    auto_generate_name: bool = True
    files: list[dict[str, Any]] | None = None


class ApprovalRequest(Struct, frozen=True):
    """What the end user says to an agent's calls that need a yes."""

    user: str
    decision: Literal["approve", "decline"]


class UserRequest(Struct, frozen=True):
    """The end user, as the app names it."""

    user: str


class OptionalUserRequest(Struct, frozen=True):
    """The end user; without one, the shared user `DEFAULT-USER`."""

    user: str | None = None


class FeedbackRequest(Struct, frozen=True):
    """A rating, or null to take it back."""

    user: str
    rating: Literal["like", "dislike"] | None = None
    content: str | None = None


class NameRequest(Struct, frozen=True):
    """A new name, or the wish for one made from the first question."""

    name: str | None = None
    auto_generate: bool = False
    user: str | None = None


class SpeechRequest(Struct, frozen=True):
    """What is to be read aloud: a message's answer, else a text."""

    message_id: str | None = None
    text: str | None = None
    voice: str | None = None
    user: str | None = None
