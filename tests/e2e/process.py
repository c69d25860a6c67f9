"""A real `kaiwa` process: run to its end, or serving on a free port until the block ends.

    with serving(folder, drain_timeout=1) as server:
        key = server.new_key(DSL)
        ...                                 # ask `server.url`
        assert server.stop() == 0
    server.stdout(), server.stderr()

A process is always ended by its own id.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from click.testing import CliRunner

from kaiwa.cli import cli

KAIWA = str(Path(sys.executable).parent / "kaiwa")
Done = subprocess.CompletedProcess[str]
_FOREIGN = ("KAIWA_", "OPENAI_", "ANTHROPIC_", "OLLAMA_")
_PATIENCE = 20
_NOBODY = "127.0.0.1:9"
"""Where no Ollama answers, whatever runs on the machine."""


def clean_environment(**variables: object) -> dict[str, str]:
    """The environment without anybody's settings, and with these."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "OLLAMA_HOST": _NOBODY, **{name: str(v) for name, v in variables.items()}}


def run(
    folder: Path, *arguments: str, before: str = "", given: bytes = b"", **variables: object
) -> Done:
    """One command, to its end, in `folder`.

    `before`: what a shell does first; `given`: what comes on its standard input.
    """
    command = [KAIWA, *arguments]
    if before:
        command = ["sh", "-c", f'{before}; exec "$@"', "sh", *command]
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(**variables),
        input=given,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Done(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def call(folder: Path, *arguments: str, **variables: object) -> Done:
    """As `run`, but within this process, for a second each adds up; raises what would be shown."""
    clean = clean_environment(**variables)
    environment = {name: clean.get(name) for name in {**os.environ, **clean}}
    log = logging.getLogger("kaiwa")
    level = log.level
    with chdir(folder):
        found = CliRunner().invoke(cli, arguments, prog_name="kaiwa", env=environment)
    log.setLevel(level)
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Done(arguments, found.exit_code, found.stdout, found.stderr)


def make_key(folder: Path, dsl: str, database_url: str = "") -> str:
    """Apply an app's file to the data in `folder` or at the url, and make a key for it."""
    file = folder / f"app-{time.monotonic_ns()}.yml"
    file.write_text(dsl)
    applied = call(folder, "app", "apply", str(file), KAIWA_DATABASE_URL=database_url)
    assert applied.returncode == 0, applied.stderr
    app = applied.stdout.strip()
    made = call(folder, "key", "create", app, KAIWA_DATABASE_URL=database_url)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@dataclass
class Process:
    """A `kaiwa serve`."""

    folder: Path
    popen: "subprocess.Popen[bytes]"
    started_at: float
    port: int = 0
    ready_after: float = 0
    """Seconds from its start to the first good /readyz."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def memory(self) -> float:
        """What it has in memory, in MB; 0 where the system does not say."""
        status = Path(f"/proc/{self.popen.pid}/status")
        found = re.search(r"VmRSS:\s*(\d+) kB", status.read_text() if status.exists() else "")
        return int(found[1]) / 1024 if found else 0

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait(self, seconds: float = _PATIENCE) -> int:
        """Its exit code."""
        return self.popen.wait(seconds)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    def answers(self, path: str = "/readyz") -> int:
        """The status at this path; 0 when nobody listens."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()

    def wait_demo(self) -> None:
        """Until the last line about it is printed; at the first start, some time after `ready`."""
        deadline = time.monotonic() + _PATIENCE
        while " chat 'Kaiwa guide'\n" not in self.stdout():
            assert time.monotonic() < deadline, self.stdout()
            time.sleep(0.02)

    def wait_ready(self) -> None:
        deadline = self.started_at + _PATIENCE
        while self.popen.poll() is None and time.monotonic() < deadline:
            if not self.port and (found := re.search(r"serves http://\S+:(\d+)/v1", self.stdout())):
                self.port = int(found[1])
            if self.port and self.answers() == 200:
                self.ready_after = time.monotonic() - self.started_at
                return
            time.sleep(0.01)
        raise AssertionError(f"not ready: {self.popen.poll()}\n{self.stdout()}\n{self.stderr()}")


@contextmanager
def starting(folder: Path, *arguments: str, **variables: object) -> Generator[Process]:
    """Start to serve the data in `folder`; the process ends with the block."""
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        started_at = time.monotonic()
        popen = subprocess.Popen(
            [KAIWA, "serve", "--port", "0", *arguments],
            cwd=folder,
            env=clean_environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,  # a Ctrl-C for the tests is not one for the server
        )
    try:
        yield Process(folder, popen, started_at)
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait()


@contextmanager
def serving(folder: Path, *arguments: str, **settings: object) -> Generator[Process]:
    """As `starting`, and ready; `settings` by their names, or whole variables in capitals."""
    variables = {
        name if name.isupper() else f"KAIWA_{name.upper()}": value
        for name, value in settings.items()
    }
    with starting(folder, *arguments, **variables) as process:
        process.wait_ready()
        yield process
