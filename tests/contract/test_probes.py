"""The conformance probes of the contract, one after the other, as a client would send them."""

from typing import Any
from uuid import uuid4

import pytest

from tests.contract.test_blocking import KEYS, USAGE
from tests.support.apps import app_file, fails, says
from tests.support.client import Client, Frame, text_of
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

FORM: list[dict[str, Any]] = [
    {"text-input": {"variable": "name", "label": "Name", "required": True, "max_length": 5}},
    {"select": {"variable": "tier", "label": "Tier", "options": ["a", "b"]}},
    {"number": {"variable": "age", "label": "Age"}},
]


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(says("Good", " day", ".")))


async def raw(client: Client, **body: Any) -> tuple[int, dict[str, Any]]:
    reply = await client.call("POST", "/chat-messages", json=body)
    return reply.status, reply.body


async def test_3_to_5_the_arguments_in_their_order(client: Client) -> None:
    assert await raw(client) == (
        400,
        {"code": "invalid_param", "message": "Arg user must be provided.", "status": 400},
    )
    status, body = await raw(client, user="u", inputs={})
    assert (status, body["params"]) == (400, "query")
    status, body = await raw(client, user="u", inputs={}, query="")
    assert (status, body["message"]) == (400, "query is required")
    status, body = await raw(client, user="u", query="Hi")
    assert status == 200, "inputs may be missing"
    status, body = await raw(client, user="u", inputs={}, query="Hi", response_mode="x")
    assert (status, body["message"]) == (400, "x is not a valid choice")


async def test_6_the_conversation_asked_for(client: Client) -> None:
    reply = await client.ask("Hi", conversation_id="abc")
    assert reply.status == 400
    assert reply.body["message"] == "abc is not a valid uuid."
    assert reply.body["params"] == "conversation_id"
    reply = await client.ask("Hi", conversation_id=str(uuid4()))
    assert (reply.status, reply.body["message"]) == (404, "Conversation Not Exists.")
    mine = (await client.ask("Hi", conversation_id="")).body["conversation_id"]
    reply = await client.as_user("other").ask("Hi", conversation_id=mine)
    assert reply.status == 404
    for spelling in (mine, mine.upper(), mine.replace("-", "")):
        assert (await client.ask("Hi", conversation_id=spelling)).body["conversation_id"] == mine


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "name is required in input form"),
        (
            {"name": "Ann", "tier": "c"},
            "tier in input form must be one of the following: ['a', 'b']",
        ),
        ({"name": "Johnny"}, "name in input form must be less than 5 characters"),
        ({"name": "Ann", "age": "abc"}, "age in input form must be a valid number"),
        ({"name": 7}, "(type 'text-input') name in input form must be a string"),
    ],
)
async def test_7_inputs_against_the_form(
    server: TestServer, inputs: dict[str, Any], message: str
) -> None:
    client = await server.client(app_file(user_input_form=FORM))
    reply = await client.ask("Hi", inputs=inputs)
    assert (reply.status, reply.body["code"], reply.body["message"]) == (
        400,
        "invalid_param",
        message,
    )
    assert (await client.get("/conversations")).body["data"] == []


async def test_7_a_number_in_a_string_is_kept_as_a_number(server: TestServer) -> None:
    client = await server.client(app_file(user_input_form=FORM))
    reply = await client.ask("Hi", inputs={"name": "Ann", "age": "1.5", "extra": 1})
    (message,) = await client.messages(reply.body["conversation_id"])
    assert message["inputs"] == {"name": "Ann", "tier": "", "age": 1.5}


async def test_8_an_app_that_does_not_block(server: TestServer) -> None:
    client = await server.client(app_file(says("Hi."), kaiwa={"blocking": False}))
    for body in ({}, {"response_mode": "blocking"}):
        assert (await client.ask("Hi", **body)).status == 400
    assert text_of(await client.stream("Hi")) == "Hi."


async def test_9_the_keys_of_a_whole_answer(client: Client) -> None:
    body = (await client.ask("Hi")).body
    assert list(body) == KEYS
    assert body["event"] == "message"
    assert body["id"] == body["message_id"]
    assert body["answer"] == "Good day."
    assert list(body["metadata"]) == ["usage", "retriever_resources", "annotation_reply"]
    assert [key for key in body["metadata"]["usage"] if key != "estimated"] == USAGE


async def test_10_the_stream_and_what_is_kept(client: Client) -> None:
    frames = await client.stream("Hi")
    assert [frame.event for frame in frames] == ["message"] * 3 + ["message_end"]
    for key in ("conversation_id", "message_id", "created_at", "task_id"):
        assert len({frame.data[key] for frame in frames}) == 1
    (message,) = await client.messages(frames[0].data["conversation_id"])
    assert message["answer"] == text_of(frames)


async def test_13_a_failing_model(server: TestServer) -> None:
    client = await server.client(app_file(says("Well"), fails("server", "out of order")))
    frames = await client.stream("Hi")
    assert [frame.event for frame in frames] == ["message", "error"]
    error = frames[-1].data
    assert (error["status"], error["code"]) == (400, "completion_request_error")
    blocking = await client.ask("Hi")
    assert (blocking.status, blocking.body["code"]) == (400, "completion_request_error")
    (message,) = await client.messages(error["conversation_id"])
    assert (message["status"], message["answer"]) == ("error", "Well")


