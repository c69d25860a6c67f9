"""Sound for tests: made, decoded by a real decoder, and spoken by a server of the tests' own."""

import asyncio
import io
import math
import os
import struct
from collections.abc import Iterator
from shutil import which
from typing import Final

import av
import pytest
from av.audio.frame import AudioFrame
from msgspec import Struct

from kaiwa.ports import AudioFormat
from kaiwa.providers.sound import pcm, write_sound
from tests.support.model_server import Behaviour, Exchange

RATE: Final = 16_000
SECONDS_A_LETTER: Final = 0.01
"""What `reads_aloud` takes."""


class Sound(Struct, frozen=True):
    """What a decoder makes of some bytes."""

    kind: str
    """`wav` or `mp3`."""
    seconds: float
    loudness: float
    """Of its loudest sample: 0 to 1."""


def decode(data: bytes) -> Sound:
    """Raises what the decoder raises for what is no sound."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = list(container.decode(audio=0))
        loudest = max([_loudest(frame) for frame in frames], default=0.0)
        seconds = sum([frame.samples / frame.sample_rate for frame in frames])
        return Sound(container.format.name, seconds, loudest)


def _loudest(frame: AudioFrame) -> float:
    kind, most = ("h", 32768.0) if frame.format.name.startswith("s16") else ("f", 1.0)
    samples = memoryview(bytes(frame.planes[0])).cast(kind)[: frame.samples]
    return max(map(abs, samples)) / most


def tone(seconds: float, rate: int = RATE) -> bytes:
    """The samples of a tone, 16 bits each."""
    wave = [int(8000 * math.sin(i * 440 * math.tau / rate)) for i in range(int(seconds * rate))]
    return struct.pack(f"<{len(wave)}h", *wave)


def sounding(seconds: float, audio: AudioFormat, rate: int = RATE) -> bytes:
    """A whole file with a tone."""
    writer = write_sound(audio, pcm(rate))
    return writer.take(tone(seconds, rate)) + writer.end()


def reads_aloud(*, pieces: int = 4, pause: float = 0.0) -> Behaviour:
    """Answers as OpenAI's speech API: a tone of a length that follows the text, piece by piece."""

    async def behave(exchange: Exchange) -> None:
        body = exchange.request.body
        sound = sounding(len(body["input"]) * SECONDS_A_LETTER, body["response_format"])
        await exchange.start(content_type="audio/mpeg")
        for piece in _split(sound, pieces):
            await exchange.write(piece)
            await asyncio.sleep(pause)
        await exchange.end()

    return behave


def says_bytes(*pieces: bytes, waits: bool = False, breaks: bool = False) -> Behaviour:
    """Answers with these; then waits for its client to leave, or breaks the connection."""

    async def behave(exchange: Exchange) -> None:
        await exchange.start(content_type="audio/wav")
        for piece in pieces:
            await exchange.write(piece)
        if waits:
            await asyncio.sleep(3600)
        if breaks:
            exchange.reset()
        else:
            await exchange.end()

    return behave


def _split(data: bytes, pieces: int) -> Iterator[bytes]:
    size = -(-len(data) // pieces)
    yield from (data[start : start + size] for start in range(0, len(data), size))


def require_espeak() -> None:
    """Skips a test where espeak-ng is not installed; in CI it has to be."""
    if which("espeak-ng") is None:
        if os.environ.get("CI"):
            pytest.fail("espeak-ng is not installed: apt-get install espeak-ng")
        pytest.skip("espeak-ng is not installed here: apt-get install espeak-ng")
