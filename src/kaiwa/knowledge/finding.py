"""One base searched: candidates from what is in memory, then compared by what is stored."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

import anyio
import anyio.to_thread

from kaiwa.domain.bm25 import count_terms, share_words
from kaiwa.domain.fusion import rank, reciprocal, stretch, weighted
from kaiwa.domain.knowledge import KnowledgeBase, RetrievalSettings, SearchMethod
from kaiwa.domain.terms import Term, query_terms
from kaiwa.store.db import Reads
from kaiwa.store.search import Candidate, list_having, read_candidates

if TYPE_CHECKING:
    from kaiwa.knowledge.block import Block, Places

_BY_WORDS: Final = 64
_BY_VECTOR: Final = 32
"""Candidates of each kind, at least."""
_AT_ONCE: Final = 20_000
"""Segments compared, or characters read, without a thread: in less than a millisecond."""

Half = Literal["words", "vector"]


class Question:
    """What is asked, in all the forms that bases are asked in."""

    def __init__(self, text: str) -> None:
        self.terms = query_terms(text)
        self.vectors: dict[tuple[str, str], list[float] | None] = {}
        """By provider and model; None when it cannot be had."""

    def needs_vector(self, base: KnowledgeBase, settings: RetrievalSettings) -> bool:
        """Whether a search of the base compares vectors."""
        return base.embeds and settings.method in ("semantic_search", "hybrid_search")

    def vector_for(self, base: KnowledgeBase) -> list[float] | None:
        return self.vectors.get((base.embedding_provider, base.embedding_model))


class Finding:
    """One search of one base."""

    def __init__(
        self,
        db: Reads,
        base: KnowledgeBase,
        block: "Block",
        asked: Question,
        threads: anyio.CapacityLimiter,
    ) -> None:
        self._db = db
        self._threads = threads
        self._base = base
        self._block = block
        self._terms: Sequence[Term] = asked.terms
        self._vector = asked.vector_for(base) if block.dimensions else None

    async def find(self, settings: RetrievalSettings, most: int) -> list[tuple[int, float]]:
        """Numbers and scores, the best first. A base without vectors is searched by its words."""
        block, vector = self._block, self._vector
        if not len(block):
            return []
        if settings.method in ("full_text_search", "keyword_search"):
            vector = None
        wordy = vector is None or settings.method == "hybrid_search"
        places = await self._find_places() if wordy else []
        weights = block.weigh(places)
        chosen = block.choose_by_words(places, weights, max(2 * most, _BY_WORDS)) if wordy else []
        if vector is not None:
            chosen += await self._choose_by_vector(vector, max(2 * most, _BY_VECTOR))
        stored = await self._read(chosen)
        halves: dict[Half, dict[int, float]] = {}
        if wordy:
            halves["words"] = self._score_words(stored, weights, settings.method)
        if vector is not None:
            embeddings = [one.embedding for one in stored.values()]
            compared = block.compare(vector, embeddings)
            halves["vector"] = dict(zip(stored, compared, strict=True))
        ranked = rank(_join(halves, settings))[:most]
        return [(block.number(place), score) for place, score in ranked if score > 0]

    async def _read(self, places: Sequence[int]) -> dict[int, Candidate]:
        """In the order of the base, so that equals are always ordered alike."""
        numbers = {self._block.number(place): place for place in sorted(set(places))}
        found = await read_candidates(self._db, list(numbers))
        return {place: found[number] for number, place in numbers.items() if number in found}

    async def _find_places(self) -> list["Places"]:
        """Of each asked word, read once while the base stays as it is."""
        block = self._block
        found = {term: block.find_places(term) for term in self._terms}
        missing = [term for term, places in found.items() if places is None]
        if missing:
            lists = await list_having(self._db, self._base.id, missing, mostly=block.holds_most)
            if sum(map(len, lists)) < _AT_ONCE:
                read = block.read_places(lists)
            else:
                read = await anyio.to_thread.run_sync(
                    block.read_places, lists, limiter=self._threads
                )
            found |= dict(zip(missing, read, strict=True))
            block.remember(missing, read)
        return [places for places in found.values() if places is not None]

    async def _choose_by_vector(self, vector: Sequence[float], most: int) -> list[int]:
        if len(self._block) <= _AT_ONCE:
            return self._block.choose_by_vector(vector, most)
        choose = self._block.choose_by_vector
        return await anyio.to_thread.run_sync(choose, vector, most, limiter=self._threads)

    def _score_words(
        self, stored: Mapping[int, Candidate], weights: Sequence[float], method: SearchMethod
    ) -> dict[int, float]:
        """By keywords alone it does not matter how often a word comes, nor how long a text is."""
        scores: dict[int, float] = {}
        for place, candidate in stored.items():
            counts = count_terms(candidate.terms, self._terms)
            if method == "keyword_search":
                scores[place] = share_words(counts, weights)
            else:
                scores[place] = self._block.score_words(place, counts, weights)
        return scores


def _join(
    halves: Mapping[Half, Mapping[int, float]], settings: RetrievalSettings
) -> dict[int, float]:
    if len(halves) == 1:
        return dict(next(iter(halves.values())))
    words, vector = halves["words"], halves["vector"]
    if settings.fusion == "rrf":
        lists = [[place for place, score in rank(half) if score > 0] for half in (words, vector)]
        return reciprocal(lists)
    # Each from 0 to 1 by its best: the scores of models and of words lie at different heights.
    return weighted(
        [
            (stretch(vector), settings.vector_weight),
            (stretch(words), settings.keyword_weight),
        ]
    )
