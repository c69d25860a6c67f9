"""All that Kaiwa asks of the outside, on one page."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from kaiwa.domain.events import Delta, TurnEvent
from kaiwa.domain.prompt import ModelRequest
from kaiwa.domain.usage import Price

Clock = Callable[[], datetime]
"""The time now: aware, UTC."""

NewId = Callable[[], UUID]
"""A fresh UUIDv7."""

Rest = Callable[[], Awaitable[None]]
"""What is still to be done before one goes on."""

Emit = Callable[[Sequence[TurnEvent]], Rest | None]
"""Says the events to whoever listens; None when they are on their way, or nobody listens."""

Take = Callable[[Sequence[Delta]], Rest | None]
"""Takes the deltas of one network read, in order, never none; None when it wants more at once."""


class DeltaStream(Protocol):
    """What a model says."""

    async def pour(self, take: Take) -> None:
        """Have all of it taken, read by read; what `take` leaves to be done is done in between.

        `take` may be called from within the event loop's own reading. What it raises ends the
        stream and is raised here.
        """
        ...


class ChatModel(Protocol):
    """A server of language models."""

    @property
    def generative(self) -> bool:
        """Whether it can follow instructions; one that cannot is never asked for a title."""
        ...

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Ask; entering sends the request, leaving closes the connection at once.

        Raises, on entering or while pouring: `ProviderNotInitialized`,
        `ProviderQuotaExceeded`, `ModelNotSupported`, `PromptTooLong`, `CompletionFailed`.
        Retries only before the first delta.
        """
        ...


class ModelChoice(Struct, frozen=True):
    """A model by name on a server, and what is known about it."""

    server: ChatModel
    provider: str
    name: str
    context_size: int | None
    """In tokens; None when it is not known."""
    price: Price | None


class Kit(Struct, frozen=True):
    """The ports one turn is given."""

    model: ModelChoice
    side_model: ModelChoice
    """Asked for titles and suggestions."""
