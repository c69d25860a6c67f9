"""Documents as text, read by a child process that is killed when it takes too much of anything.

What it says is checked like everything from outside: it may be in the hands of the document.
"""

import os
from typing import Final

import anyio
import msgspec
from msgspec import Struct

from kaiwa.domain.file import StoredFile
from kaiwa.domain.knowledge import ChunkRule
from kaiwa.errors import FileTooLarge, UnsupportedFileType
from kaiwa.files.children import ChildFailed, Fault, run_child
from kaiwa.files.kinds import Kind, extension_of
from kaiwa.files.parsers.wire import Limits, Order, Report
from kaiwa.ports import BlobStore

_PARSERS: Final = {
    "pdf": "pdf",
    "docx": "office",
    "pptx": "office",
    "xlsx": "sheets",
    "xls": "sheets",
    "html": "pages",
    "htm": "pages",
    "epub": "books",
    "eml": "mails",
} | dict.fromkeys(
    ("txt", "md", "markdown", "mdx", "csv", "xml", "json", "vtt", "properties"), "texts"
)
_CHILD: Final = "kaiwa.files.parsers.child"
_LONGEST_REPORT = 10_000
_GROWTH: Final = 8
"""A text that is cut comes with its words, and with parts of it twice."""
_REMEMBERED: Final = 4_000_000

_BROKEN = "The document is broken."
_REFUSALS: Final[dict[Fault, str]] = {
    "broken": _BROKEN,
    "crashed": "The document is broken, or needs too much memory to be read.",
    "slow": "Reading the document took too long.",
    "hungry": "The document needs too much memory to be read.",
}


class Extracted(Struct, frozen=True):
    """A document's text, never empty; `tokens` is an estimate."""

    text: str
    pages: int | None
    characters: int
    tokens: int


class Pieces(Struct, frozen=True):
    """A document's text in pieces, never none: each is a line, to be read as `parsers.wire.Piece`.

    They are left as they came, for to read all of a long document at once takes its time.
    """

    lines: list[bytes]
    pages: int | None
    tokens: int


class Extractor:
    """Reads a few documents at once; further ones wait."""

    def __init__(self, limits: Limits, at_once: int = 2, remembered: int = _REMEMBERED) -> None:
        """`remembered`: characters of the documents read last that are kept in memory."""
        self._limits = limits
        self._free = anyio.Semaphore(at_once)
        self._remembered = remembered
        self._lately: dict[str, Extracted] = {}

    async def read(self, file: StoredFile, blobs: BlobStore) -> Extracted:
        """A stored document's text, remembered for a while. Raises as `extract`, and `NotFound`."""
        found = self._lately.pop(file.key, None)
        if found is None:
            kind = Kind(file.type, file.extension, file.mime_type)
            found = await self.extract(await blobs.read(file.key), kind)
        self._lately[file.key] = found
        while sum([len(each.text) for each in self._lately.values()]) > self._remembered:
            del self._lately[next(iter(self._lately))]
        return found

    async def extract(self, data: bytes, kind: Kind) -> Extracted:
        """The document's text. The limit of time does not count the waiting for others.

        Raises `FileTooLarge` when its text or unpacked parts exceed the limits, and
        `UnsupportedFileType` when it is broken, locked, has no text, takes too long or too much
        memory, or is of a kind that cannot be read. A `KaiwaError` says that no process starts.
        """
        report, text = await self._ask(data, kind, None)
        try:
            return Extracted(text.decode(), report.pages, report.characters, report.tokens)
        except UnicodeError as error:
            raise UnsupportedFileType(_BROKEN) from error

    async def cut(self, data: bytes, kind: Kind, rule: ChunkRule) -> Pieces:
        """The document's text, cut by the rule. Raises as `extract`."""
        report, lines = await self._ask(data, kind, rule)
        return Pieces(lines.split(b"\n"), report.pages, report.tokens)

    async def _ask(self, data: bytes, kind: Kind, rule: ChunkRule | None) -> tuple[Report, bytes]:
        if not is_readable(kind):
            raise UnsupportedFileType(f"The text of a .{kind.extension} file cannot be read.")
        order = Order(_PARSERS[kind.extension], kind.extension, os.getpid(), self._limits, rule)
        async with self._free:
            said = await _run(data, order)
        return _understand(said)


def is_readable(kind: Kind) -> bool:
    """Whether we know how to get its text."""
    return kind.type == "document" and kind.extension in _PARSERS


def is_readable_name(name: str) -> bool:
    """Whether a file of this name can be, if it is what it says."""
    return extension_of(name) in _PARSERS


async def _run(data: bytes, order: Order) -> bytes:
    """What a child said of the document."""
    limits = order.limits
    most = limits.text * (_GROWTH if order.rule else 1) + _LONGEST_REPORT
    try:
        return await run_child(_CHILD, order, data, seconds=limits.seconds, most=most)
    except ChildFailed as error:
        raise UnsupportedFileType(_REFUSALS[error.fault]) from error


def _understand(said: bytes) -> tuple[Report, bytes]:
    """What it found, and the text or its pieces."""
    line, _, text = said.partition(b"\n")
    try:
        report = msgspec.json.decode(line, type=Report)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UnsupportedFileType(_BROKEN) from error
    if report.refusal is None:
        return report, text
    if report.too_large:
        raise FileTooLarge(report.refusal)
    raise UnsupportedFileType(report.refusal)
