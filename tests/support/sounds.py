"""Recordings for tests, made by real encoders: a tone of a second or so, in any format."""

# pyright: reportUnknownMemberType=false
# The library's own types leave packets open.

import math
from array import array
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from io import BytesIO
from typing import Final, NamedTuple

import av
from av import AudioFrame, VideoFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream


class Made(NamedTuple):
    """How a kind of recording is made, and what its sender calls it."""

    format: str
    codec: str
    rate: int
    mime_type: str
    pictured: bool = False


KINDS: Final = {
    "mp3": Made("mp3", "libmp3lame", 44100, "audio/mp3"),
    "mpga": Made("mp3", "libmp3lame", 22050, "audio/mpeg"),
    "m4a": Made("ipod", "aac", 44100, "audio/m4a"),
    "mp4": Made("mp4", "aac", 44100, "video/mp4", pictured=True),
    "webm": Made("webm", "libopus", 48000, "audio/webm"),
    "wav": Made("wav", "pcm_s16le", 16000, "audio/wav"),
    "ogg": Made("ogg", "libopus", 48000, "audio/ogg"),
    "flac": Made("flac", "flac", 16000, "audio/flac"),
    "amr": Made("amr", "libopencore_amrnb", 8000, "audio/amr"),
    "mpeg": Made("mpeg", "mp2", 44100, "video/mpeg"),
    "aac": Made("adts", "aac", 44100, "audio/aac"),
    "mkv": Made("matroska", "aac", 44100, "video/x-matroska"),
}


@cache
def make_sound(kind: str = "mp3", seconds: float = 1.0, *, silent: bool = False) -> bytes:
    """A recording of this kind, of so many seconds and a little more."""
    made = KINDS[kind]
    out = BytesIO()
    with av.open(out, "w", format=made.format) as file:
        sound = file.add_stream(made.codec, rate=made.rate)
        assert isinstance(sound, AudioStream)
        sound.codec_context.layout = "mono"
        film = _add_film(file) if made.pictured else None
        for frame in _frames(made.rate, seconds, 0 if silent else 9000):
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
        if film:
            _play(film, file)
    return out.getvalue()


def make_film() -> bytes:
    """An MP4 without any sound."""
    out = BytesIO()
    with av.open(out, "w", format="mp4") as file:
        _play(_add_film(file), file)
    return out.getvalue()


def _add_film(file: OutputContainer) -> VideoStream:
    film = file.add_stream("mpeg4", rate=10)
    film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
    return film


def _play(film: VideoStream, file: OutputContainer) -> None:
    for at in range(10):
        picture = VideoFrame(64, 48, "yuv420p")
        picture.pts = at
        file.mux(film.encode(picture))
    file.mux(film.encode(None))


def measure(data: bytes) -> tuple[str, float]:
    """The codec of a recording, and its seconds when all of it is decoded."""
    with av.open(BytesIO(data), "r") as file:
        stream = file.streams.audio[0]
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(stream))
        return stream.codec_context.codec.canonical_name, seconds


def _frames(rate: int, seconds: float, volume: int) -> Iterator[AudioFrame]:
    total, size = int(rate * seconds), 8192 if volume == 0 else 1024
    step = 2 * math.pi * 440 / rate
    for at in range(0, total, size):
        count = min(size, total - at)
        frame = AudioFrame("s16", "mono", count)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        wave = (int(volume * math.sin(step * (at + each))) for each in range(count))
        frame.planes[0].update(array("h", wave).tobytes() if volume else bytes(2 * count))
        yield frame
