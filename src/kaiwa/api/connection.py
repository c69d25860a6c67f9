"""A client's connection, as the web server has it, with three differences.

A request's head is bounded, little waits for a client that reads slowly, and what is no HTTP is
refused in the API's words.
"""

import asyncio

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kaiwa.api import wire
from kaiwa.errors import BadRequest

_LARGEST_HEAD = 65_536
"""Bytes of a head beyond its first read, which the event loop bounds."""


_UNSENT = 16_384
"""Bytes that wait for a client before the model waits too; a slow one need not take much then."""


class Connection(HttpToolsProtocol):
    """Uvicorn's, which would hold a head of any size in memory."""

    _head: int | None = None
    """What has come of the head after its first read; None outside of one."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(_UNSENT)

    def data_received(self, data: bytes) -> None:
        goes_on = self._head is not None
        super().data_received(data)
        if goes_on and self._head is not None and not self.transport.is_closing():
            self._head += len(data)
            if self._head > _LARGEST_HEAD:
                self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

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
