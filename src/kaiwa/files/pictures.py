"""Pictures: whether they are whole and harmless, and made small enough for a model.

All of it is plain work for a thread; decoding takes up to four bytes of memory for a pixel.
"""

import io
import math
import struct
import warnings
import zipfile
from threading import Lock
from typing import Final

from msgspec import Struct
from PIL import Image

from kaiwa.errors import FileTooLarge, UnsupportedFileType

MOST_PIXELS: Final = 52_000_000
"""Of one frame; cameras that say fifty megapixels give a little more."""
MOST_FRAMES: Final = 1000
MOST_PIXELS_OF_ALL_FRAMES: Final = 300_000_000

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_MIME_TYPES: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_ORIENTATION = 274
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUALITY = 85
_SMALLEST_SIDE = 8
_BROKEN = "The picture is broken or cut off."
_MARKUP: Final = (b"<script", b"<html", b"<!doctype", b"<?php", b"<iframe")

_FAULTS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    EOFError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
    Warning,
)
"""What Pillow raises for bytes that are not the picture they should be; no list of it is kept."""

_SILENCE = Lock()
"""Held while warnings are silenced, for that is done to the whole process."""


class Picture(Struct, frozen=True):
    """A picture that was decoded without fault. `format` is PNG, JPEG, WEBP or GIF."""

    width: int
    height: int
    format: str
    frames: int


def check_picture(data: bytes) -> Picture:
    """Decode all of it, which takes up to a few seconds for a long animation.

    Raises `UnsupportedFileType` for what is broken, cut off, too large when decoded, or is a
    second kind of file at the same time.
    """
    try:
        with _open(data) as image:
            size, format = image.size, _format_of(image)
            frames = _load_frames(image, format)
    except _FAULTS as error:
        raise UnsupportedFileType(_BROKEN) from error
    if not _has_its_end(data, format):
        raise UnsupportedFileType(_BROKEN)
    if _is_another_file_too(data):
        raise UnsupportedFileType("The picture has another file hidden in it.")
    return Picture(*size, format, frames)


def fit_picture(data: bytes, *, longest_side: int, most_bytes: int) -> tuple[bytes, str]:
    """The picture with no side longer and no more bytes than this, and its mime type.

    What fits is returned as it is, after a look at its header. What does not is scaled down,
    upright and without metadata: as PNG when it has transparent parts, else as JPEG; of an
    animation it is the first frame. Raises `UnsupportedFileType`, and `FileTooLarge` when not even
    a tiny picture has so few bytes.
    """
    try:
        with _open(data) as image:
            if len(data) <= most_bytes and max(image.size) <= longest_side:
                return data, _MIME_TYPES[_format_of(image)]
            image.draft("RGB", (longest_side, longest_side))
            image.load()
            scaled = _without_oddities(image)
            scaled.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
            turn = _TURNS.get(_find_orientation(image))
            return _encode(scaled.transpose(turn) if turn is not None else scaled, most_bytes)
    except _FAULTS as error:
        raise UnsupportedFileType(_BROKEN) from error


def _open(data: bytes) -> Image.Image:
    """Its header is read, and nothing decoded."""
    with _SILENCE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    _check_size(image)
    return image


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        most = MOST_PIXELS // 1_000_000
        raise UnsupportedFileType(f"The picture has more than {most} million pixels.")


def _format_of(image: Image.Image) -> str:
    """Several JPEGs in one file, which many cameras make, are used as their first."""
    return "JPEG" if image.format == "MPO" else image.format or ""


def _load_frames(image: Image.Image, format: str) -> int:
    """Decode frame by frame, for a header may lie about how many there are; how many were."""
    image.load()
    frames, pixels = 1, image.width * image.height
    if format == "JPEG":
        return frames
    while True:
        try:
            image.seek(frames)
        except EOFError:
            return frames
        _check_size(image)
        image.load()
        frames += 1
        pixels += image.width * image.height
        if frames > MOST_FRAMES or pixels > MOST_PIXELS_OF_ALL_FRAMES:
            raise UnsupportedFileType("The animation is too long.")


def _has_its_end(data: bytes, format: str) -> bool:
    """Decoders forgive these two when their last bytes are missing."""
    if format == "PNG":
        return _find_png_end(data) <= len(data)
    return format != "GIF" or data.rstrip(b"\0\r\n\t ").endswith(b";")


def _find_png_end(data: bytes) -> int:
    at, name = 8, b""
    while name != b"IEND" and at <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        at += 12 + length
    return at


def _is_another_file_too(data: bytes) -> bool:
    """Whether another program would find its own kind of file in these bytes.

    An archive is looked for at the end and a PDF within the first bytes, as their readers do.
    """
    if zipfile.is_zipfile(io.BytesIO(data)) or b"%PDF-" in data[:1024]:
        return True
    lowered = data.lower()
    return any(tag in lowered for tag in _MARKUP)


def _without_oddities(image: Image.Image) -> Image.Image:
    """In grey, RGB or, when some of it is transparent, RGBA."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        opaque = image.getchannel("A").getextrema()[0] == 255
        return image.convert("RGB") if opaque else image
    if image.mode.startswith("I"):
        # Of sixteen bits, which `convert` would only cut off.
        image = image.point(  # pyright: ignore[reportUnknownMemberType]
            lambda value: value / 256
        ).convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _find_orientation(image: Image.Image) -> int:
    """1 when it says nothing, or nothing that can be read."""
    exif = Image.Exif()
    with _SILENCE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exif.load(image.info.get("exif", b""))
            return int(exif.get(_ORIENTATION, 1))
        except _FAULTS:
            return 1


def _encode(image: Image.Image, most_bytes: int) -> tuple[bytes, str]:
    """As it is if that is small enough, else ever smaller."""
    format = "PNG" if image.mode == "RGBA" else "JPEG"
    while max(image.size) >= _SMALLEST_SIDE:
        out = io.BytesIO()
        image.save(out, format, quality=_QUALITY)
        if out.tell() <= most_bytes:
            return out.getvalue(), _MIME_TYPES[format]
        factor = min(0.9, max(0.2, 0.95 * math.sqrt(most_bytes / out.tell())))
        side = int(max(image.size) * factor)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    raise FileTooLarge("The picture cannot be made small enough for the model.")
