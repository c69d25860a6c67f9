"""Whatever a model server does: one end, what was said is kept, and no secret is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import model_server as does
from tests.support.client import Client, Frame, text_of
from tests.support.model_server import Behaviour, ModelServer
from tests.support.networked import SECRET, WIRES, networked_app, serving_models
from tests.support.server import TestServer
from tests.support.talking import settled

pytestmark = pytest.mark.anyio

Networked = tuple[TestServer, ModelServer]
FAILED = ("completion_request_error", 400)
LEAK = f"the key {SECRET} is wrong"

FAULTS: dict[str, tuple[Behaviour, str, tuple[str, int]]] = {
    "hangs before the headers": (does.hang(), "", FAILED),
    "hangs after the headers": (does.hang_after(), "", FAILED),
    "hangs in its answer": (does.hang_after("one", " two"), "one two", FAILED),
    "resets before the headers": (does.reset_after(headers=False), "", FAILED),
    "resets after the headers": (does.reset_after(), "", FAILED),
    "resets in its answer": (does.reset_after("one", " two"), "one two", FAILED),
    "ends in its answer": (does.raw(tokens=("one", " two")), "one two", FAILED),
    "ends in a line": (does.half_json("one", " two"), "one two", FAILED),
    "sends half a line": (does.half_json(), "", FAILED),
    "sends bytes that are no text": (does.invalid_utf8("one"), "one", FAILED),
    "sends a line without an end": (does.endless_line("one"), "one", FAILED),
    "sends nothing": (does.nothing(), "", FAILED),
    "refuses the key": (does.refuse(401, LEAK), "", FAILED),
    "wants money": (does.refuse(402, LEAK), "", ("provider_quota_exceeded", 400)),
    "does not know the model": (
        does.refuse(404, LEAK),
        "",
        ("model_currently_not_support", 400),
    ),
    "has too much to do": (does.refuse(429, LEAK), "", FAILED),
    "is broken": (does.refuse(500, LEAK), "", FAILED),
    "is away": (does.refuse(503, LEAK), "", FAILED),
    "hides behind a proxy": (does.refuse_page(502), "", FAILED),
    "fails in the stream": (does.fail_within(message=LEAK), "", FAILED),
    "fails in its answer": (does.fail_within("one", " two", message=LEAK), "one two", FAILED),
}


@pytest.fixture(scope="module")
async def networked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Networked]:
    async with serving_models(
        tmp_path_factory.mktemp("faults"),
        first_token_timeout=0.4,
        token_timeout=0.4,
        checkpoint_interval=0.05,
    ) as found:
        yield found


def check_one_end(frames: list[Frame]) -> Frame:
    ends = [frame for frame in frames if frame.event in ("message_end", "error")]
    assert len(ends) == 1
    assert frames[-1] is ends[0]
    return ends[0]


async def check_no_secret(client: Client, frames: list[Frame]) -> list[dict[str, Any]]:
    messages = await settled(client)
    assert SECRET not in str([frame.raw for frame in frames])
    assert SECRET not in str(messages)
    return messages


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stream_ends_once_and_what_was_said_is_kept(
    networked: Networked, fault: str, provider: str
) -> None:
    server, models = networked
    behaviour, said, (code, status) = FAULTS[fault]
    models.play(behaviour)
    client = await server.client(networked_app(provider))
    frames = await client.stream("Hello")
    end = check_one_end(frames)
    assert (end.event, end.data["code"], end.data["status"]) == ("error", code, status)
    assert end.data["message"]
    [message] = await check_no_secret(client, frames)
    assert message["answer"] == text_of(frames)
    assert message["answer"].startswith(said)
    assert (message["outcome"], message["status"]) == ("error", "error")
    assert message["error"] == end.data["message"]
    assert len(server.house.context.running) == 0


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize(
    "fault", ["hangs in its answer", "wants money", "is away", "sends nothing"]
)
async def test_a_blocking_client_gets_the_same_as_an_http_error(
    networked: Networked, fault: str, provider: str
) -> None:
    server, models = networked
    behaviour, said, (code, status) = FAULTS[fault]
    models.play(behaviour)
    client = await server.client(networked_app(provider))
    reply = await client.ask("Hello")
    assert (reply.status, reply.body["code"], reply.body["status"]) == (status, code, status)
    assert SECRET not in str(reply.body)
    [message] = await check_no_secret(client, [])
    assert (message["answer"], message["outcome"]) == (said, "error")
    assert message["error"] == reply.body["message"]


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (does.drip("Hello 世界 again", pause=0), "Hello 世界 again"),
        (does.speak("Hello 世界 again", split=1), "Hello 世界 again"),
        (does.speak("Hello again", done=False), "Hello again"),
        (does.whole("Hello at once"), "Hello at once"),
        (does.empty(), ""),
    ],
)
async def test_an_odd_answer_is_an_answer(
    networked: Networked, behaviour: Behaviour, said: str, provider: str
) -> None:
    server, models = networked
    models.play(behaviour)
    client = await server.client(networked_app(provider))
    frames = await client.stream("Hello")
    assert check_one_end(frames).event == "message_end"
    assert text_of(frames) == said
    assert all(frame.data["answer"] for frame in frames[:-1])
    [message] = await client.messages(frames[-1].data["conversation_id"])
    assert (message["answer"], message["outcome"]) == (said, "normal")


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize(
    "fault", [does.refuse(503), does.refuse(429), does.reset_after(headers=False), does.nothing()]
)
async def test_a_passing_fault_before_the_first_word_is_not_noticed(
    networked: Networked, fault: Behaviour, provider: str
) -> None:
    server, models = networked
    models.play(fault, does.speak("Hello again"))
    asked = len(models.requests)
    client = await server.client(networked_app(provider))
    assert text_of(await client.stream("Hello")) == "Hello again"
    assert len(models.requests) - asked == 2


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize(
    "fault", [does.reset_after("one"), does.half_json("one"), does.refuse(401), does.refuse(400)]
)
async def test_nothing_is_asked_twice_after_a_word_or_a_clear_no(
    networked: Networked, fault: Behaviour, provider: str
) -> None:
    server, models = networked
    models.play(fault, does.speak("Hello again"))
    asked = len(models.requests)
    client = await server.client(networked_app(provider))
    assert check_one_end(await client.stream("Hello")).event == "error"
    assert len(models.requests) - asked == 1


async def test_after_a_fault_the_conversation_goes_on_and_knows_what_was_said(
    networked: Networked,
) -> None:
    server, models = networked
    models.play(does.reset_after("one", " two"), does.speak("Hello again"))
    client = await server.client(networked_app())
    error = (await client.stream("Hello"))[-1]
    await client.stream("And now?", conversation_id=error.data["conversation_id"])
    assert models.requests[-1].body["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "one two"},
        {"role": "user", "content": "And now?"},
    ]


async def test_a_turn_that_takes_too_long_ends_as_if_stopped(tmp_path: Path) -> None:
    async with serving_models(tmp_path, turn_timeout=0.3, checkpoint_interval=0.05) as networked:
        server, models = networked
        models.play(does.speak(["word "] * 1000, pace=0.01))
        client = await server.client(networked_app())
        async with asyncio.timeout(10):
            frames = await client.stream("Hello")
        assert check_one_end(frames).event == "message_end"
        [message] = await client.messages(frames[0].data["conversation_id"])
        assert (message["answer"], message["outcome"]) == (text_of(frames), "stopped")
        await models.wait_left()
