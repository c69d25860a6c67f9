"""One base searched: candidates from what is in memory, then compared by what is stored."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

import anyio
import anyio.to_thread

from kaiwa.domain.bm25 import count_terms, share_words
from kaiwa.domain.fusion import rank, reciprocal, stretch, weighted
from kaiwa.domain.knowledge import KnowledgeBase, RetrievalSettings, SearchMethod
from kaiwa.domain.terms import Term, query_terms
from kaiwa.store.db import Reads
from kaiwa.store.search import Candidate, read_candidates

if TYPE_CHECKING:
    from kaiwa.knowledge.block import Block

_BY_WORDS: Final = 32
_BY_VECTOR: Final = 32
"""Candidates of each kind, at least."""
_AT_ONCE: Final = 20_000
"""Segments compared without a thread: in less than a millisecond."""

Half = Literal["words", "vector"]


class Question:
    """What is asked, in all the forms that bases are asked in."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.vectors: dict[tuple[str, str], list[float] | None] = {}
        """By provider and model; None when it cannot be had."""

    @cached_property
    def terms(self) -> list[Term]:
        return query_terms(self._text)

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
        block: "Block",
        asked: Question,
        vector: Sequence[float] | None,
        threads: anyio.CapacityLimiter,
    ) -> None:
        self._db = db
        self._threads = threads
        self._block = block
        self._asked = asked
        self._vector = vector if block.dimensions else None

    async def find(self, settings: RetrievalSettings, most: int) -> list[tuple[int, float]]:
        """Numbers and scores, the best first. A base without vectors is searched by its words."""
        block, vector = self._block, self._vector
        if not len(block):
            return []
        if settings.method in ("full_text_search", "keyword_search"):
            vector = None
        terms = self._asked.terms
        if vector is not None and settings.method != "hybrid_search":
            terms = []
        weights, chosen = await self._choose(terms, vector, most)
        stored = await self._read(chosen)
        halves: dict[Half, dict[int, float]] = {}
        if vector is None or terms:
            halves["words"] = self._score_words(stored, weights, settings.method)
        if vector is not None:
            embeddings = [one.embedding for one in stored.values()]
            compared = block.compare(vector, embeddings)
            halves["vector"] = dict(zip(stored, compared, strict=True))
        ranked = rank(_join(halves, settings))[:most]
        numbers = block.find_numbers([place for place, _ in ranked])
        found = zip(numbers, [score for _, score in ranked], strict=True)
        return [(number, score) for number, score in found if score > 0]

    async def _read(self, places: Sequence[int]) -> dict[int, Candidate]:
        """In the order of the base, so that equals are always ordered alike."""
        places = sorted(set(places))
        numbers = self._block.find_numbers(places)
        found = await read_candidates(self._db, numbers)
        pairs = zip(places, numbers, strict=True)
        return {place: found[number] for place, number in pairs if number in found}

    async def _choose(
        self, terms: Sequence[Term], vector: Sequence[float] | None, most: int
    ) -> tuple[list[float], list[int]]:
        """What each term tells, and the places of the candidates."""

        def choose() -> tuple[list[float], list[int]]:
            chosen, weights = list[int](), list[float]()
            if terms:
                chosen, weights = self._block.choose_by_words(terms, max(2 * most, _BY_WORDS))
            if vector is not None:
                chosen += self._block.choose_by_vector(vector, max(2 * most, _BY_VECTOR))
            return weights, chosen

        if len(self._block) <= _AT_ONCE:
            return choose()
        return await anyio.to_thread.run_sync(choose, limiter=self._threads)

    def _score_words(
        self, stored: Mapping[int, Candidate], weights: Sequence[float], method: SearchMethod
    ) -> dict[int, float]:
        """By keywords alone it does not matter how often a word comes, nor how long a text is."""
        scores: dict[int, float] = {}
        for place, candidate in stored.items():
            counts = count_terms(candidate.terms, self._asked.terms)
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
