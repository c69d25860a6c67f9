"""Segments written by hand over the API."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.client import Client
from tests.support.knowledge import (
    add_found,
    add_text,
    find,
    index,
    list_segments,
    make_base,
    make_workspace,
)
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

SEGMENT = {
    "id", "position", "document_id", "content", "sign_content", "answer", "word_count", "tokens",
    "keywords", "index_node_id", "index_node_hash", "hit_count", "enabled", "disabled_at",
    "disabled_by", "status", "created_by", "created_at", "updated_at", "indexing_at",
    "completed_at", "error", "stopped_at", "child_chunks",
}  # fmt: skip


@pytest.fixture
async def client(server: TestServer) -> Client:
    """Of a workspace of its own."""
    return await server.knowledge_client(await make_workspace(server))


@pytest.fixture
async def base(client: Client) -> str:
    return await make_base(client)


@pytest.fixture
async def path(server: TestServer, client: Client, base: str) -> str:
    """Of the segments of a document that is found."""
    document = await add_found(server, client, base, "Cats sleep.\n\nDogs bark.")
    return f"/datasets/{base}/documents/{document}/segments"


async def test_segments_are_added_behind_the_others_and_found_at_once(
    client: Client, base: str, path: str
) -> None:
    written = [
        {"content": "Birds sing.", "keywords": ["feather", "feather", ""]},
        {"content": "鱼会游泳。", "answer": "对"},
    ]
    reply = await client.call("POST", path, json={"segments": written})
    assert reply.status == 200
    assert reply.body["doc_form"] == "text_model"
    first, second = reply.body["data"]
    assert set(first) == SEGMENT
    assert (first["position"], second["position"]) == (3, 4)
    assert (first["keywords"], second["answer"]) == (["feather"], "对")
    assert await find(client, base, "feathers or a feather") == ["Birds sing."]
    assert await find(client, base, "游泳") == ["鱼会游泳。"]
    assert (await client.call("GET", f"{path}/{first['id']}")).body["data"] == first
    document = (await client.call("GET", path.removesuffix("/segments"))).body
    assert document["segment_count"] == 4


async def test_segments_are_listed_in_pages(client: Client, path: str) -> None:
    body = (await client.call("GET", path, params={"limit": 1})).body
    assert [one["content"] for one in body["data"]] == ["Cats sleep."]
    assert (body["has_more"], body["total"], body["page"], body["limit"]) == (True, 2, 1, 1)
    body = (await client.call("GET", path, params={"limit": 1, "page": 2})).body
    assert [one["content"] for one in body["data"]] == ["Dogs bark."]
    assert not body["has_more"]
    assert (await client.call("GET", path, params={"keyword": "BARK"})).body["total"] == 1


async def test_a_segment_is_changed_switched_off_and_deleted(
    client: Client, base: str, path: str
) -> None:
    [cats, _] = (await client.call("GET", path)).body["data"]
    one = f"{path}/{cats['id']}"
    reply = await client.call("POST", one, json={"segment": {"content": "Cows moo."}})
    assert reply.status == 200
    assert (reply.body["data"]["content"], reply.body["data"]["position"]) == ("Cows moo.", 1)
    assert await find(client, base, "cats cows") == ["Cows moo."]
    reply = await client.call("POST", one, json={"segment": {"enabled": False}})
    assert (reply.body["data"]["enabled"], reply.body["data"]["content"]) == (False, "Cows moo.")
    assert reply.body["data"]["disabled_at"]
    assert await find(client, base, "cows") == []
    await client.call("POST", one, json={"segment": {"enabled": True}})
    assert await find(client, base, "cows") == ["Cows moo."]
    reply = await client.call("DELETE", one)
    assert (reply.status, reply.body) == (200, {"result": "success"})
    assert await find(client, base, "cows") == []
    for method in ("GET", "DELETE", "POST"):
        body = {"segment": {"content": "x"}} if method == "POST" else None
        reply = await client.call(method, one, json=body)
        assert (reply.status, reply.body["message"]) == (404, "Segment not found.")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "Segments is required"),
    ({"segments": []}, "Segments is required"),
    ({"segments": "x"}, "Segments is required"),
    ({"segments": ["x"]}, "segments must be an object."),
    ({"segments": [{}]}, "Content is empty"),
    ({"segments": [{"content": " "}]}, "Content is empty"),
    ({"segments": [{"content": "x", "keywords": "y"}]}, "keywords must be a list."),
    ({"segments": [{"content": "x" * 20_001}]}, "A segment is longer than 20000 characters."),
    ({"segments": [{"content": "x"}] * 101}, "segments are more than 100."),
]


@pytest.mark.parametrize(("body", "message"), WRONG)
async def test_what_is_wrong_with_segments_is_said_and_none_is_kept(
    client: Client, path: str, body: dict[str, Any], message: str
) -> None:
    reply = await client.call("POST", path, json=body)
    assert (reply.status, reply.body["code"]) == (400, "invalid_param")
    assert reply.body["message"] == message
    assert (await client.call("GET", path)).body["total"] == 2


async def test_a_change_without_a_segment_is_refused(client: Client, path: str) -> None:
    [cats, _] = (await client.call("GET", path)).body["data"]
    for body in ({}, {"segment": "x"}, {"segment": {"content": ""}}):
        reply = await client.call("POST", f"{path}/{cats['id']}", json=body)
        assert reply.status == 400, body


async def test_only_what_is_found_can_be_added_to(
    server: TestServer, client: Client, base: str
) -> None:
    added = await add_text(client, base)
    document = added["document"]["id"]
    path = f"/datasets/{base}/documents/{document}/segments"
    body = {"segments": [{"content": "x"}]}
    reply = await client.call("POST", path, json=body)
    assert (reply.status, reply.body["message"]) == (404, "Document is not completed.")
    await index(server)
    switch = {"document_ids": [document]}
    await client.call("PATCH", f"/datasets/{base}/documents/status/disable", json=switch)
    reply = await client.call("POST", path, json=body)
    assert (reply.status, reply.body["message"]) == (404, "Document is disabled.")


async def test_questions_have_answers(server: TestServer, client: Client, base: str) -> None:
    added = await add_text(client, base, "Why do cats sleep?", doc_form="qa_model")
    await index(server)
    document = added["document"]["id"]
    [segment] = await list_segments(client, base, document)
    assert segment["answer"] == "Because."
    path = f"/datasets/{base}/documents/{document}/segments"
    reply = await client.call("POST", path, json={"segments": [{"content": "Why?"}]})
    assert (reply.status, reply.body["message"]) == (400, "Answer is required")
    written = {"segments": [{"content": "Why?", "answer": "So."}]}
    reply = await client.call("POST", path, json=written)
    assert (reply.status, reply.body["doc_form"]) == (200, "qa_model")


async def test_what_is_not_there_is_not_found(client: Client, base: str, path: str) -> None:
    other = await make_base(client)
    elsewhere = path.replace(base, other)
    nowhere = f"/datasets/{base}/documents/{uuid4()}/segments"
    for wrong in (elsewhere, nowhere, f"/datasets/{base}/documents/x/segments"):
        for method in ("GET", "POST"):
            body = {"segments": [{"content": "x"}]} if method == "POST" else None
            reply = await client.call(method, wrong, json=body)
            assert (reply.status, reply.body["code"]) == (404, "not_found")
