"""A database that cannot be used for a moment, under live streams; what each has heard is kept.

Whoever asks meanwhile is told to wait.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from aiohttp import ClientSession

from tests.e2e.process import Process, make_key, serving
from tests.e2e.torture import Kept, Tally, rounds
from tests.e2e.traffic import Heard, listen, numbered, stored
from tests.support.apps import app_file, says
from tests.support.client import Client

LONG = numbered(400)
SHORT = numbered(60)
LISTENERS = 10
BETWEEN = 0.05
"""Seconds between the questions of others."""
AWAY = 1.5
ABANDONED_AFTER = 1
"""Shorter than the outage: nobody's heart could beat, and nobody may be given up."""
SETTLED = 0.5
"""When, after its return, the database is there for every question."""


@dataclass(frozen=True)
class Fault:
    """How a database comes to be of no use, and how it gets well again."""

    strike: Callable[[Process], None]
    mend: Callable[[Process], None]


@dataclass
class Outage:
    """What was heard before, while and after the database could not be used."""

    live: list[tuple[str, Heard]] = field(default_factory=list[tuple[str, Heard]])
    """Streams that spoke when it went."""
    asked: list[tuple[float, Heard]] = field(default_factory=list[tuple[float, Heard]])
    """What others asked all the time, and when."""
    left_at: float = 0
    back_at: float = 0
    readyz: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])


async def live_through(process: Process, keys: tuple[str, str], fault: Fault) -> Outage:
    """Have some listen to a long answer and some to a short one, and others ask on and on."""
    found = Outage()

    async def speak(session: ClientSession, number: int) -> None:
        key = keys[number % 2]
        heard = Heard(f"listener {number}")
        found.live.append((key, heard))
        await listen(Client(session, f"{process.url}/v1", key, heard.user), "count", heard)

    async def ask_on(session: ClientSession) -> None:
        async with anyio.create_task_group() as asking:
            while not found.back_at or time.monotonic() < found.back_at + 2 * SETTLED:
                heard = Heard(f"asker {len(found.asked)}")
                found.asked.append((time.monotonic(), heard))
                client = Client(session, f"{process.url}/v1", keys[1], heard.user)
                asking.start_soon(listen, client, "count", heard)
                await anyio.sleep(BETWEEN)

    async def look(session: ClientSession) -> None:
        while not found.back_at or time.monotonic() < found.back_at + 2 * SETTLED:
            at = time.monotonic()
            async with session.get(f"{process.url}/readyz") as response:
                found.readyz.append((at, response.status))
            await anyio.sleep(0.1)

    async with ClientSession() as session, anyio.create_task_group() as tasks:
        for number in range(LISTENERS):
            tasks.start_soon(speak, session, number)
        tasks.start_soon(look, session)
        tasks.start_soon(ask_on, session)
        with anyio.fail_after(15):
            while sum(bool(heard.pieces) for _, heard in found.live) < LISTENERS:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        await anyio.sleep(random.uniform(0, 0.3))
        fault.strike(process)
        found.left_at = time.monotonic()
        try:
            await anyio.sleep(AWAY)
        finally:
            fault.mend(process)
        found.back_at = time.monotonic()
    return found


async def check_heard(process: Process, keys: tuple[str, str], found: Outage, tally: Tally) -> None:
    async with ClientSession() as session:
        for key, heard in found.live:
            assert (heard.status, heard.ends, heard.broken) == (200, ["message_end"], False)
            assert heard.text == (SHORT if key == keys[1] else LONG)
            await check_kept(Client(session, f"{process.url}/v1", key, heard.user), heard, tally)
        for at, heard in found.asked:
            if heard.status == 503:
                assert found.left_at - SETTLED < at < found.back_at + SETTLED
                assert int(heard.retry_after) > 0
                continue
            assert (heard.status, heard.broken) == (200, False)
            # What is asked just before its return may be answered just after.
            assert not found.left_at < at < found.back_at - SETTLED
            # One that was kept just before may have found no history to be read.
            assert heard.ends == ["message_end"] or at < found.left_at
            await check_kept(
                Client(session, f"{process.url}/v1", keys[1], heard.user), heard, tally
            )


async def check_kept(client: Client, heard: Heard, tally: Tally) -> None:
    message = await stored(client, heard)
    assert message["answer"] == heard.text
    assert message["outcome"] == ("normal" if heard.ends == ["message_end"] else "error")
    tally.answers += 1
    tally.cut += heard.ends != ["message_end"]


def check_rows(kept: Kept) -> None:
    """No row is left running; one that nobody was told of is closed as interrupted."""
    deadline = time.monotonic() + ABANDONED_AFTER + 5
    while "running" in (outcomes := kept.outcomes()):
        assert time.monotonic() < deadline, outcomes
        time.sleep(0.1)
    kept.check()


def live_through_many(
    folder: Path, url: str, fault: Fault, tally: Tally, **settings: object
) -> list[Outage]:
    """Strike once, or N/10 times with KAIWA_TORTURE=N; nothing is lost, no row left running."""
    apps = (app_file(says(text=text, pace=0.01)) for text in (LONG, SHORT))
    long, short = (make_key(folder, app, url) for app in apps)
    outages: list[Outage] = []
    settings |= {"database_url": url, "abandoned_after": ABANDONED_AFTER, "log_level": "error"}
    with serving(folder, **settings) as process:
        for _ in range(rounds(1, share=10)):
            found = anyio.run(live_through, process, (long, short), fault)
            assert sum(heard.status == 503 for _, heard in found.asked) > 5
            check_rows(Kept(folder, url))
            anyio.run(check_heard, process, (long, short), found, tally)
            tally.strikes += 1
            outages.append(found)
        assert process.stop() == 0
        assert "Traceback" not in process.stderr()
    return outages
