"""How lists of what was found become one: weighted scores, or reciprocal ranks."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Final, TypeVar

K = TypeVar("K", bound=Hashable)

_RANK: Final = 60
"""How little the first places stand out; the usual number."""


def rank(scores: Mapping[K, float]) -> list[tuple[K, float]]:
    """The best first; of equals the one that came first in `scores`."""
    return sorted(scores.items(), key=lambda item: -item[1])


def stretch(scores: Mapping[K, float]) -> dict[K, float]:
    """From 0 for none to 1 for the best; what is below 0 counts as 0."""
    best = max(scores.values(), default=0.0)
    if best <= 0:
        return dict.fromkeys(scores, 0.0)
    return {key: max(0.0, score) / best for key, score in scores.items()}


def weighted(halves: Sequence[tuple[Mapping[K, float], float]]) -> dict[K, float]:
    """The mean of each one's scores by the halves' weights; what a half does not have is 0 in it.

    Scores from 0 to 1 give scores from 0 to 1. Weights that are all 0 count as equal.
    """
    total = sum(weight for _, weight in halves)
    joined: dict[K, float] = {}
    for scores, weight in halves:
        share = weight / total if total else 1 / len(halves)
        for key, score in scores.items():
            joined[key] = joined.get(key, 0.0) + share * score
    return joined


def reciprocal(lists: Sequence[Sequence[K]]) -> dict[K, float]:
    """By places alone: 1 for what is first in all lists; the lists are ordered, the best first."""
    joined: dict[K, float] = {}
    for found in lists:
        for place, key in enumerate(found):
            share = (_RANK + 1) / (_RANK + 1 + place) / len(lists)
            joined[key] = joined.get(key, 0.0) + share
    return joined
