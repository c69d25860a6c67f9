"""A real local web server of files for tests, at any address of loopback.

async with Site("127.0.0.2") as site:
    site.pages["/a.png"] = say(b"...", "Content-Type: image/png")
    ...                          # ask `site.url("/a.png")`
    site.requests[-1].headers["host"]
"""

import asyncio
import random
import socket
import ssl
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Visit:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""


class Site:
    """One request on each connection; what is not in `pages` is not found."""

    def __init__(self, host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.pages: dict[str, bytes] = {}
        """Path → what is said there, byte for byte; then the client is waited for."""
        self.breaks: set[str] = set()
        """Paths where the connection ends after that."""
        self.requests: list[Visit] = []
        self.connections = 0
        self.asked = asyncio.Event()
        """Set when a request has come."""
        self.left = asyncio.Event()
        """Set when a client has closed its connection, or broken it."""
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str, host: str = "") -> str:
        """Of a page; `host` is another name for this server."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head.decode("latin-1"), writer)
            while await reader.read(1 << 16):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.left.set()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.split("\r\n")
        pairs = (line.split(":", 1) for line in lines if line)
        path = first.split(" ")[1]
        self.requests.append(Visit(path, {name.lower(): value.strip() for name, value in pairs}))
        self.asked.set()
        page = self.pages.get(path) or say(b"", status=404)
        writer.write(page)
        await writer.drain()
        if path in self.breaks:
            writer.close()


def find_port(*hosts: str) -> int:
    """One that is free at all of these addresses, and that no client is given as its own."""
    while True:
        port = random.randrange(20_000, 32_000)
        with ExitStack() as stack, suppress(OSError):
            for host in hosts:
                stack.enter_context(socket.create_server((host, port)))
            return port


def say(body: bytes, *headers: str, status: int = 200) -> bytes:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def lead_on(location: str, status: int = 302) -> bytes:
    """A redirect."""
    return say(b"elsewhere", f"Location: {location}", status=status)


def chunks(*pieces: bytes) -> bytes:
    """A whole answer without its length."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
