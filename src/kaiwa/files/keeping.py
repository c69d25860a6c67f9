"""Files on their way in: what they are, whether they may come, and into the store while they come.

The bytes are stored before the row: a crash in between leaves bytes that nobody knows, which are
swept, and never a row without its bytes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256
from uuid import UUID

import anyio
from anyio import CancelScope, to_thread
from msgspec import Struct

from kaiwa.domain.app import App
from kaiwa.domain.file import FileType, NewFile, Origin, StoredFile
from kaiwa.domain.knowledge import document_key
from kaiwa.errors import FileTooLarge, UnsupportedFileType
from kaiwa.files.extract import is_readable
from kaiwa.files.kinds import Kind, clean_name, find_kind
from kaiwa.files.pictures import check_picture
from kaiwa.ports import BlobStore, Clock, Fetcher, NewId, ToolFile
from kaiwa.store.db import Database
from kaiwa.store.files import add_file

_HEAD = 4096
"""Bytes that tell what a file is."""
_PICTURES = 4
"""How many are held in memory at once, to be looked at as a whole."""

Allow = Callable[[Kind], None]
"""Raises when a file of this kind may not come."""


class SizeLimits(Struct, frozen=True):
    """In bytes."""

    image: int = 10_485_760
    document: int = 15_728_640
    audio: int = 52_428_800
    video: int = 104_857_600

    @property
    def largest(self) -> int:
        return max(self.image, self.document, self.audio, self.video)

    def of(self, kind: FileType) -> int:
        return self.document if kind == "custom" else getattr(self, kind)


class Coming(Struct, frozen=True):
    """A file that somebody sends or names."""

    name: str
    declared: str
    """The type its sender gives it; may be empty."""
    pieces: AsyncIterator[bytes]
    origin: Origin = "upload"
    url: str | None = None
    """Where a `remote` file stands."""


class KeptDocument(Struct, frozen=True):
    """A document whose bytes have just been stored."""

    name: str
    kind: Kind
    key: str
    size: int
    digest: bytes
    """SHA-256."""


class Keeper:
    """Takes files in."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        fetcher: Fetcher,
        limits: SizeLimits,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self.limits = limits
        self._db = db
        self._blobs = blobs
        self._fetcher = fetcher
        self._clock = clock
        self._new_id = new_id
        self._pictures = anyio.Semaphore(_PICTURES)

    async def keep(
        self, app: App, user: Callable[[], str], coming: Coming, allow: Allow, source: str = "api"
    ) -> StoredFile:
        """Store it and note it for the end user; `user` is asked once the file has come.

        Raises `FileNameMissing`, `UnsupportedFileType`, `FileTooLarge`, what `allow`, the pieces
        and the blob store raise; then nothing is kept.
        """
        name = clean_name(coming.name)
        async with aclosing(_Pieces(coming.pieces)) as pieces:
            kind = find_kind(await pieces.look(_HEAD), name, coming.declared)
            allow(kind)
            limit = self.limits.of(kind.type)
            file_id = self._new_id()
            key = f"{app.id}/{file_id}" + (f".{kind.extension}" if kind.extension else "")
            size = await self._blobs.put(key, pieces.up_to(limit))
        try:
            if kind.type == "image":
                async with self._pictures:  # not before it has come: its sender may be slow
                    await to_thread.run_sync(check_picture, await self._blobs.read(key))
            new = NewFile(
                id=file_id,
                fresh_user_id=self._new_id(),
                name=name,
                size=size,
                extension=kind.extension,
                mime_type=kind.mime_type,
                type=kind.type,
                key=key,
                origin=coming.origin,
                source_url=coming.url,
                created_at=self._clock(),
            )
            return await add_file(self._db, app.workspace_id, app.id, user(), new, source=source)
        except BaseException:
            with CancelScope(shield=True):
                await self._blobs.delete([key])
            raise

    async def keep_document(
        self, base_id: UUID, document_id: UUID, coming: Coming, *, kind: Kind | None = None
    ) -> KeptDocument:
        """Store the bytes of a document for a knowledge base; the row is the caller's to write.

        Unless their `kind` is known, they tell it. Raises `FileNameMissing`,
        `UnsupportedFileType`, `FileTooLarge`, what the pieces and the blob store raise; then
        nothing is kept.
        """
        name = clean_name(coming.name)
        seen = sha256()
        async with aclosing(_Pieces(coming.pieces)) as pieces:
            head = await pieces.look(_HEAD)
            kind = kind or find_kind(head, name, coming.declared)
            if not is_readable(kind):
                raise UnsupportedFileType
            key = document_key(base_id, document_id, self._new_id())
            size = await self._blobs.put(
                key, _noting(pieces.up_to(self.limits.document), seen.update)
            )
        return KeptDocument(name, kind, key, size, seen.digest())

    async def forget(self, kept: KeptDocument) -> None:
        """Remove bytes that no row will name."""
        with CancelScope(shield=True):
            await self._blobs.delete([kept.key])

    async def fetch(self, app: App, user: str, url: str, allow: Allow) -> StoredFile:
        """Keep what stands at somebody's address. Raises `FetchRefused` besides."""
        async with self._fetcher.fetch(url, self.limits.largest) as found:
            name = found.name or "file"
            declared = found.content_type
            coming = Coming(name, declared, found.pieces(), "remote", url)
            return await self.keep(app, lambda: user, coming, allow)

    async def keep_made(
        self, app: App, user: str, made: ToolFile, source: str = "api"
    ) -> StoredFile:
        """Keep what a tool has made. Raises as `keep`."""
        coming = Coming(made.name, made.mime_type, once(made.data), "tool")
        return await self.keep(app, lambda: user, coming, _any, source)


def _any(kind: Kind) -> None:
    """Whatever a tool makes may come."""


async def _noting(
    pieces: AsyncIterator[bytes], note: Callable[[bytes], None]
) -> AsyncIterator[bytes]:
    async for piece in pieces:
        note(piece)
        yield piece


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class _Pieces:
    """A file's pieces, of which the first can be looked at before they are taken."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._looked_at: list[bytes] = []

    async def look(self, size: int) -> bytes:
        """So many bytes, or all there are. Raises `UnsupportedFileType` when there are none."""
        held = 0
        while held < size:
            piece = await anext(self._pieces, b"")
            if not piece:
                break
            self._looked_at.append(piece)
            held += len(piece)
        if not held:
            raise UnsupportedFileType("The file is empty.")
        return b"".join(self._looked_at)[:size]

    async def up_to(self, limit: int) -> AsyncIterator[bytes]:
        """All of them. Raises `FileTooLarge` when they are more than `limit` bytes."""
        size = 0
        looked_at, self._looked_at = self._looked_at, []
        for piece in looked_at:
            size += len(piece)
            _check(size, limit)
            yield piece
        async for piece in self._pieces:
            size += len(piece)
            _check(size, limit)
            yield piece

    async def aclose(self) -> None:
        close: Callable[[], Awaitable[None]] | None = getattr(self._pieces, "aclose", None)
        if close:
            await close()


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise FileTooLarge.over(limit, size)
