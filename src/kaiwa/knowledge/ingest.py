"""From a document's bytes to segments that are found, step by step.

Each step is kept before the next begins, and goes on where it was left: whoever works on the
document may be killed at any moment. It is found as a whole in the end, or not at all.
"""

import hashlib
import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import anyio
import msgspec

from kaiwa.domain.knowledge import Document, KnowledgeBase
from kaiwa.errors import (
    FileTooLarge,
    KaiwaError,
    KnowledgeUnsearchable,
    ModelNotSupported,
    NotFound,
    PromptTooLong,
    ProviderNotInitialized,
    StoreUnavailable,
    UnsupportedFileType,
)
from kaiwa.files.extract import Extractor, Pieces
from kaiwa.files.kinds import Kind
from kaiwa.files.parsers.wire import Piece
from kaiwa.knowledge.embedding import NUMBER_SIZE, OpenEmbedder, embed, say_differ
from kaiwa.ports import BlobStore, Clock, NewId
from kaiwa.store.db import Database
from kaiwa.store.documents import DocumentLost, fail_document, get_document, note_document
from kaiwa.store.knowledge import get_base
from kaiwa.store.segments import (
    NewSegment,
    add_segments,
    drop_unfinished,
    finish_document,
    list_unembedded,
    list_vector_sizes,
    set_embeddings,
)

logger = logging.getLogger(__name__)

PAUSES: Final = (1.0, 2, 5, 10, 30, 60, 60, 60)
"""Seconds before each further try of what may pass; then it counts as failed."""
MOST_ATTEMPTS: Final = 8
"""How many workers may end without a word while they work on one document."""
_ADDED_AT_ONCE: Final = 32
_EMBEDDED_AT_ONCE: Final = 64
_DROPPED_AT_ONCE: Final = 500

_LASTING = (
    UnsupportedFileType,
    FileTooLarge,
    ProviderNotInitialized,
    ModelNotSupported,
    PromptTooLong,
    KnowledgeUnsearchable,
)
"""What is the same however often it is tried."""


class _Failed(Exception):
    """It cannot be done; the sentence says why."""


class Ingest:
    """Works on documents that were claimed."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        extractor: Extractor,
        embedder: OpenEmbedder,
        clock: Clock,
        new_id: NewId,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._extractor = extractor
        self._embedder = embedder
        self._clock = clock
        self._new_id = new_id
        self._pauses = pauses

    async def run(self, document: Document, owner: UUID) -> None:
        """Until it is found, or has failed with a sentence. Raises `DocumentLost`.

        What may pass is tried again, as often as there are pauses since the last progress.
        """
        try:
            if document.attempts > MOST_ATTEMPTS:
                raise _Failed(
                    f"The work on the document was broken off {MOST_ATTEMPTS} times in a row."
                )
            await self._try(document, owner)
        except _Failed as error:
            await self._fail(document, owner, str(error))
        except _LASTING as error:
            await self._fail(document, owner, error.message)
        except DocumentLost:
            raise
        except Exception:  # a job: the others go on
            logger.exception("the document %s cannot be indexed", document.id)
            await self._fail(document, owner, KaiwaError().message)

    async def _try(self, document: Document, owner: UUID) -> None:
        tries, done = 0, -1
        while True:
            try:
                now = await self._find(document)
                if now.segments_done > done:
                    tries, done = 0, now.segments_done
                return await self._advance(now, owner)
            except _LASTING:
                raise
            except KaiwaError as error:
                if tries == len(self._pauses):
                    raise _Failed(error.message) from error
                logger.warning("%s has to wait: %s", document.name, error.message)
            await anyio.sleep(self._pauses[tries])
            tries += 1

    async def _find(self, document: Document) -> Document:
        """As it stands now. Raises `DocumentLost`."""
        try:
            return await get_document(self._db, document.base_id, document.id)
        except NotFound as error:
            raise DocumentLost from error

    async def _fail(self, document: Document, owner: UUID, sentence: str) -> None:
        """When the database is away it is left as it is: somebody will find it, and try."""
        logger.warning("%s cannot be indexed: %s", document.name, sentence)
        try:
            await fail_document(self._db, document.id, owner, sentence, self._clock())
        except StoreUnavailable as error:
            raise DocumentLost from error

    async def _advance(self, document: Document, owner: UUID) -> None:
        try:
            base = await get_base(self._db, document.workspace_id, document.base_id)
        except NotFound as error:
            raise DocumentLost from error
        if document.status != "indexing":
            await self._split(document, owner)
        numbers = await self._embed(base, document, owner) if base.embeds else None
        try:
            fits = await finish_document(self._db, document, owner, self._clock(), numbers)
        except NotFound as error:
            raise DocumentLost from error
        if not fits:
            base = await get_base(self._db, document.workspace_id, document.base_id)
            raise _Failed(say_differ(base, numbers))

    async def _split(self, document: Document, owner: UUID) -> None:
        """Read it and keep its pieces; whatever was made of it before goes."""
        await note_document(self._db, document.id, owner, "parsing")
        while await drop_unfinished(self._db, document, owner, _DROPPED_AT_ONCE):
            pass
        pieces = await self._read(document)
        await note_document(self._db, document.id, owner, "splitting", parsed_at=self._clock())
        for at in range(0, len(pieces.lines), _ADDED_AT_ONCE):
            portion = pieces.lines[at : at + _ADDED_AT_ONCE]
            new = [self._segment(at + number, line) for number, line in enumerate(portion, 1)]
            await add_segments(self._db, document, owner, new, self._clock())
        await note_document(
            self._db,
            document.id,
            owner,
            "indexing",
            split_at=self._clock(),
            segment_count=len(pieces.lines),
            segments_done=0,
            tokens=pieces.tokens,
        )

    async def _read(self, document: Document) -> Pieces:
        try:
            data = await self._blobs.read(document.key)
        except NotFound as error:
            # Of a version that was replaced meanwhile they may be gone.
            if (await self._find(document)).key != document.key:
                raise DocumentLost from error
            raise _Failed("The document's file is no longer in the storage.") from error
        kind = Kind("document", document.extension, document.mime_type)
        return await self._extractor.cut(data, kind, document.rule)

    def _segment(self, position: int, line: bytes) -> NewSegment:
        try:
            piece = msgspec.json.decode(line, type=Piece)
        except msgspec.DecodeError as error:
            raise UnsupportedFileType("The document is broken.") from error
        return NewSegment(
            id=self._new_id(),
            position=position,
            content=piece.content,
            answer=piece.answer,
            terms=piece.terms,
            tokens=piece.tokens,
            words=len(piece.content) + len(piece.answer),
            digest=hashlib.sha256(piece.content.encode()).digest(),
        )

    async def _embed(self, base: KnowledgeBase, document: Document, owner: UUID) -> int:
        """Numbers of its vectors, which all are made when this returns."""
        while texts := await list_unembedded(self._db, document, _EMBEDDED_AT_ONCE):
            vectors = await embed(base, [text for _, text in texts], self._embedder)
            numbered = [
                (number, vector) for (number, _), vector in zip(texts, vectors, strict=True)
            ]
            await set_embeddings(self._db, document, owner, numbered)
        sizes = await list_vector_sizes(self._db, document)
        if len(sizes) != 1:
            raise _Failed(
                f"The embedding model {base.embedding_model} has changed while it was in use;"
                " index the document anew."
            )
        return sizes.pop() // NUMBER_SIZE
