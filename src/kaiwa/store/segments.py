"""Segments of documents: made in portions beside those that are found, and put in their place in
one step."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from kaiwa.domain.knowledge import Document, Segment
from kaiwa.errors import NotFound
from kaiwa.store.db import Database, Reads
from kaiwa.store.documents import LIVE, hold, touch_base
from kaiwa.store.rows import columns_of
from kaiwa.store.tables import documents, knowledge_bases, segments

COLUMNS = columns_of(Segment, segments)
FOUND = segments.c.generation == documents.c.generation
"""Beside a join with its document: it is one of those that are found."""
_KEYWORDS = msgspec.json.Decoder(tuple[str, ...])
_KEYWORDS_AT = Segment.__struct_fields__.index("keywords")


class NewSegment(Struct, frozen=True):
    """A piece of a document before it is kept."""

    id: UUID
    position: int
    content: str
    terms: str
    """As `domain/terms.py` makes them, apart by spaces."""
    tokens: int
    words: int
    digest: bytes
    answer: str = ""
    keywords: tuple[str, ...] = ()
    embedding: bytes | None = None


def to_segment(row: Sequence[Any]) -> Segment:
    """From the values of `COLUMNS`."""
    values = list(row)
    values[_KEYWORDS_AT] = _KEYWORDS.decode(values[_KEYWORDS_AT])
    return Segment(*values)


def write_keywords(keywords: Sequence[str]) -> str:
    """As a segment's row holds them."""
    return msgspec.json.encode(keywords).decode()


def _row(document: Document, generation: int, new: NewSegment, now: datetime) -> dict[str, Any]:
    return msgspec.structs.asdict(new) | {
        "workspace_id": document.workspace_id,
        "base_id": document.base_id,
        "document_id": document.id,
        "generation": generation,
        "keywords": write_keywords(new.keywords),
        "enabled": True,
        "created_at": now,
        "updated_at": now,
    }


_BUILDING = segments.c.generation > bindparam("seen")
_DROP = delete(segments).where(
    segments.c.number.in_(
        select(segments.c.number)
        .where(segments.c.document_id == bindparam("this"), _BUILDING)
        .limit(bindparam("most"))
    )
)


async def drop_unfinished(db: Database, document: Document, owner: UUID, portion: int) -> int:
    """Of what an earlier attempt has made, so many at most; how many. Raises `DocumentLost`."""

    def unit(conn: Connection) -> int:
        hold(conn, document.id, owner)
        bound = {"this": document.id, "seen": document.generation, "most": portion}
        return conn.execute(_DROP, bound).rowcount

    return await db.write(unit)


async def add_segments(
    db: Database, document: Document, owner: UUID, new: Sequence[NewSegment], now: datetime
) -> None:
    """A portion of the next version. Raises `DocumentLost`."""
    rows = [_row(document, document.generation + 1, one, now) for one in new]

    def unit(conn: Connection) -> None:
        hold(conn, document.id, owner)
        if rows:
            conn.execute(insert(segments), rows)

    await db.write(unit)


async def list_unembedded(db: Reads, document: Document, limit: int) -> list[tuple[int, str]]:
    """Number and content of the next that have no vector yet."""
    query = (
        select(segments.c.number, segments.c.content)
        .where(
            segments.c.document_id == document.id,
            segments.c.generation == document.generation + 1,
            segments.c.embedding.is_(None),
        )
        .order_by(segments.c.position)
        .limit(limit)
    )
    return await db.read(lambda conn: [(row[0], row[1]) for row in conn.execute(query)])


_EMBED = (
    update(segments)
    .where(segments.c.number == bindparam("this"))
    .values(embedding=bindparam("vector"))
)


async def set_embeddings(
    db: Database, document: Document, owner: UUID, vectors: Sequence[tuple[int, bytes]]
) -> None:
    """By number. Raises `DocumentLost`."""

    def unit(conn: Connection) -> None:
        done = documents.c.segments_done + len(vectors)
        hold(conn, document.id, owner, segments_done=done)
        if vectors:
            conn.execute(_EMBED, [{"this": number, "vector": vector} for number, vector in vectors])

    await db.write(unit)


async def finish_document(
    db: Database, document: Document, owner: UUID, now: datetime, dimensions: int | None
) -> bool:
    """Find its new version from now on, and no more the one before.

    `dimensions` are those of its vectors; False, with nothing changed, when the base's are others.
    Raises `DocumentLost`, and `NotFound` when the base is gone.
    """

    def unit(conn: Connection) -> bool:
        base = knowledge_bases.c.id == document.base_id
        known = conn.scalar(select(knowledge_bases.c.dimensions).where(base))
        if dimensions and known not in (None, dimensions):
            return False
        touch_base(conn, document.workspace_id, document.base_id, now, found=True)
        if dimensions and known is None:
            conn.execute(update(knowledge_bases).where(base).values(dimensions=dimensions))
        count, tokens, words = _total(conn, document, document.generation + 1)
        hold(
            conn,
            document.id,
            owner,
            generation=document.generation + 1,
            status="completed",
            error=None,
            owner=None,
            segment_count=count,
            segments_done=count,
            tokens=tokens,
            words=words,
            updated_at=now,
            completed_at=now,
        )
        return True

    return await db.write(unit)


