"""The blocks of the bases that were searched last, each as its base stands now."""

import logging
from array import array
from collections import OrderedDict
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import anyio
import anyio.to_thread

from kaiwa.domain.knowledge import KnowledgeBase
from kaiwa.store.db import Reads
from kaiwa.store.search import Candidate, Seen, Standing, list_seen, read_candidates

if TYPE_CHECKING:
    from kaiwa.knowledge.block import Block

_SEEN_AT_ONCE: Final = 16_384
_READ_AT_ONCE: Final = 1024
_THREADS: Final = 2

logger = logging.getLogger(__name__)


class Shelf:
    """Room for blocks."""

    def __init__(self, room: int) -> None:
        """`room` in bytes; the block that is asked for is taken even when it is larger."""
        self._room = room
        self._blocks: OrderedDict[UUID, Block] = OrderedDict()
        self._locks: dict[UUID, anyio.Lock] = {}
        self.threads = anyio.CapacityLimiter(_THREADS)
        """For what a search computes: more at once take longer and leave the loop less."""

    @property
    def size(self) -> int:
        """Of all blocks, in bytes."""
        return sum(block.size for block in self._blocks.values())

    async def take(self, db: Reads, base: KnowledgeBase, now: Standing) -> "Block":
        """The base's block as it stands now or later; loaded once for all who want it."""
        block = self._blocks.get(base.id)
        if block is None or block.version < now.version:
            async with self._locks.setdefault(base.id, anyio.Lock()):
                block = self._blocks.get(base.id)
                if block is None or block.version < now.version:
                    block = await load_block(db, base, now, block)
                    self._blocks[base.id] = block
        self._blocks.move_to_end(base.id)
        self._make_room()
        return block

    def drop(self, base_id: UUID) -> None:
        """It is gone."""
        self._blocks.pop(base_id, None)
        self._locks.pop(base_id, None)

    def _make_room(self) -> None:
        size = self.size
        while size > self._room and len(self._blocks) > 1:
            base_id, block = self._blocks.popitem(last=False)
            size -= block.size
            logger.debug("the base %s is no more in memory", base_id)


async def load_block(
    db: Reads, base: KnowledgeBase, now: Standing, before: "Block | None"
) -> "Block":
    """The base as it stands now or later; what stayed as it was is kept."""
    blocks: Any = await anyio.to_thread.run_sync(import_module, "kaiwa.knowledge.block")
    seen = await _list_all(db, base.id)
    dimensions = (now.dimensions or 0) if base.embeds else 0
    portions: list[Any] = []
    for one in blocks.plan(seen, before, dimensions):
        if one.stays:
            portions.append(one.before)
            continue
        read: dict[int, Candidate] = {}
        missing: list[int] = one.missing()
        for start in range(0, len(missing), _READ_AT_ONCE):
            read |= await read_candidates(db, missing[start : start + _READ_AT_ONCE])
        portions.append(await anyio.to_thread.run_sync(one.make, read, dimensions))
    make = partial(blocks.Block, now.version, dimensions, seen, portions)
    return await anyio.to_thread.run_sync(make)


async def _list_all(db: Reads, base_id: UUID) -> Seen:
    seen = Seen(array("q"), array("q"), array("q"))
    after, full = 0, True
    while full:
        found = await list_seen(db, base_id, after, _SEEN_AT_ONCE)
        seen.numbers.extend(found.numbers)
        seen.changed.extend(found.changed)
        seen.lengths.extend(found.lengths)
        full = len(found.numbers) == _SEEN_AT_ONCE
        after = found.numbers[-1] if full else after
    return seen
