"""Sound in pieces: WAV read while it comes, WAV and MP3 written while it is made.

A WAV file that is still being made cannot say how long it is; its length is then the largest that
can be written, which decoders take for "until the end", as they do for what comes by a pipe.
"""

import struct
from collections.abc import Callable
from typing import Final, Protocol, cast

import lameenc
from msgspec import Struct

from kaiwa.ports import AudioFormat

_UNKNOWN: Final = 0xFFFF_FFFF
_LONGEST_HEAD: Final = 65_536
_PCM: Final = 1
_KBITS: Final = 64
"""Of an MP3's second, of one channel: speech needs no more."""
_QUALITY: Final = 7
"""From 0, the best and slowest, to 9; 5 would take twice as long."""


class SoundFormat(Struct, frozen=True):
    """How samples are written, in the words of a WAV file's `fmt` chunk."""

    fmt: bytes

    @property
    def channels(self) -> int:
        return int.from_bytes(self.fmt[2:4], "little")

    @property
    def rate(self) -> int:
        """Samples a second."""
        return int.from_bytes(self.fmt[4:8], "little")

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return int.from_bytes(self.fmt[12:14], "little") or 1


def pcm(rate: int) -> SoundFormat:
    """One channel of 16 bits."""
    return SoundFormat(struct.pack("<HHIIHH", _PCM, 1, rate, rate * 2, 2, 16))


class WavReader:
    """Finds the samples of one WAV file."""

    def __init__(self) -> None:
        self.format: SoundFormat | None = None
        """Known with the first samples."""
        self._unread = bytearray()
        self._left = 0
        """Bytes of samples still to come."""

    def feed(self, piece: bytes) -> bytes:
        """The whole samples that are known now. Raises `ValueError` for what is no such file."""
        self._unread += piece
        if self.format is None:
            self.format = self._read_head()
            if self.format is None:
                return b""
        size = min(len(self._unread), self._left)
        size -= size % self.format.frame
        samples = bytes(self._unread[:size])
        del self._unread[:size]
        self._left -= size
        if self._left < self.format.frame:
            self._unread.clear()  # what stands behind the samples
        return samples

    def _read_head(self) -> SoundFormat | None:
        """Takes it off, once all of it is here."""
        head = self._unread
        start = bytes(head[:12])
        if not b"RIFF".startswith(start[:4]) or not b"WAVE".startswith(start[8:]):
            raise ValueError("no WAV file")
        fmt, at = b"", 12
        while len(head) >= at + 8:
            name, size = bytes(head[at : at + 4]), int.from_bytes(head[at + 4 : at + 8], "little")
            at += 8
            if name == b"data":
                if len(fmt) < 16:
                    raise ValueError("a WAV file without a format")
                self._left = size if 0 < size < 0x7FFF_0000 else _UNKNOWN
                del head[:at]
                return SoundFormat(fmt)
            if name == b"fmt ":
                fmt = bytes(head[at : at + size])
            at += size + size % 2
            if at > _LONGEST_HEAD:
                raise ValueError("a WAV file without samples")
        return None


class SoundWriter(Protocol):
    """Writes a sound's samples as a file, piece by piece."""

    def take(self, samples: bytes) -> bytes:
        """What is written of the file now, perhaps nothing; whole samples, at least one."""
        ...

    def end(self) -> bytes:
        """What is still to be written."""
        ...


def write_sound(audio: AudioFormat, form: SoundFormat) -> SoundWriter:
    """The writer of this kind of file; MP3 is made of 16-bit samples alone."""
    return Mp3Writer(form) if audio == "mp3" else WavWriter(form)


class WavWriter:
    """A head, and the samples as they are."""

    def __init__(self, form: SoundFormat) -> None:
        chunk = b"fmt " + struct.pack("<I", len(form.fmt)) + form.fmt
        length = struct.pack("<I", _UNKNOWN)
        self._head = b"RIFF" + length + b"WAVE" + chunk + b"data" + length

    def take(self, samples: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + samples

    def end(self) -> bytes:
        return b""


class _Lame(Protocol):
    def set_bit_rate(self, kbits: int, /) -> None: ...
    def set_in_sample_rate(self, rate: int, /) -> None: ...
    def set_channels(self, channels: int, /) -> None: ...
    def set_quality(self, quality: int, /) -> None: ...
    def silence(self) -> None: ...
    def encode(self, samples: bytes, /) -> bytes | bytearray: ...
    def flush(self) -> bytes | bytearray: ...


class Mp3Writer:
    """Frames of a constant rate without a head, so that what is joined is one stream."""

    def __init__(self, form: SoundFormat) -> None:
        self._lame = cast("Callable[[], _Lame]", lameenc.Encoder)()
        self._lame.set_bit_rate(_KBITS * form.channels)
        self._lame.set_in_sample_rate(form.rate)
        self._lame.set_channels(form.channels)
        self._lame.set_quality(_QUALITY)
        self._lame.silence()
        self._taken = False

    def take(self, samples: bytes) -> bytes:
        """It takes one to two milliseconds for a second of sound."""
        self._taken = True
        return bytes(self._lame.encode(samples))

    def end(self) -> bytes:
        return bytes(self._lame.flush()) if self._taken else b""
