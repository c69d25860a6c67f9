"""A server that embeds and ranks as OpenAI's and Jina's do, and fails as they do when told to."""

import base64
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web

Fault = Callable[[dict[str, Any]], web.Response | None]
"""An answer instead of the usual one, or None."""


def error(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


def vector_of(text: str) -> list[float]:
    """Of length other than 1."""
    return [float(len(text)), 3.0, float(text.count("a"))]


class ComparingServer:
    """Listens on loopback while it is entered."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.faults: list[Fault | None] = []
        """For each request in turn; afterwards all goes well."""
        self.always: Fault | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> "ComparingServer":
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_post("/v1/rerank", self._rerank)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body, fault = await self._hear(request)
        if fault is not None:
            return fault
        texts: Sequence[str] = body["input"]
        data: list[dict[str, Any]] = [
            {"object": "embedding", "index": index, "embedding": self._write(body, text)}
            for index, text in enumerate(texts)
        ]
        return web.json_response({"object": "list", "data": data[::-1], "model": body["model"]})

    def _write(self, body: dict[str, Any], text: str) -> str | list[float]:
        vector = vector_of(text)
        if body["encoding_format"] == "base64":
            return base64.b64encode(struct.pack("<3f", *vector)).decode()
        return vector

    async def _rerank(self, request: web.Request) -> web.StreamResponse:
        body, fault = await self._hear(request)
        if fault is not None:
            return fault
        scores = [
            {"index": index, "relevance_score": text.count("a") / 10}
            for index, text in enumerate(body["documents"])
        ]
        return web.json_response(
            {"results": sorted(scores, key=lambda one: -one["relevance_score"])}
        )

    async def _hear(self, request: web.Request) -> tuple[dict[str, Any], web.Response | None]:
        body: dict[str, Any] = msgspec.json.decode(await request.read())
        self.asked.append(body)
        fault = self.faults.pop(0) if self.faults else self.always
        return body, fault(body) if fault else None
