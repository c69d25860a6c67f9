"""Two servers on one database: when one is killed the other loses nothing and ends its answers.

KAIWA_TORTURE=N kills N/10 times, now the one, now the other, instead of once.
"""

import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession

from tests.e2e.process import Process, make_key, serving
from tests.e2e.test_crash import CHECKPOINT, SLACK
from tests.e2e.torture import Kept, Tally, rounds
from tests.e2e.traffic import Heard, listen, numbered, stored
from tests.support.apps import app_file, says
from tests.support.client import Client

WORDS = numbered(150)
LISTENERS = 6
ABANDONED_AFTER = 1


async def kill_one(victim: Process, other: Process, key: str, tally: Tally) -> None:
    """All listen to long answers, half at each server, when one is killed."""
    async with ClientSession() as session:

        def client_of(process: Process, heard: Heard) -> Client:
            return Client(session, f"{process.url}/v1", key, heard.user)

        killed_at = 0.0
        lost, whole = ([Heard(f"{tally.answers} {n}") for n in range(LISTENERS)] for _ in range(2))
        async with anyio.create_task_group() as tasks:
            for process, those in ((victim, lost), (other, whole)):
                for heard in those:
                    tasks.start_soon(listen, client_of(process, heard), "count", heard)
            with anyio.fail_after(15):
                while not all(heard.pieces for heard in (*lost, *whole)):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            await anyio.sleep(random.uniform(0, 0.7))
            victim.popen.kill()
            killed_at = time.monotonic()
        for heard in whole:
            assert (heard.broken, heard.ends, heard.text) == (False, ["message_end"], WORDS)
            message = await stored(client_of(other, heard), heard)
            assert (message["answer"], message["outcome"]) == (WORDS, "normal")
        for heard in lost:
            message = await closed(client_of(other, heard), heard)
            if heard.ends:
                assert (message["answer"], message["outcome"]) == (WORDS, "normal")
                continue
            assert message["answer"].startswith(heard.text_before(killed_at - CHECKPOINT - SLACK))
            assert WORDS.startswith(message["answer"])
            assert message["outcome"] in ("interrupted", "normal")
            tally.cut += message["outcome"] == "interrupted"
        tally.answers += 2 * LISTENERS
        tally.strikes += 1


async def closed(client: Client, heard: Heard) -> dict[str, Any]:
    """The message, once the surviving server has noticed that nobody works on it."""
    with anyio.fail_after(ABANDONED_AFTER + 10):
        while (message := await stored(client, heard))["outcome"] == "running":  # noqa: ASYNC110
            await anyio.sleep(0.1)
    return message


@pytest.mark.torture
def test_the_answers_of_a_killed_server_are_closed_by_the_other(
    tmp_path: Path, url: str, request: pytest.FixtureRequest
) -> None:
    key = make_key(tmp_path, app_file(says(text=WORDS, pace=0.01)), url)
    tally = Tally("one of two killed, PostgreSQL")
    settings = {"database_url": url, "abandoned_after": ABANDONED_AFTER}
    with ExitStack() as running:

        def start(name: str) -> Process:
            folder = tmp_path / f"{name} {tally.strikes}"
            folder.mkdir()
            return running.enter_context(serving(folder, **settings))

        one, two = start("one"), start("two")
        for _ in range(rounds(1, share=10)):
            anyio.run(kill_one, one, two, key, tally)
            assert one.wait() == -signal.SIGKILL
            one, two = two, start("next")
        for process in (one, two):
            assert process.stop() == 0
            assert "Traceback" not in process.stderr()
    Kept(tmp_path, url).check()
    assert tally.cut > 0
    tally.report(request)
