"""Documents of knowledge bases over the API: by text, by file, replaced, listed, switched."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from uuid_utils.compat import uuid7

from kaiwa.app import now
from kaiwa.domain.knowledge import ChunkRule
from kaiwa.knowledge.workshop import Workshop
from kaiwa.providers.embeddings.hashed import HashedEmbedder
from kaiwa.store.documents import get_document
from kaiwa.store.files import known_keys
from tests.support.client import Client
from tests.support.ingesting import make_ingest
from tests.support.knowledge import (
    add_found,
    add_text,
    find,
    index,
    make_base,
    make_workspace,
    send_file,
)
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

DOCUMENT = {
    "id", "position", "data_source_type", "data_source_info", "dataset_process_rule_id", "name",
    "created_from", "created_by", "created_at", "tokens", "indexing_status", "error", "enabled",
    "disabled_at", "disabled_by", "archived", "display_status", "word_count", "hit_count",
    "doc_form", "doc_metadata",
}  # fmt: skip
CUSTOM = {
    "mode": "custom",
    "rules": {
        "pre_processing_rules": [
            {"id": "remove_extra_spaces", "enabled": True},
            {"id": "remove_urls_emails", "enabled": True},
        ],
        "segmentation": {"separator": "###", "max_tokens": 500, "chunk_overlap": 20},
    },
}


@pytest.fixture
async def client(server: TestServer) -> Client:
    """Of a workspace of its own."""
    return await server.knowledge_client(await make_workspace(server))


@pytest.fixture
async def base(client: Client) -> str:
    return await make_base(client)


async def rule_of(server: TestServer, base: str, document: dict[str, Any]) -> ChunkRule:
    found = await get_document(server.house.context.db, UUID(base), UUID(document["id"]))
    return found.rule


@pytest.mark.parametrize("spelling", ["create-by-text", "create_by_text"])
async def test_a_text_is_kept_and_waits_to_be_indexed(
    server: TestServer, client: Client, base: str, spelling: str
) -> None:
    body: dict[str, Any] = {"name": "text", "text": "Cats."}
    body |= {"indexing_technique": "high_quality", "process_rule": {"mode": "automatic"}}
    reply = await client.call("POST", f"/datasets/{base}/document/{spelling}", json=body)
    assert reply.status == 200
    assert set(reply.body) == {"document", "batch"}
    document = reply.body["document"]
    assert set(document) == DOCUMENT
    assert (document["name"], document["position"]) == ("text", 1)
    assert (document["indexing_status"], document["display_status"]) == ("waiting", "queuing")
    assert await rule_of(server, base, document) == ChunkRule()
    assert await find(client, base, "cats") == []
    await index(server)
    assert await find(client, base, "cats") == ["Cats."]


@pytest.mark.parametrize("spelling", ["create-by-file", "create_by_file"])
async def test_a_file_is_kept_with_its_rule(
    server: TestServer, client: Client, base: str, spelling: str
) -> None:
    path = f"/datasets/{base}/document/{spelling}"
    data = json.dumps({"process_rule": CUSTOM, "doc_language": "Chinese"})
    reply = await send_file(client, path, "猫は魚が好き。".encode(), "猫.md", data=data)
    assert reply.status == 200, reply.body
    document = reply.body["document"]
    assert document["name"] == "猫.md"
    assert await rule_of(server, base, document) == ChunkRule(
        mode="custom", separator="###", max_tokens=500, overlap=20,
        remove_extra_spaces=True, remove_urls_emails=True,
    )  # fmt: skip
    await index(server)
    assert await find(client, base, "魚") == ["猫は魚が好き。"]
    detail = (await client.call("GET", f"/datasets/{base}/documents/{document['id']}")).body
    assert set(detail) > DOCUMENT
    assert detail["dataset_process_rule"] == CUSTOM
    assert (detail["doc_language"], detail["segment_count"]) == ("Chinese", 1)
    assert (detail["display_status"], detail["indexing_latency"] >= 0) == ("available", True)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"name": None}, "Missing required parameter in the JSON body", "name"),
    ({"text": None}, "Missing required parameter in the JSON body", "text"),
    ({"text": "  "}, "text is empty.", "text"),
    ({"process_rule": {}}, "Process rule mode is required", "process_rule"),
    ({"process_rule": {"mode": "magic"}}, "Process rule mode is invalid", "process_rule"),
    ({"process_rule": {"mode": "custom"}}, "Process rule rules is required", "process_rule"),
    (
        {"process_rule": {"mode": "custom", "rules": {"segmentation": {"max_tokens": 5}}}},
        "max_tokens must be between 50 and 4000.",
        "max_tokens",
    ),
    (
        {"process_rule": {"mode": "custom", "rules": {"pre_processing_rules": 1}}},
        "Process rule pre_processing_rules is invalid",
        "pre_processing_rules",
    ),
    ({"doc_form": "hierarchical_model"}, "hierarchical_model is not a valid doc_form.", "doc_form"),
    ({"indexing_technique": "fast"}, "Invalid indexing technique.", "indexing_technique"),
]


@pytest.mark.parametrize(("body", "message", "field"), WRONG)
async def test_what_is_wrong_with_a_text_is_said_and_nothing_kept(
    server: TestServer, client: Client, base: str, body: dict[str, Any], message: str, field: str
) -> None:
    before = {key async for key, _ in server.house.blobs.list_keys()}
    given = {"name": "a", "text": "b"} | body
    path = f"/datasets/{base}/document/create-by-text"
    reply = await client.call("POST", path, json=given)
    assert (reply.status, reply.body["code"]) == (400, "invalid_param")
    assert (reply.body["message"], reply.body["params"]) == (message, field)
    assert (await client.call("GET", f"/datasets/{base}/documents")).body["total"] == 0
    assert {key async for key, _ in server.house.blobs.list_keys()} == before


async def test_what_is_wrong_with_a_file_is_said_and_nothing_kept(
    server: TestServer, client: Client, base: str
) -> None:
    before = {key async for key, _ in server.house.blobs.list_keys()}
    path = f"/datasets/{base}/document/create-by-file"
    limit = server.house.keeper.limits.document
    cases: list[tuple[bytes, str, dict[str, str], int, str]] = [
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "a.png", {}, 415, "unsupported_file_type"),
        (b"%PDF-1.7", "a.txt", {}, 415, "unsupported_file_type"),
        (b"", "a.txt", {}, 415, "unsupported_file_type"),
        (b"text", "..", {}, 400, "filename_not_exists_error"),
        (b"x" * (limit + 1), "a.txt", {}, 413, "file_too_large"),
        (b"text", "a.txt", {"data": "{"}, 400, "invalid_param"),
        (b"text", "a.txt", {"data": "[]"}, 400, "invalid_param"),
        (b"text", "a.txt", {"data": '{"doc_form": 7}'}, 400, "invalid_param"),
        (b"text", "a.txt", {"data": f'{{"original_document_id": "{uuid4()}"}}'}, 404, "not_found"),
    ]
    for content, name, fields, status, code in cases:
        reply = await send_file(client, path, content, name, **fields)
        assert (reply.status, reply.body["code"]) == (status, code), (name, fields)
    reply = await client.call("POST", path, json={})
    assert (reply.status, reply.body["code"]) == (400, "no_file_uploaded")
    assert (await client.call("GET", f"/datasets/{base}/documents")).body["total"] == 0
    assert {key async for key, _ in server.house.blobs.list_keys()} == before


async def test_a_document_is_replaced_and_found_as_it_was_until_then(
    server: TestServer, client: Client, base: str
) -> None:
    document = await add_found(server, client, base, "Cats sleep.")
    path = f"/datasets/{base}/documents/{document}"
    reply = await client.call("POST", f"{path}/update-by-text", json={"text": "Birds sing."})
    assert (reply.status, reply.body["document"]["id"]) == (200, document)
    assert reply.body["document"]["indexing_status"] == "waiting"
    assert await find(client, base, "cats birds") == ["Cats sleep."]
    await index(server)
    assert await find(client, base, "cats birds") == ["Birds sing."]
    reply = await send_file(client, f"{path}/update_by_file", b"Fish swim.", "fish.md")
    assert (reply.status, reply.body["document"]["name"]) == (200, "fish.md")
    await index(server)
    assert await find(client, base, "cats birds fish") == ["Fish swim."]
    reply = await client.call("POST", f"{path}/update_by_text", json={"name": "renamed.md"})
    assert reply.body["document"]["name"] == "renamed.md"
    await index(server)
    assert await find(client, base, "fish") == ["Fish swim."]
    assert (await client.call("GET", f"/datasets/{base}/documents")).body["total"] == 1


@pytest.mark.parametrize("by", ["text", "file"])
async def test_a_new_document_may_say_which_it_replaces(
    server: TestServer, client: Client, base: str, by: str
) -> None:
    document = await add_found(server, client, base, "Cats sleep.")
    named = {"original_document_id": document}
    path = f"/datasets/{base}/document/create-by-{by}"
    if by == "text":
        body = {"name": "b.txt", "text": "Birds sing."} | named
        reply = await client.call("POST", path, json=body)
    else:
        reply = await send_file(client, path, b"Birds sing.", data=json.dumps(named))
    assert (reply.status, reply.body["document"]["id"]) == (200, document)
    await index(server)
    assert await find(client, base, "cats birds") == ["Birds sing."]
    kept = {key async for key, _ in server.house.blobs.list_keys() if document_in(key, base)}
    known = await known_keys(server.house.context.db, sorted(kept))
    assert len(known) == 1, "its bytes are known, and the ones before are not"


def document_in(key: str, base: str) -> bool:
    return base.replace("-", "") in key


async def test_how_far_a_batch_is_can_be_asked(
    server: TestServer, client: Client, base: str
) -> None:
    added = await add_text(client, base)
    path = f"/datasets/{base}/documents/{added['batch']}/indexing-status"
    [before] = (await client.call("GET", path)).body["data"]
    assert (before["id"], before["indexing_status"]) == (added["document"]["id"], "waiting")
    assert (before["processing_started_at"], before["completed_at"]) == (None, None)
    await index(server)
    [after] = (await client.call("GET", path)).body["data"]
    assert after["indexing_status"] == "completed"
    assert (after["completed_segments"], after["total_segments"]) == (3, 3)
    assert after["completed_at"] >= after["processing_started_at"] > 0
    assert set(after) == {
        "id", "indexing_status", "processing_started_at", "parsing_completed_at",
        "cleaning_completed_at", "splitting_completed_at", "completed_at", "paused_at", "error",
        "stopped_at", "completed_segments", "total_segments",
    }  # fmt: skip
    reply = await client.call("GET", f"/datasets/{base}/documents/2023/indexing-status")
    assert (reply.status, reply.body["message"]) == (404, "Documents not found.")


async def test_documents_are_listed_in_pages(client: Client, base: str) -> None:
    for number in range(3):
        await add_text(client, base, name=f"Page {number}")
    path = f"/datasets/{base}/documents"
    first = (await client.call("GET", path, params={"limit": 2})).body
    assert [one["name"] for one in first["data"]] == ["Page 2", "Page 1"]
    assert (first["has_more"], first["total"], first["page"], first["limit"]) == (True, 3, 1, 2)
    assert all(set(one) == DOCUMENT for one in first["data"])
    second = (await client.call("GET", path, params={"limit": 2, "page": 2})).body
    assert ([one["name"] for one in second["data"]], second["has_more"]) == (["Page 0"], False)
    assert (await client.call("GET", path, params={"keyword": "E 1"})).body["total"] == 1


@pytest.mark.parametrize("end", ["", "/batch"])
async def test_documents_are_switched_together_or_not_at_all(
    server: TestServer, client: Client, base: str, end: str
) -> None:
    first = await add_found(server, client, base, "Cats one.")
    second = await add_found(server, client, base, "Cats two.")

    async def switch(action: str, *ids: str) -> tuple[int, str]:
        path = f"/datasets/{base}/documents/status/{action}{end}"
        reply = await client.call("PATCH", path, json={"document_ids": ids})
        return reply.status, reply.body.get("code", reply.body.get("result"))

    assert await switch("disable", first, second) == (200, "success")
    assert await find(client, base, "cats") == []
    assert await switch("enable", first, str(uuid4())) == (404, "not_found")
    assert await find(client, base, "cats") == []
    assert await switch("enable", first, first, second) == (200, "success")
    assert len(await find(client, base, "cats")) == 2
    assert await switch("archive", first) == (200, "success")
    assert await find(client, base, "cats") == ["Cats two."]
    listed = (await client.call("GET", f"/datasets/{base}/documents")).body["data"]
    assert [one["display_status"] for one in listed] == ["available", "archived"]
    assert await switch("un_archive", first) == (200, "success")
    assert await switch("burn", first) == (400, "invalid_action")
    assert await switch("enable") == (400, "invalid_param")
    assert await switch("enable", "x") == (404, "not_found")
    assert await switch("enable", *[str(uuid4())] * 101) == (400, "invalid_param")


async def test_what_is_archived_cannot_be_changed(
    server: TestServer, client: Client, base: str
) -> None:
    document = await add_found(server, client, base, "Cats.")
    path = f"/datasets/{base}/documents/{document}"
    segments = (await client.call("GET", f"{path}/segments")).body["data"]
    segment = f"{path}/segments/{segments[0]['id']}"
    body = {"document_ids": [document]}
    await client.call("PATCH", f"/datasets/{base}/documents/status/archive", json=body)
    written = {"segments": [{"content": "x"}], "segment": {"content": "x"}, "text": "x"}
    for method, where in (
        ("POST", f"{path}/update-by-text"),
        ("DELETE", path),
        ("POST", f"{path}/segments"),
        ("POST", segment),
        ("DELETE", segment),
    ):
        reply = await client.call(method, where, json=written if method == "POST" else None)
        assert (reply.status, reply.body["code"]) == (403, "archived_document_immutable"), where
    reply = await send_file(client, f"{path}/update-by-file", b"x")
    assert (reply.status, reply.body["code"]) == (403, "archived_document_immutable")


async def test_a_deleted_document_is_gone_with_its_bytes(
    server: TestServer, client: Client, base: str
) -> None:
    document = await add_found(server, client, base, "Cats.")
    path = f"/datasets/{base}/documents/{document}"
    kept = [key async for key, _ in server.house.blobs.list_keys() if document_in(key, base)]
    assert await known_keys(server.house.context.db, kept) == set(kept)
    reply = await client.call("DELETE", path)
    assert (reply.status, reply.body) == (200, {"result": "success"})
    assert await find(client, base, "cats") == []
    assert await known_keys(server.house.context.db, kept) == set()
    for method in ("GET", "DELETE"):
        reply = await client.call(method, path)
        assert (reply.status, reply.body["message"]) == (404, "Document not found.")


async def test_the_bytes_of_a_document_are_linked_to(
    server: TestServer, client: Client, base: str
) -> None:
    document = await add_found(server, client, base, "Cats.")
    path = f"/datasets/{base}/documents/{document}"
    found = (await client.call("GET", f"{path}/upload-file")).body
    assert (found["name"], found["size"], found["extension"]) == ("page.txt", 5, "txt")
    async with client.session.get(found["url"]) as response:
        assert (response.status, await response.text()) == (200, "Cats.")
        before = response.headers["etag"]
    async with client.session.get(found["download_url"]) as response:
        assert response.headers["content-disposition"].startswith("attachment")
    await client.call("POST", f"{path}/update-by-text", json={"text": "Birds."})
    async with client.session.get(found["url"], headers={"If-None-Match": before}) as response:
        assert (response.status, await response.text()) == (200, "Birds.")
    async with client.session.get(found["url"].replace("sign=", "sign=x")) as response:
        assert response.status == 404
    await client.call("DELETE", path)
    async with client.session.get(found["url"]) as response:
        assert response.status == 404


async def test_the_first_document_may_say_how_its_base_is_indexed(
    server: TestServer, client: Client, base: str
) -> None:
    more: dict[str, Any] = {"indexing_technique": "economy", "retrieval_model": {"top_k": 7}}
    await add_text(client, base, **more)
    found = (await client.call("GET", f"/datasets/{base}")).body
    assert found["indexing_technique"] == "economy"
    assert found["retrieval_model_dict"]["top_k"] == 7
    await add_text(client, base, indexing_technique="high_quality", retrieval_model={"top_k": 9})
    found = (await client.call("GET", f"/datasets/{base}")).body
    assert found["indexing_technique"] == "economy"
    assert found["retrieval_model_dict"]["top_k"] == 7


async def test_what_is_added_or_replaced_is_worked_on_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, anyio.create_task_group() as working:
        house = server.house
        db = house.context.db
        ingest = make_ingest(db, house.blobs, HashedEmbedder())
        house.workshop = Workshop(db, ingest, now, uuid7, look=3600)
        working.start_soon(house.workshop.run)
        await anyio.sleep(0.3)  # it has looked in vain
        client = await server.knowledge_client()
        base = await make_base(client, indexing_technique="economy")
        added = await add_text(client, base, "Gulls.")
        await wait_completed(client, base, added["batch"])
        assert await find(client, base, "gulls") == ["Gulls."]
        path = f"/datasets/{base}/documents/{added['document']['id']}/update-by-text"
        body = {"name": "page.txt", "text": "Puffins."}
        reply = await client.call("POST", path, json=body)
        await wait_completed(client, base, reply.body["batch"])
        reply = await send_file(client, f"/datasets/{base}/document/create-by-file", b"Terns.")
        await wait_completed(client, base, reply.body["batch"])
        assert sorted(await find(client, base, "puffins terns gulls")) == ["Puffins.", "Terns."]
        working.cancel_scope.cancel()


async def wait_completed(client: Client, base: str, batch: str) -> None:
    with anyio.fail_after(20):
        while True:
            reply = await client.call("GET", f"/datasets/{base}/documents/{batch}/indexing-status")
            [document] = reply.body["data"]
            if document["indexing_status"] == "completed":
                return
            await anyio.sleep(0.05)
