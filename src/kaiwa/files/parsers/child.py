"""The child process: limits itself, reads one document, says its text, ends.

Only `files/extract.py` has it started. Nothing here is for the server's own process.
"""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NoReturn

import msgspec

from kaiwa.domain.text import clean, count_tokens
from kaiwa.errors import FileTooLarge, UnsupportedFileType
from kaiwa.files import parsers
from kaiwa.files.confined import confine, end_well
from kaiwa.files.parsers.wire import NO_TEXT, Limits, Order, Parsed, Report


def main() -> NoReturn:
    """Whatever a parser raises by itself ends the process with a code that says so."""
    order = msgspec.json.decode(sys.argv[-1], type=Order)
    confine(order.parent, order.limits.seconds, order.limits.memory)
    try:
        report, text = _read(order)
    except MemoryError:
        report, text = Report("The document needs too much memory to be read."), b""
    except (FileTooLarge, UnsupportedFileType) as error:
        report, text = Report(error.message, isinstance(error, FileTooLarge)), b""
    end_well(msgspec.json.encode(report) + b"\n" + text)


def _read(order: Order) -> tuple[Report, bytes]:
    data = sys.stdin.buffer.read()
    parser = import_module(f"{parsers.__name__}.{order.parser}")
    parsed: Parsed = parser.read(data, order.extension, order.limits.unpacked)
    text = _join(parsed.pieces, order.limits)
    if not text:
        raise UnsupportedFileType(NO_TEXT)
    report = Report(pages=parsed.pages, characters=len(text), tokens=count_tokens(text))
    if order.rule is None:
        return report, text.encode()
    cutting: Any = import_module(f"{parsers.__name__}.cutting")
    return report, cutting.cut_up(text, order.rule, order.extension)


def _join(pieces: Iterable[str], limits: Limits) -> str:
    """All pieces, or a refusal as soon as they are too many."""
    kept: list[str] = []
    size = 0
    for piece in pieces:
        kept.append(clean(piece))
        size += len(kept[-1].encode())
        if size > limits.text:
            most = max(1, limits.text // 1_000_000)
            raise FileTooLarge(f"The text of the document is longer than {most} MB.")
    return "".join(kept).replace("\r\n", "\n").strip()
