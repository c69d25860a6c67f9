"""A whole answer at once."""

from typing import Any

import pytest

from tests.support.apps import app_file, fails, says
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

KEYS = [
    "event",
    "task_id",
    "id",
    "message_id",
    "conversation_id",
    "mode",
    "answer",
    "metadata",
    "created_at",
]
USAGE = [
    "prompt_tokens",
    "prompt_unit_price",
    "prompt_price_unit",
    "prompt_price",
    "completion_tokens",
    "completion_unit_price",
    "completion_price_unit",
    "completion_price",
    "total_tokens",
    "total_price",
    "currency",
    "latency",
]


@pytest.mark.parametrize("mode", [{}, {"response_mode": "blocking"}], ids=["missing", "given"])
async def test_a_blocking_reply_has_these_keys_in_this_order(
    server: TestServer, mode: dict[str, str]
) -> None:
    steps = [says("Good", " day"), {"usage": {"prompt": 2000, "completion": 300}}]
    client = await server.client(app_file(*steps))
    reply = await client.ask("Hello", **mode)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    body = reply.body
    assert list(body) == KEYS
    assert (body["event"], body["mode"], body["answer"]) == ("message", "chat", "Good day")
    assert body["id"] == body["message_id"]
    assert list(body["metadata"]) == ["usage", "retriever_resources", "annotation_reply"]
    assert body["metadata"]["retriever_resources"] == []
    assert body["metadata"]["annotation_reply"] is None
    usage = body["metadata"]["usage"]
    assert list(usage) == USAGE
    assert (usage["total_tokens"], usage["prompt_price"]) == (2300, "0.0010000")
    assert (usage["completion_price"], usage["total_price"]) == ("0.0004500", "0.0014500")
    [message] = await client.messages(body["conversation_id"])
    assert (message["id"], message["created_at"]) == (body["id"], body["created_at"])


async def test_without_a_price_everything_costs_nothing(server: TestServer) -> None:
    model = {"provider": "scripted", "name": "priceless"}
    client = await server.client(app_file(model=model))
    usage: dict[str, Any] = (await client.ask("Hello")).body["metadata"]["usage"]
    prices = {value for name, value in usage.items() if "price" in name}
    assert (prices, usage["currency"]) == ({"0.0"}, "USD")


async def test_an_app_can_refuse_to_block(server: TestServer) -> None:
    client = await server.client(app_file(says("Good"), kaiwa={"blocking": False}))
    for mode in ({}, {"response_mode": "blocking"}):
        reply = await client.ask("Hello", **mode)
        assert (reply.status, reply.body["code"]) == (400, "invalid_param")
        assert "blocking mode" in reply.body["message"]
    assert (await client.get("/conversations")).body["data"] == []
    assert [frame.event for frame in await client.stream("Hello")] == ["message", "message_end"]


async def test_a_failure_is_an_error_with_its_status_and_the_text_is_kept(
    server: TestServer,
) -> None:
    client = await server.client(app_file(says("So far"), fails()))
    reply = await client.ask("Hello")
    assert (reply.status, reply.body["code"]) == (400, "completion_request_error")
    [conversation] = (await client.get("/conversations")).body["data"]
    [message] = await client.messages(conversation["id"])
    assert (message["answer"], message["status"]) == ("So far", "error")
    assert message["error"] == reply.body["message"]


async def test_a_provider_that_is_not_set_up_is_refused_before_anything_is_kept(
    server: TestServer,
) -> None:
    model = {"provider": "nobody", "name": "gpt-x"}
    client = await server.client(app_file(model=model))
    for mode in ("blocking", "streaming"):
        reply = await client.ask("Hello", response_mode=mode)
        assert (reply.status, reply.body) == (
            400,
            {
                "code": "provider_not_initialize",
                "message": "Model gpt-x credentials is not initialized.",
                "status": 400,
            },
        )
    assert (await client.get("/conversations")).body["data"] == []
