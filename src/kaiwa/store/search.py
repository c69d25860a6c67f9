"""What is found in knowledge bases: by words in the database, by vectors in memory.

Only segments that are enabled, of the version that is found, in documents that are enabled and not
archived, are ever found.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, select, text, update

from kaiwa.domain.knowledge import Passage
from kaiwa.domain.terms import Term
from kaiwa.store.db import Reads
from kaiwa.store.segments import COLUMNS, FOUND, to_segment
from kaiwa.store.tables import documents, knowledge_bases, segments

_SEEN = and_(
    FOUND,
    segments.c.enabled,
    documents.c.enabled,
    documents.c.archived.is_(False),
    documents.c.deleted_at.is_(None),
)

# The documents' join comes after the ranking alone has chosen: what cannot be seen is rare.
_SQLITE = text(
    "SELECT found.rowid AS number, -bm25(segment_search, 0.0, 1.0) AS score"
    " FROM segment_search AS found"
    " JOIN segments ON segments.number = found.rowid"
    " JOIN documents ON documents.id = segments.document_id"
    " WHERE segment_search MATCH :query"
    " AND segments.generation = documents.generation AND segments.enabled"
    " AND documents.enabled AND NOT documents.archived AND documents.deleted_at IS NULL"
    " ORDER BY score DESC, number LIMIT :most"
)
_POSTGRES = text(
    "SELECT segments.number, ts_rank_cd(segments.search, asked, 1) AS score"
    " FROM segments JOIN documents ON documents.id = segments.document_id,"
    " to_tsquery('simple', :query) AS asked"
    " WHERE segments.base_id = :base AND segments.search @@ asked"
    " AND segments.generation = documents.generation AND segments.enabled"
    " AND documents.enabled AND NOT documents.archived AND documents.deleted_at IS NULL"
    " ORDER BY score DESC, number LIMIT :most"
)


async def search_words(
    db: Reads, base_id: UUID, terms: Sequence[Term], most: int
) -> list[tuple[int, float]]:
    """Numbers and scores of the segments that have any of the terms, the best first."""
    if not terms:
        return []

    def unit(conn: Connection) -> list[tuple[int, float]]:
        if conn.dialect.name == "postgresql":
            query = " | ".join([f"'{term.text}'{':*' if term.prefix else ''}" for term in terms])
            bound: dict[str, Any] = {"query": query, "base": base_id, "most": most}
            rows = conn.execute(_POSTGRES, bound)
        else:
            words = " OR ".join([f'"{term.text}"{"*" if term.prefix else ""}' for term in terms])
            query = f"(scope : {base_id.hex}) AND (terms : ({words}))"
            rows = conn.execute(_SQLITE, {"query": query, "most": most})
        return [(number, score) for number, score in rows]

    return await db.read(unit)


async def read_version(db: Reads, base_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The versions of those bases that there are."""
    query = select(knowledge_bases.c.id, knowledge_bases.c.version).where(
        knowledge_bases.c.id.in_(base_ids), knowledge_bases.c.deleted_at.is_(None)
    )
    return await db.read(lambda conn: {row.id: row.version for row in conn.execute(query)})


def _vectors(base_id: UUID, after: int, portion: int) -> Any:
    return (
        select(segments.c.number, segments.c.embedding)
        .join(documents, documents.c.id == segments.c.document_id)
        .where(
            segments.c.base_id == base_id,
            segments.c.number > after,
            segments.c.embedding.is_not(None),
            _SEEN,
        )
        .order_by(segments.c.number)
        .limit(portion)
    )


async def read_vectors(
    db: Reads, base_id: UUID, after: int, portion: int
) -> list[tuple[int, bytes]]:
    """Numbers and vectors of what can be found, those behind `after`, so many at most."""
    query = _vectors(base_id, after, portion)
    return await db.read(lambda conn: [(row.number, row.embedding) for row in conn.execute(query)])


async def read_passages(db: Reads, scored: Sequence[tuple[int, float]]) -> list[Passage]:
    """What these numbers are, in this order; those that cannot be seen any more are left out."""
    if not scored:
        return []
    numbers = [number for number, _ in scored]
    query = (
        select(
            segments.c.number,
            *COLUMNS,
            documents.c.name.label("document_name"),
            documents.c.source,
            knowledge_bases.c.name.label("base_name"),
        )
        .join(documents, documents.c.id == segments.c.document_id)
        .join(knowledge_bases, knowledge_bases.c.id == segments.c.base_id)
        .where(segments.c.number.in_(numbers), _SEEN, knowledge_bases.c.deleted_at.is_(None))
    )

    def unit(conn: Connection) -> Iterator[Passage]:
        rows = {row["number"]: row for row in conn.execute(query).mappings()}
        for number, score in scored:
            if row := rows.get(number):
                yield Passage(
                    to_segment(row), row["document_name"], row["source"], row["base_name"], score
                )

    return await db.read(lambda conn: list(unit(conn)))


_HIT_SEGMENTS = update(segments).values(hit_count=segments.c.hit_count + 1)


def count_hits(conn: Connection, segment_ids: Sequence[UUID]) -> None:
    """Inside a unit: these were told to a model."""
    if segment_ids:
        conn.execute(_HIT_SEGMENTS.where(segments.c.id.in_(segment_ids)))
