"""THE HOT PATH: the only code that sees every token.

It knows neither the database nor the wire. What a network read held goes out in one `emit`, from
within that read: no task wakes up and no queue stands between.
"""

from collections.abc import Sequence
from typing import Protocol

from kaiwa.chat.running import Live
from kaiwa.domain.events import Delta, TurnEvent
from kaiwa.domain.prompt import ToolCall
from kaiwa.ports import DeltaStream, Emit, Rest


class Hears(Protocol):
    """What takes in a model's words: an `Answer`, or what stands before one."""

    @property
    def calls(self) -> Sequence[ToolCall]: ...

    def feed(self, deltas: Sequence[Delta]) -> list[TurnEvent]: ...


async def relay(stream: DeltaStream, answer: Hears, live: Live, emit: Emit) -> None:
    """Pass the model's words on until it has finished.

    The answer holds every piece before anyone hears it, so what is kept is never less than what
    any client received.
    """

    def take(deltas: Sequence[Delta]) -> Rest | None:
        live.heard += 1
        events = answer.feed(deltas)
        rest = emit(events) if events else None
        return rest and _speaking(rest, live)

    await stream.pour(take)


async def say(emit: Emit, events: Sequence[TurnEvent]) -> None:
    """Emit, and wait until the client can take more."""
    if rest := emit(events):
        await rest()


def _speaking(rest: Rest, live: Live) -> Rest:
    """The same; meanwhile the model is not silent, but held back by a slow client."""

    async def wait() -> None:
        live.speaking = True
        try:
            await rest()
        finally:
            live.speaking = False

    return wait
