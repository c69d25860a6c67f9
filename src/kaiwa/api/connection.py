"""A client's connection, as the web server has it, with a few differences.

A request's head is bounded, a request that stays away ends the connection, little waits for a
client that reads slowly, an offer to change the protocol is passed over, and what is no HTTP is
refused in the API's words.
"""

import asyncio
import re
from typing import Literal

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kaiwa.api import wire
from kaiwa.errors import BadRequest

_LARGEST_HEAD = 65_536
"""Bytes of a head beyond its first read, which the event loop bounds."""
_UNSENT = 16_384
"""Bytes that wait for a client before the model waits too; a slow one need not take much then."""
_UPGRADE = re.compile(rb"\r\nupgrade(?=:)", re.IGNORECASE)


class Connection(HttpToolsProtocol):
    """Uvicorn's, which would hold a head of any size in memory, and wait for one for ever."""

    head_seconds = 30.0
    """How long a request's head may take, and the first on a connection to come."""
    body_seconds = 60.0
    """How long nothing may come of a body."""

    _part: Literal["head", "body"] | None = None
    """Of the request that is under way."""
    _head = 0
    """What has come of the head after its first read."""
    _waits: asyncio.TimerHandle | None = None
    """For what is missing of a request."""
    _heard_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(_UNSENT)
        self._wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        part = self._part
        if part is None and b"\r\nupgrade:" in data.lower():
            data = _decline_upgrade(data)
        super().data_received(data)
        if self._part is None or self.transport.is_closing():
            if self._waits:
                self._wait(None)
        elif self._part == "body":
            self._heard_at = self.loop.time()
            if part != "body":
                self._wait(self.body_seconds)
        elif part != "head":
            self._wait(self.head_seconds)
        else:
            self._head += len(data)
            if self._head > _LARGEST_HEAD:
                self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part = "head"
        self._head = 0

    def on_headers_complete(self) -> None:
        self._part = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._part = None
        super().on_message_complete()

    def _wait(self, seconds: float | None) -> None:
        """So long for the rest of a request, or no longer."""
        if self._waits:
            self._waits.cancel()
        self._waits = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._part == "body":
            left = self._heard_at + self.body_seconds - self.loop.time()
            if self.flow.read_paused:  # it is we who do not read
                left = self.body_seconds
            if left > 0:
                self._wait(left)
                return
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse, and close."""
        body = msgspec.json.encode(wire.error_body(BadRequest(msg)))
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def _decline_upgrade(data: bytes) -> bytes:
    """The request's head without an offer to upgrade, behind which the parser drops the body.

    Java's own client makes one with every request that is not encrypted.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(rb"\r\nx-declined-upgrade", head) + end + rest
