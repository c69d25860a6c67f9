"""Families of files, told apart by their first bytes alone."""

import codecs
import re
from typing import Final, Literal

Family = Literal[
    "png",
    "jpeg",
    "gif",
    "webp",
    "pdf",
    "office",
    "zip",
    "ole",
    "mp3",
    "iso",
    "wav",
    "amr",
    "ogg",
    "flac",
    "ebml",
    "mpeg",
    "heif",
    "program",
    "archive",
    "picture",
    "text",
    "binary",
]
"""`iso` is MP4 and its kin, `ebml` Matroska and WebM, `office` Word, Excel and PowerPoint files."""

CALLED: Final[dict[Family, str]] = {
    "png": "a PNG picture",
    "jpeg": "a JPEG picture",
    "gif": "a GIF picture",
    "webp": "a WebP picture",
    "pdf": "a PDF document",
    "office": "an office document",
    "zip": "a ZIP archive",
    "ole": "an old or password-protected office document",
    "mp3": "MP3 audio",
    "iso": "MP4 audio or video",
    "wav": "WAV audio",
    "amr": "AMR audio",
    "ogg": "Ogg audio or video",
    "flac": "FLAC audio",
    "ebml": "WebM audio or video",
    "mpeg": "MPEG video",
    "heif": "a HEIF picture",
    "program": "a program",
    "archive": "an archive",
    "picture": "a picture of another kind",
    "text": "text",
    "binary": "of an unknown kind",
}

_STARTS: Final[tuple[tuple[bytes, Family], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"%PDF-", "pdf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"#!AMR", "amr"),
    (b"ID3\x02", "mp3"),
    (b"ID3\x03", "mp3"),
    (b"ID3\x04", "mp3"),
    (b"\x1a\x45\xdf\xa3", "ebml"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpeg"),
    (b"\x7fELF", "program"),
    (b"\xca\xfe\xba\xbe", "program"),
    (b"\xcf\xfa\xed\xfe", "program"),
    (b"\xce\xfa\xed\xfe", "program"),
    (b"\x00asm", "program"),
    (b"\x1f\x8b", "archive"),
    (b"BZh91AY&SY", "archive"),
    (b"\xfd7zXZ\x00", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"Rar!\x1a\x07", "archive"),
    (b"\x28\xb5\x2f\xfd", "archive"),
    (b"II*\x00", "picture"),
    (b"MM\x00*", "picture"),
    (b"8BPS", "picture"),
)
_BYTE_ORDERS: Final = (
    codecs.BOM_UTF8,
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
    codecs.BOM_UTF32_BE,
)
_ZIP_STARTS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ISO_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
_STILL_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif"})
_OFFICE_ENTRY = re.compile(
    rb"\[Content_Types\]\.xml|\[trash\]/|(?:_rels|docProps|word|xl|ppt|customXml)/"
)


def find_family(head: bytes) -> Family:
    """The family of a file that begins with these bytes; a few hundred are enough for most.

    Text is what has no known beginning and, unless it says that it is UTF-16, no NUL.
    """
    for start, family in _STARTS:
        if head.startswith(start):
            return family
    if head.startswith(_ZIP_STARTS):
        return "office" if _OFFICE_ENTRY.match(head, 30) else "zip"
    found = _find_riff(head) or _find_iso(head)
    if found:
        return found
    if head.startswith(_BYTE_ORDERS):
        return "text"
    if _is_mpeg_frame(head):
        return "mp3"
    if b"\0" not in head:
        return "text"
    return "program" if head.startswith(b"MZ") else "binary"


def _find_riff(head: bytes) -> Family | None:
    if not head.startswith(b"RIFF"):
        return None
    match head[8:12]:
        case b"WEBP":
            return "webp"
        case b"WAVE":
            return "wav"
        case _:
            return None


def _find_iso(head: bytes) -> Family | None:
    if head[4:8] not in _ISO_BOXES or b"\0" not in head[:4]:
        return None
    return "heif" if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS else "iso"


def _is_mpeg_frame(head: bytes) -> bool:
    """Whether it begins with a frame of MPEG audio, of layer II or III.

    Eleven bits of synchronisation, then a version and a layer, of which one value each is unused;
    so is one of the bit rates and of the sampling rates.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    return version != 1 and layer in (1, 2) and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3