async def test_14_rating_and_taking_it_back(client: Client) -> None:
    message_id = (await client.ask("Hi")).body["message_id"]
    statuses = [
        (await client.post(f"/messages/{message_id}/feedbacks", rating=rating)).status
        for rating in ("like", "like", "dislike", None, None)
    ]
    assert statuses == [200, 200, 200, 200, 400]


async def test_15_suggestions(server: TestServer, client: Client) -> None:
    message_id = (await client.ask("Hi")).body["message_id"]
    off = await client.get(f"/messages/{message_id}/suggested")
    assert (off.status, off.body["code"]) == (400, "bad_request")
    nobody = await client.call("GET", f"/messages/{message_id}/suggested")
    assert nobody.status == 400
    on = await server.client(app_file(suggested_questions_after_answer={"enabled": True}))
    message_id = (await on.ask("Hi")).body["message_id"]
    reply = await on.get(f"/messages/{message_id}/suggested")
    assert reply.status == 200
    assert isinstance(reply.body["data"], list)


async def test_16_pages_of_messages(client: Client) -> None:
    first = (await client.ask("1")).body["conversation_id"]
    for query in "2345":
        await client.ask(query, conversation_id=first)
    reply = await client.get("/messages", conversation_id=first, limit=101)
    assert (reply.status, reply.body["limit"]) == (200, 100)
    pages: list[list[str]] = []
    before = ""
    while True:
        page = await client.get("/messages", conversation_id=first, limit=2, first_id=before)
        pages.append([message["query"] for message in page.body["data"]])
        if not page.body["has_more"]:
            break
        before = page.body["data"][0]["id"]
    assert pages == [["4", "5"], ["2", "3"], ["1"]]
    reply = await client.get("/messages", conversation_id=first, first_id=str(uuid4()))
    assert reply.status == 404
    assert (await client.get("/messages", conversation_id="")).body["data"] == []


async def test_17_to_19_conversations(client: Client) -> None:
    ids = [(await client.ask(q)).body["conversation_id"] for q in "abc"]
    await client.ask("again", conversation_id=ids[0])
    orders = {
        "created_at": ids,
        "-created_at": ids[::-1],
        "updated_at": [ids[1], ids[2], ids[0]],
        "-updated_at": [ids[0], ids[2], ids[1]],
    }
    for sort_by, wanted in orders.items():
        reply = await client.get("/conversations", sort_by=sort_by)
        assert [found["id"] for found in reply.body["data"]] == wanted
    assert (await client.get("/conversations", last_id=str(uuid4()))).status == 404

    path = f"/conversations/{ids[0]}"
    assert (await client.delete(path)).body == {"result": "success"}
    assert (await client.delete(path)).status == 404
    assert (await client.ask("Still there?", conversation_id=ids[0])).status == 404
    left = (await client.get("/conversations")).body["data"]
    assert ids[0] not in [found["id"] for found in left]

    named = await client.post(f"/conversations/{ids[1]}/name", name="By hand")
    assert (named.body["name"], named.body["result"]) == ("By hand", "success")
    made = await client.post(f"/conversations/{ids[1]}/name", auto_generate=True)
    assert (made.status, made.body["id"]) == (200, ids[1])
    neither = await client.post(f"/conversations/{ids[1]}/name")
    assert (neither.status, neither.body["code"]) == (400, "invalid_param")


async def test_18_a_delete_without_a_body_is_the_shared_users(client: Client) -> None:
    shared = client.as_user("")
    body: dict[str, Any] = {"query": "Hi", "inputs": {}, "user": "DEFAULT-USER"}
    asked = await client.call("POST", "/chat-messages", json=body)
    path = f"/conversations/{asked.body['conversation_id']}"
    assert (await shared.call("DELETE", path)).body == {"result": "success"}


async def test_24_one_at_a_time(server: TestServer) -> None:
    hanging = app_file(says("Wait"), {"hang": True}, kaiwa={"limits": {"concurrent": 1}})
    client = await server.client(hanging)
    async with client.streaming("Hi") as stream:
        first: Frame = await anext(stream.frames())
        second = await client.as_user("other").ask("Hi")
        assert (second.status, second.body["code"]) == (429, "too_many_requests")
        assert second.body["message"].endswith(
            "The current maximum concurrent requests allowed is 1."
        )
        assert int(second.headers["Retry-After"]) >= 1
        await client.post(f"/chat-messages/{first.data['task_id']}/stop")
        assert (await stream.rest())[-1].event == "message_end"


@pytest.mark.parametrize("bad", ["abc", "x" * 36, "0f5c7f2e000040008000000000000000", "%00", "1"])
async def test_25_an_id_in_a_path_that_is_none(client: Client, bad: str) -> None:
    for method, path in (
        ("POST", f"/messages/{bad}/feedbacks"),
        ("DELETE", f"/conversations/{bad}"),
        ("POST", f"/conversations/{bad}/name"),
        ("PATCH", f"/conversations/{bad}/pin"),
    ):
        reply = await client.call(method, path, json={"user": "u", "name": "x", "rating": "like"})
        assert (reply.status, reply.body["code"]) == (404, "not_found")
