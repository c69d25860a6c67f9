"""Knowledge over the API: bases and documents to test with, and other workspaces."""

from io import BytesIO
from typing import Any
from uuid import UUID

from aiohttp import FormData
from sqlalchemy import insert
from uuid_utils.compat import uuid7

from kaiwa.app import now
from kaiwa.store.documents import claim_document
from kaiwa.store.segments import add_segments, finish_document
from kaiwa.store.tables import workspaces
from tests.store.sample import LEASE, piece
from tests.support.client import Client, Reply
from tests.support.server import TestServer

PAGE = "Cats sleep all day.\n\nDogs bark at night.\n\n猫は魚が好き。"


async def make_base(client: Client, **more: Any) -> str:
    """A new base's id."""
    reply = await client.call("POST", "/datasets", json={"name": f"Base {uuid7()}"[:40], **more})
    assert reply.status == 200, reply.body
    return reply.body["id"]


async def add_text(client: Client, base: str, text: str = PAGE, **more: Any) -> dict[str, Any]:
    """The document, which waits to be indexed, and its batch."""
    body = {"name": "page.txt", "text": text, **more}
    reply = await client.call("POST", f"/datasets/{base}/document/create-by-text", json=body)
    assert reply.status == 200, reply.body
    return reply.body


async def send_file(
    client: Client, path: str, content: bytes, name: str = "page.txt", **fields: str
) -> Reply:
    form = FormData(fields, quote_fields=False)
    form.add_field("file", BytesIO(content), filename=name, content_type="text/plain")
    return await client.call("POST", path, data=form)


async def index(server: TestServer) -> None:
    """Make all that waits found, cut at blank lines."""
    db, owner = server.house.context.db, uuid7()
    while document := await claim_document(db, owner, LEASE, now()):
        text = (await server.house.blobs.read(document.key)).decode()
        answer = "Because." if document.rule.form == "qa_model" else ""
        pieces = [piece(part, at, None, answer) for at, part in enumerate(text.split("\n\n"), 1)]
        await add_segments(db, document, owner, pieces, now())
        await finish_document(db, document, owner, now(), None)


async def add_found(server: TestServer, client: Client, base: str, text: str = PAGE) -> str:
    """A document's id; it is found."""
    added = await add_text(client, base, text)
    await index(server)
    return added["document"]["id"]


async def list_segments(client: Client, base: str, document: str) -> list[dict[str, Any]]:
    reply = await client.call("GET", f"/datasets/{base}/documents/{document}/segments")
    assert reply.status == 200, reply.body
    return reply.body["data"]


async def find(client: Client, base: str, query: str, **model: Any) -> list[str]:
    """What a search finds."""
    body = {"query": query, "retrieval_model": model or None}
    reply = await client.call("POST", f"/datasets/{base}/retrieve", json=body)
    assert reply.status == 200, reply.body
    return [one["segment"]["content"] for one in reply.body["records"]]


async def make_workspace(server: TestServer) -> UUID:
    """Another one, which has nothing."""
    workspace_id = uuid7()
    row = {"id": workspace_id, "name": "Other", "created_at": now()}
    await server.house.context.db.write(lambda conn: conn.execute(insert(workspaces), row).close())
    return workspace_id
