"""An end user's conversations: listed, pinned, renamed, deleted."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

KEYS = [
    "id",
    "name",
    "inputs",
    "status",
    "introduction",
    "created_at",
    "updated_at",
    "pinned",
]
NOT_FOUND = {"code": "not_found", "message": "Conversation Not Exists.", "status": 404}


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(says("Fine.")))


async def begin(client: Client, question: str = "Hello") -> str:
    """The id of a new conversation."""
    reply = await client.ask(question, auto_generate_name=False)
    return reply.body["conversation_id"]


async def listed(client: Client, **params: Any) -> list[str]:
    """The names on a page."""
    reply = await client.get("/conversations", **params)
    assert reply.status == 200, reply.body
    return [conversation["name"] for conversation in reply.body["data"]]


async def test_a_conversation_has_these_keys(client: Client) -> None:
    conversation_id = await begin(client)
    page = (await client.get("/conversations")).body
    assert list(page) == ["limit", "has_more", "data"]
    [conversation] = page["data"]
    assert list(conversation) == KEYS
    assert conversation == {
        "id": conversation_id,
        "name": "Hello",
        "inputs": {},
        "status": "normal",
        "introduction": "",
        "created_at": conversation["created_at"],
        "updated_at": conversation["updated_at"],
        "pinned": False,
    }
    assert isinstance(conversation["updated_at"], int)


ORDERS = {
    "created_at": "abcde",
    "-created_at": "edcba",
    "updated_at": "bcdea",
    "-updated_at": "aedcb",
    "": "aedcb",
}


@pytest.mark.parametrize("sort_by", ORDERS)
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_pages_hold_every_conversation_once_in_the_order_asked_for(
    client: Client, sort_by: str, limit: int
) -> None:
    first, *_ = [await begin(client, name) for name in "abcde"]
    await client.ask("more", conversation_id=first)
    order = ORDERS[sort_by]
    read, last_id, more = "", "", True
    while more:
        reply = await client.get("/conversations", limit=limit, sort_by=sort_by, last_id=last_id)
        assert reply.body["limit"] == limit
        more = reply.body["has_more"]
        last_id = reply.body["data"][-1]["id"]
        read += "".join(conversation["name"] for conversation in reply.body["data"])
        assert more == (len(read) < 5)
    assert read == order
    assert await listed(client, sort_by=sort_by, last_id=last_id) == []


async def test_the_last_id_must_be_a_conversation_of_the_list(client: Client) -> None:
    deleted = await begin(client)
    await client.delete(f"/conversations/{deleted}")
    for last_id in (str(uuid4()), deleted):
        reply = await client.get("/conversations", last_id=last_id)
        wanted = {**NOT_FOUND, "message": "Last Conversation Not Exists."}
        assert (reply.status, reply.body) == (404, wanted)


async def test_pinned_conversations_can_be_listed_alone(client: Client) -> None:
    for name in "ab":
        await begin(client, name)
    pinned = await begin(client, "c")
    before = (await client.get("/conversations")).body["data"][0]
    reply = await client.patch(f"/conversations/{pinned}/pin")
    assert reply.body == {**before, "pinned": True, "result": "success"}
    assert await listed(client, pinned="true") == ["c"]
    assert await listed(client, pinned="false") == ["b", "a"]
    assert await listed(client, pinned="") == ["c", "b", "a"]
    reply = await client.call("PATCH", f"/conversations/{pinned}/unpin")
    assert reply.body == NOT_FOUND  # without a body it is the shared user's
    reply = await client.patch(f"/conversations/{pinned}/unpin")
    assert reply.body == {**before, "result": "success"}
    assert await listed(client, pinned="true") == []


@pytest.mark.parametrize("name", ["A new name", "", "名前 👋", "x" * 300, "{{x}}", 'a"b', " a "])
async def test_a_conversation_is_renamed_by_hand(client: Client, name: str) -> None:
    conversation_id = await begin(client)
    reply = await client.post(f"/conversations/{conversation_id}/name", name=name)
    assert reply.status == 200
    assert list(reply.body) == [*KEYS, "result"]
    assert (reply.body["name"], reply.body["result"]) == (name, "success")
    assert await listed(client) == [name]


async def test_a_rename_moves_a_conversation_to_the_top(client: Client) -> None:
    first = await begin(client, "a")
    await begin(client, "b")
    await client.post(f"/conversations/{first}/name", name="c")
    assert await listed(client) == ["c", "b"]


@pytest.mark.parametrize(
    "body", [{}, {"name": None}, {"auto_generate": False}, {"auto_generate": "false"}]
)
async def test_a_rename_needs_a_name(client: Client, body: dict[str, Any]) -> None:
    conversation_id = await begin(client)
    reply = await client.post(f"/conversations/{conversation_id}/name", **body)
    assert (reply.status, reply.body["code"]) == (400, "invalid_param")
    assert reply.body["message"] == "name is required when auto_generate is false"
    assert await listed(client) == ["Hello"]


async def test_a_deleted_conversation_is_gone_at_once(client: Client) -> None:
    [kept, gone] = [await begin(client, name) for name in ("kept", "gone")]
    [message] = await client.messages(gone)
    reply = await client.delete(f"/conversations/{gone}")
    assert (reply.status, reply.body) == (200, {"result": "success"})
    assert await listed(client) == ["kept"]
    path = f"/conversations/{gone}"
    for reply in (
        await client.delete(path),
        await client.post(f"{path}/name", name="x"),
        await client.patch(f"{path}/pin"),
        await client.get("/messages", conversation_id=gone),
        await client.ask("Again", conversation_id=gone),
        await client.ask("Again", conversation_id=gone, response_mode="streaming"),
    ):
        assert (reply.status, reply.body) == (404, NOT_FOUND)
    reply = await client.get("/messages", conversation_id=kept, first_id=message["id"])
    assert reply.status == 404
    for reply in (
        await client.post(f"/messages/{message['id']}/feedbacks", rating="like"),
        await client.get(f"/messages/{message['id']}/suggested"),
    ):
        assert (reply.status, reply.body["message"]) == (404, "Message Not Exists.")


async def test_a_delete_without_a_body_is_the_shared_users(client: Client) -> None:
    mine = await begin(client)
    shared = await begin(client.as_user("DEFAULT-USER"))
    assert (await client.call("DELETE", f"/conversations/{mine}")).body == NOT_FOUND
    reply = await client.call("DELETE", f"/conversations/{shared}")
    assert (reply.status, reply.body) == (200, {"result": "success"})
    assert await listed(client) == ["Hello"]


async def test_a_conversation_that_is_not_there_is_not_found(client: Client) -> None:
    path = f"/conversations/{uuid4()}"
    for reply in (
        await client.delete(path),
        await client.post(f"{path}/name", name="x"),
        await client.post(f"{path}/name", auto_generate=True),
        await client.patch(f"{path}/pin"),
        await client.patch(f"{path}/unpin"),
        await client.ask("Hello", conversation_id=str(uuid4())),
    ):
        assert (reply.status, reply.body) == (404, NOT_FOUND)
