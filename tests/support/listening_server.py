"""A real local server that listens as OpenAI's does: it decodes what it gets, and says what it was.

async with ListeningServer() as server:
    server.play(Said(503, b"busy"), None)    # then as always
    ...                                      # ask `server.url`
    server.heard[-1].name
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from aiohttp import BodyPartReader, web
from av.error import FFmpegError

from tests.support.sounds import measure


@dataclass(frozen=True)
class Heard:
    """One recording as it came."""

    fields: dict[str, str]
    headers: Mapping[str, str]
    name: str
    mime_type: str
    data: bytes
    codec: str
    seconds: float


@dataclass(frozen=True)
class Said:
    """An answer of another kind."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    breaks: bool = False
    """The connection, without any answer."""
    waits: bool = False
    """Until the client has left."""


@dataclass
class ListeningServer:
    """Listens on a free port of 127.0.0.1 while its context is open; answers `text`."""

    text: str = "Hello there."
    url: str = ""
    heard: list[Heard] = field(default_factory=list[Heard])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    _plays: list[Said | None] = field(default_factory=list[Said | None])

    def play(self, *answers: Said | None) -> None:
        """What to answer next; None and all that follow are as always."""
        self._plays = [*answers]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=100_000_000)
        app.router.add_post("/v1/audio/transcriptions", self._listen)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        fields: dict[str, str] = {}
        name = mime_type = ""
        data = b""
        reader = await request.multipart()
        async for part in reader:
            assert isinstance(part, BodyPartReader)
            if part.name == "file":
                name, mime_type = part.filename or "", part.headers.get("Content-Type", "")
                data = bytes(await part.read())
            else:
                fields[part.name or ""] = await part.text()
        try:
            codec, seconds = await asyncio.to_thread(measure, data)
        except (FFmpegError, IndexError):
            return web.json_response({"error": {"message": "Invalid file format."}}, status=400)
        self.heard.append(Heard(fields, request.headers, name, mime_type, data, codec, seconds))
        self.asked.set()
        said = self._plays.pop(0) if self._plays else None
        if said is None:
            return web.json_response({"text": f" {self.text}"})
        if said.waits:
            try:
                await asyncio.sleep(60)
            finally:
                self.left.set()
        if said.breaks:
            assert request.transport
            request.transport.abort()
        return web.Response(status=said.status, body=said.body, headers=said.headers)
