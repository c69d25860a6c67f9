"""Plain text of every kind, whatever its encoding."""

import codecs
import re
from typing import Final

import chardet

from kaiwa.files.parsers.wire import Parsed

_BYTE_ORDERS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_HEAD = 1024
_SAMPLE = 100_000
_LEAST_CONFIDENCE = 0.2
_FALLBACK = "windows-1252"


def read(data: bytes, extension: str, most: int) -> Parsed:
    return Parsed(None, [decode(data)])


def decode(data: bytes) -> str:
    """Its text: by its byte order mark, as UTF-8, as it declares, or as is most likely."""
    for mark, encoding in _BYTE_ORDERS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    declared = _DECLARED.search(data[:_HEAD])
    japanese = ["iso2022_jp"] if b"\x1b$" in data else []  # is ASCII to all others
    names = [*japanese, "utf-8", *([declared[1].decode("ascii", "replace")] if declared else [])]
    for name in names:
        try:
            return data.decode(name)
        except (UnicodeError, LookupError):
            continue
    return _guess(data)


def _guess(data: bytes) -> str:
    found = chardet.detect(data[:_SAMPLE])
    sure = found["confidence"] >= _LEAST_CONFIDENCE
    try:
        return data.decode((sure and found["encoding"]) or _FALLBACK, "replace")
    except LookupError:
        return data.decode(_FALLBACK, "replace")
