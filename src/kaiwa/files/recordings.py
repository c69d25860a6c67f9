"""Recordings that are to be listened to: taken in, checked by their bytes, made fit to be sent on.

They are not kept. A child process decodes each to its end, so that a hostile one fails alone.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio
import msgspec
from anyio import CancelScope, SpooledTemporaryFile
from msgspec import Struct

from kaiwa.errors import AudioTooLarge, BlobsUnavailable, UnsupportedAudioType
from kaiwa.files.children import ChildFailed, run_child
from kaiwa.files.signatures import Family, find_family
from kaiwa.files.sounds.wire import RATE, Limits, Order, Report

_CHILD: Final = "kaiwa.files.sounds.child"
_LONGEST_REPORT: Final = 10_000
_HEAD: Final = 16
"""Bytes that tell a recording from everything else."""
_IN_MEMORY: Final = 262_144
"""Bytes of a recording on its way in; the rest of a longer one waits on the disk."""
_COPIES: Final = 2
"""Of a recording, while it is listened to: as it is, and within a form."""

_FORMATS: Final[dict[Family, str]] = {
    "mp3": "mp3",
    "iso": "mov",
    "wav": "wav",
    "amr": "amr",
    "ogg": "ogg",
    "flac": "flac",
    "ebml": "matroska",
    "mpeg": "mpeg",
}
"""As the library calls them."""
_ADTS: Final = (b"\xff\xf1", b"\xff\xf9")
"""How AAC begins that is in no container."""
_VAGUE: Final = frozenset(
    {
        "",
        "application/mp4",
        "application/octet-stream",
        "application/ogg",
        "application/x-download",
        "binary/octet-stream",
    }
)


class Recording(Struct, frozen=True):
    """Sound that can be decoded, of `seconds`; its name ends as its kind does."""

    name: str
    mime_type: str
    data: bytes
    seconds: float


class Recordings:
    """Holds only so much of them in memory, and checks a few at once; further ones wait."""

    def __init__(
        self,
        most: int,
        limits: Limits,
        *,
        at_once: int = 2,
        room: int = 256_000_000,
    ) -> None:
        """`most` bytes of one recording; `room` bytes of all that are listened to.

        One that alone needs more room is listened to alone.
        """
        self.most = most
        self._limits = limits
        self._free = anyio.Semaphore(at_once)
        self._room = _Room(room)

    @asynccontextmanager
    async def take(
        self, pieces: AsyncIterator[bytes], takes: frozenset[str]
    ) -> AsyncGenerator[Recording]:
        """Take it in as it comes, and check it; it is forgotten when the block ends.

        It is as it came when its name's ending is among `takes`, else WAV. Raises
        `UnsupportedAudioType`, `AudioTooLarge`, `BlobsUnavailable` when there is no room for it,
        and what the pieces raise.
        """
        async with AsyncExitStack() as held:
            async with _spooled() as spool:
                format = await self._receive(pieces, spool)
                await self._free.acquire()
                try:
                    await spool.seek(0)
                    recording = await self._check(await spool.read(), format, takes)
                    # Within: what was checked waits here, rather than in memory without bounds.
                    await held.enter_async_context(self._room.hold(len(recording.data) * _COPIES))
                finally:
                    self._free.release()
            yield recording

    async def _receive(
        self, pieces: AsyncIterator[bytes], spool: SpooledTemporaryFile[bytes]
    ) -> str:
        """Its format; it is in the spool then."""
        head, size, format = b"", 0, ""
        async for piece in pieces:
            size += len(piece)
            if not format:
                head += piece
                if len(head) >= _HEAD:
                    format = _find_format(head)
            if size > self.most:
                raise AudioTooLarge.over(self.most)
            try:
                await spool.write(piece)
            except OSError as error:
                raise BlobsUnavailable(
                    "There is no room for the recording at the moment. Please try again later."
                ) from error
        return format or _find_format(head)

    async def _check(self, data: bytes, format: str, takes: frozenset[str]) -> Recording:
        limits = self._limits
        order = Order(format, takes, os.getpid(), limits)
        most = limits.converted_minutes * 60 * RATE * 2 + _LONGEST_REPORT
        try:
            said = await run_child(_CHILD, order, data, seconds=limits.seconds, most=most)
        except ChildFailed as error:
            raise UnsupportedAudioType from error
        line, _, sound = said.partition(b"\n")
        try:
            report = msgspec.json.decode(line, type=Report)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise UnsupportedAudioType from error
        if report.fault == "too_long":
            raise AudioTooLarge(f"The recording is longer than {report.minutes} minutes.")
        if report.fault is not None or not report.ending.isalnum():
            raise UnsupportedAudioType
        name = f"audio.{report.ending}"
        return Recording(name, report.mime_type, sound or data, report.seconds)


def check_declared(mime_type: str) -> None:
    """What its sender says it is, which needs not be right, but must not be something else.

    Raises `UnsupportedAudioType`.
    """
    plain = mime_type.partition(";")[0].strip().lower()
    if plain not in _VAGUE and plain.partition("/")[0] not in ("audio", "video"):
        raise UnsupportedAudioType


def _find_format(head: bytes) -> str:
    format = "aac" if head.startswith(_ADTS) else _FORMATS.get(find_family(head))
    if format is None:
        raise UnsupportedAudioType
    return format


@asynccontextmanager
async def _spooled() -> AsyncGenerator[SpooledTemporaryFile[bytes]]:
    spool = SpooledTemporaryFile[bytes](max_size=_IN_MEMORY)
    try:
        yield spool
    finally:
        with CancelScope(shield=True):
            await spool.aclose()


class _Room:
    """So many bytes for all; whoever wants more than is free waits, in the order of asking."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._queue = anyio.Lock()
        self._freed = anyio.Event()

    @asynccontextmanager
    async def hold(self, count: int) -> AsyncGenerator[None]:
        count = min(count, self._size)
        async with self._queue:
            while self._free < count:
                self._freed = anyio.Event()
                await self._freed.wait()
            self._free -= count
        try:
            yield
        finally:
            self._free += count
            self._freed.set()
