"""Shutting down: no new questions, live answers finish or end with what was said."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.apps import app_file, says
from tests.support.client import Frame, text_of
from tests.support.server import TestServer, serving
from tests.support.talking import scripted_app, take

pytestmark = pytest.mark.anyio

HANGS = app_file(says("one", " two"), {"hang": True})


@asynccontextmanager
async def calm(folder: Path) -> AsyncGenerator[TestServer]:
    async with serving(folder, default_model="quoting/quoting") as server:
        yield server


async def test_what_is_live_ends_with_what_was_said(tmp_path: Path) -> None:
    async with calm(tmp_path) as server:
        client = await server.client(HANGS)
        speaking = asyncio.Semaphore(0)

        async def listen() -> list[Frame]:
            async with client.streaming("Hello") as stream:
                frames = await take(stream, 2)
                speaking.release()
                return frames + await stream.rest()

        async with asyncio.TaskGroup() as tasks:
            listeners = [tasks.create_task(listen()) for _ in range(20)]
            blocking = tasks.create_task(client.ask("Hello"))
            for _ in range(20):
                await speaking.acquire()
            await server.house.context.running.drain(0.05)
        for listener in listeners:
            *said, error = listener.result()
            assert text_of(said) == "one two"
            assert (error.event, error.data["code"]) == ("error", "completion_request_error")
            [message] = await client.messages(error.data["conversation_id"])
            assert (message["answer"], message["outcome"]) == ("one two", "interrupted")
            assert message["status"] == "error"
        reply = blocking.result()
        assert (reply.status, reply.body["code"]) == (400, "completion_request_error")
        conversations = (await client.get("/conversations", limit=100)).body["data"]
        assert len(conversations) == 21


async def test_new_questions_are_refused_while_live_ones_finish(tmp_path: Path) -> None:
    async with calm(tmp_path) as server:
        slow = {"repeat": {"text": " on", "times": 30, "pace": 0.01}}
        client = await server.client(app_file(says("on"), slow))
        async with asyncio.TaskGroup() as tasks, client.streaming("Hello") as stream:
            frames = await take(stream, 1)
            assert (await client.call("GET", "/../readyz")).status == 200
            draining = tasks.create_task(server.house.context.running.drain(20))
            await asyncio.sleep(0)
            for mode in ("streaming", "blocking"):
                reply = await client.ask("Hello", response_mode=mode)
                assert (reply.status, reply.body["code"]) == (503, "service_unavailable")
                assert int(reply.headers["Retry-After"]) >= 1
            assert (await client.call("GET", "/../readyz")).status == 503
            assert (await client.call("GET", "/../healthz")).status == 200
            assert not draining.done()
            frames += await stream.rest()
        assert frames[-1].event == "message_end"
        [message] = await client.messages(frames[0].data["conversation_id"])
        assert message["answer"] == text_of(frames) == "on" + " on" * 30
        assert message["outcome"] == "normal"
        assert len((await client.get("/conversations")).body["data"]) == 1


async def test_a_question_that_still_waits_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with calm(tmp_path) as server:
        client = await server.client(
            scripted_app({"when": "hang", "steps": [says("one"), {"hang": True}]})
        )
        conversation_id = (await client.ask("begin")).body["conversation_id"]
        async with client.streaming("hang", conversation_id=conversation_id) as running:
            await take(running, 1)
            async with client.streaming("next", conversation_id=conversation_id) as waiting:
                await server.house.context.running.drain(0)
                [refusal] = await waiting.rest()
            [error] = await running.rest()
        assert (refusal.event, refusal.data["status"]) == ("error", 503)
        assert (error.event, error.data["status"]) == ("error", 400)
        messages = await client.messages(conversation_id)
        assert [m["query"] for m in messages] == ["begin", "hang"]


async def test_answers_are_there_after_a_restart(tmp_path: Path) -> None:
    async with calm(tmp_path) as server:
        app = await server.make_app(HANGS)
        key = await server.make_key(app)
        async with server.client_of(key).streaming("Hello") as stream:
            frames = await take(stream, 2)
            await server.house.context.running.drain(0)
    async with calm(tmp_path) as server:
        client = server.client_of(key)
        [message] = await client.messages(frames[0].data["conversation_id"])
        assert (message["answer"], message["outcome"]) == ("one two", "interrupted")
        within = {"conversation_id": message["conversation_id"]}
        async with client.streaming("Hello?", **within) as stream:
            assert text_of(await take(stream, 2)) == "one two"
