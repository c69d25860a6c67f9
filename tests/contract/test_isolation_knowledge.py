"""Nobody gets at another workspace's knowledge, or at one base's through another: a matrix."""

import re
from typing import Any
from uuid import uuid4

import pytest

from kaiwa.api.routes import ROUTES, Route
from tests.support.client import Client, Reply
from tests.support.knowledge import (
    add_text,
    index,
    list_segments,
    make_base,
    make_workspace,
    send_file,
)
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

Ids = dict[str, str]
WITH_IDS = [route for route in ROUTES if route.knowledge and "{" in route.path]
BODY: dict[str, Any] = {
    "name": "Theirs", "text": "Theirs.", "query": "secret", "description": "Theirs",
    "segments": [{"content": "Theirs."}], "segment": {"content": "Theirs."},
}  # fmt: skip


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


async def fill(server: TestServer, client: Client) -> Ids:
    """A base with a document that is found, and its ids by the names of routes."""
    base = await make_base(client)
    added = await add_text(client, base, "A secret.")
    await index(server)
    document = added["document"]["id"]
    [segment] = await list_segments(client, base, document)
    return {
        "dataset_id": base,
        "document_id": document,
        "segment_id": segment["id"],
        "batch": added["batch"],
        "action": "disable",
    }


async def call(client: Client, route: Route, ids: Ids) -> Reply:
    path = re.sub(r"{(\w+)}", lambda part: ids[part[1]], route.path.removeprefix("/v1"))
    if route.upload:
        return await send_file(client, path, b"Theirs.")
    if route.body is None:
        return await client.call(route.method, path)
    body = BODY | {"document_ids": [ids["document_id"]]}
    return await client.call(route.method, path, json=body)


async def state(client: Client, ids: Ids) -> list[Any]:
    base = f"/datasets/{ids['dataset_id']}"
    document = f"{base}/documents/{ids['document_id']}"
    paths = (base, f"{base}/documents", document, f"{document}/segments")
    return [(await client.call("GET", path)).body for path in paths]


@pytest.mark.parametrize("route", WITH_IDS, ids=name_of)
async def test_the_owner_gets_through(server: TestServer, route: Route) -> None:
    owner = await server.knowledge_client(await make_workspace(server))
    reply = await call(owner, route, await fill(server, owner))
    assert reply.status == route.status, reply.body


@pytest.mark.parametrize("route", WITH_IDS, ids=name_of)
async def test_a_stranger_finds_nothing_and_changes_nothing(
    server: TestServer, route: Route
) -> None:
    owner = await server.knowledge_client(await make_workspace(server))
    stranger = await server.knowledge_client(await make_workspace(server))
    ids = await fill(server, owner)
    before = await state(owner, ids)
    reply = await call(stranger, route, ids)
    assert (reply.status, reply.body["code"]) == (404, "not_found")
    never = await call(stranger, route, {name: str(uuid4()) for name in ids} | {"action": "enable"})
    assert reply.body == never.body, "a stranger must not learn that the id exists"
    assert await state(owner, ids) == before


@pytest.mark.parametrize("route", WITH_IDS, ids=name_of)
async def test_a_base_is_no_way_to_what_is_in_another(server: TestServer, route: Route) -> None:
    owner = await server.knowledge_client(await make_workspace(server))
    ids, own = await fill(server, owner), await fill(server, owner)
    before = await state(owner, ids)
    inner = {"document_id", "segment_id", "batch", "action"} & set(
        re.findall(r"{(\w+)}", route.path)
    )
    if not inner:
        return  # it names a base alone
    reply = await call(owner, route, ids | {"dataset_id": own["dataset_id"]})
    if route.path.endswith("indexing-status"):
        assert reply.status in (200, 404)  # batches of one moment may be called alike
        assert ids["document_id"] not in str(reply.body)
    else:
        assert (reply.status, reply.body["code"]) == (404, "not_found")
    if "segment_id" in inner:
        reply = await call(owner, route, own | {"segment_id": ids["segment_id"]})
        assert (reply.status, reply.body["code"]) == (404, "not_found")
    assert await state(owner, ids) == before


async def test_lists_hold_only_ones_own(server: TestServer) -> None:
    owner = await server.knowledge_client(await make_workspace(server))
    stranger = await server.knowledge_client(await make_workspace(server))
    await fill(server, owner)
    assert (await stranger.call("GET", "/datasets")).body["data"] == []


async def test_a_revoked_key_opens_nothing(server: TestServer) -> None:
    from kaiwa.app import now
    from kaiwa.store.knowledge import list_knowledge_keys, revoke_knowledge_key

    workspace_id = await make_workspace(server)
    client = await server.knowledge_client(workspace_id)
    assert (await client.call("GET", "/datasets")).status == 200
    db = server.house.context.db
    [key] = await list_knowledge_keys(db, workspace_id)
    assert await revoke_knowledge_key(db, key.id, now())
    assert (await client.call("GET", "/datasets")).status == 401
