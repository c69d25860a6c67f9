"""Vectors from spellings alone: built in, without a network or a model, always the same.

It knows how words look, not what they mean: it finds other forms and misspellings of a word, and
nothing that is said in other words. For tests, the demo and work without a network.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import log, sqrt
from typing import Final
from zlib import crc32

import anyio.to_thread

from kaiwa.domain.terms import index_terms
from kaiwa.errors import OperatorError
from kaiwa.ports import Embedder

DIMENSIONS: Final = 512
_PIECE: Final = 3
"""Letters of a piece of a word."""
_SMALL: Final = 3
"""Letters of words that mostly hold others together, and count little."""
_ON_THE_LOOP: Final = 2000
"""Characters that need no thread."""


class HashedEmbedder:
    """Pieces of words, each in one of a few buckets, for or against it."""

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        if sum(map(len, texts)) <= _ON_THE_LOOP:
            return [_embed(text) for text in texts]
        return await anyio.to_thread.run_sync(lambda: [_embed(text) for text in texts])


def create(model: str) -> Embedder:
    """Raises `OperatorError` for another model than the one there is."""
    if model != "hashed":
        raise OperatorError(f"There is no embedding model hashed/{model}; it is just hashed.")
    return HashedEmbedder()


def _embed(text: str) -> list[float]:
    vector = [0.0] * DIMENSIONS
    for word, count in Counter(index_terms(text)).items():
        worth = 1 + log(count)
        for bucket, share in _pieces(word):
            vector[bucket] += worth * share
    length = sqrt(sum(value * value for value in vector))
    if not length:  # no words: some vector, for it has to have one
        return [1.0] + [0.0] * (DIMENSIONS - 1)
    return [value / length for value in vector]


@lru_cache(10_000)
def _pieces(word: str) -> tuple[tuple[int, float], ...]:
    """Buckets, and what is added to each."""
    return tuple(_place(piece, worth) for piece, worth in _cut(word))


def _place(piece: str, worth: float) -> tuple[int, float]:
    hashed = crc32(piece.encode())
    return hashed % DIMENSIONS, worth if hashed >> 20 & 1 else -worth


def _cut(word: str) -> Iterator[tuple[str, float]]:
    """The word and its pieces, with what each is worth."""
    if not word.isascii():
        yield word, 1.0
        yield from ((character, 0.5) for character in word)
        return
    worth = 0.15 if len(word) <= _SMALL else min(len(word), 8) / 5
    marked = f"<{word}>"
    count = len(marked) - _PIECE + 1
    yield f"={word}", worth
    for at in range(count):
        yield marked[at : at + _PIECE], 0.8 * worth / sqrt(count)
