"""Child processes that read what may be hostile; one that takes too much of anything is killed.

What one says is to be checked like everything from outside: it may be in the hands of the file.
"""

import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Final, Literal

import anyio
import msgspec
from anyio.abc import Process
from msgspec import Struct

import kaiwa
from kaiwa.errors import KaiwaError
from kaiwa.files.confined import BROKEN_CODE, STARVED_CODE

logger = logging.getLogger(__name__)

_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
    "from importlib import import_module; import_module(sys.argv[2]).main()"
)

Fault = Literal["broken", "crashed", "slow", "hungry"]
"""`crashed` may be either of `broken` and `hungry`."""

_FAULTS: Final[dict[int, Fault]] = {
    BROKEN_CODE: "broken",
    STARVED_CODE: "crashed",
    -signal.SIGXCPU: "slow",
    -signal.SIGALRM: "slow",
    -signal.SIGKILL: "hungry",
}


class ChildFailed(Exception):
    """The child did not come to an end of its own."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Fault = fault


async def run_child(module: str, order: Struct, data: bytes, *, seconds: float, most: int) -> bytes:
    """What `main` of this module says of the data, at most `most` bytes; it is gone on return.

    `order` is its last argument, as JSON. Raises `ChildFailed`, and a `KaiwaError` when no process
    starts.
    """
    child = None
    with anyio.CancelScope(shield=True):  # so that no child is started that nobody knows
        child = await _start(module, order)
    assert child
    try:
        with anyio.move_on_after(seconds):
            said = await _converse(child, data, most)
            code = await child.wait()
            if code == 0:
                return said
            raise _fault_of(code)
        raise ChildFailed("slow")
    finally:
        with anyio.CancelScope(shield=True):
            if child.returncode is None:
                child.kill()
            await child.aclose()


async def _start(module: str, order: Struct) -> Process:
    """The child finds the modules that we find, and nothing of our environment.

    `-S` spares it looking for them itself. Its own session keeps the terminal's signals from it.
    """
    paths = [*filter(None, sys.path), str(Path(kaiwa.__file__).parents[1])]
    encode = msgspec.json.encode
    arguments = [encode(paths).decode(), module, encode(order).decode()]
    return await anyio.open_process(
        [sys.executable, "-I", "-S", "-c", _START, *arguments],
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
        start_new_session=True,
    )


async def _converse(child: Process, data: bytes, most: int) -> bytes:
    """It says nothing before it has heard all, so one may follow on the other."""
    assert child.stdin
    assert child.stdout
    with suppress(OSError, anyio.BrokenResourceError):  # its exit code says why it left
        await child.stdin.send(data)
        await child.stdin.aclose()
    said = bytearray()
    async for piece in child.stdout:
        said += piece
        if len(said) > most:
            raise ChildFailed("broken")
    return bytes(said)


def _fault_of(code: int) -> Exception:
    """What the child's end means; by itself it ends only with codes that we know."""
    if code in _FAULTS or code < 0:
        return ChildFailed(_FAULTS.get(code, "crashed"))
    logger.error("a process that should read a file could not start: exit code %d", code)
    return KaiwaError()
