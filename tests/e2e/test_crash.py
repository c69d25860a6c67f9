"""R1 and R3: a server that is killed in the midst of answers has kept what it must.

KAIWA_TORTURE=N kills it N times on each engine instead of four.
"""

import random
import signal
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientSession

from tests.e2e.process import Process, make_key, serving
from tests.e2e.torture import Kept, Tally, rounds
from tests.e2e.traffic import Heard, listen, numbered, stored
from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.moderating import moderated

ROUNDS = rounds(4)
LONG = numbered(1000)
SHORT = numbered(12)
TALKERS = 12
ABANDONED_AFTER = 1
CHECKPOINT = 0.4
SLACK = 0.6
"""What a checkpoint may take on a machine that is busy with tests."""


@dataclass
class Round:
    """What was heard, with which key, until the server was killed."""

    heard: list[tuple[str, Heard]]
    killed_at: float


def make_apps(folder: Path, database_url: str) -> list[str]:
    """The keys of a talkative app, of a brief one, and of one whose last letters are held back."""
    words = moderated(keywords="\n".join(f"{digit} never" for digit in range(10)))
    apps = (
        app_file(says(text=LONG, pace=0.01)),
        app_file(says(text=SHORT, pace=0.01)),
        app_file(says(text=LONG, pace=0.01), sensitive_word_avoidance=words),
    )
    return [make_key(folder, app, database_url) for app in apps]


async def talk_until_killed(process: Process, keys: list[str], seconds: float) -> Round:
    found = Round([], 0)
    numbers = count()

    async def talk(session: ClientSession, key: str) -> None:
        """Each in one conversation of its own, as long as it gets answers."""
        client = Client(session, f"{process.url}/v1", key, f"user {next(numbers)}")
        where = ""
        while not found.killed_at:
            heard = Heard(client.user)
            found.heard.append((key, heard))
            await listen(client, "count", heard, where)
            where = heard.conversation_id

    async with ClientSession() as session, anyio.create_task_group() as tasks:
        for number in range(TALKERS):
            tasks.start_soon(talk, session, keys[number % len(keys)])
        await anyio.sleep(seconds)
        process.popen.kill()
        found.killed_at = time.monotonic()
    return found


async def check(process: Process, found: Round, tally: Tally) -> None:
    """Every message somebody has heard of is there, with what was said in time."""
    async with ClientSession() as session:
        for key, heard in found.heard:
            if not heard.message_id:
                continue
            client = Client(session, f"{process.url}/v1", key, heard.user)
            message = await stored(client, heard)
            tally.answers += 1
            check_message(message["answer"], message["outcome"], heard, found.killed_at, tally)


def check_message(kept: str, outcome: str, heard: Heard, killed_at: float, tally: Tally) -> None:
    assert LONG.startswith(kept)
    if heard.broken and kept not in (LONG, SHORT):  # else it was whole, but not yet told
        assert outcome in ("running", "interrupted")
        tally.cut += 1
        tally.tail = max(tally.tail, killed_at - lost_since(heard, kept, killed_at))
    assert kept.startswith(heard.text_before(killed_at - CHECKPOINT - SLACK))
    if heard.ends:
        assert heard.ends == ["message_end"]
        assert kept == heard.text == SHORT
        assert outcome == "normal"


def lost_since(heard: Heard, kept: str, killed_at: float) -> float:
    """When the first piece was heard that was not kept."""
    length = 0
    for at, text in heard.pieces:
        length += len(text)
        if length > len(kept):
            return min(at, killed_at)
    return killed_at


def wait_until_none_runs(kept: Kept) -> None:
    deadline = time.monotonic() + ABANDONED_AFTER + 5
    while kept.outcomes().get("running"):
        assert time.monotonic() < deadline, kept.outcomes()
        time.sleep(0.1)


@pytest.mark.torture
def test_a_killed_server_has_kept_what_was_said(
    tmp_path: Path, database_url: str, request: pytest.FixtureRequest
) -> None:
    keys = make_apps(tmp_path, database_url)
    kept = Kept(tmp_path, database_url)
    tally = Tally(f"kill -9, {'PostgreSQL' if database_url else 'SQLite'}")
    settings = {"database_url": database_url, "abandoned_after": ABANDONED_AFTER}
    found = Round([], 0)
    for _ in range(ROUNDS):
        with serving(tmp_path, **settings) as process:
            anyio.run(check, process, found, tally)
            seconds = random.uniform(0.1, 2)
            found = anyio.run(talk_until_killed, process, keys, seconds)
            assert process.wait() == -signal.SIGKILL
            assert "Traceback" not in process.stderr()
        tally.strikes += 1
        kept.check()
    with serving(tmp_path, **settings) as process:
        anyio.run(check, process, found, tally)
        wait_until_none_runs(kept)
        assert process.stop() == 0
    kept.check()
    tally.report(request)
    ended = kept.outcomes()
    assert tally.cut >= ROUNDS
    assert ended["interrupted"] > 0
    assert set(ended) <= {"normal", "interrupted"}
