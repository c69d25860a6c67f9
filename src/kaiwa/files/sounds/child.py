"""The child process: limits itself, decodes one recording to its end, says what it is.

It is told by the first bytes which format to read, so that no decoder goes looking for others, and
no playlist leads anywhere. Only `files/recordings.py` has it started.
"""

import sys
import wave
from collections.abc import Iterator
from io import BytesIO
from typing import Final, NoReturn

import av
import msgspec
from av import AudioFrame, AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from kaiwa.files.confined import confine, end_well
from kaiwa.files.sounds.wire import RATE, Order, Report

_MOST_BAD: Final = 0.5
"""Of the packets; players pass over what is broken in the middle, or cut off at the end."""

_COMMON: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("mp3", "mp3"): ("mp3", "audio/mpeg"),
    ("mov", "aac"): ("m4a", "audio/mp4"),
    ("mov", "alac"): ("m4a", "audio/mp4"),
    ("mov", "mp3"): ("m4a", "audio/mp4"),
    ("wav", "pcm_s16le"): ("wav", "audio/wav"),
    ("wav", "pcm_s24le"): ("wav", "audio/wav"),
    ("wav", "pcm_f32le"): ("wav", "audio/wav"),
    ("wav", "pcm_u8"): ("wav", "audio/wav"),
    ("ogg", "opus"): ("ogg", "audio/ogg"),
    ("ogg", "vorbis"): ("ogg", "audio/ogg"),
    ("ogg", "flac"): ("ogg", "audio/ogg"),
    ("flac", "flac"): ("flac", "audio/flac"),
    ("matroska", "opus"): ("webm", "audio/webm"),
    ("matroska", "vorbis"): ("webm", "audio/webm"),
}
"""What services know, by format and codec, with the ending of its name; all else is converted."""


class _TooLong(Exception):
    """The recording lasts longer than it may."""


def main() -> NoReturn:
    """Whatever a decoder raises by itself ends the process with a code that says so."""
    order = msgspec.json.decode(sys.argv[-1], type=Order)
    confine(order.parent, order.limits.seconds, order.limits.memory)
    report, sound = _listen(sys.stdin.buffer.read(), order)
    end_well(msgspec.json.encode(report) + b"\n" + sound)


def _listen(data: bytes, order: Order) -> tuple[Report, bytes]:
    try:
        with av.open(BytesIO(data), "r", format=order.format) as file:
            if not file.streams.audio:
                return Report("no_sound"), b""
            return _read(file, file.streams.audio[0], order)
    except FFmpegError:
        return Report("broken"), b""


def _read(file: InputContainer, stream: AudioStream, order: Order) -> tuple[Report, bytes]:
    ending, mime_type = _name(order.format, stream, pictured=_moves(file))
    frames = _Frames(file, stream)
    limits = order.limits
    if ending in order.takes:
        most = limits.minutes
        sound = _pass_over(frames, most)
    else:
        ending, mime_type = "wav", "audio/wav"
        most = limits.converted_minutes
        sound = _convert(frames, most)
    if sound is None:
        return Report("too_long", most), b""
    if not frames.seconds or frames.bad > frames.packets * _MOST_BAD:
        return Report("broken"), b""
    return Report(None, 0, ending, mime_type, round(frames.seconds, 3)), sound


def _moves(file: InputContainer) -> bool:
    """Whether there are pictures in it besides its cover."""
    cover = Disposition.attached_pic
    return any(not each.disposition & cover for each in file.streams.video)


def _name(format: str, stream: AudioStream, *, pictured: bool) -> tuple[str, str]:
    """The ending and type of what services know; empty for all else."""
    found = _COMMON.get((format, stream.codec_context.codec.canonical_name), ("", ""))
    if pictured and found[0] == "m4a":
        return "mp4", "video/mp4"
    return ("webm", "video/webm") if pictured and found[0] == "webm" else found


class _Frames:
    """Decodes a stream, and counts how long it is by what comes out, not by what its head says."""

    def __init__(self, file: InputContainer, stream: AudioStream) -> None:
        self._packets = file.demux(stream)
        self.seconds = 0.0
        self.packets = 0
        self.bad = 0
        # No more threads: the process may not have any.
        stream.codec_context.thread_count = 1

    def until(self, minutes: int) -> Iterator[AudioFrame]:
        """Raises `_TooLong` when it goes on after so many."""
        while True:
            try:
                packet = next(self._packets)
            except (StopIteration, FFmpegError):  # the file breaks off; what came was sound
                return
            try:
                frames = packet.decode()
            except FFmpegError:
                self.bad += 1
                frames = []
            self.packets += 1
            for frame in frames:
                assert isinstance(frame, AudioFrame)
                self.seconds += frame.samples / frame.sample_rate
                if self.seconds > minutes * 60:
                    raise _TooLong
                yield frame


def _pass_over(frames: _Frames, minutes: int) -> bytes | None:
    """Only to know that it can be decoded; None when it is longer."""
    try:
        for _ in frames.until(minutes):
            pass
    except _TooLong:
        return None
    return b""


def _convert(frames: _Frames, minutes: int) -> bytes | None:
    """As WAV that everybody takes; None when it is longer."""
    out = BytesIO()
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        try:
            for frame in frames.until(minutes):
                for made in resampler.resample(frame):
                    file.writeframesraw(bytes(made.planes[0])[: made.samples * 2])
        except _TooLong:
            return None
        for made in resampler.resample(None):
            file.writeframesraw(bytes(made.planes[0])[: made.samples * 2])
    return out.getvalue()
