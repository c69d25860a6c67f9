"""What is in memory of a base while it is searched: its segments, their words and vectors.

Vectors as bytes and, for each word, who has it: they choose candidates, which are then compared as
they are stored. Loaded when a base is first searched, for numpy is large. Nothing here waits.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import simsimd
from cachetools import LRUCache
from msgspec import Struct
from numpy.typing import NDArray

from kaiwa.domain.bm25 import dampen, score_words, weigh
from kaiwa.domain.terms import Term
from kaiwa.store.search import Candidate, Seen

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
Places = NDArray[np.int32]

_PORTION: Final = 8192
"""Numbers of segments that one portion is for."""
_PREFIX: Final = "*"
"""Behind the first character of a pair of characters; in no word."""
_FIRST_OF_PAIRS: Final = "\u3000"
"""Behind it are the scripts whose words are pairs of characters."""
_STEPS: Final = 127
_REMEMBERED: Final = 16 << 20
"""Bytes of places of words that a block remembers, at most."""
_ENTRY: Final = 200
"""Bytes beside them, for each word."""
_NOWHERE: Final[Places] = np.zeros(0, np.int32)
_SAMPLED: Final = 16
"""One of so many scores tells roughly which are the best."""


class Words(Struct, frozen=True, eq=False):
    """Which segments of a portion have each word; of words, their hashes in this process."""

    keys: Numbers
    """Each once, in order."""
    starts: Places
    """Where the list of each begins, and the end of the last."""
    having: NDArray[np.uint16]
    """Places within the portion, one list after the other."""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.keys.nbytes + self.starts.nbytes + self.having.nbytes

    def find(self, keys: Numbers) -> Iterator[tuple[int, NDArray[np.uint16]]]:
        """Which of the keys there are, and the places of those that have them."""
        if not len(self.keys):
            return
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        there = np.flatnonzero(self.keys[places] == keys)
        found = places[there]
        starts, ends = self.starts[found].tolist(), self.starts[found + 1].tolist()
        for which, start, end in zip(there.tolist(), starts, ends, strict=True):
            yield which, self.having[start:end]


class Portion(Struct, frozen=True, eq=False):
    """The segments of one range of numbers; never changed."""

    numbers: Numbers
    changed: Numbers
    rows: NDArray[np.int8]
    """One vector each, its largest component 127; of width 0 where there are no vectors."""
    scales: Floats
    """What makes a row the vector again; 0 for a segment without one."""
    words: Words

    @property
    def size(self) -> int:
        """In bytes."""
        own = self.numbers.nbytes + self.changed.nbytes + self.rows.nbytes + self.scales.nbytes
        return own + self.words.size


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
        """The numbers of those that have to be read."""
        return self.numbers[~self._kept()[0]].tolist()

    def make(self, read: Mapping[int, Candidate], dimensions: int) -> Portion:
        """`read` are those that were missing; a vector of other dimensions counts as none."""
        rows = np.zeros((len(self.numbers), dimensions), np.int8)
        scales = np.zeros(len(self.numbers), np.float32)
        kept, places = self._kept()
        before = self.before
        if before is not None:
            rows[kept], scales[kept] = before.rows[places], before.scales[places]
        vectors = [one.embedding or b"" for one in read.values()]
        at = np.searchsorted(self.numbers, np.array(list(read), np.int64))
        fits = np.array([len(one) == 2 * dimensions > 0 for one in vectors], np.bool_)
        if fits.any():
            whole = b"".join([one for one in vectors if len(one) == 2 * dimensions])
            given = np.frombuffer(whole, "<f2").reshape(-1, dimensions)
            rows[at[fits]], scales[at[fits]] = _shrink(given.astype(np.float32))
        words = _list_words([one.terms for one in read.values()], at)
        if before is not None and len(places):
            moved = np.full(len(before.numbers), -1, np.int64)
            moved[places] = np.flatnonzero(kept)
            words = _join_words(words, _move(before.words, moved))
        return Portion(self.numbers, self.changed, rows, scales, _sort(words))

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
        self._at_once: Floats = 1 + self._damping
        """By which the share of a word is divided that stands there once."""
        self._places: LRUCache[Term, Places] = LRUCache(
            _REMEMBERED, getsizeof=lambda found: found.nbytes + _ENTRY
        )

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def size(self) -> int:
        """In bytes."""
        own = self._numbers.nbytes + self._damping.nbytes + self._at_once.nbytes
        own += int(self._places.currsize)
        return own + sum(one.size for one in self.portions.values())

    def find_numbers(self, places: Sequence[int]) -> list[int]:
        """Of the segments at these places, in this order."""
        return self._numbers[np.array(places, np.int64)].tolist()

    def choose_by_words(self, terms: Sequence[Term], most: int) -> tuple[list[int], list[float]]:
        """The places of those that could answer best if each had its words once.

        And what each word tells. For a thread.
        """
        having = self._find_places(terms)
        weights = [weigh(len(self), len(places)) for places in having]
        scores = np.zeros(len(self), np.float32)
        for weight, places in zip(weights, having, strict=True):
            scores[places] += weight
        scores /= self._at_once
        best = _best(scores, most)
        return best[scores[best] > 0].tolist(), weights

    def _find_places(self, terms: Sequence[Term]) -> list[Places]:
        """Of those that have each term."""
        known = {term: self._places.get(term) for term in terms}
        missing = [term for term, places in known.items() if places is None]
        texts = [term.text + _PREFIX if term.prefix else term.text for term in missing]
        keys = np.array([hash(text) for text in texts], np.int64)
        parts: list[list[Places]] = [[] for _ in missing]
        start = 0
        for one in self.portions.values():
            for which, places in one.words.find(keys):
                parts[which].append(places + np.int32(start))
            start += len(one.numbers)
        for term, part in zip(missing, parts, strict=True):
            known[term] = places = np.concatenate((*part, _NOWHERE))
            if places.nbytes + _ENTRY <= _REMEMBERED:
                self._places[term] = places
        return [places for places in known.values() if places is not None]

    def score_words(self, place: int, counts: Sequence[int], weights: Sequence[float]) -> float:
        """From 0 to 1, for how often it has each word."""
        return score_words(counts, weights, float(self._damping[place]))

    def choose_by_vector(self, vector: Sequence[float], most: int) -> list[int]:
        """The places of those whose vectors are the closest, by and large. For a thread."""
        asked, _ = _shrink(np.array([vector], np.float32))
        scores = np.zeros(len(self), np.float32)
        start = 0
        for one in self.portions.values():
            found: Any = simsimd.cdist(asked, one.rows, "dot")
            stop = start + len(one.numbers)
            scores[start:stop] = np.asarray(found)[0]
            scores[start:stop] *= one.scales
            start = stop
        return _best(scores, most).tolist()

    def compare(self, vector: Sequence[float], stored: Sequence[bytes | None]) -> list[float]:
        """How close each is to the vector: their cosine, from 0 to 1; 0 for what is none."""
        width = 2 * self.dimensions
        right = [one if one and len(one) == width else bytes(width) for one in stored]
        given = np.frombuffer(b"".join(right), "<f2").reshape(len(right), self.dimensions)
        close = given.astype(np.float32) @ np.array(vector, np.float32)
        return close.clip(0, 1).tolist()


_Listed = tuple[Numbers, NDArray[np.uint16]]
"""Hashes of words, and for each a place that has it."""


def _list_words(texts: Iterable[str], places: NDArray[np.intp]) -> _Listed:
    hashes, counts = array("q"), array("q")
    for text in texts:
        words = set(text.split())
        if not text.isascii():
            words |= {word[0] + _PREFIX for word in words if word[0] > _FIRST_OF_PAIRS}
        hashes.extend(map(hash, words))
        counts.append(len(words))
    where = np.repeat(places.astype(np.uint16), np.frombuffer(counts, np.int64))
    return np.frombuffer(hashes, np.int64), where


def _move(words: Words, moved: Numbers) -> _Listed:
    """The same at other places; those that are gone have a place below 0."""
    hashes = np.repeat(words.keys, np.diff(words.starts))
    places = moved[words.having]
    stay = places >= 0
    return hashes[stay], places[stay].astype(np.uint16)


def _join_words(one: _Listed, other: _Listed) -> _Listed:
    return np.concatenate((one[0], other[0])), np.concatenate((one[1], other[1]))


def _sort(words: _Listed) -> Words:
    hashes, places = words
    order = np.argsort(hashes)
    ordered = hashes[order]
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.append(np.flatnonzero(first), len(ordered)).astype(np.int32)
    return Words(ordered[first], starts, places[order])


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
