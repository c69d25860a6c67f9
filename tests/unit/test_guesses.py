"""Slowing down who guesses keys: counts, windows, addresses, and what is kept."""

from uuid import UUID

import pytest

from kaiwa.api.guesses import Guesses
from kaiwa.errors import TooManyRequests

KEY = b"digest"
APP = UUID(int=1)
HOST = "192.0.2.1"


class Watch:
    """A timer that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def guess(guesses: Guesses, host: str | None, times: int) -> None:
    for number in range(times):
        guesses.note_wrong(host, b"wrong %d" % number)


def retry_after(guesses: Guesses, host: str | None, digest: bytes = KEY) -> int:
    """How long it has to wait; 0 when it may go on."""
    try:
        if not guesses.find_owner(digest):
            guesses.check(host)
    except TooManyRequests as error:
        return error.retry_after or -1
    return 0


def test_an_address_waits_after_as_many_wrong_keys_as_allowed():
    guesses = Guesses(3, 60, Watch())
    guess(guesses, HOST, 2)
    assert retry_after(guesses, HOST) == 0
    guess(guesses, HOST, 1)
    assert retry_after(guesses, HOST) == 60
    assert retry_after(guesses, "192.0.2.2") == 0


def test_the_window_opens_with_the_first_wrong_key_and_is_not_prolonged():
    watch = Watch()
    guesses = Guesses(3, 60, watch)
    guess(guesses, HOST, 1)
    watch.now += 45.5
    guess(guesses, HOST, 2)
    assert retry_after(guesses, HOST) == 15
    watch.now += 14.4
    guess(guesses, HOST, 5)
    assert retry_after(guesses, HOST) == 1
    watch.now += 0.1
    assert retry_after(guesses, HOST) == 0
    guess(guesses, HOST, 2)
    assert retry_after(guesses, HOST) == 0


def test_a_good_key_goes_on_until_it_fails():
    guesses = Guesses(1, 60, Watch())
    guesses.note_good(KEY, APP)
    guess(guesses, HOST, 5)
    assert retry_after(guesses, HOST, KEY) == 0
    assert retry_after(guesses, HOST, b"another") > 0
    guesses.note_wrong(HOST, KEY)
    assert retry_after(guesses, HOST, KEY) > 0


@pytest.mark.parametrize(
    ("host", "other", "same"),
    [
        ("2001:db8:0:7::1", "2001:db8:0:7:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:7::1", "2001:db8:0:8::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("nonsense", "x" * 10_000, True),
        ("", None, True),
        (None, "127.0.0.1", False),
    ],
)
def test_what_counts_as_one_address(host: str | None, other: str | None, same: bool):
    guesses = Guesses(1, 60, Watch())
    guess(guesses, host, 1)
    assert retry_after(guesses, host) > 0
    assert bool(retry_after(guesses, other)) == same


def test_memory_is_bounded_whoever_comes():
    guesses = Guesses(1, 60, Watch())
    for number in range(25_000):
        guesses.note_wrong(f"10.0.{number // 250}.{number % 250}", b"%d" % number)
        guesses.note_good(b"good %d" % number, APP)
    assert guesses.kept <= (10_000, 10_000)
    assert retry_after(guesses, "10.0.99.249") > 0
