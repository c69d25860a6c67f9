"""R1 and R3: a server that is killed in the midst of answers has kept what it must.

KAIWA_TORTURE=N kills it N times instead of eight.
"""

import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import anyio
from aiohttp import ClientSession

from tests.e2e.process import Process, make_key, serving
from tests.e2e.traffic import Heard, listen, numbered, stored
from tests.support.apps import app_file, says
from tests.support.client import Client

ROUNDS = int(os.environ.get("KAIWA_TORTURE", "8"))
LONG = numbered(1000)
SHORT = numbered(12)
TALKERS = 12
ABANDONED_AFTER = 1
CHECKPOINT = 0.5
SLACK = 0.5
"""What a checkpoint may take on a machine that is busy with tests."""


@dataclass
class Round:
    """What was heard, with which key, until the server was killed."""

    heard: list[tuple[str, Heard]]
    killed_at: float


def make_apps(folder: Path) -> list[str]:
    """The keys of a talkative app and of a brief one."""
    long = make_key(folder, app_file(says(text=LONG, pace=0.01), name="Long"))
    return [long, make_key(folder, app_file(says(text=SHORT, pace=0.01), name="Short"))]


async def talk_until_killed(process: Process, keys: list[str], seconds: float) -> Round:
    found = Round([], 0)
    numbers = count()

    async def talk(session: ClientSession, key: str) -> None:
        while not found.killed_at:
            client = Client(session, f"{process.url}/v1", key, f"user {next(numbers)}")
            heard = Heard(client.user)
            found.heard.append((key, heard))
            await listen(client, "count", heard)

    async with ClientSession() as session, anyio.create_task_group() as tasks:
        for number in range(TALKERS):
            tasks.start_soon(talk, session, keys[number % len(keys)])
        await anyio.sleep(seconds)
        process.popen.kill()
        found.killed_at = time.monotonic()
    return found


async def check(process: Process, found: Round) -> None:
    """Every message somebody has heard of is there, with what was said in time."""
    async with ClientSession() as session:
        for key, heard in found.heard:
            if not heard.message_id:
                continue
            client = Client(session, f"{process.url}/v1", key, heard.user)
            message = await stored(client, heard)
            kept = message["answer"]
            assert LONG.startswith(kept)
            if heard.broken and kept not in (LONG, SHORT):  # else it was whole, but not yet told
                assert message["outcome"] in ("running", "interrupted")
            assert kept.startswith(heard.text_before(found.killed_at - CHECKPOINT - SLACK))
            if heard.ends:
                assert heard.ends == ["message_end"]
                assert kept == heard.text == SHORT


def check_database(folder: Path, copy: Path) -> None:
    """A copy is whole, as the crash has left it."""
    shutil.copytree(folder, copy)
    with closing(sqlite3.connect(copy / "kaiwa.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    shutil.rmtree(copy)


def outcomes(process: Process) -> dict[str, int]:
    """How many messages ended, and how."""
    with closing(sqlite3.connect(process.data / "kaiwa.db")) as database:
        rows = database.execute("SELECT outcome, count(*) FROM messages GROUP BY outcome")
        return dict(rows.fetchall())


def wait_until_none_runs(process: Process) -> None:
    deadline = time.monotonic() + ABANDONED_AFTER + 5
    while outcomes(process).get("running"):
        assert time.monotonic() < deadline, outcomes(process)
        time.sleep(0.1)


def test_a_killed_server_has_kept_what_was_said(tmp_path: Path) -> None:
    keys = make_apps(tmp_path)
    found = Round([], 0)
    broken = 0
    for _ in range(ROUNDS):
        with serving(tmp_path, abandoned_after=ABANDONED_AFTER) as process:
            anyio.run(check, process, found)
            seconds = random.uniform(0.1, 2)
            found = anyio.run(talk_until_killed, process, keys, seconds)
            assert process.wait() == -signal.SIGKILL
            assert "Traceback" not in process.stderr()
        broken += sum(bool(heard.broken and heard.message_id) for _, heard in found.heard)
        check_database(process.data, tmp_path / "copy")
    with serving(tmp_path, abandoned_after=ABANDONED_AFTER) as process:
        anyio.run(check, process, found)
        wait_until_none_runs(process)
        assert process.stop() == 0
    ended = outcomes(process)
    assert broken >= ROUNDS
    assert ended["interrupted"] > 0
    assert set(ended) <= {"normal", "interrupted"}
