"""What the store lets be found, asked for as `knowledge` does it, without the ranking."""

from uuid import UUID

from kaiwa.domain.bm25 import count_terms
from kaiwa.domain.knowledge import Passage
from kaiwa.domain.terms import query_terms
from kaiwa.store.db import Database
from kaiwa.store.search import Candidate, Seen, list_seen, read_candidates, read_passages


async def find_passages(db: Database, base_id: UUID, question: str) -> list[Passage]:
    """All that have any word of the question, in the order of their numbers."""
    terms = query_terms(question)
    read = await _read_all(db, base_id)
    # What cannot be seen any more is left out there too, for it may have been seen before.
    others = [(number, 1.0) for number in range(1, 1000) if number not in read]
    assert all(one.segment.base_id != base_id for one in await read_passages(db, others))
    found = sorted(number for number, one in read.items() if any(count_terms(one.terms, terms)))
    return await read_passages(db, [(number, 1.0) for number in found])


async def list_vectors(db: Database, base_id: UUID) -> list[tuple[int, bytes]]:
    """Numbers and vectors of all that can be found and has one."""
    read = await _read_all(db, base_id)
    return sorted((number, one.embedding) for number, one in read.items() if one.embedding)


async def _read_all(db: Database, base_id: UUID) -> dict[int, Candidate]:
    seen = await _list_all(db, base_id)
    return await read_candidates(db, seen.numbers)


async def _list_all(db: Database, base_id: UUID) -> Seen:
    seen = await list_seen(db, base_id, 0, 1000)
    assert len(seen.numbers) < 1000
    return seen
