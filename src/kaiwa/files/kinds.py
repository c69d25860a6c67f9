"""What a file is: by its first bytes, and only when its name and declared type say the same.

Also what a name may look like, and which types a browser may show in place.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from kaiwa.domain.file import FileType
from kaiwa.errors import FileNameMissing, UnsupportedFileType
from kaiwa.files.signatures import CALLED, Family, find_family

LONGEST_STEM: Final = 200
LONGEST_EXTENSION: Final = 16
UNKNOWN_MIME_TYPE: Final = "application/octet-stream"


class Kind(Struct, frozen=True):
    """What a file is. The mime type fits the bytes."""

    type: FileType
    extension: str
    """Up to sixteen lower-case letters and digits, without the dot; may be empty."""
    mime_type: str


class _Row(Struct, frozen=True):
    type: FileType
    mime_type: str
    families: frozenset[Family]


def _row(type: FileType, mime_type: str, *families: Family) -> _Row:
    return _Row(type, mime_type, frozenset(families))


_OFFICE = "application/vnd.openxmlformats-officedocument."
_MARKDOWN = _row("document", "text/markdown", "text")
_HTML = _row("document", "text/html", "text")
_JPEG = _row("image", "image/jpeg", "jpeg")

_ROWS: Final[dict[str, _Row]] = {
    "png": _row("image", "image/png", "png"),
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "webp": _row("image", "image/webp", "webp"),
    "gif": _row("image", "image/gif", "gif"),
    "txt": _row("document", "text/plain", "text"),
    "md": _MARKDOWN,
    "markdown": _MARKDOWN,
    "mdx": _MARKDOWN,
    "html": _HTML,
    "htm": _HTML,
    "csv": _row("document", "text/csv", "text"),
    "xml": _row("document", "application/xml", "text"),
    "json": _row("document", "application/json", "text"),
    "eml": _row("document", "message/rfc822", "text"),
    "vtt": _row("document", "text/vtt", "text"),
    "properties": _row("document", "text/plain", "text"),
    "pdf": _row("document", "application/pdf", "pdf"),
    "docx": _row("document", _OFFICE + "wordprocessingml.document", "office"),
    "xlsx": _row("document", _OFFICE + "spreadsheetml.sheet", "office"),
    "pptx": _row("document", _OFFICE + "presentationml.presentation", "office"),
    "epub": _row("document", "application/epub+zip", "zip"),
    "doc": _row("document", "application/msword", "ole"),
    "xls": _row("document", "application/vnd.ms-excel", "ole"),
    "ppt": _row("document", "application/vnd.ms-powerpoint", "ole"),
    "msg": _row("document", "application/vnd.ms-outlook", "ole"),
    "mp3": _row("audio", "audio/mpeg", "mp3"),
    "mpga": _row("audio", "audio/mpeg", "mp3"),
    "m4a": _row("audio", "audio/mp4", "iso"),
    "wav": _row("audio", "audio/wav", "wav"),
    "amr": _row("audio", "audio/amr", "amr"),
    "ogg": _row("audio", "audio/ogg", "ogg"),
    "flac": _row("audio", "audio/flac", "flac"),
    "webm": _row("video", "video/webm", "ebml"),
    "mp4": _row("video", "video/mp4", "iso"),
    "mov": _row("video", "video/quicktime", "iso"),
    "mpeg": _row("video", "video/mpeg", "mpeg"),
    "svg": _row("custom", "image/svg+xml", "text"),
}

_AUDIO_WEBM = _row("audio", "audio/webm", "ebml")
_VIDEO_MPGA = _row("video", "video/mpeg", "mpeg")

_ALIASES: Final[dict[str, str]] = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "application/x-pdf": "application/pdf",
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "application/ogg": "audio/ogg",
    "video/ogg": "audio/ogg",
    "audio/opus": "audio/ogg",
    "audio/vnd.amr": "audio/amr",
}
_SILENT = frozenset({"", UNKNOWN_MIME_TYPE, "binary/octet-stream", "application/x-download"})
_ARCHIVES = frozenset(
    {"application/zip", "application/x-zip", "application/x-zip-compressed", "multipart/x-zip"}
)
_ALSO_TEXT = frozenset({"application/json", "application/xml", "message/rfc822"})
_INLINE = frozenset(
    {"image/png", "image/jpeg", "image/webp", "image/gif", "application/pdf", "text/plain"}
)

_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200b\u200e\u200f\u2060\ufeff" + "\u202a\u202b\u202c\u202d\u202e")
_ISOLATING = frozenset("\u2066\u2067\u2068\u2069")
_EXTENSION = re.compile(rf"[a-z0-9]{{1,{LONGEST_EXTENSION}}}")
_ILLEGAL = re.compile(r'[<>:"|?*]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|\Z)", re.IGNORECASE)


def find_kind(head: bytes, name: str, declared: str) -> Kind:
    """What the file is, from its first bytes (some thousand of them), name and declared type.

    Raises `UnsupportedFileType` when they contradict each other, or when there are no bytes. An
    extension that is not known is `custom` and stays so, whatever the bytes are; a name without
    one gets that of a picture or PDF whose bytes it has, or `txt` when text is declared.
    """
    if not head:
        raise UnsupportedFileType("The file is empty.")
    family = find_family(head)
    declared = _plain(declared)
    extension = _sound_extension(name) or _implied_extension(family, declared)
    row = _row_of(extension, family, head, declared)
    if row is None:
        row = _row("custom", UNKNOWN_MIME_TYPE, family)
    elif family not in row.families:
        raise UnsupportedFileType(
            f"The file is {CALLED[family]}, but its name ends in .{extension}."
        )
    if not _agrees(declared, row, family, extension):
        raise UnsupportedFileType(
            f"The file is {CALLED[family]}, but was declared as {_quotable(declared)}."
        )
    return Kind(row.type, extension, row.mime_type)


def is_inline_safe(mime_type: str) -> bool:
    """Whether a browser may show it in place; everything else is an attachment."""
    return mime_type in _INLINE or mime_type.startswith(("audio/", "video/"))


def extension_of(name: str) -> str:
    """What stands behind the last dot, in lower case; empty when nothing does."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def clean_name(name: str) -> str:
    """The name as it is kept: no folders, nothing invisible, nothing a file system trips over.

    A name longer than 200 characters becomes the first 200 of its stem, and its extension.
    Raises `FileNameMissing` when nothing is left.
    """
    name = re.split(r"[/\\]", name.strip("/\\"))[-1]
    name = _filter(name, lambda char: unicodedata.category(char) not in _CONTROLS)
    name = _filter(name, lambda char: char not in _TURNING and char not in _ISOLATING)
    name = _ILLEGAL.sub("_", unicodedata.normalize("NFC", name))
    name = _trim(_shorten(_trim(name)))
    if not name:
        raise FileNameMissing()
    return f"_{name}" if _RESERVED.match(name) else name


