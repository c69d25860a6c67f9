"""How many answers an app, and a server, may give at once; every place is given back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from sqlalchemy import Table, func, select

from kaiwa.store import tables
from tests.support.apps import app_file, fails, says
from tests.support.client import Client, Reply
from tests.support.model_server import Behaviour, Exchange, speak
from tests.support.networked import networked_app, serving_models
from tests.support.server import TestServer, serving
from tests.support.talking import scripted_app, settled, stop, take

pytestmark = pytest.mark.anyio

ONE: dict[str, Any] = {"limits": {"concurrent": 1}}


async def check_free(client: Client) -> None:
    reply = await client.ask("anything")
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
async def test_one_too_many_is_told_so_at_once(server: TestServer, mode: str) -> None:
    client = await server.client(app_file(says("one"), {"hang": True}, kaiwa=ONE))
    async with client.streaming("Hello") as stream:
        [frame] = await take(stream, 1)
        reply = await client.as_user("eve").ask("Hello", response_mode=mode)
        assert (reply.status, reply.body["code"]) == (429, "too_many_requests")
        assert reply.body["message"] == (
            "Too many requests. Please try again later. The current maximum concurrent "
            "requests allowed is 1."
        )
        assert int(reply.headers["Retry-After"]) >= 1
        await stop(client, frame)
    assert len((await client.get("/conversations")).body["data"]) == 1
    assert (await client.as_user("eve").get("/conversations")).body["data"] == []


async def test_an_app_without_a_limit_has_none(server: TestServer) -> None:
    client = await server.client(app_file(says("one"), {"hang": True}))
    async with client.streaming("a") as one, client.streaming("b") as two:
        for stream in (one, two):
            [frame] = await take(stream, 1)
            await stop(client, frame)


async def test_one_apps_limit_is_not_anothers(server: TestServer) -> None:
    client = await server.client(app_file(says("one"), {"hang": True}, kaiwa=ONE))
    other = await server.client(app_file(says("free"), kaiwa=ONE))
    async with client.streaming("Hello") as stream:
        [frame] = await take(stream, 1)
        await check_free(other)
        await stop(client, frame)


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
@pytest.mark.parametrize("query", ["speak", "fail", "fail late"])
async def test_a_place_is_free_after_the_end_of_an_answer(
    server: TestServer, query: str, mode: str
) -> None:
    client = await server.client(
        scripted_app(
            {"when": "fail late", "steps": [says("one"), fails()]},
            {"when": "fail", "steps": [fails()]},
            kaiwa=ONE,
        )
    )
    for _ in range(3):
        if mode == "streaming":
            frames = await client.stream(query)
            assert frames[-1].event == ("message_end" if query == "speak" else "error")
        else:
            reply = await client.ask(query)
            assert reply.status == (200 if query == "speak" else 400)
    await check_free(client)


@pytest.mark.parametrize("leaving", ["finish", "stop"])
async def test_a_place_is_free_after_stop_and_after_leaving(
    server: TestServer, leaving: str
) -> None:
    slow = {"repeat": {"text": "x", "times": 20, "pace": 0.01}}
    client = await server.client(
        scripted_app(
            {"when": "hang", "steps": [says("one"), {"hang": True}]},
            {"when": "slow", "steps": [says("one"), slow]},
            kaiwa=ONE | {"leaving": leaving},
        )
    )
    async with client.streaming("hang") as stream:
        [frame] = await take(stream, 1)
        await stop(client, frame)
        await stream.rest()
    async with client.streaming("slow") as stream:
        await take(stream, 1)
    await settled(client)
    await check_free(client)


@pytest.mark.parametrize(
    "wrong",
    [
        {"query": ""},
        {"query": "Hello", "conversation_id": "0192f7a2-0000-7000-8000-000000000000"},
        {"query": "Hello", "conversation_id": "no"},
        {"query": "Hello", "response_mode": "shouting"},
    ],
)
@pytest.mark.parametrize("mode", ["streaming", "blocking"])
async def test_a_refused_request_takes_no_place(
    server: TestServer, wrong: dict[str, Any], mode: str
) -> None:
    client = await server.client(app_file(kaiwa=ONE))
    for _ in range(3):
        body: dict[str, Any] = {"inputs": {}, "response_mode": mode, **wrong}
        reply = await client.post("/chat-messages", **body)
        assert reply.status in (400, 404)
    await check_free(client)


def holds_back(answer: Behaviour, release: asyncio.Event) -> Behaviour:
    """The answer, once the test says so."""

    async def play(exchange: Exchange) -> None:
        await release.wait()
        await answer(exchange)

    return play


async def count_rows(server: TestServer) -> dict[str, int]:
    async def count(table: Table) -> int:
        counting = select(func.count()).select_from(table)
        return await server.house.context.db.read(lambda c: c.execute(counting).scalar_one())

    of = (tables.messages, tables.conversations, tables.end_users)
    return {table.name: await count(table) for table in of}


async def test_of_ten_times_what_the_server_takes_all_beyond_it_are_refused_at_once(
    tmp_path: Path,
) -> None:
    release = asyncio.Event()
    async with (
        serving_models(tmp_path, turns_at_once=20) as (server, models),
        ClientSession(connector=TCPConnector(limit=0)) as session,
    ):
        models.play(holds_back(speak("Hello world"), release))
        found = await server.client(networked_app())
        refused: list[Reply] = []

        async def ask(number: int) -> Reply:
            client = Client(session, found.base, found.key, f"user {number}")
            mode = "blocking" if number % 2 else "streaming"
            reply = await client.ask("Hello", response_mode=mode)
            if reply.status != 200:
                refused.append(reply)
                if len(refused) == 180:
                    release.set()
            return reply

        async with asyncio.timeout(60):
            replies = await asyncio.gather(*(ask(number) for number in range(200)))
        for reply in refused:
            assert (reply.status, reply.body["code"]) == (429, "too_many_requests")
            assert int(reply.headers["Retry-After"]) >= 1
        assert len(refused) == 180
        await models.wait_asked(20)
        assert len(models.requests) == 20
        for reply in replies:
            if reply.status == 200:
                blocking = isinstance(reply.body, dict)
                assert blocking or reply.body.count(b'"message_end"') == 1
        kept = dict.fromkeys(("messages", "conversations", "end_users"), 20)
        assert await count_rows(server) == kept
        assert len(server.house.context.running) == 0
        await check_free(found)


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
async def test_a_question_that_waits_for_its_turn_has_a_place_too(
    tmp_path: Path, mode: str
) -> None:
    async with serving(tmp_path, turns_at_once=3, default_model="quoting/quoting") as server:
        client = await server.client(
            scripted_app({"when": "hang", "steps": [says("one"), {"hang": True}]})
        )
        other = await server.client(app_file(says("free")))
        conversation_id = (await client.ask("begin")).body["conversation_id"]
        within: dict[str, Any] = {"conversation_id": conversation_id}
        async with (
            client.streaming("hang", **within) as running,
            client.streaming("wait", **within) as waiting,
            client.as_user("eve").streaming("hang") as last,
        ):
            [frame] = await take(running, 1)
            [last_frame] = await take(last, 1)
            for one, body in ((other, {}), (client, within)):
                reply = await one.ask("Hello", response_mode=mode, **body)
                assert (reply.status, reply.body["code"]) == (429, "too_many_requests")
                assert int(reply.headers["Retry-After"]) >= 1
            await stop(client, frame)
            assert (await waiting.rest())[-1].event == "message_end"
            await check_free(other)
            await stop(client.as_user("eve"), last_frame)
        messages = await settled(client, conversation_id)
        assert [message["query"] for message in messages] == ["begin", "hang", "wait"]


async def test_a_limit_of_zero_is_none(tmp_path: Path) -> None:
    async with serving(tmp_path, turns_at_once=0, default_model="quoting/quoting") as server:
        await check_free(await server.client(app_file(says("free"))))
