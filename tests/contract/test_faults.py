"""Whatever a model server does: one end, what was said is kept, and no secret is told."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import model_server as does
from tests.support.client import Client, Frame, text_of
from tests.support.model_server import Behaviour, Exchange, ModelServer
from tests.support.model_wires import answer_events
from tests.support.networked import SECRET, WIRES, networked_app, serving_models
from tests.support.server import TestServer
from tests.support.talking import settled

pytestmark = pytest.mark.anyio

Networked = tuple[TestServer, ModelServer]
FAILED = ("completion_request_error", 400)
LEAK = f"the key {SECRET} is wrong"
UNKNOWN = ("model_currently_not_support", 400)
HUGE_EVENT = b"".join(b"data: " + b"x" * 60_000 + b"\n" for _ in range(30)) + b"\n"


async def goes_on_in_one_line(exchange: Exchange) -> None:
    """A line that ends with the connection alone."""
    await exchange.start()
    opening, events, _ = answer_events(exchange.wire, ("one",), (), None, False, False)
    await exchange.write(opening + events[0] + b"data: ")
    while True:
        await exchange.write(b"x" * 65536)


def says_more_than_we_know(content_type: str = "text/event-stream") -> Behaviour:
    """A whole answer with fields, events and lines that no document of the vendors' has."""

    async def play(exchange: Exchange) -> None:
        await exchange.start(content_type=content_type, headers={"X-New": "1"})
        tokens = ("Hello", " again")
        opening, events, closing = answer_events(exchange.wire, tokens, (), (7, 3), True, True)
        for part in (opening, b": still there\n\nid: 7\nretry: 1\n\n", *events, closing):
            new = b'data: {"new": {"deep": [1, null, "\\ud83d\\ude00"]}, '
            await exchange.write(part.replace(b"data: {", new))
        await exchange.end()

    return play


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
    "goes on in one line": (goes_on_in_one_line, "one", FAILED),
    "sends a huge event": (does.raw(HUGE_EVENT, tokens=("one",)), "one", FAILED),
    "sends a huge event first": (does.raw(HUGE_EVENT), "", FAILED),
    "sends a page": (does.raw(b"<html>Hi</html>", content_type="text/html"), "", FAILED),
    "sends no JSON": (does.raw(b"Hello", content_type="application/json"), "", FAILED),
    "sends other JSON": (does.raw(b"data: [1]\n\n", tokens=("one",)), "one", FAILED),
    "refuses the key": (does.refuse(401, LEAK), "", FAILED),
    "forbids": (does.refuse(403, LEAK), "", FAILED),
    "wants money": (does.refuse(402, LEAK), "", ("provider_quota_exceeded", 400)),
    "does not know the model": (does.refuse(404, LEAK), "", UNKNOWN),
    "finds the question wrong": (does.refuse(400, LEAK), "", FAILED),
    "has too much to do": (does.refuse(429, LEAK), "", FAILED),
    "has too much to do for long": (
        does.refuse(429, LEAK, headers={"Retry-After": "3600"}),
        "",
        FAILED,
    ),
    "is broken": (does.refuse(500, LEAK), "", FAILED),
    "is away": (does.refuse(503, LEAK), "", FAILED),
    "hides behind a proxy": (does.refuse_page(502, f"<html>{LEAK}</html>"), "", FAILED),
    "fails in the stream": (does.fail_within(message=LEAK), "", FAILED),
    "fails in its answer": (does.fail_within("one", " two", message=LEAK), "one two", FAILED),
    "fails in a word": (does.raw(b'data: {"type": "error", "error": "no"}\n\n'), "", FAILED),
}


@pytest.fixture(scope="module")
async def networked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Networked]:
    async with serving_models(tmp_path_factory.mktemp("faults"), checkpoint_interval=0.05) as found:
        yield found


@contextmanager
def patience_for(fault: str, networked: Networked) -> Generator[None]:
    """Little where the model says no more, so that a slow machine fails no answer that comes."""
    running = networked[0].house.context.running
    usual = running.limits
    if fault.startswith("hangs"):
        running.limits = msgspec.structs.replace(usual, first_token=0.4, between_tokens=0.4)
    try:
        yield
    finally:
        running.limits = usual


def check_one_end(frames: list[Frame]) -> Frame:
    ends = [frame for frame in frames if frame.event in ("message_end", "error")]
    assert len(ends) == 1
    assert frames[-1] is ends[0]
    return ends[0]