async def list_vector_sizes(db: Reads, document: Document) -> set[int]:
    """Bytes of the vectors of the version that is being made; of one model all are the same."""
    query = (
        select(func.length(segments.c.embedding))
        .where(
            segments.c.document_id == document.id,
            segments.c.generation == document.generation + 1,
            segments.c.embedding.is_not(None),
        )
        .distinct()
    )
    return await db.read(lambda conn: set(conn.scalars(query)))


_GONE = documents.c.deleted_at.is_not(None)
_REPLACED = exists().where(
    segments.c.document_id == documents.c.id, segments.c.generation < documents.c.generation
)
# From the documents to their segments, never through all segments: an index answers for each.
_WITH_OLD = select(documents.c.id, documents.c.generation, _GONE.label("gone")).where(
    or_(
        _GONE & exists().where(segments.c.document_id == documents.c.id),
        _REPLACED,
    )
)


async def remove_old_segments(db: Database, portion: int) -> int:
    """Of those that nothing finds any more, so many at most, of one document; how many."""
    found = await db.read(lambda conn: conn.execute(_WITH_OLD.limit(1)).one_or_none())
    if found is None:
        return 0
    document_id, generation, gone = found
    old = select(segments.c.number).where(segments.c.document_id == document_id)
    if not gone:
        old = old.where(segments.c.generation < generation)
    query = delete(segments).where(segments.c.number.in_(old.limit(portion)))
    return await db.write(lambda conn: conn.execute(query).rowcount)


def _total(conn: Connection, document: Document, generation: int) -> tuple[int, int, int]:
    """How many segments, tokens and words."""
    totals = select(func.count(), func.sum(segments.c.tokens), func.sum(segments.c.words)).where(
        segments.c.document_id == document.id, segments.c.generation == generation
    )
    count, tokens, words = conn.execute(totals).one()
    return count, tokens or 0, words or 0


async def list_segments(
    db: Database,
    document: Document,
    *,
    keyword: str = "",
    offset: int = 0,
    limit: int | None = None,
) -> tuple[list[Segment], int]:
    """A page of those that are found, in their order, and how many there are in all."""
    wanted = [
        segments.c.document_id == document.id,
        segments.c.generation == document.generation,
    ]
    if keyword:
        wanted.append(segments.c.content.icontains(keyword, autoescape=True))
    query = select(*COLUMNS).where(*wanted).order_by(segments.c.position)
    page = query.offset(offset).limit(limit)
    count = select(func.count()).select_from(segments).where(*wanted)

    def unit(conn: Connection) -> tuple[list[Segment], int]:
        found = [to_segment(row) for row in conn.execute(page)]
        return found, conn.scalar(count) or 0

    return await db.snapshot(unit)


async def get_segment(db: Reads, document: Document, segment_id: UUID) -> Segment:
    """Raises `NotFound`."""
    query = select(*COLUMNS).where(
        segments.c.id == segment_id,
        segments.c.document_id == document.id,
        segments.c.generation == document.generation,
    )
    row = await db.read(lambda conn: conn.execute(query).one_or_none())
    if row is None:
        raise NotFound("Segment not found.")
    return to_segment(row)


async def insert_segments(
    db: Database, document: Document, new: Sequence[NewSegment], now: datetime
) -> None:
    """Into the version that is found, at once, as somebody has written them; a few.

    Their positions are numbers behind the last one, from 1. Raises `NotFound`.
    """

    def unit(conn: Connection) -> None:
        touch_base(conn, document.workspace_id, document.base_id, now, found=True)
        # Asked here: a new version may have come since the document was read.
        now_found = select(documents.c.generation).where(documents.c.id == document.id, LIVE)
        generation = conn.scalar(now_found)
        if generation is None:
            raise NotFound("Document not found.")
        last = select(func.max(segments.c.position)).where(
            segments.c.document_id == document.id, segments.c.generation == generation
        )
        before = conn.scalar(last) or 0
        rows = [_row(document, generation, one, now) for one in new]
        conn.execute(
            insert(segments), [row | {"position": before + row["position"]} for row in rows]
        )
        _count_again(conn, document, generation, now)

    await db.write(unit)


async def change_segment(
    db: Database, document: Document, segment_id: UUID, values: dict[str, Any], now: datetime
) -> None:
    """Columns by name. Raises `NotFound`."""

    def unit(conn: Connection) -> None:
        touch_base(conn, document.workspace_id, document.base_id, now, found=True)
        change = update(segments).where(
            segments.c.id == segment_id,
            segments.c.document_id == document.id,
            segments.c.generation == document.generation,
        )
        if not conn.execute(change.values(values | {"updated_at": now})).rowcount:
            raise NotFound("Segment not found.")
        _count_again(conn, document, document.generation, now)

    await db.write(unit)


async def delete_segment(db: Database, document: Document, segment_id: UUID, now: datetime) -> None:
    """Raises `NotFound`."""

    def unit(conn: Connection) -> None:
        touch_base(conn, document.workspace_id, document.base_id, now, found=True)
        gone = delete(segments).where(
            segments.c.id == segment_id,
            segments.c.document_id == document.id,
            segments.c.generation == document.generation,
        )
        if not conn.execute(gone).rowcount:
            raise NotFound("Segment not found.")
        _count_again(conn, document, document.generation, now)

    await db.write(unit)


def _count_again(conn: Connection, document: Document, generation: int, now: datetime) -> None:
    count, tokens, words = _total(conn, document, generation)
    change = update(documents).where(documents.c.id == document.id, LIVE)
    conn.execute(
        change.values(
            segment_count=count,
            segments_done=count,
            tokens=tokens,
            words=words,
            updated_at=now,
        )
    )
