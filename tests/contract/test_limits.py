"""How many answers an app may give at once, and that every place is given back."""

from typing import Any

import pytest

from tests.support.apps import app_file, fails, says
from tests.support.client import Client
from tests.support.server import TestServer
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