async def check_tells_nothing(
    networked: Networked, client: Client, heard: object
) -> list[dict[str, Any]]:
    """Neither what was heard nor what is kept has a secret, an address or a stack in it."""
    server, models = networked
    messages = await settled(client)
    for told in (str(heard), str(messages)):
        assert SECRET not in told
        assert models.url.removeprefix("http://") not in told
        assert "Traceback" not in told
        assert ".py" not in told
    assert (await client.call("GET", "/../readyz")).status == 200
    assert len(server.house.context.running) == 0
    return messages


async def check_goes_on(networked: Networked, client: Client, message: dict[str, Any]) -> None:
    """The next question of the conversation is answered."""
    _, models = networked
    models.play(does.speak("Hello again"))
    reply = await client.ask("And now?", conversation_id=message["conversation_id"])
    assert (reply.status, reply.body["answer"]) == (200, "Hello again")
    said = {"role": "assistant", "content": message["answer"]}
    asked = models.requests[-1].body["messages"]
    assert asked[-1] == {"role": "user", "content": "And now?"} or not message["answer"]
    assert (said in asked) is bool(message["answer"])


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stream_ends_once_and_what_was_said_is_kept(
    networked: Networked, fault: str, provider: str
) -> None:
    server, models = networked
    behaviour, said, (code, status) = FAULTS[fault]
    models.play(behaviour)
    client = await server.client(networked_app(provider))
    with patience_for(fault, networked):
        frames = await client.stream("Hello")
    end = check_one_end(frames)
    assert (end.event, end.data["code"], end.data["status"]) == ("error", code, status)
    assert end.data["message"]
    [message] = await check_tells_nothing(networked, client, [frame.raw for frame in frames])
    assert message["answer"] == text_of(frames) == said
    assert (message["outcome"], message["status"]) == ("error", "error")
    assert message["error"] == end.data["message"]
    await check_goes_on(networked, client, message)


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_blocking_client_gets_the_same_as_an_http_error(
    networked: Networked, fault: str, provider: str
) -> None:
    server, models = networked
    behaviour, said, (code, status) = FAULTS[fault]
    models.play(behaviour)
    client = await server.client(networked_app(provider))
    with patience_for(fault, networked):
        reply = await client.ask("Hello")
    assert (reply.status, reply.body["code"], reply.body["status"]) == (status, code, status)
    [message] = await check_tells_nothing(networked, client, reply.body)
    assert (message["answer"], message["outcome"]) == (said, "error")
    assert message["error"] == reply.body["message"]


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (does.drip("Hello 世界 again", pause=0), "Hello 世界 again"),
        (does.speak("Hello 世界 again", split=1), "Hello 世界 again"),
        (does.speak("Hello again", done=False), "Hello again"),
        (does.speak(["y" * 900_000]), "y" * 900_000),
        (does.whole("Hello at once"), "Hello at once"),
        (does.empty(), ""),
        (says_more_than_we_know(), "Hello again"),
        (says_more_than_we_know("text/plain"), "Hello again"),
        (says_more_than_we_know("application/octet-stream"), "Hello again"),
    ],
    ids=range(9),
)
async def test_an_odd_answer_is_an_answer(
    networked: Networked, behaviour: Behaviour, said: str, provider: str
) -> None:
    server, models = networked
    models.play(behaviour)
    client = await server.client(networked_app(provider))
    frames = await client.stream("Hello")
    assert check_one_end(frames).event == "message_end"
    usage = frames[-1].data["metadata"]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 3 if said else 0)
    assert "estimated" not in usage
    assert text_of(frames) == said
    assert all(frame.data["answer"] for frame in frames[:-1])
    [message] = await client.messages(frames[-1].data["conversation_id"])
    assert (message["answer"], message["outcome"]) == (said, "normal")
    reply = await client.ask("Hello")
    assert (reply.status, reply.body["answer"]) == (200, said)
    assert reply.body["metadata"]["usage"]["total_tokens"] == usage["total_tokens"]


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


@pytest.mark.parametrize("provider", WIRES)
async def test_a_server_that_never_ends_its_line_is_left(
    networked: Networked, provider: str
) -> None:
    server, models = networked
    models.play(goes_on_in_one_line)
    left = len(models.left)
    client = await server.client(networked_app(provider))
    await client.stream("Hello")
    await models.wait_left(left + 1)


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
