"""What is in memory of a base while it is searched: which segments there are, and their vectors.

The vectors are kept as bytes, half the size of what is in the database: they choose candidates,
which are then compared as they are stored. It is loaded when a base is first searched, for numpy
is large. Nothing here waits; what takes its time is for a thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import simsimd
from cachetools import LRUCache
from msgspec import Struct
from numpy.typing import NDArray

from kaiwa.domain.bm25 import dampen, score_words, weigh
from kaiwa.domain.terms import Term
from kaiwa.store.search import Seen

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
Places = NDArray[np.int32]

_PORTION: Final = 8192
"""Numbers of segments that one portion is for."""
_STEPS: Final = 127
_PLACES: Final = 16 << 20
"""Bytes of places of words that a block remembers, at most."""
_MOSTLY: Final = 8
"""How many times as many segments there may be in all before others are told apart first."""
_SAMPLED: Final = 16
"""One of so many scores tells roughly which are the best."""
_ENTRY: Final = 200
"""Bytes beside them, for each word."""


class Portion(Struct, frozen=True, eq=False):
    """The segments of one range of numbers; never changed."""

    numbers: Numbers
    changed: Numbers
    rows: NDArray[np.int8]
    """One vector each, its largest component 127; of width 0 where there are no vectors."""
    scales: Floats
    """What makes a row the vector again; 0 for a segment without one."""


class Plan(Struct, frozen=True, eq=False):
    """A portion to be, and what of it is there already."""

    numbers: Numbers
    changed: Numbers
    before: Portion | None
    """The same range as it was."""

    @property
    def stays(self) -> bool:
        """Whether it is just as it was."""
        before = self.before
        return (
            before is not None
            and np.array_equal(self.numbers, before.numbers)
            and np.array_equal(self.changed, before.changed)
        )

    def missing(self) -> list[int]:
        """The numbers whose vectors have to be read."""
        return self.numbers[~self._kept()[0]].tolist()

    def make(self, vectors: Mapping[int, bytes], dimensions: int) -> Portion:
        """`vectors` are those that were missing; one of other dimensions counts as none."""
        rows = np.zeros((len(self.numbers), dimensions), np.int8)
        scales = np.zeros(len(self.numbers), np.float32)
        if self.before is not None and self.before.rows.shape[1] == dimensions:
            kept, places = self._kept()
            rows[kept], scales[kept] = self.before.rows[places], self.before.scales[places]
        fresh = [number for number, one in vectors.items() if len(one) == 2 * dimensions > 0]
        if fresh:
            whole = b"".join([vectors[number] for number in fresh])
            given = np.frombuffer(whole, "<f2").reshape(len(fresh), dimensions)
            places = np.searchsorted(self.numbers, np.array(fresh, np.int64))
            rows[places], scales[places] = _shrink(given.astype(np.float32))
        return Portion(self.numbers, self.changed, rows, scales)

    def _kept(self) -> tuple[NDArray[np.bool_], Numbers]:
        """Which were there, unchanged, and at which places."""
        before = self.before
        if before is None or not len(before.numbers):
            return np.zeros(len(self.numbers), np.bool_), np.zeros(0, np.int64)
        places = np.searchsorted(before.numbers, self.numbers).clip(max=len(before.numbers) - 1)
        kept = (before.numbers[places] == self.numbers) & (before.changed[places] == self.changed)
        return kept, places[kept]


def plan(seen: Seen, before: "Block | None", dimensions: int) -> Iterator[Plan]:
    """The portions of what is seen; those of a block with other dimensions are of no use."""
    numbers, changed = np.frombuffer(seen.numbers, np.int64), np.frombuffer(seen.changed, np.int64)
    usable = before is not None and before.dimensions == dimensions
    old = before.portions if before is not None and usable else {}
    ranges, starts = np.unique(numbers // _PORTION, return_index=True)
    stops = [*starts.tolist(), len(numbers)][1:]
    for which, start, stop in zip(ranges.tolist(), starts.tolist(), stops, strict=True):
        yield Plan(numbers[start:stop].copy(), changed[start:stop].copy(), old.get(which))


class Block:
    """A base at one version. Its segments are known by their place in it."""

    def __init__(
        self, version: int, dimensions: int, seen: Seen, portions: Sequence[Portion]
    ) -> None:
        """`portions` hold just what is `seen`; `dimensions` is 0 where there are no vectors."""
        self.version = version
        self.dimensions = dimensions
        self.portions = {int(one.numbers[0]) // _PORTION: one for one in portions}
        self._numbers: Numbers = np.array(seen.numbers, np.int64)
        lengths = np.array(seen.lengths, np.float32)
        average = float(lengths.mean()) if len(lengths) else 0.0
        least = dampen(0, average)
        self._damping: Floats = least + (dampen(1, average) - least) * lengths
        self._places: LRUCache[Term, Places] = LRUCache(
            _PLACES, getsizeof=lambda found: found.nbytes + _ENTRY
        )

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def size(self) -> int:
        """In bytes."""
        own = self._numbers.nbytes + self._damping.nbytes + int(self._places.currsize)
        return own + sum(
            one.numbers.nbytes + one.changed.nbytes + one.rows.nbytes + one.scales.nbytes
            for one in self.portions.values()
        )

    @property
    def holds_most(self) -> bool:
        """Whether a good part of the segments of all bases is in it; numbers are given in turn."""
        return len(self) > 0 and self._numbers[-1] < _MOSTLY * len(self)

    def number(self, place: int) -> int:
        """Of the segment at this place."""
        return int(self._numbers[place])

    def find_places(self, term: Term) -> Places | None:
        """The places of all that have the term, when they are remembered."""
        return self._places.get(term)

    def read_places(self, lists: Sequence[str]) -> list[Places]:
        """The same from lists of numbers, apart by commas. For a thread when they are long."""
        return [self._read_places(numbers) for numbers in lists]

    def _read_places(self, numbers: str) -> Places:
        given = np.fromstring(numbers, np.int64, sep=",")
        if not len(self._numbers):
            return np.zeros(0, np.int32)
        found = np.searchsorted(self._numbers, given).clip(max=len(self._numbers) - 1)
        return found[self._numbers[found] == given].astype(np.int32)

    def remember(self, terms: Sequence[Term], places: Sequence[Places]) -> None:
        """As far as there is room."""
        for term, one in zip(terms, places, strict=True):
            if one.nbytes + _ENTRY <= _PLACES:
                self._places[term] = one

    def weigh(self, places: Sequence[Places]) -> list[float]:
        """What each word tells, by the places it has."""
        return [weigh(len(self), len(one)) for one in places]

    def choose_by_words(
        self, places: Sequence[Places], weights: Sequence[float], most: int
    ) -> list[int]:
        """The places of those that could answer best if each had its words once."""
        scores = np.zeros(len(self), np.float32)
        for weight, one in zip(weights, places, strict=True):
            scores[one] += weight
        scores /= 1 + self._damping
        best = _best(scores, most)
        return best[scores[best] > 0].tolist()

    def score_words(self, place: int, counts: Sequence[int], weights: Sequence[float]) -> float:
        """From 0 to 1, for how often it has each word."""
        return score_words(counts, weights, float(self._damping[place]))

    def choose_by_vector(self, vector: Sequence[float], most: int) -> list[int]:
        """The places of those whose vectors are the closest, by and large. For a thread."""
        asked, _ = _shrink(np.array([vector], np.float32))
        parts: list[Any] = []
        for one in self.portions.values():
            found: Any = simsimd.cdist(asked, one.rows, "dot")
            parts.append(np.asarray(found, np.float32).reshape(-1) * one.scales)
        if not parts:
            return []
        scores = cast(Floats, np.concatenate(parts))
        return _best(scores, most).tolist()

    def compare(self, vector: Sequence[float], stored: Sequence[bytes | None]) -> list[float]:
        """How close each is to the vector: their cosine, from 0 to 1; 0 for what is none."""
        width = 2 * self.dimensions
        right = [one if one and len(one) == width else bytes(width) for one in stored]
        given = np.frombuffer(b"".join(right), "<f2").reshape(len(right), self.dimensions)
        close = given.astype(np.float32) @ np.array(vector, np.float32)
        return close.clip(0, 1).tolist()


def _shrink(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """As rows of bytes, and the scale of each."""
    scales = (np.abs(vectors).max(axis=1, initial=0.0) / _STEPS).astype(np.float32)
    divisor = np.where(scales > 0, scales, 1)[:, None]
    return np.rint(vectors / divisor).astype(np.int8), scales


def _best(scores: Floats, most: int) -> NDArray[np.intp]:
    """The places of the highest scores, the best first; of equals the first."""
    chosen = np.arange(len(scores))
    if len(scores) > _SAMPLED * most:
        sample = np.sort(scores[::_SAMPLED])
        rough = np.flatnonzero(scores >= sample[-1 - 2 * (most // _SAMPLED + 1)])
        chosen = rough if len(rough) >= most else chosen
    order = np.argsort(-scores[chosen], kind="stable")
    return chosen[order[:most]]
