"""What a child process does before it sees a byte of a file: it limits itself.

Only what `files/children.py` starts calls this. Nothing here is for the server's own process.
"""

import ctypes
import math
import os
import re
import resource
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn

BROKEN_CODE: Final = 65
"""The child's exit code when what reads the file has raised."""
STARVED_CODE: Final = 66
"""The same when much memory was in use, for not every library says that it got no more."""

_PR_SET_PDEATHSIG = 1
_NICENESS = 5


def confine(parent: int, seconds: float, memory: int) -> None:
    """From here on the process ends when it takes more, and with the server, its `parent`.

    The signals end it whatever it does; so does all that is raised, with a code that says so.
    """
    seconds = math.ceil(seconds)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.alarm(seconds + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for what in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
        resource.setrlimit(what, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    os.nice(_NICENESS)
    sys.excepthook = _end_broken


def end_well(said: bytes) -> NoReturn:
    """Say it and end; not even the destructors of a library run on after this."""
    sys.stdout.buffer.write(said)
    sys.stdout.buffer.flush()
    os._exit(0)


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
