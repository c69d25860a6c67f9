"""While a model is silent nothing is held: no transaction, no connection, nobody's time."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import ClientSession, TCPConnector

from tests.support.apps import app_file, says
from tests.support.client import Client, text_of
from tests.support.model_server import Behaviour, Exchange
from tests.support.model_wires import answer_events
from tests.support.networked import networked_app, serving_models
from tests.support.server import DATABASES, serving
from tests.support.talking import stop, take

pytestmark = pytest.mark.anyio

HANGS = app_file(says("one"), {"hang": True})
OURS = """
    SELECT coalesce(state, ''), count(*)::int FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend' GROUP BY 1
"""


def write_at_once_on_sqlite(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=0)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE messages SET answer = answer")
        other.execute("COMMIT")
        [(mode, *_)] = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert mode == 0  # no reader was in the way


def write_at_once_on_postgres(url: str) -> None:
    with psycopg.connect(url, options="-c lock_timeout=1") as other:
        other.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")  # none holds any lock on it
        other.execute("UPDATE messages SET answer = answer")
        held = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
        ).fetchone()
        assert held == (0,)


async def test_another_process_can_write_at_once_while_the_model_is_silent(tmp_path: Path) -> None:
    async with serving(tmp_path, default_model="quoting/quoting") as server:
        client = await server.client(HANGS)
        async with client.streaming("Hello") as stream:
            [frame] = await take(stream, 1)
            await server.house.context.db.write(lambda _: None)  # whatever was still under way
            if url := DATABASES.url_for(tmp_path):
                write_at_once_on_postgres(url)
            else:
                write_at_once_on_sqlite(tmp_path / "kaiwa.db")
            await stop(client, frame)
            assert [f.event for f in await stream.rest()] == ["message_end"]


async def test_two_hundred_silent_streams_leave_room_for_everybody(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, default_model="quoting/quoting") as server,
        ClientSession(connector=TCPConnector(limit=0)) as session,
        AsyncExitStack() as streams,
    ):
        found = await server.client(HANGS)
        client = Client(session, found.base, found.key, found.user)
        opened = [await streams.enter_async_context(client.streaming("Hi")) for _ in range(200)]
        heads = [(await take(stream, 1))[0] for stream in opened]
        assert len(server.house.context.running) == 200
        other = await server.client(app_file(says("at once")))
        async with asyncio.timeout(5):
            assert (await other.ask("Hello")).body["answer"] == "at once"
        async with asyncio.TaskGroup() as tasks:
            for head in heads:
                tasks.create_task(stop(client, head))
        for stream, head in zip(opened, heads, strict=True):
            rest = await stream.rest()
            assert [frame.event for frame in rest] == ["message_end"]
            [message] = await client.messages(head.data["conversation_id"])
            assert (message["answer"], message["outcome"]) == (text_of([head]), "stopped")


def pauses(first: str, rest: str, goes_on: asyncio.Event) -> Behaviour:
    """An answer with a silence in it, which the test ends."""

    async def play(exchange: Exchange) -> None:
        await exchange.start()
        opening, [one, two], closing = answer_events(
            exchange.wire, (first, rest), (), (7, 2), True, True
        )
        await exchange.write(opening + one)
        await goes_on.wait()
        await exchange.write(two + closing)
        await exchange.end()

    return play


async def states_of(url: str) -> dict[str, int]:
    """How many connections to the database are in which state, our own left out."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
        return dict(await (await other.execute(OURS)).fetchall())


async def test_two_database_connections_are_enough_for_two_hundred_streams(
    tmp_path: Path, engine: str
) -> None:
    goes_on = asyncio.Event()
    pool: dict[str, Any] = {"database_writers": 1, "database_readers": 1}
    async with (
        serving_models(tmp_path, **pool) as (server, models),
        ClientSession(connector=TCPConnector(limit=0)) as session,
        AsyncExitStack() as streams,
    ):
        models.play(pauses("one", " two", goes_on))
        found = await server.client(networked_app())
        client = Client(session, found.base, found.key, found.user)
        opened = [await streams.enter_async_context(client.streaming("Hi")) for _ in range(200)]
        heads = [(await take(stream, 1))[0] for stream in opened]
        if engine == "postgres":
            async with asyncio.timeout(10):  # the growing answers may just be being saved
                url = DATABASES.url_for(tmp_path)
                while set(states := await states_of(url)) != {"idle"}:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.05)
            assert 1 <= states["idle"] <= 2
        assert len(server.house.context.running) == 200
        goes_on.set()
        for stream, head in zip(opened, heads, strict=True):
            rest = await stream.rest()
            assert [frame.event for frame in rest] == ["message", "message_end"]
            [message] = await client.messages(head.data["conversation_id"])
            assert (message["answer"], message["outcome"]) == ("one two", "normal")
