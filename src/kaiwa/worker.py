"""Upkeep beside the answers: closes what a crash left running, removes what was deleted."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import anyio
from msgspec import Struct

from kaiwa.errors import Interrupted, StoreUnavailable
from kaiwa.ports import Clock
from kaiwa.store.conversations import purge_conversations
from kaiwa.store.db import Database
from kaiwa.store.messages import beat, close_abandoned

logger = logging.getLogger(__name__)

_ABANDONED_SECONDS = 10
_PURGE_SECONDS = 3600


class UpkeepSettings(Struct, frozen=True):
    """How long things are left alone; in seconds and days."""

    abandoned_after: float = 30
    purge_after_days: float = 7


async def keep_up(
    db: Database, clock: Clock, settings: UpkeepSettings, live: Callable[[], Sequence[UUID]]
) -> None:
    """Runs until it is cancelled; the first round comes at once. `live`: our own messages."""

    async def close() -> None:
        # Our own first: the clock may have leapt, or the machine slept, while they were answered.
        await beat(db, live())
        await close_what_is_abandoned(db, clock, settings)

    async def purge() -> None:
        before = clock() - timedelta(days=settings.purge_after_days)
        if count := await purge_conversations(db, before):
            logger.info("purged %d deleted conversations", count)

    async with anyio.create_task_group() as jobs:
        jobs.start_soon(_repeat, close, min(_ABANDONED_SECONDS, settings.abandoned_after))
        jobs.start_soon(_repeat, purge, _PURGE_SECONDS)


async def close_what_is_abandoned(db: Database, clock: Clock, settings: UpkeepSettings) -> None:
    """Close running answers whose process has not been heard of for a while; their text stays."""
    silence = timedelta(seconds=settings.abandoned_after)
    error = Interrupted()
    if count := await close_abandoned(db, silence, error.code, error.message, clock()):
        logger.warning("closed %d answers that were cut off by a crash", count)


async def _repeat(job: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        try:
            await job()
        except StoreUnavailable as error:
            logger.warning("upkeep has to wait: %s", error.message)
        except Exception:  # a job: it is tried again at its next turn
            logger.exception("upkeep failed")
        await anyio.sleep(seconds)
