"""What a model may say (deltas) and what a turn may say (events).

Adding an event makes the type checker name every `match` that has to be extended.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from kaiwa.domain.file import MessageFile
from kaiwa.domain.message import Message
from kaiwa.domain.thought import Thought
from kaiwa.domain.usage import Usage


class TextDelta(Struct, frozen=True):
    """A piece of the answer, never empty; concatenated verbatim."""

    text: str


class ReasoningDelta(Struct, frozen=True):
    """A piece of the model's reasoning that its provider sends apart from the text."""

    text: str


class ToolCallDelta(Struct, frozen=True):
    """A piece of the call number `index`: `id` and `name` come first, `arguments` in pieces."""

    index: int
    id: str
    name: str
    arguments: str


class UsageDelta(Struct, frozen=True):
    """Token counts of the round as the provider reports them; the last report counts."""

    prompt_tokens: int
    completion_tokens: int


Delta = TextDelta | ReasoningDelta | ToolCallDelta | UsageDelta


class TurnOpened(Struct, frozen=True):
    """The question is on disk; no frame of its own, but every later frame carries these."""

    conversation_id: UUID
    message_id: UUID
    task_id: str
    created_at: datetime
    agent: bool = False
    """Whether an agent answers, whose words have an event of their own."""
    speaks: bool = False
    """Whether `TurnSpoken` comes after its end."""


class TurnText(Struct, frozen=True):
    """A piece of the answer as the client is to hear it, never empty."""

    text: str


class TurnCanned(Struct, frozen=True):
    """A whole answer that no model gave, never empty."""

    text: str


class TurnReplaced(Struct, frozen=True):
    """All text until here gives way to this; what is said later follows it."""

    text: str


class TurnAudio(Struct, frozen=True):
    """A piece of the answer, spoken: MP3; all pieces joined are one stream."""

    audio: bytes


class TurnSpoken(Struct, frozen=True):
    """No more of it is spoken: in a turn that speaks this is the last event, even if it failed."""


class TurnThought(Struct, frozen=True):
    """A round of an agent as it stands now; told again, under the same id, when it goes on."""

    thought: Thought


class TurnFile(Struct, frozen=True):
    """A tool has made a file, which is kept with the message."""

    file: MessageFile


class TurnEnded(Struct, frozen=True):
    """The answer is complete, or was stopped, and is on disk."""

    message: Message
    usage: Usage


class TurnFailed(Struct, frozen=True):
    """The turn ended without a whole answer; what was said is on disk."""

    code: str
    status: int
    message: str


TurnEvent = (
    TurnOpened
    | TurnText
    | TurnCanned
    | TurnReplaced
    | TurnAudio
    | TurnSpoken
    | TurnThought
    | TurnFile
    | TurnEnded
    | TurnFailed
)
