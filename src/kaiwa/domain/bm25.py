"""How well the words of a text answer a question: BM25, the same numbers on every database."""

from collections.abc import Sequence
from math import log
from typing import Final

from kaiwa.domain.terms import Term

_K1: Final = 1.2
"""How soon a word that comes again counts no more."""
_B: Final = 0.75
"""How much a long text has to have more of them, from 0 to 1."""


def weigh(total: int, having: int) -> float:
    """How much a term tells that `having` of `total` texts have; never below 0."""
    return log(1 + (total - having + 0.5) / (having + 0.5))


def dampen(length: float, average: float) -> float:
    """What a text's length takes from each of its words; lengths in any unit."""
    return _K1 * (1 - _B + _B * (length / average if average else 1))


def count_terms(text: str, asked: Sequence[Term]) -> list[int]:
    """How often each asked term is among these terms, which stand apart by spaces."""
    spread = f" {text.replace(' ', '  ')} "
    return [spread.count(f" {one.text}" if one.prefix else f" {one.text} ") for one in asked]


def score_words(counts: Sequence[int], weights: Sequence[float], damping: float) -> float:
    """BM25, as a share of what the best text there could be would have: from 0 to below 1."""
    best = sum(weights)
    if not best:
        return 0.0
    found = zip(counts, weights, strict=True)
    return sum(weight * count / (count + damping) for count, weight in found if count) / best


def share_words(counts: Sequence[int], weights: Sequence[float]) -> float:
    """How much of what was asked for a text has at all: from 0 to 1."""
    best = sum(weights)
    found = zip(counts, weights, strict=True)
    return sum(weight for count, weight in found if count) / best if best else 0.0
