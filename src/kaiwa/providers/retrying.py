"""Asks servers again that are busy or away for a moment, where nothing has been said yet."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from kaiwa.errors import KaiwaError
from kaiwa.providers.http import OutboundError
from kaiwa.providers.refusals import Refusal, Refused

T = TypeVar("T")

_ATTEMPTS: Final = 3
_LONGEST: Final = 20.0


def refusal_of(error: KaiwaError) -> Refusal | None:
    """What the server said, when it said something."""
    cause = error.__cause__
    return cause.refusal if isinstance(cause, Refused) else None


async def ask_again(
    ask: Callable[[], Awaitable[T]],
    wait: float,
    *,
    attempts: int = _ATTEMPTS,
    longest: float = _LONGEST,
) -> T:
    """The answer of the first attempt that gets one; `wait` is in seconds and doubles.

    A server that names more seconds than `longest` is not asked again. Raises what the last
    attempt raised.
    """
    for attempt in range(1, attempts):
        try:
            return await ask()
        except KaiwaError as error:
            pause = _pause(error, wait * 2 ** (attempt - 1))
            if pause is None or pause > longest:
                raise
        await anyio.sleep(pause)
    return await ask()


def _pause(error: KaiwaError, wait: float) -> float | None:
    """Seconds; None when asking again is of no use."""
    if isinstance(error.__cause__, OutboundError):
        return wait
    refusal = refusal_of(error)
    if refusal is None or not refusal.passing:
        return None
    return max(wait, refusal.retry_after or 0.0)
