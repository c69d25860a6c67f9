"""The child process: limits itself, reads one document, says its text, ends.

Only `files/extract.py` starts it. Nothing here is for the server's own process.
"""

import ctypes
import math
import os
import re
import resource
import signal
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import msgspec

from kaiwa.domain.text import clean, count_tokens
from kaiwa.errors import FileTooLarge, UnsupportedFileType
from kaiwa.files import parsers
from kaiwa.files.parsers.wire import (
    BROKEN_CODE,
    NO_TEXT,
    STARVED_CODE,
    Limits,
    Order,
    Parsed,
    Report,
)

_PR_SET_PDEATHSIG = 1
_NICENESS = 5


def main() -> NoReturn:
    """Whatever a parser raises by itself ends the process with a code that says so."""
    order = msgspec.json.decode(sys.argv[-1], type=Order)
    _limit(order)
    sys.excepthook = _end_broken
    try:
        report, text = _read(order)
    except MemoryError:
        report, text = Report("The document needs too much memory to be read."), b""
    except (FileTooLarge, UnsupportedFileType) as error:
        report, text = Report(error.message, isinstance(error, FileTooLarge)), b""
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n" + text)
    sys.stdout.buffer.flush()
    os._exit(0)  # not even the destructors of a library run on after this


def _end_broken(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> NoReturn:
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    os._exit(STARVED_CODE if _find_peak() > most // 2 else BROKEN_CODE)


def _find_peak() -> int:
    """The most address space there was, in bytes; 0 where the system does not say.

    Not what `getrusage` says, for that may be the server's.
    """
    try:
        found = re.search(r"VmPeak:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except (OSError, MemoryError):
        return 0
    return int(found[1]) * 1024 if found else 0


def _limit(order: Order) -> None:
    """Before any byte of the document is seen. The signals end the process whatever it does."""
    seconds = math.ceil(order.limits.seconds)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != order.parent:
        os._exit(1)
    signal.alarm(seconds + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (order.limits.memory, order.limits.memory))
    for what in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
        resource.setrlimit(what, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    os.nice(_NICENESS)


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