def _plain(declared: str) -> str:
    mime_type = declared.partition(";")[0].strip().lower()
    return _ALIASES.get(mime_type, mime_type)


def _sound_extension(name: str) -> str:
    extension = extension_of(name)
    return extension if _EXTENSION.fullmatch(extension) else ""


def _implied_extension(family: Family, declared: str) -> str:
    """Pictures from a clipboard often come with the name `blob`."""
    if family in {"png", "gif", "webp", "pdf"}:
        return family
    if family == "jpeg":
        return "jpg"
    return "txt" if family == "text" and declared == "text/plain" else ""


def _row_of(extension: str, family: Family, head: bytes, declared: str) -> _Row | None:
    """WebM and mpga may be either of two; their bytes and, failing these, the declaration say."""
    if extension == "webm" and b"V_" not in head:
        if declared == "audio/webm" or b"A_" in head:
            return _AUDIO_WEBM
    elif extension == "mpga" and family == "mpeg":
        return _VIDEO_MPGA
    return _ROWS.get(extension)


def _agrees(declared: str, row: _Row, family: Family, extension: str) -> bool:
    if declared in _SILENT or declared == row.mime_type:
        return True
    if declared in _ARCHIVES:
        return family in {"zip", "office"}
    if family == "text" and (declared.startswith("text/") or declared in _ALSO_TEXT):
        return True
    if extension == "csv" and declared == "application/vnd.ms-excel":
        return True  # what browsers declare where Excel is installed
    named = [each for each in _ROWS.values() if each.mime_type == declared]
    if declared == "audio/webm":
        named = [_AUDIO_WEBM]
    if named:
        same_bytes = any(family in each.families for each in named)
        return same_bytes and (family in {"iso", "ebml"} or row.type == "custom")
    kind_named = declared.partition("/")[0]
    if kind_named == "text":
        return False
    return kind_named not in {"image", "audio", "video"} or row.type in {kind_named, "custom"}


def _quotable(declared: str) -> str:
    return re.sub(r"[^\w.+/-]", "?", declared)[:100]


def _filter(text: str, keep: Callable[[str], bool]) -> str:
    return "".join(char for char in text if keep(char))


def _trim(name: str) -> str:
    """Without spaces and dots around it: they hide a file, or an extension."""
    return " ".join(name.split()).strip(" .")


def _shorten(name: str) -> str:
    if len(name) <= LONGEST_STEM:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > LONGEST_EXTENSION:
        return name[:LONGEST_STEM]
    return f"{stem[:LONGEST_STEM]}.{extension}"
