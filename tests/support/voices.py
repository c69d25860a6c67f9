"""A voice for tests: real MP3 as long as the text, and words in it at which it goes wrong."""

import asyncio
import io
from array import array
from collections.abc import AsyncGenerator
from functools import cache
from importlib import import_module
from math import sin
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.error import InvalidDataError

from kaiwa.errors import CompletionFailed
from kaiwa.ports import AudioFormat

_lame: Any = import_module("lameenc")  # it has no types

RATE = 24_000
SECONDS_PER_CHARACTER = 0.05


class ToneSpeaker:
    """A `Speaker` that hums for as long as a text would take.

    A text with the word `fails` is refused, one with `breaks` breaks after its first piece, one
    with `hangs` says nothing until it is closed, one with `slowly` waits before each piece.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        """In the order they were asked for."""
        self.due: list[float] = []
        """When each of them was."""
        self.asked: set[tuple[str, str, AudioFormat]] = set()
        """Voice, language and format."""
        self.speaking = 0
        self.most = 0
        """How many were spoken at once at most."""
        self.pieces = 0
        """Given away in all."""
        self.asked_for = asyncio.Event()
        """Set at the first text."""
        self.silent = asyncio.Event()
        """Set while nothing is spoken."""
        self.pace = 0.0
        """Seconds before each piece of every text."""

    async def speak(
        self, text: str, voice: str, language: str, audio: AudioFormat, due: float = 0
    ) -> AsyncGenerator[bytes]:
        self.texts.append(text)
        self.due.append(due)
        self.asked.add((voice, language, audio))
        self.speaking += 1
        self.asked_for.set()
        self.silent.clear()
        self.most = max(self.most, self.speaking)
        try:
            if "fails" in text:
                raise CompletionFailed("the voice is hoarse")
            if "hangs" in text:
                await asyncio.Event().wait()
            for number, piece in enumerate(tone(len(text) * SECONDS_PER_CHARACTER)):
                if number and "breaks" in text:
                    raise ValueError("a mistake in a voice")
                await asyncio.sleep(0.03 if "slowly" in text else self.pace)
                self.pieces += 1
                yield piece
        finally:
            self.speaking -= 1
            if not self.speaking:
                self.silent.set()


@cache
def tone(seconds: float) -> tuple[bytes, ...]:
    """So much MP3, in pieces as an encoder gives them."""
    encoder = _lame.Encoder()
    encoder.set_bit_rate(32)
    encoder.set_in_sample_rate(RATE)
    encoder.set_out_sample_rate(RATE)
    encoder.set_channels(1)
    encoder.silence()
    samples = array("h", [int(8000 * sin(i / 10)) for i in range(int(seconds * RATE))]).tobytes()
    step = RATE  # half a second
    found = [encoder.encode(samples[i : i + step]) for i in range(0, len(samples), step)]
    return tuple([bytes(piece) for piece in (*found, encoder.flush()) if piece])


def seconds_of(mp3: bytes, *, broken: int = 0) -> float:
    """How long this stream is, decoded as one; so many packets of it may be broken."""
    frames: list[AudioFrame] = []
    with av.open(io.BytesIO(mp3), "r", format="mp3") as container:
        [stream] = container.streams.audio
        for packet in container.demux(stream):
            try:
                frames += packet.decode()
            except InvalidDataError:
                broken -= 1
                assert broken >= 0
    assert {frame.sample_rate for frame in frames} == {RATE}
    return sum(frame.samples for frame in frames) / RATE
