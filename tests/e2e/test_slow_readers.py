"""R9: clients that hardly read, or leave, cost little memory and nobody else a word.

KAIWA_TORTURE=N holds the slow ones for N seconds instead of three, and sends N/5 waves of those
that are given up.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientSession, TCPConnector
from anyio import to_thread

from tests.e2e.process import Process, make_key, serving
from tests.e2e.torture import Kept, Tally, rounds
from tests.e2e.traffic import Heard, listen, numbered
from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.talking import settled, take

SLOW = 100
"""Clients that take a byte a second."""
DEAF = 50
"""Clients that take nothing."""
HELD_SECONDS = rounds(3)
WAVES = rounds(1, share=5)
FLOOD_PIECE = "x" * 200
FLOOD = 1000
"""Pieces of a long answer: far more than what waits for a client on its way."""
A_LITTLE = 40_000
"""Bytes: what a slow client has to take within `write_timeout` so that it is not given up."""
BRISK = numbered(100)
EACH = 0.5
SLACK = 50
"""MB that one slow client, and all else, may take; unbounded it would be hundreds in a second."""


@dataclass
class Crowd:
    """Clients that hardly read, and a fast one beside them."""

    process: Process
    flood: str
    brisk: str
    answers: list[Heard] = field(default_factory=list[Heard])
    """What the fast one has heard."""
    taken: int = 0
    """How many bytes the slow ones have taken."""
    sockets: list[socket.socket] = field(default_factory=list[socket.socket])

    async def ask(self, number: int) -> socket.socket:
        """Ask as one that takes little: with the smallest buffer."""
        body = json.dumps(
            {"user": f"user {number}", "inputs": {}, "query": "Hi", "response_mode": "streaming"}
        )
        head = (
            "POST /v1/chat-messages HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {self.flood}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        asker = socket.socket()
        self.sockets.append(asker)
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asker.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(asker, ("127.0.0.1", self.process.port))
        await loop.sock_sendall(asker, ("\r\n".join(head) + "\r\n\r\n" + body).encode())
        return asker

    async def read_slowly(self, number: int) -> None:
        asker = await self.ask(number)
        while await asyncio.get_running_loop().sock_recv(asker, 1):
            self.taken += 1
            await anyio.sleep(1)

    async def listen_briskly(self) -> None:
        """One answer after the other, as long as the others hardly read."""
        async with ClientSession() as session:
            client = Client(session, f"{self.process.url}/v1", self.brisk, "brisk")
            while True:
                heard = Heard(client.user)
                await listen(client, "count", heard)
                self.answers.append(heard)

    def leave(self) -> None:
        for one in self.sockets:
            one.close()
        self.sockets.clear()

    def check_answers(self) -> None:
        assert self.answers
        for heard in self.answers:
            assert (heard.status, heard.text, heard.ends) == (200, BRISK, ["message_end"])


def make_keys(folder: Path, database_url: str, leaving: str, times: int) -> tuple[str, str]:
    """The keys of an app that floods, and of one with short answers."""
    flood = app_file({"repeat": {"text": FLOOD_PIECE, "times": times}}, kaiwa={"leaving": leaving})
    apps = (flood, app_file(says(text=BRISK, pace=0.005)))
    long, brisk = (make_key(folder, app, database_url) for app in apps)
    return long, brisk


async def until(reached: Callable[[], bool]) -> None:
    """Look again and again, on a thread, for it may take a database its time."""
    with anyio.fail_after(60):
        while not await to_thread.run_sync(reached):  # noqa: ASYNC110 - it sets no event
            await anyio.sleep(0.1)


async def hold(crowd: Crowd, kept: Kept, tally: Tally) -> None:
    """Let nobody read on for a while; what the server grows by counts from soon after they came."""
    async with anyio.create_task_group() as tasks:
        for number in range(SLOW):
            tasks.start_soon(crowd.read_slowly, number)
        for number in range(SLOW, SLOW + DEAF):
            await crowd.ask(number)
        tasks.start_soon(crowd.listen_briskly)
        await until(lambda: kept.outcomes().get("running", 0) >= SLOW + DEAF)
        await anyio.sleep(1)
        tally.grown = -crowd.process.memory()
        await anyio.sleep(HELD_SECONDS)
        tally.grown += crowd.process.memory()
        await until(lambda: bool(crowd.answers))
        assert await to_thread.run_sync(crowd.process.answers) == 200
        tasks.cancel_scope.cancel()
    crowd.leave()
    await until(lambda: kept.outcomes().get("stopped") == SLOW + DEAF)


@pytest.mark.torture
def test_clients_that_hardly_read_hold_their_model_back_and_not_its_words_in_memory(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    keys = make_keys(tmp_path, "", "stop", 10_000_000)
    kept = Kept(tmp_path, "")
    tally = Tally("slow readers that are held")
    with serving(tmp_path, write_timeout=3600) as process:
        before = process.memory()
        crowd = Crowd(process, *keys)
        anyio.run(hold, crowd, kept, tally)
        assert crowd.taken >= SLOW
        assert tally.grown < SLACK
        assert process.memory() - before < (SLOW + DEAF) * EACH + SLACK
        crowd.check_answers()
        assert process.stop() == 0
        assert "Traceback" not in process.stderr()
    for [answer] in kept.rows("SELECT answer FROM messages WHERE outcome = 'stopped'"):
        assert set(answer) == {"x"}
    tally.strikes = SLOW + DEAF
    tally.answers = len(crowd.answers)
    tally.report(request)


async def give_up(crowd: Crowd, kept: Kept, wave: int) -> None:
    """A wave of clients that are counted as having left, though they are still there."""
    async with anyio.create_task_group() as tasks:
        for number in range(SLOW):
            tasks.start_soon(crowd.read_slowly, number)
        for number in range(SLOW, SLOW + DEAF):
            await crowd.ask(number)
        tasks.start_soon(crowd.listen_briskly)
        await until(lambda: count_whole(kept) == wave * (SLOW + DEAF))
        await until(lambda: bool(crowd.answers))
        tasks.cancel_scope.cancel()
    crowd.leave()


def count_whole(kept: Kept) -> int:
    whole = FLOOD_PIECE * FLOOD
    [(count,)] = kept.rows(
        f"SELECT count(*) FROM messages WHERE outcome = 'normal' AND answer = '{whole}'"
    )
    return count


@pytest.mark.torture
def test_clients_that_take_nothing_count_as_left_and_their_answers_are_kept_whole(
    tmp_path: Path, database_url: str, request: pytest.FixtureRequest
) -> None:
    keys = make_keys(tmp_path, database_url, "finish", FLOOD)
    kept = Kept(tmp_path, database_url)
    tally = Tally(f"given up, {'PostgreSQL' if database_url else 'SQLite'}")
    with serving(tmp_path, write_timeout=0.5, database_url=database_url) as process:
        crowd = Crowd(process, *keys)
        settled = 0.0
        for wave in range(1, WAVES + 1):
            anyio.run(give_up, crowd, kept, wave)
            tally.strikes += SLOW + DEAF
            settled = settled or (process.memory() if wave >= WAVES / 4 else 0)
        tally.grown = process.memory() - settled
        assert tally.grown < SLACK
        crowd.check_answers()
        assert process.stop() == 0
        assert "Traceback" not in process.stderr()
    tally.answers = tally.strikes + len(crowd.answers)
    tally.report(request)


async def take_little_by_little(crowd: Crowd, kept: Kept) -> None:
    """Each time a little is taken, a little more is said."""
    loop = asyncio.get_running_loop()
    asker = await crowd.ask(0)
    said = 0

    def said_more() -> bool:
        rows = kept.rows("SELECT length(answer) FROM messages")
        return bool(rows) and rows[0][0] > said

    for _ in range(8):
        taken = 0
        while taken < A_LITTLE:
            taken += len(await loop.sock_recv(asker, A_LITTLE - taken))
        await until(said_more)
        [(said,)] = kept.rows("SELECT length(answer) FROM messages")
    crowd.leave()


def test_a_client_that_takes_a_little_is_not_kept_waiting_until_it_took_much(
    tmp_path: Path,
) -> None:
    keys = make_keys(tmp_path, "", "stop", 10_000_000)
    with serving(tmp_path, write_timeout=3600, checkpoint_interval=0.1) as process:
        crowd = Crowd(process, *keys)
        anyio.run(take_little_by_little, crowd, Kept(tmp_path, ""))
        assert process.stop() == 0


async def leave_at_every_event(process: Process, key: str) -> None:
    """One client for each event: it leaves when it has heard so many."""
    asked: list[Heard] = []

    async def leave_after(session: ClientSession, count: int) -> None:
        client = Client(session, f"{process.url}/v1", key, f"user {count}")
        async with client.streaming("count") as stream:
            frames = await take(stream, count)
            heard = Heard(client.user, frames[0].data["message_id"])
            heard.pieces = [(0, f.data["answer"]) for f in frames if f.event == "message"]
            asked.append(heard)

    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        async with anyio.create_task_group() as tasks:
            for count in range(1, 102):  # the last one stays to the end
                tasks.start_soon(leave_after, session, count)
        client = Client(session, f"{process.url}/v1", key, "")
        for heard in asked:
            [message] = await settled(client.as_user(heard.user))
            assert message["id"] == heard.message_id
            assert (message["answer"], message["outcome"]) == (BRISK, "normal")
            assert BRISK.startswith(heard.text)


def test_of_a_client_that_leaves_after_any_event_nothing_is_lost(
    tmp_path: Path, database_url: str
) -> None:
    _, brisk = make_keys(tmp_path, database_url, "finish", 1)
    with serving(tmp_path, database_url=database_url) as process:
        anyio.run(leave_at_every_event, process, brisk)
        assert process.stop() == 0
        assert "Traceback" not in process.stderr()
