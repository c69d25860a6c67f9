"""A command in a terminal of its own, as a person uses it."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.process import KAIWA, clean_environment

CTRL_C = "\x03"
CTRL_D = "\x04"
_PATIENCE = 15
# Without its terminal as the controlling one, a program gets no signal for a Ctrl-C.
_OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """What the program has shown, and the keyboard."""

    def __init__(self, keyboard: int, popen: "subprocess.Popen[bytes]") -> None:
        self.shown = ""
        self._keyboard = keyboard
        self._popen = popen
        self._seen = 0

    def type(self, text: str) -> None:
        """A moment later, as a person does: a prompt is shown just before its input is read."""
        time.sleep(0.2)
        os.write(self._keyboard, text.encode())

    def expect(self, text: str) -> str:
        """Wait until `text` is shown; what came since the last time, and before it."""
        deadline = time.monotonic() + _PATIENCE
        while (found := self.shown.find(text, self._seen)) < 0:
            assert self._read(deadline), f"no {text!r} in {self.shown[self._seen :]!r}"
        before = self.shown[self._seen : found]
        self._seen = found + len(text)
        return before

    def wait(self) -> int:
        """The program's exit code; all that it has shown is read then."""
        deadline = time.monotonic() + _PATIENCE
        while self._read(deadline):
            pass
        return self._popen.wait(_PATIENCE)

    def _read(self, deadline: float) -> bool:
        """Whether there was more to read."""
        ready, _, _ = select.select([self._keyboard], [], [], max(deadline - time.monotonic(), 0))
        try:
            data = os.read(self._keyboard, 65536) if ready else b""
        except OSError:  # the program has closed its end
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


@contextmanager
def terminal(folder: Path, *arguments: str) -> Generator[Terminal]:
    """Run `kaiwa` with these arguments; it ends with the block."""
    keyboard, screen = pty.openpty()
    popen = subprocess.Popen(
        [sys.executable, "-c", _OWN_TERMINAL, KAIWA, *arguments],
        cwd=folder,
        env=clean_environment(TERM="dumb"),
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
    )
    os.close(screen)
    try:
        yield Terminal(keyboard, popen)
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        os.close(keyboard)
