"""For tests that attack: requests byte by byte, answers as they came, what must not be in them."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientResponse, FormData
from yarl import URL

from kaiwa.api.route import Route
from tests.support.client import Client, Reply
from tests.support.knowledge import add_text, index, list_segments, make_base
from tests.support.model_server import ModelServer, speak
from tests.support.networked import SECRET, networked_app, serving_models
from tests.support.server import TestServer

INSIDES = re.compile(
    r"Traceback|File \\?\"|\.py\b|/site-packages/|0x[0-9a-f]{8}"
    r"|sqlalchemy|sqlite|psycopg|postgres|litestar|uvicorn|msgspec|kaiwa\.|<class |Exception"
    r"|SELECT |INSERT INTO|UPDATE \w+ SET|RecursionError|UnicodeDecodeError"
)
"""What no answer may hold, unless the request held it."""


class Raw:
    """One answer as it came over a socket."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: str) -> str:
        return next((value for found, value in self.headers if found == name), "")


TAKES_DOCUMENTS = {"enabled": True, "allowed_file_types": ["image", "document"]}


class Fortress:
    """A server with a secret, a good client, and what that client has."""

    def __init__(
        self,
        server: TestServer,
        models: ModelServer,
        owner: Client,
        librarian: Client,
        ids: dict[str, str],
        borrowed: dict[str, str],
    ):
        """`librarian`: who has the key for the owner's knowledge.

        `borrowed`: ids of what may be changed with it; all else may not.
        """
        self.librarian = librarian
        self.borrowed = borrowed
        self.server = server
        self.models = models
        self.owner = owner
        self.ids = ids
        self.port = URL(server.url).port or 0

    def client_for(self, route: Route, user: str = "owner") -> Client:
        """Whose key the route takes."""
        return (self.librarian if route.knowledge else self.owner).as_user(user)

    def path_of(self, route: Route) -> str:
        """With ids of what is there."""
        ids = self.ids | self.borrowed if route.knowledge else self.ids
        return re.sub(r"{(\w+)}", lambda part: ids[part[1]], route.path)

    async def state(self) -> tuple[Any, ...]:
        conversations = await self.owner.get("/conversations")
        path = f"/datasets/{self.ids['dataset_id']}/documents/{self.ids['document_id']}"
        document = await self.librarian.call("GET", path)
        messages = await self.owner.messages(self.ids["conversation_id"])
        return conversations.body, messages, document.body


@asynccontextmanager
async def fortress(folder: Path, **settings: object) -> AsyncGenerator[Fortress]:
    """After the attacks a good question is answered, and what the good client has is unchanged."""
    async with serving_models(folder, failed_keys=1_000_000_000, **settings) as (server, models):
        models.play(speak("Fine."))
        features: dict[str, Any] = {
            "suggested_questions_after_answer": {"enabled": True},
            "file_upload": TAKES_DOCUMENTS,
            "text_to_speech": {"enabled": True},
        }
        owner = await server.client(networked_app(**features), user="owner")
        asked = (await owner.ask("What is it?", auto_generate_name=False)).body
        names = ("conversation_id", "message_id", "task_id")
        ids = {name: asked[name] for name in names}
        ids["file_id"] = await upload_text(owner)
        librarian = await server.knowledge_client()
        ids |= await keep_page(server, librarian)
        ids["name"] = f"{ids['file_id']}.txt"
        borrowed = await keep_page(server, librarian)
        fort = Fortress(server, models, owner, librarian, ids, borrowed)
        before = await fort.state()
        with no_secret_logged():
            yield fort
        assert await fort.state() == before
        models.play(speak("Still fine."))
        assert (await owner.as_user("another").ask("And now?")).body["answer"] == "Still fine."


async def keep_page(server: TestServer, client: Client) -> dict[str, str]:
    """A document that is found; its ids by the names of routes."""
    base = await make_base(client)
    added = await add_text(client, base)
    await index(server)
    document = added["document"]["id"]
    segment, *_ = await list_segments(client, base, document)
    return {
        "dataset_id": base,
        "document_id": document,
        "segment_id": segment["id"],
        "batch": added["batch"],
        "action": "none",
    }


async def upload_text(client: Client) -> str:
    """A small document of the client's own; its id."""
    form = FormData({"user": client.user})
    form.add_field("file", BytesIO(b"text"), filename="a.txt", content_type="text/plain")
    reply = await client.call("POST", "/files/upload", data=form)
    assert reply.status == 201, reply.body
    return reply.body["id"]


class Records(logging.Handler):
    """Everything that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {self.format(record)}")


@contextmanager
def no_secret_logged() -> Generator[None]:
    """Nothing is logged as a failure, and no secret at all."""
    records = Records()
    logging.getLogger().addHandler(records)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(records)
    for line in records.lines:
        assert not line.startswith(("ERROR", "CRITICAL")), line
        assert SECRET not in line


async def send(client: Client, method: str, path: str, **options: Any) -> Reply:
    """Like `Client.call`, but the path goes out as it is written."""
    options.setdefault("headers", client.headers)
    url = URL(client.base + path, encoded=True)
    async with client.session.request(method, url, **options) as response:
        return await read_reply(response)


async def read_reply(response: ClientResponse) -> Reply:
    raw = await response.read()
    kind = response.headers.get("content-type", "")
    body = msgspec.json.decode(raw) if "json" in kind and raw else raw
    return Reply(response.status, body, response.headers)


def check_answer(reply: Reply, said: str = "") -> None:
    """A client understands it, and it tells nothing of our insides; `said`: what was sent."""
    assert reply.status < 500, reply.body
    text = reply.body.decode(errors="replace") if isinstance(reply.body, bytes) else str(reply.body)
    assert SECRET not in text
    if found := INSIDES.search(text):
        assert found[0] in said, text
    if reply.status >= 400:
        check_refusal(reply.status, reply.body)


def check_refusal(status: int, body: Any) -> None:
    """The documented shape."""
    assert set(body) - {"params"} == {"code", "message", "status"}, body
    assert body["status"] == status
    assert re.fullmatch(r"[a-z_]+", body["code"])
    assert body["message"]


async def talk(port: int, data: bytes) -> list[Raw]:
    """Send the bytes and read every answer until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            writer.write(data)
            return parse_answers(await read_to_end(reader))
    finally:
        writer.transport.abort()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """What came, also when the server broke the connection while we were still sending."""
    found = b""
    try:
        while piece := await reader.read(1 << 16):
            found += piece
    except ConnectionError:
        pass
    return found


def parse_answers(data: bytes) -> list[Raw]:
    """Answers with a length, one after the other, and nothing else."""
    found: list[Raw] = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        assert re.match(r"HTTP/1\.1 \d{3} ", status), status
        headers = [(name.lower(), value) for name, _, value in (x.partition(": ") for x in lines)]
        raw = Raw(int(status.split()[1]), headers, b"")
        length = int(raw.header("content-length") or 0)
        raw.body, data = data[:length], data[length:]
        found.append(raw)
    return found
