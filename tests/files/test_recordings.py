"""Recordings decoded by real child processes: what they are, how long, and what they may take."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.errors import AudioTooLarge, KaiwaError, UnsupportedAudioType
from kaiwa.files.children import ChildFailed, run_child
from kaiwa.files.recordings import Recording, Recordings, check_declared
from kaiwa.files.sounds.wire import Limits, Order
from tests.support.sounds import KINDS, make_sound, measure

pytestmark = pytest.mark.anyio

ALL = frozenset({"flac", "m4a", "mp3", "mp4", "ogg", "wav", "webm"})
NONE: frozenset[str] = frozenset()
MOST = 5_000_000
CHILD = "kaiwa.files.sounds.child"


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def take(
    data: bytes, takes: frozenset[str] = ALL, limits: Limits | None = None, size: int = 65_536
) -> Recording:
    recordings = Recordings(MOST, limits or Limits())
    async with recordings.take(pieces(data, size), takes) as found:
        return found


def children() -> list[int]:
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [int(pid) for path in found for pid in path.read_text().split()]
    return [pid for pid in pids if "sounds.child" in Path(f"/proc/{pid}/cmdline").read_text()]


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_taken_by_nobody_becomes_wav(kind: str):
    found = await take(make_sound(kind), NONE)
    assert (found.name, found.mime_type) == ("audio.wav", "audio/wav")
    codec, seconds = measure(found.data)
    assert codec == "pcm_s16le"
    assert abs(seconds - found.seconds) < 0.1
    assert 0.95 < seconds < 1.2


async def test_what_is_taken_stays_as_it_came():
    for kind in ("mp3", "m4a", "mp4", "ogg", "flac", "wav", "webm"):
        found = await take(make_sound(kind))
        assert found.name == f"audio.{kind}"
        assert found.data == make_sound(kind)


async def test_it_may_come_in_pieces_of_any_size():
    sound = make_sound("wav")
    for size in (1, 7, 100_000):
        assert (await take(sound, size=size)).data == sound


async def test_sound_longer_than_its_bytes_promise_is_refused_by_what_is_decoded():
    silence = make_sound("flac", 130, silent=True)
    assert len(silence) < 30_000
    with pytest.raises(AudioTooLarge, match=r"^The recording is longer than 2 minutes\.$"):
        await take(silence, limits=Limits(minutes=2))
    with pytest.raises(AudioTooLarge, match=r"^The recording is longer than 1 minutes\.$"):
        await take(silence, NONE, Limits(minutes=2, converted_minutes=1))
    assert (await take(silence, limits=Limits(minutes=3))).seconds == 130


async def test_what_is_said_of_its_length_is_not_believed():
    sound = bytearray(make_sound("mp4", 1.0))
    at = sound.index(b"mvhd")
    sound[at + 20 : at + 24] = b"\x7f\xff\xff\xff"  # its duration
    assert (await take(bytes(sound))).seconds < 1.2
    wav = bytearray(make_sound("wav", 1.0))
    at = wav.index(b"data")
    wav[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    assert (await take(bytes(wav))).seconds == 1.0


@pytest.mark.parametrize(
    "limits", [Limits(seconds=0.01), Limits(memory=30_000_000), Limits(memory=140_000_000)]
)
async def test_a_child_that_takes_too_much_ends_alone(limits: Limits):
    sound = make_sound("flac", 130, silent=True) * 20
    with pytest.raises(UnsupportedAudioType):
        await take(sound, NONE, limits)
    assert children() == []
    assert (await take(make_sound())).name == "audio.mp3"


async def test_a_child_goes_with_whoever_waits_for_it():
    for after in (0, 0.02, 0.1):
        with anyio.move_on_after(after) as scope:
            await take(make_sound("flac", 130, silent=True), NONE)
        assert scope.cancelled_caught
        assert children() == []


async def test_more_than_the_limit_is_refused_while_it_comes():
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield make_sound("wav")
        while True:
            taken += 100_000
            yield bytes(100_000)

    with pytest.raises(AudioTooLarge) as refused:
        async with Recordings(MOST, Limits()).take(endless(), ALL):
            pass
    assert refused.value.message == "Audio size larger than 4.768 MB (5000000 bytes)"
    assert taken < MOST + 200_000
    assert AudioTooLarge.over(15_728_640).message == "Audio size larger than 15 MB (15728640 bytes)"


async def test_no_more_is_held_at_once_than_there_is_room_for():
    sound = make_sound("wav", 2.0)
    recordings = Recordings(MOST, Limits(), room=5 * len(sound))
    held, most = 0, 0

    async def hold() -> None:
        nonlocal held, most
        async with recordings.take(pieces(sound), ALL):
            held += 1
            most = max(most, held)
            await anyio.sleep(0.3)
            held -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(hold)
    assert most == 2
    small = Recordings(MOST, Limits(), room=10)
    async with small.take(pieces(sound), ALL) as found:  # alone it always has room
        assert found.data == sound


async def test_whoever_leaves_the_queue_keeps_nobody_out():
    sound = make_sound("wav", 2.0)
    recordings = Recordings(MOST, Limits(), room=2 * len(sound), at_once=1)
    async with recordings.take(pieces(sound), ALL):
        with anyio.move_on_after(1) as scope:
            async with recordings.take(pieces(sound), ALL):
                raise AssertionError("there is no room")
        assert scope.cancelled_caught
    with anyio.fail_after(5):
        async with recordings.take(pieces(sound), ALL):
            pass


async def test_a_child_that_is_told_nonsense_fails_alone():
    order = Order("no such format", ALL, os.getpid(), Limits())
    with pytest.raises(ChildFailed) as failed:
        await run_child(CHILD, order, b"x", seconds=10, most=1000)
    assert failed.value.fault == "broken"
    with pytest.raises(KaiwaError):  # it is not its parent's
        await run_child(
            CHILD, Order("mp3", ALL, os.getpid() + 1, Limits()), b"", seconds=10, most=1
        )


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["mp3", "m4a", "webm", "ogg", "wav", "amr", "flac", "mpeg"]),
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=40)), max_size=8),
    takes=st.sampled_from([ALL, NONE]),
)
def test_damage_is_refused_or_passed_over_and_nothing_else(
    kind: str, changes: list[tuple[int, bytes]], takes: frozenset[str]
):
    sound = bytearray(make_sound(kind))
    for at, new in changes:
        start = at % len(sound)
        sound[start : start + len(new)] = new

    async def attempt() -> None:
        with suppress(UnsupportedAudioType, AudioTooLarge):
            assert (await take(bytes(sound), takes)).seconds > 0

    anyio.run(attempt)


@pytest.mark.parametrize(
    "declared",
    ["audio/mpeg", "Audio/X; codecs=opus", "video/webm", "", "application/octet-stream"],
)
def test_what_may_be_sound_is_looked_at(declared: str):
    check_declared(declared)


@pytest.mark.parametrize("declared", ["text/plain", "image/png", "application/json", "sound"])
def test_what_says_that_it_is_something_else_is_believed(declared: str):
    with pytest.raises(UnsupportedAudioType):
        check_declared(declared)
