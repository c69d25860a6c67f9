"""What the store lets be found, asked for as `knowledge` does it, without the ranking."""

from collections.abc import Sequence
from uuid import UUID

from kaiwa.domain.knowledge import Passage
from kaiwa.domain.terms import Term, query_terms
from kaiwa.store.db import Database
from kaiwa.store.search import Seen, list_having, list_seen, read_passages, read_vectors


async def find_passages(db: Database, base_id: UUID, question: str) -> list[Passage]:
    """All that have any word of the question, in the order of their numbers."""
    terms = query_terms(question)
    seen = (await _list_all(db, base_id)).numbers
    having = await _list_any(db, base_id, terms, mostly=False)
    found = sorted(having & set(seen))
    among_others = await _list_any(db, base_id, terms, mostly=True)
    assert sorted(among_others & set(seen)) == found
    passages = await read_passages(db, [(number, 1.0) for number in found])
    # What cannot be seen any more is left out there too, for it may have been seen before.
    assert await read_passages(db, [(number, 1.0) for number in sorted(having)]) == passages
    return passages


async def list_vectors(db: Database, base_id: UUID) -> list[tuple[int, bytes]]:
    """Numbers and vectors of all that can be found and has one."""
    seen = await _list_all(db, base_id)
    return sorted((await read_vectors(db, seen.numbers)).items())


async def _list_all(db: Database, base_id: UUID) -> Seen:
    seen = await list_seen(db, base_id, 0, 1000)
    assert len(seen.numbers) < 1000
    return seen


async def _list_any(
    db: Database, base_id: UUID, terms: Sequence[Term], *, mostly: bool
) -> set[int]:
    listed = await list_having(db, base_id, terms, mostly=mostly)
    assert len(listed) == len(terms)
    return {int(number) for numbers in listed for number in numbers.split(",") if number}
