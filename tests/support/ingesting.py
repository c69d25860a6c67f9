"""Documents on their way into a base: kept as the API keeps them, worked on by real workshops."""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import anyio
from sqlalchemy import select
from uuid_utils.compat import uuid7

from kaiwa.app import now
from kaiwa.domain.knowledge import ChunkRule, Document, KnowledgeBase, document_key
from kaiwa.files.extract import Extractor
from kaiwa.files.keeping import once
from kaiwa.files.parsers.wire import Limits
from kaiwa.knowledge.ingest import Ingest, OpenEmbedder
from kaiwa.knowledge.workshop import Workshop
from kaiwa.ports import BlobStore, Embedder
from kaiwa.providers.embeddings.hashed import HashedEmbedder
from kaiwa.store.db import Database
from kaiwa.store.documents import NewDocument, add_document, get_document, replace_document
from kaiwa.store.segments import list_segments
from kaiwa.store.tables import segments

QUICK = (0.01, 0.01)


class CountingEmbedder:
    """Our own without a network; what it was asked is remembered, and `faults` come first."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.faults: list[Exception] = []
        self.length: int | None = None
        self.before: Callable[[], Awaitable[None]] | None = None
        self._hashed = HashedEmbedder()

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        if self.before:
            await self.before()
        if self.faults:
            raise self.faults.pop(0)
        self.texts += texts
        return [vector[: self.length] for vector in await self._hashed.embed(texts, query=query)]


def opening(embedder: Embedder) -> OpenEmbedder:
    async def open_embedder(provider: str, model: str) -> Embedder:
        return embedder

    return open_embedder


def make_ingest(
    db: Database,
    blobs: BlobStore,
    embedder: Embedder,
    *,
    limits: Limits | None = None,
    pauses: Sequence[float] = QUICK,
) -> Ingest:
    extractor = Extractor(limits or Limits(), remembered=0)
    return Ingest(db, blobs, extractor, opening(embedder), now, uuid7, pauses)


@asynccontextmanager
async def working(
    db: Database, ingest: Ingest, *, at_once: int = 2, silence: float = 30
) -> AsyncGenerator[Workshop]:
    """A workshop, until the block ends."""
    workshop = Workshop(db, ingest, now, uuid7, at_once=at_once, silence=silence)
    async with anyio.create_task_group() as group:
        group.start_soon(workshop.run)
        yield workshop
        group.cancel_scope.cancel()


async def put(
    db: Database,
    blobs: BlobStore,
    base: KnowledgeBase,
    data: bytes,
    extension: str = "txt",
    rule: ChunkRule | None = None,
    replaces: Document | None = None,
) -> Document:
    """A document that waits, or one that waits to get this content."""
    document_id = replaces.id if replaces else uuid7()
    key = document_key(base.id, document_id, uuid7())
    await blobs.put(key, once(data))
    new = NewDocument(
        id=document_id,
        name=f"page.{extension}",
        source="upload_file",
        origin=None,
        digest=hashlib.sha256(data).digest(),
        key=key,
        size=len(data),
        extension=extension,
        mime_type="application/octet-stream",
        rule=rule or ChunkRule(),
        language="English",
        batch="b",
    )
    if replaces:
        return await replace_document(db, base.workspace_id, replaces, new, now())
    return await add_document(db, base.workspace_id, base.id, new, now())


async def settle(db: Database, *documents: Document) -> list[Document]:
    """As they are when nothing more is to be done with them."""
    found: list[Document] = []
    with anyio.fail_after(60):
        for document in documents:
            one = await get_document(db, document.base_id, document.id)
            while one.status not in ("completed", "error"):
                await anyio.sleep(0.02)
                one = await get_document(db, document.base_id, document.id)
            found.append(one)
    return found


async def read_contents(db: Database, document: Document) -> list[str]:
    """Of the segments that are found, in their order."""
    return [segment.content for segment in (await list_segments(db, document))[0]]


async def read_vectors_of(db: Database, document_id: UUID) -> list[bytes]:
    query = select(segments.c.embedding).where(segments.c.document_id == document_id)
    query = query.order_by(segments.c.generation, segments.c.position)
    return await db.read(lambda conn: list(conn.scalars(query)))


def text_of(paragraphs: int, words: str = "The kettle of {} is on the shelf of {}.") -> bytes:
    """So many paragraphs, each a piece of its own by a custom rule."""
    return "\n\n".join(words.format(at, at * 7) for at in range(paragraphs)).encode()


SPLIT = ChunkRule(mode="custom", max_tokens=100, overlap=0)
"""Each paragraph is a piece."""


def folder_of(path: Path) -> Path:
    folder = path / "files"
    folder.mkdir(exist_ok=True)
    return folder
