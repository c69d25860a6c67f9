"""One turn at a time in a conversation: the others wait in order, a few, and not for ever."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.apps import app_file, says
from tests.support.client import Client, Frame, text_of
from tests.support.server import TestServer, serving
from tests.support.talking import scripted_app, settled, stop, take

pytestmark = pytest.mark.anyio

COUNTS = app_file({"text": "{history} before {question}", "silence": 0.15})
HANGS_FIRST = scripted_app(
    {"when": "begin", "steps": [says("begun")]},
    {"when": "hang", "steps": [says("one", " two"), {"hang": True}]},
    {"steps": [{"text": "{history} before {question}"}]},
)


async def begin(client: Client) -> str:
    """The id of a conversation with one message."""
    reply = await client.ask("begin")
    assert reply.status == 200, reply.body
    return reply.body["conversation_id"]


def check_chain(messages: list[dict[str, Any]]) -> None:
    """Every message hangs on the one before it, without gaps."""
    ids = [message["id"] for message in messages]
    parents = [message["parent_message_id"] for message in messages]
    assert parents[1:] == ids[:-1]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
async def test_of_twenty_questions_at_once_nine_are_answered_in_order(
    server: TestServer, mode: str
) -> None:
    client = await server.client(COUNTS)
    conversation_id = await begin(client)
    body: dict[str, Any] = {
        "user": client.user,
        "inputs": {},
        "response_mode": mode,
        "conversation_id": conversation_id,
    }

    async def ask(number: int) -> tuple[int, str | None]:
        path = f"{client.base}/chat-messages"
        json = {**body, "query": f"no. {number}."}
        async with client.session.post(path, json=json, headers=client.headers) as response:
            await response.read()
            return response.status, response.headers.get("Retry-After")

    replies = await asyncio.gather(*(ask(number) for number in range(20)))
    accepted = [number for number, (status, _) in enumerate(replies) if status == 200]
    refused = [retry for status, retry in replies if status == 429]
    assert 1 <= len(accepted) <= 9
    assert len(accepted) + len(refused) == 20
    assert all(retry and int(retry) >= 1 for retry in refused)
    messages = await client.messages(conversation_id, limit=100)
    assert sorted(message["query"] for message in messages[1:]) == sorted(
        f"no. {number}." for number in accepted
    )
    for position, message in enumerate(messages):
        assert message["answer"] == f"{position} before {message['query']}"
    check_chain(messages)


async def test_a_waiting_question_hears_pings_and_then_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path, ping_interval=0.03, default_model="quoting/quoting") as server:
        client = await server.client(HANGS_FIRST)
        conversation_id = await begin(client)
        async with client.streaming("hang", conversation_id=conversation_id) as running:
            frames = await take(running, 2)
            async with client.streaming("next", conversation_id=conversation_id) as waiting:
                for _ in range(3):
                    ping = await waiting.response.content.readuntil(b"\n\n")
                    assert ping == b"event: ping\n\n"
                await stop(client, frames[0])
                assert text_of(await waiting.rest()) == "2 before next"
        assert [m["outcome"] for m in await client.messages(conversation_id)] == [
            "normal",
            "stopped",
            "normal",
        ]


async def test_waiting_has_an_end(tmp_path: Path) -> None:
    async with serving(tmp_path, waiting_timeout=0.1, default_model="quoting/quoting") as server:
        client = await server.client(HANGS_FIRST)
        conversation_id = await begin(client)
        async with client.streaming("hang", conversation_id=conversation_id) as running:
            frames = await take(running, 1)
            [error] = await client.stream("next", conversation_id=conversation_id)
            assert (error.event, error.data["code"]) == ("error", "too_many_requests")
            assert error.data["status"] == 429
            reply = await client.ask("next", conversation_id=conversation_id)
            assert (reply.status, reply.body["code"]) == (429, "too_many_requests")
            assert int(reply.headers["Retry-After"]) >= 1
            await stop(client, frames[0])
        await settled(client, conversation_id)
        assert [m["query"] for m in await client.messages(conversation_id)] == ["begin", "hang"]


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
async def test_refusals_do_not_wait(server: TestServer, mode: str) -> None:
    client = await server.client(HANGS_FIRST)
    conversation_id = await begin(client)
    async with client.streaming("hang", conversation_id=conversation_id) as running:
        frames = await take(running, 1)
        body = {"response_mode": mode, "conversation_id": conversation_id}
        async with asyncio.timeout(5):
            empty = await client.ask("", **body)
            strange = await client.as_user("eve").ask("hi", **body)
            unknown = await client.ask("hi", **(body | {"conversation_id": str(uuid4())}))
        assert [r.status for r in (empty, strange, unknown)] == [400, 404, 404]
        await stop(client, frames[0])


@pytest.mark.parametrize("leaving", ["finish", "stop"])
async def test_leaving_and_asking_again_goes_on_with_the_conversation(
    server: TestServer, leaving: str
) -> None:
    client = await server.client(
        scripted_app(
            {"when": "begin", "steps": [says("begun")]},
            {"when": "hang", "steps": [says("one", " two"), {"hang": True}]},
            {"steps": [{"text": "{prompt}"}]},
            kaiwa={"leaving": leaving},
        )
    )
    conversation_id = await begin(client)
    async with client.streaming("hang", conversation_id=conversation_id) as running:
        await take(running, 2)
    reply = await client.ask("again", conversation_id=conversation_id)
    assert reply.status == 200, reply.body
    assert '"one two"' in reply.body["answer"]
    messages = await client.messages(conversation_id)
    assert [m["outcome"] for m in messages] == ["normal", "stopped", "normal"]
    assert messages[1]["answer"] == "one two"
    check_chain(messages)


async def test_one_that_waits_and_leaves_does_not_hold_up_the_next(server: TestServer) -> None:
    client = await server.client(HANGS_FIRST)
    conversation_id = await begin(client)
    within: dict[str, Any] = {"conversation_id": conversation_id}
    async with client.streaming("hang", **within) as running:
        frames = await take(running, 2)
        async with client.streaming("hang too", **within):
            pass
        async with client.streaming("next", **within) as waiting:
            await stop(client, frames[0])
            answer: list[Frame] = await waiting.rest()
    assert answer[-1].event == "message_end"
    messages = await settled(client, conversation_id)
    assert [m["query"] for m in messages] == ["begin", "hang", "hang too", "next"]
    assert messages[2]["outcome"] == "stopped"
    check_chain(messages)


async def test_waiting_questions_do_not_undo_each_others_inputs(server: TestServer) -> None:
    form = [{"text-input": {"label": name, "variable": name}} for name in ("a", "b")]
    client = await server.client(
        scripted_app(
            {"when": "hang", "steps": [says("one"), {"hang": True}]},
            {"steps": [says("yes")]},
            user_input_form=form,
        )
    )
    conversation_id = await begin(client)
    within: dict[str, Any] = {"conversation_id": conversation_id}
    async with client.streaming("hang", **within) as running:
        frames = await take(running, 1)
        async with (
            client.streaming("set a", inputs={"a": "1"}, **within) as one,
            client.streaming("set b", inputs={"b": "2"}, **within) as two,
        ):
            await stop(client, frames[0])
            await one.rest()
            await two.rest()
    [conversation] = (await client.get("/conversations")).body["data"]
    assert conversation["inputs"] == {"a": "1", "b": "2"}
