"""Messages of a conversation, page by page, and their ratings."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

KEYS = [
    "id",
    "conversation_id",
    "parent_message_id",
    "inputs",
    "query",
    "answer",
    "message_files",
    "feedback",
    "retriever_resources",
    "created_at",
    "agent_thoughts",
    "status",
    "error",
    "outcome",
]


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(says("Fine.")))


async def converse(client: Client, *questions: str) -> str:
    """The id of a new conversation with these questions."""
    conversation_id = ""
    for question in questions:
        reply = await client.ask(question, conversation_id=conversation_id)
        conversation_id = reply.body["conversation_id"]
    return conversation_id


async def test_a_message_has_these_keys(client: Client) -> None:
    conversation_id = await converse(client, "one")
    [message] = await client.messages(conversation_id)
    assert list(message) == KEYS
    assert message == {
        "id": message["id"],
        "conversation_id": conversation_id,
        "parent_message_id": "00000000-0000-0000-0000-000000000000",
        "inputs": {},
        "query": "one",
        "answer": "Fine.",
        "message_files": [],
        "feedback": None,
        "retriever_resources": [],
        "created_at": message["created_at"],
        "agent_thoughts": [],
        "status": "normal",
        "error": None,
        "outcome": "normal",
    }


@pytest.mark.parametrize(
    ("limit", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (100, [5])]
)
async def test_pages_hold_every_message_once_and_the_newest_come_first(
    client: Client, limit: int, sizes: list[int]
) -> None:
    questions = [f"question {number}" for number in range(5)]
    conversation_id = await converse(client, *questions)
    read: list[str] = []
    first_id = ""
    for number, size in enumerate(sizes, 1):
        params: dict[str, Any] = {"conversation_id": conversation_id, "limit": limit}
        page = (await client.get("/messages", **params, first_id=first_id)).body
        assert list(page) == ["limit", "has_more", "data"]
        assert (page["limit"], page["has_more"]) == (limit, number < len(sizes))
        assert len(page["data"]) == size
        read = [message["query"] for message in page["data"]] + read
        first_id = page["data"][0]["id"]
    assert read == questions
    last = await client.get("/messages", conversation_id=conversation_id, first_id=first_id)
    assert last.body == {"limit": 20, "has_more": False, "data": []}


@pytest.mark.parametrize(
    ("given", "used"), [("", 20), ("7", 7), ("100", 100), ("101", 100), ("9999", 100)]
)
async def test_a_limit_over_the_maximum_is_lowered_and_told(
    client: Client, given: str, used: int
) -> None:
    conversation_id = await converse(client, "one")
    for path in ("/messages", "/conversations"):
        reply = await client.get(path, conversation_id=conversation_id, limit=given)
        assert (reply.status, reply.body["limit"]) == (200, used)
        assert len(reply.body["data"]) == 1


async def test_no_conversation_is_an_empty_page(client: Client) -> None:
    reply = await client.get("/messages", conversation_id="", limit=3)
    assert (reply.status, reply.body) == (200, {"limit": 3, "has_more": False, "data": []})


async def test_a_first_message_must_be_one_of_the_conversation(client: Client) -> None:
    one = await converse(client, "one")
    [other] = await client.messages(await converse(client, "two"))
    for first_id in (str(uuid4()), other["id"]):
        reply = await client.get("/messages", conversation_id=one, first_id=first_id)
        assert (reply.status, reply.body["message"]) == (404, "First Message Not Exists.")
        assert reply.body["code"] == "not_found"


async def test_without_a_user_there_is_a_shared_one(client: Client) -> None:
    shared = client.as_user("DEFAULT-USER")
    conversation_id = await converse(shared, "one")
    reply = await client.call("GET", f"/messages?conversation_id={conversation_id}")
    assert len(reply.body["data"]) == 1
    assert len((await client.call("GET", "/conversations")).body["data"]) == 1


async def test_a_rating_is_set_changed_and_taken_back(client: Client) -> None:
    conversation_id = await converse(client, "one")
    [message] = await client.messages(conversation_id)
    path = f"/messages/{message['id']}/feedbacks"
    steps: list[tuple[dict[str, Any], int, dict[str, str] | None]] = [
        ({"rating": "like", "content": "so true"}, 200, {"rating": "like"}),
        ({"rating": "like"}, 200, {"rating": "like"}),
        ({"rating": "dislike", "content": None}, 200, {"rating": "dislike"}),
        ({"rating": None}, 200, None),
        ({"rating": None}, 400, None),
        ({}, 400, None),
        ({"rating": "dislike", "content": 5}, 200, {"rating": "dislike"}),
        ({}, 200, None),
    ]
    for body, status, feedback in steps:
        reply = await client.post(path, **body)
        assert reply.status == status
        if status == 200:
            assert reply.body == {"result": "success"}
        else:
            assert reply.body == {
                "code": "invalid_param",
                "message": "rating cannot be None when feedback not exists",
                "status": 400,
            }
        [message] = await client.messages(conversation_id)
        assert message["feedback"] == feedback


async def test_a_message_that_is_not_there_cannot_be_rated(client: Client) -> None:
    reply = await client.post(f"/messages/{uuid4()}/feedbacks", rating="like")
    wanted = {"code": "not_found", "message": "Message Not Exists.", "status": 404}
    assert (reply.status, reply.body) == (404, wanted)


async def test_a_conversation_that_is_not_there_has_no_messages(client: Client) -> None:
    reply = await client.get("/messages", conversation_id=str(uuid4()))
    wanted = {"code": "not_found", "message": "Conversation Not Exists.", "status": 404}
    assert (reply.status, reply.body) == (404, wanted)
