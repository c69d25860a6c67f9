"""Upkeep beside the answers: closes what a crash left running, removes what nothing uses."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

import anyio
from msgspec import Struct

from kaiwa.errors import BlobsForbidden, BlobsUnavailable, Interrupted, StoreUnavailable
from kaiwa.files.sweeping import erase, find_orphans, sweep_unused
from kaiwa.ports import BlobStore, Clock
from kaiwa.store.conversations import purge_conversations
from kaiwa.store.db import Database
from kaiwa.store.documents import forget_documents
from kaiwa.store.messages import beat, close_abandoned
from kaiwa.store.segments import remove_old_segments

logger = logging.getLogger(__name__)

_ABANDONED_SECONDS = 10
_PURGE_SECONDS = 3600
_TIDY_SECONDS = 60
_TIDIED_AT_ONCE = 500
_TIDY_PAUSE = 0.05
"""So that answers are written in between."""
_FORGET_AFTER = timedelta(days=1)
"""Longer than it takes to find the bytes of a document's earlier versions."""
ORPHANED_AFTER = timedelta(hours=1)
"""An upload may take so long from its beginning until its row is written."""


class UpkeepSettings(Struct, frozen=True):
    """How long things are left alone; in seconds and days."""

    abandoned_after: float = 30
    purge_after_days: float = 7
    unused_files_after_days: float = 1


async def keep_up(
    db: Database,
    blobs: BlobStore,
    clock: Clock,
    settings: UpkeepSettings,
    live: Callable[[], Sequence[UUID]],
) -> None:
    """Runs until it is cancelled; the first round comes at once. `live`: our own messages."""

    async def close() -> None:
        # Our own first: the clock may have leapt, or the machine slept, while they were answered.
        await beat(db, live())
        await close_what_is_abandoned(db, clock, settings)

    async def purge() -> None:
        before = clock() - timedelta(days=settings.purge_after_days)
        if count := await purge_conversations(db, before, partial(erase, blobs)):
            logger.info("purged %d deleted conversations", count)

    async def tidy() -> None:
        await tidy_knowledge(db, blobs, clock)

    sweep = Sweep(db, blobs, clock, settings)
    async with anyio.create_task_group() as jobs:
        jobs.start_soon(_repeat, close, min(_ABANDONED_SECONDS, settings.abandoned_after))
        jobs.start_soon(_repeat, purge, _PURGE_SECONDS)
        jobs.start_soon(_repeat, sweep.run, _PURGE_SECONDS)
        jobs.start_soon(_repeat, tidy, _TIDY_SECONDS)


class Sweep:
    """Removes files that nothing uses; one sweep after another."""

    def __init__(
        self, db: Database, blobs: BlobStore, clock: Clock, settings: UpkeepSettings
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._clock = clock
        self._unused_after = timedelta(days=settings.unused_files_after_days)
        self._suspects: set[str] = set()

    async def run(self) -> None:
        """Once. Raises `BlobsUnavailable` and `BlobsForbidden`."""
        now = self._clock()
        if count := (await sweep_unused(self._db, self._blobs, now - self._unused_after)).files:
            logger.info("removed %d files that no message uses", count)
        orphans = {*await find_orphans(self._db, self._blobs, now - ORPHANED_AFTER)}
        # A restore puts the bytes back before the rows, so none goes at first sight.
        await erase(self._blobs, gone := sorted(orphans & self._suspects))
        self._suspects = orphans.difference(gone)
        if gone:
            logger.info("removed %d files that nothing knew of", len(gone))
        await self._blobs.tidy(now - ORPHANED_AFTER)


async def tidy_knowledge(db: Database, blobs: BlobStore, clock: Clock) -> None:
    """Remove, in portions, what is not found any more of deleted and replaced documents."""
    removed = 1
    while removed:
        removed = await remove_old_segments(db, _TIDIED_AT_ONCE)
        await anyio.sleep(_TIDY_PAUSE)
    while keys := await forget_documents(db, clock() - _FORGET_AFTER, _TIDIED_AT_ONCE):
        await erase(blobs, keys)
        await anyio.sleep(_TIDY_PAUSE)


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
        except (StoreUnavailable, BlobsUnavailable, BlobsForbidden) as error:
            logger.warning("upkeep has to wait: %s", error.message)
        except Exception:  # a job: it is tried again at its next turn
            logger.exception("upkeep failed")
        await anyio.sleep(seconds)
