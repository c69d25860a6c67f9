"""What a search asks of the database: which segments have a word, and what the found ones are.

Only segments that are enabled, of the version that is found, in documents that are enabled and not
archived, are ever found.
"""

from array import array
from collections.abc import Iterator, Sequence
from uuid import UUID

from msgspec import Struct
from sqlalchemy import BigInteger, Connection, and_, select, text, type_coerce, update

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

_NUMBERS = {
    "sqlite": text(
        "SELECT group_concat(rowid) FROM segment_search WHERE segment_search MATCH :query"
    ),
    "postgresql": text(
        "SELECT string_agg(number::text, ',') FROM segments"
        " WHERE base_id = :base AND search @@ to_tsquery('simple', :query)"
    ),
}


async def list_having(
    db: Reads, base_id: UUID, terms: Sequence[Term], *, mostly: bool
) -> list[str]:
    """For each term the numbers of all segments of the base that have it, apart by commas.

    They are in no order, and some cannot be seen. `mostly`: most of all segments are of this base,
    and it is quicker to have those of others among them.
    """

    def unit(conn: Connection) -> list[str]:
        engine = conn.dialect.name
        ask = _NUMBERS[engine]
        if engine == "postgresql":
            bound = [{"base": base_id, "query": _to_lexeme(term)} for term in terms]
        else:
            scope = "" if mostly else f"(scope : {base_id.hex}) AND "
            bound = [{"query": f"{scope}(terms : {_to_phrase(term)})"} for term in terms]
        return [conn.scalar(ask, one) or "" for one in bound]

    return await db.read(unit)


def _to_lexeme(term: Term) -> str:
    return f"'{term.text}'{':*' if term.prefix else ''}"


def _to_phrase(term: Term) -> str:
    return f'"{term.text}"{"*" if term.prefix else ""}'


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


async def read_vectors(db: Reads, numbers: Sequence[int]) -> dict[int, bytes]:
    """The vectors of those that have one, by number."""
    query = select(segments.c.number, segments.c.embedding).where(
        segments.c.number.in_(numbers), segments.c.embedding.is_not(None)
    )
    return await db.read(lambda conn: {row.number: row.embedding for row in conn.execute(query)})


class Candidate(Struct, frozen=True):
    """What tells how well a segment answers."""

    terms: str
    embedding: bytes | None


async def read_candidates(db: Reads, numbers: Sequence[int]) -> dict[int, Candidate]:
    """By number; those that are gone are left out."""
    query = select(segments.c.number, segments.c.terms, segments.c.embedding).where(
        segments.c.number.in_(numbers)
    )
    return await db.read(
        lambda conn: {number: Candidate(*found) for number, *found in conn.execute(query)}
    )


class Standing(Struct, frozen=True):
    """How a base stands."""

    version: int
    dimensions: int | None
    """Of its vectors; None as long as there are none."""


async def read_standings(db: Reads, base_ids: Sequence[UUID]) -> dict[UUID, Standing]:
    """Of those bases that there are."""
    query = select(
        knowledge_bases.c.id, knowledge_bases.c.version, knowledge_bases.c.dimensions
    ).where(knowledge_bases.c.id.in_(base_ids), knowledge_bases.c.deleted_at.is_(None))
    return await db.read(
        lambda conn: {one: Standing(*found) for one, *found in conn.execute(query)}
    )


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
