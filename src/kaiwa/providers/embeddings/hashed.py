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

DIMENSIONS: Final = 256
_LENGTHS: Final = (3, 4)
"""Of the pieces of a word."""
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
        pieces = _pieces(word)
        worth = (1 + log(count)) / sqrt(len(pieces))
        for bucket, sign in pieces:
            vector[bucket] += sign * worth
    length = sqrt(sum(value * value for value in vector))
    if not length:  # no words: some vector, for it has to have one
        return [1.0] + [0.0] * (DIMENSIONS - 1)
    return [value / length for value in vector]


@lru_cache(10_000)
def _pieces(word: str) -> tuple[tuple[int, int], ...]:
    """Buckets and signs."""
    hashes = [crc32(piece.encode()) for piece in _cut(word)]
    return tuple((one % DIMENSIONS, 1 if one & 0x10000 else -1) for one in hashes)


def _cut(word: str) -> Iterator[str]:
    if not word.isascii():
        yield word
        yield from word
        return
    marked = f"<{word}>"
    yield marked
    for length in _LENGTHS:
        yield from (marked[at : at + length] for at in range(len(marked) - length + 1))
