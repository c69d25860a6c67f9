"""Knowledge bases for benches: made at once, their segments written straight into the table."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from kaiwa.domain.knowledge import ChunkRule, KnowledgeBase
from kaiwa.domain.terms import index_terms
from kaiwa.errors import ProviderNotInitialized
from kaiwa.knowledge.search import SearchMeans
from kaiwa.knowledge.shelf import Shelf
from kaiwa.ports import Embedder, Reranker
from kaiwa.store.db import Database
from kaiwa.store.documents import NewDocument, add_document, claim_document
from kaiwa.store.knowledge import NewBase, create_base, get_base
from kaiwa.store.segments import NewSegment, add_segments, finish_document

_NOW: Final = datetime(2026, 1, 2, tzinfo=UTC)
_WORKER: Final = UUID(int=77)
_ROOM: Final = 1 << 40
_AT_ONCE: Final = 1000


async def make_base(
    db: Database, workspace_id: UUID, texts: Sequence[str], vectors: Sequence[bytes | None]
) -> KnowledgeBase:
    """One document with a segment for each text; vectors are half-precision bytes."""
    name = "hashed" if any(vectors) else ""
    base_id = uuid7()
    new = NewBase(base_id, str(base_id), embedding_provider=name, embedding_model=name)
    base = await create_base(db, workspace_id, new, _NOW)
    await add_document(db, workspace_id, base.id, _document(), _NOW)
    document = await claim_document(db, _WORKER, timedelta(seconds=9), _NOW)
    assert document
    for start in range(0, len(texts), _AT_ONCE):
        pairs = zip(texts[start : start + _AT_ONCE], vectors[start : start + _AT_ONCE], strict=True)
        made = [_segment(start + at, *pair) for at, pair in enumerate(pairs, 1)]
        await add_segments(db, document, _WORKER, made, _NOW)
    dimensions = len(vectors[0]) // 2 if vectors[0] else None
    assert await finish_document(db, document, _WORKER, _NOW, dimensions)
    return await get_base(db, workspace_id, base.id)


def open_means(db: Database, embedder: Embedder) -> SearchMeans:
    """A search that asks this model alone."""

    async def find_embedder(provider: str, model: str) -> Embedder:
        return embedder

    async def find_reranker(name: str) -> Reranker:
        raise ProviderNotInitialized

    return SearchMeans(db, Shelf(_ROOM), find_embedder, find_reranker)


def _segment(position: int, content: str, vector: bytes | None) -> NewSegment:
    return NewSegment(
        id=uuid7(),
        position=position,
        content=content,
        terms=" ".join(index_terms(content)),
        tokens=len(content) // 4,
        words=len(content),
        digest=hashlib.sha256(content.encode()).digest(),
        embedding=vector,
    )


def _document() -> NewDocument:
    return NewDocument(
        id=uuid7(),
        name="corpus.md",
        source="upload_file",
        origin=None,
        digest=bytes(32),
        key="documents/corpus",
        size=1,
        extension="md",
        mime_type="text/markdown",
        rule=ChunkRule(),
        language="English",
        batch="bench",
    )
