"""Two servers that speak S3: one that keeps objects, and one that answers as a test says.

`Bucket` is moto's server in a thread, and one bucket on it. `Stub` is below all protocols: it reads
a request and sends the bytes it is told to, resets the connection, or says nothing.
"""

import asyncio
import secrets
import urllib.request
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from moto.backends import get_backend
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


class Bucket:
    """A bucket of moto's server; its methods block."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.name = f"bucket-{secrets.token_hex(8)}"
        self._ask("PUT", f"/{self.name}")

    @property
    def url(self) -> str:
        return f"s3://{self.name}/some/prefix?endpoint={self.origin}&region={REGION}"

    def has_unfinished(self) -> bool:
        """Whether it holds uploads that were neither completed nor aborted."""
        return "<UploadId>" in self._ask("GET", f"/{self.name}?uploads")

    def count_objects(self) -> int:
        return self._ask("GET", f"/{self.name}?list-type=2").count("<Key>")

    def fill(self, keys: Iterable[str]) -> None:
        """Put an object of one byte under each key, without asking for it by HTTP."""
        kept = get_backend("s3")["123456789012"]["aws"]
        for key in keys:
            kept.put_object(self.name, f"some/prefix/{key}", b"x")

    def let_in(self, actions: str) -> None:
        """So many requests of anyone; then only those with credentials it knows: none."""
        self._ask("POST", "/moto-api/reset-auth", actions)

    def _ask(self, method: str, path: str, body: str = "") -> str:
        headers = {"Content-Type": "text/plain"}
        data = body.encode() or None
        request = urllib.request.Request(self.origin + path, data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()


@contextmanager
def object_server() -> Generator[str]:
    """Where a server listens that keeps objects in memory."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    target: str
    body: bytes


Reply = bytes | None
"""What is sent, and the connection closed; None for nothing, b"" for a reset."""


class Stub:
    """A server that answers every request with what the function says."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        self._answer = answer
        self._over = asyncio.Event()
        self._talks = 0
        self._silent = asyncio.Event()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"s3://bucket?endpoint=http://127.0.0.1:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        self._server.close()
        await self._server.wait_closed()
        if self._talks:
            await self._silent.wait()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks += 1
        self._silent.clear()
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._answer_one(reader, writer)
        writer.close()
        self._talks -= 1
        if not self._talks:
            self._silent.set()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length")]
        length = int(lengths[0].partition(":")[2]) if lengths else 0
        asked = Asked(method, target, await reader.readexactly(length))
        self.asked.append(asked)
        reply = self._answer(asked)
        if reply is None:
            await self._over.wait()
        elif reply:
            writer.write(reply)
            await writer.drain()
        else:
            writer.transport.abort()


def reply(status: int, body: str = "", **headers: str) -> bytes:
    """An answer of HTTP."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", body]
    return "\r\n".join(lines).encode()


def refusal(status: int, code: str) -> bytes:
    """As S3 says no."""
    return reply(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")
