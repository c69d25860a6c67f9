"""A client of the API as the documents describe it: JSON, and frames of a stream."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import ClientResponse, ClientSession


class Frame:
    """One frame of a stream: the raw text between blank lines, and its JSON."""

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self.is_ping = raw == "event: ping"
        self.data: dict[str, Any] = {}
        if not self.is_ping:
            assert raw.startswith("data: {"), raw
            assert "\n" not in raw
            assert raw.isascii()
            self.data = msgspec.json.decode(raw[6:])

    @property
    def event(self) -> str:
        return "ping" if self.is_ping else self.data["event"]


class Stream:
    """An open stream of frames."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.pings = 0

    async def frames(self) -> AsyncIterator[Frame]:
        """Data frames as they come; pings are counted."""
        buffer = b""
        async for chunk in self.response.content.iter_any():
            buffer += chunk
            while b"\n\n" in buffer:
                raw, _, buffer = buffer.partition(b"\n\n")
                frame = Frame(raw.decode())
                if frame.is_ping:
                    self.pings += 1
                else:
                    yield frame
        assert buffer == b""

    async def rest(self) -> list[Frame]:
        return [frame async for frame in self.frames()]


class Reply:
    """A JSON answer."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class Client:
    """An end user of one app."""

    def __init__(self, session: ClientSession, base: str, key: str, user: str) -> None:
        self.session = session
        self.base = base
        self.key = key
        self.user = user

    def as_user(self, user: str) -> "Client":
        return Client(self.session, self.base, self.key, user)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def call(self, method: str, path: str, **options: Any) -> Reply:
        """Any request; JSON back."""
        options.setdefault("headers", self.headers)
        async with self.session.request(method, self.base + path, **options) as response:
            raw = await response.read()
            kind = response.headers.get("content-type", "")
            body = msgspec.json.decode(raw) if "json" in kind else raw
            return Reply(response.status, body, response.headers)

    async def get(self, path: str, **params: Any) -> Reply:
        return await self.call("GET", path, params={"user": self.user, **params})

    async def post(self, path: str, **body: Any) -> Reply:
        return await self.call("POST", path, json={"user": self.user, **body})

    async def patch(self, path: str, **body: Any) -> Reply:
        return await self.call("PATCH", path, json={"user": self.user, **body})

    async def delete(self, path: str, **body: Any) -> Reply:
        return await self.call("DELETE", path, json={"user": self.user, **body})

    async def ask(self, query: str, **body: Any) -> Reply:
        """A blocking question."""
        return await self.post("/chat-messages", query=query, inputs=body.pop("inputs", {}), **body)

    @asynccontextmanager
    async def streaming(self, query: str, **body: Any) -> AsyncGenerator[Stream]:
        """A streamed question; the response must have begun as a stream."""
        body = {"user": self.user, "inputs": {}, "query": query, **body}
        async with self.session.post(
            self.base + "/chat-messages",
            json={**body, "response_mode": "streaming"},
            headers=self.headers,
        ) as response:
            assert response.status == 200, await response.text()
            yield Stream(response)

    async def stream(self, query: str, **body: Any) -> list[Frame]:
        """A streamed question, to its end."""
        async with self.streaming(query, **body) as stream:
            return await stream.rest()

    async def raw_stream(self, query: str, **body: Any) -> list[bytes]:
        """A streamed question, to its end: what the server wrote, write by write."""
        written: list[bytes] = []
        async with self.streaming(query, **body) as stream:
            piece = b""
            async for data, whole in stream.response.content.iter_chunks():
                piece += data
                if whole:
                    written.append(piece)
                    piece = b""
        return [piece for piece in written if piece]

    async def messages(self, conversation_id: str, **params: Any) -> list[dict[str, Any]]:
        reply = await self.get("/messages", conversation_id=conversation_id, **params)
        assert reply.status == 200, reply.body
        return reply.body["data"]


def text_of(frames: list[Frame]) -> str:
    """The answer as a client folds it."""
    events = ("message", "agent_message")
    return "".join(f.data["answer"] for f in frames if f.event in events)
