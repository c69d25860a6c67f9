"""What is in memory of a base while it is searched: which segments there are, and their vectors.

The vectors are kept as bytes, half the size of what is in the database: they choose candidates,
which are then compared as they are stored. It is loaded when a base is first searched, for numpy
is large. Nothing here waits; what takes its time is for a thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import simsimd
from cachetools import LRUCache
from msgspec import Struct
from numpy.typing import NDArray

from kaiwa.domain.bm25 import dampen, weigh
from kaiwa.domain.terms import Term
from kaiwa.store.search import Seen

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]

PORTION: Final = 8192
"""Rows of one portion."""
_STEPS: Final = 127
_POSTINGS: Final = 8 << 20
"""Bytes of places that a block remembers."""


class Portion(Struct, frozen=True):
    """Some rows of a block; never changed."""

    numbers: Numbers
    changed: Numbers
    rows: NDArray[np.int8]
    """One vector each, its largest component 127; of width 0 where there are no vectors."""
    scales: Floats
    """What makes a row the vector again; 0 for a segment without one."""


def pack(
    numbers: Numbers, changed: Numbers, vectors: Mapping[int, bytes], dimensions: int
) -> Portion:
    """What is of other dimensions counts as no vector."""
    count = len(numbers)
    given = np.zeros((count, dimensions), np.float32)
    for row, number in enumerate(numbers.tolist()):
        found = vectors.get(number, b"")
        if len(found) == 2 * dimensions:
            given[row] = np.frombuffer(found, "<f2")
    largest = np.abs(given).max(axis=1, initial=0.0)
    scales = (largest / _STEPS).astype(np.float32)
    divisor = np.where(scales, scales, 1)[:, None]
    return Portion(numbers, changed, np.rint(given / divisor).astype(np.int8), scales)


class Block:
    """A base at one version."""

    def __init__(self, version: int, seen: Seen, portions: Sequence[Portion]) -> None:
        """`portions` hold just what is `seen`, in its order."""
        self.version = version
        self.numbers: Numbers = np.frombuffer(seen.numbers, np.int64)
        self.portions = portions
        lengths = np.frombuffer(seen.lengths, np.int64).astype(np.float32)
        self._average = float(lengths.mean()) if len(lengths) else 0.0
        self._damping = dampen_all(lengths, self._average)
        self._places: LRUCache[Term, NDArray[np.int32]] = LRUCache(_POSTINGS, lambda found: found.nbytes + 100)

    @property
    def dimensions(self) -> int:
        """Of its vectors; 0 when it has none."""
        return self.portions[0].rows.shape[1] if self.portions else 0

    @property
    def size(self) -> int:
        """In bytes."""
        own = self.numbers.nbytes * 2 + self._damping.nbytes + _POSTINGS
        return own + sum(
            one.numbers.nbytes + one.changed.nbytes + one.rows.nbytes + one.scales.nbytes
            for one in self.portions
        )
