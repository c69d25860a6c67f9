"""Knowledge bases with documents in them, put there as a worker would, without one."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from uuid_utils.compat import uuid7

from kaiwa.domain.knowledge import ChunkRule, Document, KnowledgeBase, Passage, RetrievalSettings
from kaiwa.domain.terms import index_terms
from kaiwa.errors import ProviderNotInitialized
from kaiwa.knowledge.search import SearchMeans, search
from kaiwa.knowledge.shelf import Shelf
from kaiwa.ports import Embedder, Reranker
from kaiwa.providers.embeddings.hashed import HashedEmbedder
from kaiwa.store.db import Database
from kaiwa.store.documents import NewDocument, add_document, claim_document
from kaiwa.store.knowledge import NewBase, create_base
from kaiwa.store.segments import NewSegment, add_segments, finish_document

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WORKER = UUID(int=77)
ROOM = 1 << 30


class Bases:
    """The bases of one workspace."""

    def __init__(self, db: Database, workspace_id: UUID) -> None:
        self.db = db
        self.workspace_id = workspace_id
        self.embedder: Embedder = HashedEmbedder()
        self.reranker: Reranker | None = None
        self.shelf = Shelf(ROOM)
        self.patience = 10.0

    @property
    def means(self) -> SearchMeans:
        async def embedder(provider: str, model: str) -> Embedder:
            return self.embedder

        async def reranker(name: str) -> Reranker:
            if self.reranker is None:
                raise ProviderNotInitialized
            return self.reranker

        return SearchMeans(self.db, self.shelf, embedder, reranker, self.patience)

    async def make(
        self,
        name: str,
        *texts: str,
        model: str = "hashed",
        retrieval: RetrievalSettings | None = None,
    ) -> KnowledgeBase:
        """One document for each text; without a model, a base of words alone."""
        new = NewBase(
            uuid7(),
            name,
            indexing="high_quality" if model else "economy",
            embedding_provider=model,
            embedding_model=model,
            retrieval=retrieval or RetrievalSettings(),
        )
        base = await create_base(self.db, self.workspace_id, new, NOW)
        for number, text in enumerate(texts, 1):
            await self.add(base, f"{number}.md", text)
        return base

    async def add(self, base: KnowledgeBase, name: str, *contents: str) -> Document:
        """A document of these segments, finished."""
        await add_document(self.db, self.workspace_id, base.id, _document(name), NOW)
        document = await claim_document(self.db, WORKER, timedelta(seconds=9), NOW)
        assert document
        vectors = await self._embed(base, contents)
        new = [
            new_segment(position, content, vector)
            for position, (content, vector) in enumerate(zip(contents, vectors, strict=True), 1)
        ]
        await add_segments(self.db, document, WORKER, new, NOW)
        dimensions = len(vectors[0]) // 2 if vectors[0] else None
        assert await finish_document(self.db, document, WORKER, NOW, dimensions)
        return document

    async def _embed(self, base: KnowledgeBase, contents: Sequence[str]) -> Sequence[bytes | None]:
        if not base.embeds:
            return [None] * len(contents)
        made = await self.embedder.embed(contents)
        return [np.array(one, "<f2").tobytes() for one in made]

    async def search(
        self, query: str, *bases: KnowledgeBase, own: bool = False, **settings: object
    ) -> list[Passage]:
        """With settings of its own unless `own` ones of the bases are meant."""
        wanted = RetrievalSettings(**settings)  # pyright: ignore[reportArgumentType]
        return await search(query, bases, wanted, self.means, own_method=own)


def new_segment(position: int, content: str, vector: bytes | None) -> NewSegment:
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


def _document(name: str) -> NewDocument:
    return NewDocument(
        id=uuid7(),
        name=name,
        source="upload_file",
        origin=name,
        digest=bytes(32),
        key=f"documents/{name}",
        size=1,
        extension="md",
        mime_type="text/markdown",
        rule=ChunkRule(),
        language="English",
        batch="b",
    )


def contents(passages: Sequence[Passage]) -> list[str]:
    return [one.segment.content for one in passages]
