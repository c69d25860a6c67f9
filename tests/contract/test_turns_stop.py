"""Stop: ends the stream soon, keeps what was said, closes the model's connection at once."""

import asyncio
from pathlib import Path

import pytest

from tests.support.apps import app_file, says
from tests.support.client import Client, text_of
from tests.support.model_server import ModelServer, hang, hang_after, speak
from tests.support.networked import WIRES, networked_app, serving_models
from tests.support.server import TestServer
from tests.support.talking import scripted_app, settled, stop, take

pytestmark = pytest.mark.anyio

HANGS = app_file(says("one", " two"), {"hang": True})


async def test_stop_ends_the_stream_and_keeps_exactly_what_was_said(server: TestServer) -> None:
    client = await server.client(HANGS)
    async with client.streaming("Hello") as stream:
        frames = await take(stream, 2)
        await stop(client, frames[0])
        rest = await stream.rest()
    assert [frame.event for frame in rest] == ["message_end"]
    usage = rest[0].data["metadata"]["usage"]
    assert usage["estimated"] is True
    assert usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert message["answer"] == text_of(frames) == "one two"
    assert (message["outcome"], message["status"], message["error"]) == ("stopped", "normal", None)


@pytest.mark.parametrize("who", ["another user", "another app", "an unknown task", "no UUID"])
async def test_a_stop_that_is_none_of_theirs_changes_nothing(server: TestServer, who: str) -> None:
    goes_on = {"repeat": {"text": "on ", "times": 100_000, "pace": 0.002}}
    client = await server.client(app_file(goes_on))
    others = {"another user": client.as_user("eve"), "another app": await server.client(HANGS)}
    async with client.streaming("Hello") as stream:
        [frame] = await take(stream, 1)
        ids = {"an unknown task": frame.data["message_id"], "no UUID": "x%20y"}
        task_id = ids.get(who, frame.data["task_id"])
        reply = await others.get(who, client).post(f"/chat-messages/{task_id}/stop")
        assert (reply.status, reply.body) == (200, {"result": "success"})
        assert [f.event for f in await take(stream, 20)] == ["message"] * 20
        await stop(client, frame)
        await stream.rest()


async def test_stopping_twice_or_after_the_end_does_no_harm(server: TestServer) -> None:
    client = await server.client(HANGS)
    async with client.streaming("Hello") as stream:
        [frame] = await take(stream, 1)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(stop(client, frame))
        rest = await stream.rest()
    assert [f.event for f in rest if f.event != "message"] == ["message_end"]
    await stop(client, frame)
    [message] = await client.messages(frame.data["conversation_id"])
    assert message["outcome"] == "stopped"


@pytest.mark.parametrize("mode", ["blocking", "streaming"])
async def test_a_question_after_stop_works_at_once_and_knows_what_was_said(
    server: TestServer, mode: str
) -> None:
    client = await server.client(
        scripted_app(
            {"when": "first", "steps": [says("one", " two"), {"hang": True}]},
            {"steps": [{"text": "{prompt}"}]},
        )
    )
    async with client.streaming("the first") as stream:
        frames = await take(stream, 2)
        conversation_id = frames[0].data["conversation_id"]
        await stop(client, frames[0])
        if mode == "blocking":
            reply = await client.ask("and now?", conversation_id=conversation_id)
            assert reply.status == 200, reply.body
            answer = reply.body["answer"]
        else:
            answer = text_of(await client.stream("and now?", conversation_id=conversation_id))
        assert [frame.event for frame in await stream.rest()] == ["message_end"]
    assert '"one two"' in answer
    messages = await client.messages(conversation_id)
    assert [message["outcome"] for message in messages] == ["stopped", "normal"]


@pytest.mark.parametrize("provider", WIRES)
async def test_stop_closes_the_models_connection_at_once(tmp_path: Path, provider: str) -> None:
    async with serving_models(tmp_path) as (server, models):
        models.play(hang_after("one", " two"))
        client = await server.client(networked_app(provider))
        async with client.streaming("Hello") as stream:
            frames = await take(stream, 2)
            asked_at = asyncio.get_running_loop().time()
            await stop(client, frames[0])
            taken = await models.wait_left() - asked_at
            assert [frame.event for frame in await stream.rest()] == ["message_end"]
        assert taken < 1
        [message] = await client.messages(frames[0].data["conversation_id"])
        assert (message["answer"], message["outcome"]) == ("one two", "stopped")


async def leave_unanswered(client: Client, models: ModelServer) -> float:
    """Ask, leave when the model has been asked; seconds until its connection is closed."""
    before = len(models.requests), len(models.left)
    asked = asyncio.Event()

    async def ask() -> None:
        async with client.streaming("Hello") as stream:
            asked.set()
            await stream.rest()

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        await models.wait_asked(before[0] + 1)
        await asked.wait()
        left_at = asyncio.get_running_loop().time()
        asking.cancel()
    return await models.wait_left(before[1] + 1) - left_at


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("headers", [False, True])
async def test_a_stop_before_the_first_token_closes_the_models_connection_too(
    tmp_path: Path, provider: str, headers: bool
) -> None:
    async with serving_models(tmp_path) as (server, models):
        models.play(hang_after() if headers else hang())
        client = await server.client(networked_app(provider, kaiwa={"leaving": "stop"}))
        taken = await leave_unanswered(client, models)
        assert taken < 1
        [message] = await settled(client)
        assert (message["answer"], message["outcome"]) == ("", "stopped")
        models.play(speak("here again"))
        reply = await client.ask("Hello?", conversation_id=message["conversation_id"])
        assert reply.body["answer"] == "here again"


async def test_the_tasks_id_is_known_before_the_first_token(tmp_path: Path) -> None:
    async with serving_models(tmp_path) as (server, models):
        models.play(hang())
        client = await server.client(networked_app("openai"))
        async with client.streaming("Hello?") as stream:
            task_id = stream.response.headers["X-Task-Id"]
            await models.wait_asked(1)
            await client.post(f"/chat-messages/{task_id}/stop")
            [end] = await stream.rest()
        assert (end.event, end.data["task_id"]) == ("message_end", task_id)
        await models.wait_left(1)
