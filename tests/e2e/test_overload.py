"""R11: ten times what the server takes; who is in hears all, who is not is told so at once.

KAIWA_TORTURE=N keeps it up for N/2 seconds on each engine instead of three.
"""

from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientSession, TCPConnector
from anyio import to_thread

from tests.e2e.process import Process, make_key, serving
from tests.e2e.torture import Kept, Tally, rounds
from tests.e2e.traffic import Heard, listen, numbered, stored
from tests.support.apps import app_file, says
from tests.support.client import Client

ALLOWED = 20
ASKERS = 10 * ALLOWED
AGAIN = 0.5
"""Seconds until one that was refused asks again: far sooner than it is told to."""
SECONDS = rounds(3, share=2)
TEXT = numbered(60)
SLACK = 50
"""MB that the server may grow by while it is overloaded."""


@dataclass
class Load:
    """What the askers have heard, and what was seen from outside."""

    answers: list[Heard] = field(default_factory=list[Heard])
    refusals: list[Heard] = field(default_factory=list[Heard])
    alive: list[int] = field(default_factory=list[int])
    """How many answers the database had under way."""
    probes: set[int] = field(default_factory=set[int])
    grown: float = 0
    over: bool = False


async def ask_on(session: ClientSession, process: Process, key: str, user: str, load: Load) -> None:
    client = Client(session, f"{process.url}/v1", key, user)
    while not load.over:
        heard = Heard(user)
        await listen(client, "count", heard)
        if heard.status == 200:
            load.answers.append(heard)
        else:
            load.refusals.append(heard)
            await anyio.sleep(AGAIN)


async def look_on(session: ClientSession, process: Process, kept: Kept, load: Load) -> None:
    while not load.over:
        for path in ("/healthz", "/readyz"):
            async with session.get(process.url + path) as response:
                load.probes.add(response.status)
        outcomes = await to_thread.run_sync(kept.outcomes)
        load.alive.append(outcomes.get("running", 0))
        await anyio.sleep(0.1)


async def overload(process: Process, key: str, kept: Kept) -> Load:
    load = Load()
    async with (
        ClientSession(connector=TCPConnector(limit=0)) as session,
        anyio.create_task_group() as tasks,
    ):
        for number in range(ASKERS):
            tasks.start_soon(ask_on, session, process, key, f"user {number}", load)
        tasks.start_soon(look_on, session, process, kept, load)
        await anyio.sleep(SECONDS / 3)
        early = process.memory()
        await anyio.sleep(SECONDS - SECONDS / 3)
        load.grown = process.memory() - early
        load.over = True
    return load


async def check(process: Process, key: str, load: Load) -> None:
    async with ClientSession() as session:
        for heard in load.answers:
            assert (heard.text, heard.ends, heard.broken) == (TEXT, ["message_end"], False)
            client = Client(session, f"{process.url}/v1", key, heard.user)
            message = await stored(client, heard)
            assert (message["answer"], message["outcome"]) == (TEXT, "normal")
    for heard in load.refusals:
        assert (heard.status, heard.broken) == (429, False)
        assert int(heard.retry_after) > 0


@pytest.mark.torture
def test_ten_times_what_the_server_takes_harms_no_answer(
    tmp_path: Path, database_url: str, request: pytest.FixtureRequest
) -> None:
    key = make_key(tmp_path, app_file(says(text=TEXT, pace=0.01)), database_url)
    kept = Kept(tmp_path, database_url)
    tally = Tally(f"10 x the load, {'PostgreSQL' if database_url else 'SQLite'}")
    with serving(tmp_path, turns_at_once=ALLOWED, database_url=database_url) as process:
        load = anyio.run(overload, process, key, kept)
        anyio.run(check, process, key, load)
        assert process.stop() == 0
        assert "Traceback" not in process.stderr()
    assert len(load.answers) >= ALLOWED
    assert len(load.refusals) >= ALLOWED
    assert 0 < max(load.alive) <= ALLOWED
    assert load.probes == {200}
    assert load.grown < SLACK
    assert kept.outcomes() == {"normal": len(load.answers)}
    tally.strikes = len(load.refusals)
    tally.answers = len(load.answers)
    tally.grown = load.grown
    tally.report(request)
