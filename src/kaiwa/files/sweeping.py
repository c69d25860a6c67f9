"""Removes the bytes of files that no message has, and bytes that no row names any more.

The rows always go first: what a crash leaves between them is an orphan, and is found by its key.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from msgspec import Struct

from kaiwa.domain.knowledge import read_document_key
from kaiwa.errors import BlobsForbidden, BlobsUnavailable
from kaiwa.ports import BlobStore
from kaiwa.store.apps import list_app_ids
from kaiwa.store.db import Database, Reads
from kaiwa.store.files import known_keys, sweep_files
from kaiwa.store.knowledge import list_base_ids

logger = logging.getLogger(__name__)

_PORTION = 500
_NEVER = datetime.max.replace(tzinfo=UTC)


class Swept(Struct, frozen=True):
    """What a sweep has removed."""

    files: int = 0
    size: int = 0
    """In bytes."""


async def erase(blobs: BlobStore, keys: Sequence[str]) -> None:
    """Remove what no row names any more; what cannot be removed now is an orphan later."""
    try:
        for at in range(0, len(keys), _PORTION):
            await blobs.delete(keys[at : at + _PORTION])
    except (BlobsUnavailable, BlobsForbidden) as error:
        logger.warning("%d files are left for a later sweep: %s", len(keys), error.message)


async def sweep_unused(db: Database, blobs: BlobStore, unused_before: datetime) -> Swept:
    """Remove the files from before then that no message has taken."""
    files = await sweep_files(db, unused_before)
    await erase(blobs, [file.key for file in files])
    return Swept(len(files), sum(file.size for file in files))


async def find_orphans(db: Reads, blobs: BlobStore, made_before: datetime) -> dict[str, int]:
    """Blobs from before then that no file and no document has, with their sizes by key.

    What is no key of an app or a knowledge base we know is left alone: it may be somebody else's,
    or the database may be the wrong one. Raises `BlobsUnavailable` and `BlobsForbidden`.
    """
    owners = {*await list_app_ids(db), *await list_base_ids(db)}
    orphans: dict[str, int] = {}
    portion: dict[str, int] = {}
    async for key, size in blobs.list_keys():
        owner_id, made_at = _read_key(key)
        if made_at < made_before and owner_id in owners:
            portion[key] = size
        if len(portion) >= _PORTION:
            orphans |= await _without_known(db, portion)
            portion = {}
    return orphans | await _without_known(db, portion)


async def _without_known(db: Reads, blobs: dict[str, int]) -> dict[str, int]:
    known = await known_keys(db, [*blobs])
    return {key: size for key, size in blobs.items() if key not in known}


def _read_key(key: str) -> tuple[UUID | None, datetime]:
    """Its app or base, and when the upload was begun as an id tells; None for any other blob."""
    if document := read_document_key(key):
        owner_id, _, made = document
    else:
        owner, _, name = key.partition("/")
        try:
            owner_id, made = UUID(owner), UUID(name.partition(".")[0])
        except ValueError:
            return None, _NEVER
    try:
        begun = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    except ValueError:  # no UUIDv7, or not of our time
        return None, _NEVER
    return (owner_id if made.version == 7 else None), begun
