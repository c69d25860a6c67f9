"""What a search asks of the database: which segments there are, their words, vectors and texts.

Only segments that are enabled, of the version that is found, in documents that are enabled and not
archived, are ever found.
"""

from array import array
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Connection,
    and_,
    bindparam,
    select,
    type_coerce,
    update,
)

from kaiwa.domain.knowledge import Passage
from kaiwa.store.columns import ID, Among, write_numbers
from kaiwa.store.db import Reads
from kaiwa.store.prepared import Prepared
from kaiwa.store.segments import COLUMNS, FOUND, to_segment
from kaiwa.store.tables import documents, knowledge_bases, segments

_SEEN = and_(
    FOUND,
    segments.c.enabled,
    documents.c.enabled,
    documents.c.archived.is_(False),
    documents.c.deleted_at.is_(None),
)

_AMONG = Among(segments.c.number, bindparam("numbers"))


class Seen(Struct, frozen=True):
    """The segments of a base that can be found, ordered by number."""

    numbers: "array[int]"
    changed: "array[int]"
    """When each was changed, in microseconds since 1970."""
    lengths: "array[int]"
    """In words."""


async def list_seen(db: Reads, base_id: UUID, after: int, portion: int) -> Seen:
    """Those behind the number `after`, so many at most."""
    query = (
        select(
            segments.c.number,
            type_coerce(segments.c.updated_at, BigInteger),
            segments.c.words,
        )
        .join(documents, documents.c.id == segments.c.document_id)
        .where(segments.c.base_id == base_id, segments.c.number > after, _SEEN)
        .order_by(segments.c.number)
        .limit(portion)
    )

    def unit(conn: Connection) -> Seen:
        seen = Seen(array("q"), array("q"), array("q"))
        for number, changed, length in conn.execute(query):
            seen.numbers.append(number)
            seen.changed.append(changed)
            seen.lengths.append(length)
        return seen

    return await db.read(unit)


class Candidate(Struct, frozen=True):
    """What tells how well a segment answers."""

    terms: str
    embedding: bytes | None


_CANDIDATES = Prepared(
    select(segments.c.number, segments.c.terms, segments.c.embedding).where(_AMONG)
)


async def read_candidates(db: Reads, numbers: Sequence[int]) -> dict[int, Candidate]:
    """By number; those that are gone are left out."""
    bound = {"numbers": write_numbers(numbers)}
    return await db.read(
        lambda conn: {
            number: Candidate(terms, embedding)
            for number, terms, embedding in _CANDIDATES.rows(conn, bound)
        }
    )


class Standing(Struct, frozen=True):
    """How a base stands."""

    version: int
    dimensions: int | None
    """Of its vectors; None as long as there are none."""


_STANDING = Prepared(
    select(knowledge_bases.c.version, knowledge_bases.c.dimensions).where(
        knowledge_bases.c.id == bindparam("this", type_=ID),
        knowledge_bases.c.deleted_at.is_(None),
    )
)


async def read_standings(db: Reads, base_ids: Sequence[UUID]) -> dict[UUID, Standing]:
    """Of those bases that there are."""

    def unit(conn: Connection) -> dict[UUID, Standing]:
        rows = {one: _STANDING.row(conn, {"this": one}) for one in base_ids}
        return {one: Standing(*row) for one, row in rows.items() if row}

    return await db.read(unit)


_PASSAGES = Prepared(
    select(
        segments.c.number,
        documents.c.name,
        documents.c.source,
        knowledge_bases.c.name,
        *COLUMNS,
    )
    .join(documents, documents.c.id == segments.c.document_id)
    .join(knowledge_bases, knowledge_bases.c.id == segments.c.base_id)
    .where(_AMONG, _SEEN, knowledge_bases.c.deleted_at.is_(None))
)


async def read_passages(db: Reads, scored: Sequence[tuple[int, float]]) -> list[Passage]:
    """What these numbers are, in this order; those that cannot be seen any more are left out."""
    if not scored:
        return []
    bound = {"numbers": write_numbers([number for number, _ in scored])}

    def unit(conn: Connection) -> list[Passage]:
        rows = {row[0]: row[1:] for row in _PASSAGES.rows(conn, bound)}
        return [
            Passage(to_segment(values), document_name, source, base_name, score)
            for number, score in scored
            if number in rows
            for document_name, source, base_name, *values in [rows[number]]
        ]

    return await db.read(unit)


_HIT_SEGMENTS = update(segments).values(hit_count=segments.c.hit_count + 1)


def count_hits(conn: Connection, segment_ids: Sequence[UUID]) -> None:
    """Inside a unit: these were told to a model."""
    if segment_ids:
        conn.execute(_HIT_SEGMENTS.where(segments.c.id.in_(segment_ids)))
