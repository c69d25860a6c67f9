"""Guessing keys is slow: an address that has sent too many wrong ones has to wait.

Keys that were seen to be good go on, so that an attacker does not lock out those who share an
address with him. It knows digests alone, never a key, and keeps only so much.
"""

import logging
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil
from uuid import UUID

from cachetools import LRUCache, TTLCache

from kaiwa.errors import TooManyRequests

logger = logging.getLogger(__name__)

_MOST_ADDRESSES = 10_000
_MOST_KEYS = 10_000


class Failures:
    """Wrong keys from one address, and when they are forgotten."""

    def __init__(self, end: float) -> None:
        self.count = 0
        self.end = end


class Guesses:
    """The wrong keys of every address within a window that opens with the first of them."""

    def __init__(self, limit: int, window: float, timer: Callable[[], float]) -> None:
        """`limit`: how many may be wrong; `window` and `timer` in seconds, never running back."""
        self._limit = limit
        self._window = window
        self._timer = timer
        self._failures: TTLCache[str, Failures] = TTLCache(_MOST_ADDRESSES, window, timer)
        self._good: LRUCache[bytes, UUID] = LRUCache(_MOST_KEYS)

    def find_owner(self, digest: bytes) -> UUID | None:
        """Whose key it is that was seen to be good: an app's or, for knowledge, a workspace's.

        It may be revoked since.
        """
        return self._good.get(digest)

    def check(self, host: str | None) -> None:
        """For a key nobody knows. Raises `TooManyRequests` while its address has to wait."""
        failures = self._failures.get(_network(host))
        if failures is None or failures.count < self._limit:
            return
        left = ceil(failures.end - self._timer())
        raise TooManyRequests(
            "Too many wrong API keys came from your address. Please try again later.",
            retry_after=max(1, left),
        )

    def note_good(self, digest: bytes, owner_id: UUID) -> None:
        self._good[digest] = owner_id

    def note_wrong(self, host: str | None, digest: bytes) -> None:
        """Also for a key that was good until now: revoked, it is a guess like any other."""
        self._good.pop(digest, None)
        network = _network(host)
        failures = self._failures.get(network)
        if failures is None:
            failures = self._failures[network] = Failures(self._timer() + self._window)
        failures.count += 1
        if failures.count == self._limit:
            logger.warning("%d wrong API keys came from %s; it has to wait", self._limit, network)

    @property
    def kept(self) -> tuple[int, int]:
        """How many addresses and how many good keys are remembered."""
        return len(self._failures), len(self._good)


def _network(host: str | None) -> str:
    """The address itself, or the /64 that one holder of IPv6 addresses has.

    What is no address (a proxy may claim anything, and a socket file has none) is all one.
    """
    try:
        address = ip_address(host or "")
    except ValueError:
        return "no address"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
