"""From pieces of any size to the equal parts object stores take, and from one task to another.

obstore pulls its input, from tasks of its own. The pieces come from somebody's connection and are
read where their reader was called; so parts are handed over, one at a time.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

PART: Final = 5 * 1024 * 1024
"""In bytes: the least that S3 takes for a part that is not the last one."""


class GivenUp(Exception):
    """The pieces broke off; obstore is to drop what it has sent."""


class Parts:
    """The way: parts go in at `fill`, in the caller's task, and come out to obstore."""

    def __init__(self, size: int = PART) -> None:
        """`size` in bytes, of each."""
        self.size = size
        self._into, self._out = anyio.create_memory_object_stream[bytearray](0)
        self._whole = False

    async def fill(self, pieces: AsyncIterator[bytes]) -> int:
        """Hand all of it over, the last part shorter than the others, if only by being empty.

        How many bytes there were; it stops early when nobody takes them any more.
        """
        size = 0
        with self._into:
            async with aclosing(_join(pieces, self.size)) as parts:
                async for part in parts:
                    size += len(part)
                    try:
                        await self._into.send(part)
                    except anyio.BrokenResourceError:
                        return size
            self._whole = True
        return size

    async def first(self) -> bytearray:
        """The first part. Raises `GivenUp` when the pieces break off before it is complete."""
        return await _receive(self._out)

    def after(self, first: bytearray) -> "Remaining":
        """This one and all that follow."""
        return Remaining(self, first)

    async def next(self) -> bytearray | None:
        """The next part; None at the end. Raises `GivenUp` when the pieces broke off."""
        try:
            return await _receive(self._out)
        except GivenUp:
            if not self._whole:
                raise
            return None

    def close(self) -> None:
        """Take no more."""
        self._out.close()


class Remaining:
    """Parts as obstore takes them; when one of them fails, it drops the upload."""

    def __init__(self, parts: Parts, first: bytearray) -> None:
        self._parts = parts
        self._first: bytearray | None = first

    def __aiter__(self) -> "Remaining":
        return self

    async def __anext__(self) -> bytearray:
        part, self._first = self._first, None
        part = await self._parts.next() if part is None else part
        if part is None:
            raise StopAsyncIteration
        return part


async def _receive(out: MemoryObjectReceiveStream[bytearray]) -> bytearray:
    try:
        return await out.receive()
    except anyio.EndOfStream:
        raise GivenUp from None


async def _join(pieces: AsyncIterator[bytes], size: int) -> AsyncGenerator[bytearray]:
    part, filled = bytearray(size), 0  # to let it grow would copy it again and again
    async for piece in pieces:
        rest = memoryview(piece)
        while filled + len(rest) >= size:
            room = size - filled
            part[filled:] = rest[:room]
            rest = rest[room:]
            yield part
            part, filled = bytearray(size), 0
        part[filled : filled + len(rest)] = rest
        filled += len(rest)
    del part[filled:]
    yield part
