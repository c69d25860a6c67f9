"""HTTP/1.1 to model servers, read on the transport itself: the way in of the hot path.

A response's bytes are handed on from within the read that brought them, with no task and no queue
between. Where connections come from is the business of `pool`.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol, cast

import httptools

Rest = Callable[[], Awaitable[None]]
Hear = Callable[[bytes], Rest | None]
"""Takes what one read brought; what it returns has to be awaited before the next."""

_HEAD_LIMIT: Final = 1 << 16
_HELD_LIMIT: Final = 1 << 18
_INFLATED: Final = 1 << 20

_NO_HTTP: Final = "the server did not answer in HTTP"
_CLOSED: Final = "the server closed the connection"
_LONG_HEAD: Final = "the server's answer has too long a head"


class OutboundError(Exception):
    """No connection, or it broke; the message is the part of a sentence that says why."""


class Inflater(Protocol):
    """What `zlib.decompressobj` makes."""

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Response:
    """One answer, while it comes; the parser's callbacks are its own."""

    def __init__(self, connection: "Connection") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """Names in lower case; of several lines the last."""
        self.begun = False
        """Whether any byte has come."""
        self._connection = connection
        self._parser = httptools.HttpResponseParser(self)
        self._head_size = 0
        self._unknown_size = 0
        """What has come before the status was known, interim answers too."""
        self._known = False
        self._parts: list[bytes] = []
        self._held: deque[bytes] = deque()
        self._held_size = 0
        self._hear: Hear | None = None
        self._rest: Rest | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._keeps = False
        """Whether the connection can serve another answer after this one."""
        self._stopped = False
        self._failure: BaseException | None = None
        self._inflater: Inflater | None = None

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        if self._ended:
            self._keeps = False
            raise OutboundError("the server says more than it was asked for")
        self.headers = {}
        self._head_size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > _HEAD_LIMIT:
            raise OutboundError(_LONG_HEAD)
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:  # what came before was an interim answer
            self.status = status
            self._known = True
            coding = self.headers.get("content-encoding", "identity").lower()
            if coding in ("gzip", "x-gzip", "deflate"):  # although we asked for none of them
                self._inflater = zlib.decompressobj(wbits=47)
            elif coding != "identity":
                raise OutboundError(f"the server's answer is packed as {coding!r}")

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._known:
            self._ended = True
            self._keeps = self._parser.should_keep_alive()

    # What the connection says.

    def feed(self, data: bytes) -> None:
        self.begun = True
        if self._ended:
            self._connection.abort()  # it says more than it was asked for
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            cause = error.__context__
            self.fail(cause if isinstance(cause, OutboundError) else OutboundError(_NO_HTTP))
        if not self._known:
            self._unknown_size += len(data)
            if self._unknown_size > _HEAD_LIMIT:  # a header without end never becomes one
                self.fail(OutboundError(_LONG_HEAD))
        if self._parts:
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            if self._inflater is None:
                self._hand_on(body)
            else:
                self._unpack(body, self._inflater)
        if self._ended:
            self._connection.finish(keeps=self._keeps)
        if self._hear is None or self._ended or self._rest or self._stopped:
            self._wake()

    def lose(self) -> None:
        """The connection has ended; so has a body whose length nobody told."""
        told = "content-length" in self.headers or "transfer-encoding" in self.headers
        if self._known and not told:
            self._ended = True
            self._wake()
        elif not self._ended:
            self.fail(OutboundError(_CLOSED))

    def fail(self, error: BaseException) -> None:
        """The first failure stands; what came before it is still handed on."""
        if not self._ended and self._failure is None:
            self._failure = error
            self._connection.abort()
        self._wake()

    # What its reader asks for.

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").lower()

    @property
    def retry_after(self) -> str:
        return self.headers.get("retry-after", "")

    async def wait_head(self) -> None:
        """Until the status is known. Raises `OutboundError`."""
        while not self._known:
            if self._failure:
                raise self._failure
            await self._changed()

    async def receive(self) -> bytes:
        """All that has come since the last call; empty at the end. Raises `OutboundError`."""
        while not self._held:
            if self._failure:
                raise self._failure
            if self._ended:
                return b""
            await self._changed()
        body = b"".join(self._held)
        self._held.clear()
        self._let_go()
        return body

    async def read(self, limit: int) -> bytes:
        """The body, cut after `limit` bytes. Raises `OutboundError` as `receive` does."""
        body = bytearray()
        while len(body) < limit and (chunk := await self.receive()):
            body += chunk
        return bytes(body[:limit])

    async def pour(self, hear: Hear) -> None:
        """Hand over what each read brings, until the end or `stop`.

        Raises `OutboundError` when the connection breaks before, and whatever `hear` raises.
        """
        while True:
            while self._held and not self._stopped:
                if rest := hear(self._held.popleft()):
                    await rest()
            self._let_go()
            if self._stopped or (self._ended and not self._failure):
                return
            if self._failure:
                raise self._failure
            self._hear = hear
            try:
                await self._changed()
            finally:
                self._hear = None
            if rest := self._rest:
                self._rest = None
                await rest()

    def stop(self) -> None:
        """`pour` hands over nothing more."""
        self._stopped = True
        if self._hear is None:
            self._wake()

    async def drain(self, seconds: float) -> None:
        """Wait shortly for the end of a body that is complete in the eyes of its reader."""
        with suppress(OutboundError, TimeoutError):
            if not self._ended:
                async with asyncio.timeout(seconds):
                    await self.receive()

    def close(self) -> None:
        """Close the connection at once, unless all of the answer has come."""
        if not self._ended:
            self._failure = self._failure or OutboundError(_CLOSED)
            self._connection.abort()

    def _unpack(self, body: bytes, inflater: Inflater) -> None:
        try:
            while body:
                self._hand_on(inflater.decompress(body, _INFLATED))
                body = inflater.unconsumed_tail
        except zlib.error:
            self._give_up(OutboundError("the server's answer cannot be unpacked"))

    def _give_up(self, error: BaseException) -> None:
        """What has come cannot be handed on, even if it was the whole answer."""
        self._ended = False
        self.fail(error)

    def _hand_on(self, body: bytes) -> None:
        if not body:
            return
        if self._hear is None or self._rest or self._held:
            self._held.append(body)
            self._held_size += len(body)
            if self._held_size > _HELD_LIMIT:
                self._connection.pause()
            return
        try:
            self._rest = None if self._stopped else self._hear(body)
        except BaseException as error:  # it is the reader's, who waits in `pour`
            self._give_up(error)
            return
        if self._rest:
            self._connection.pause()

    def _let_go(self) -> None:
        self._held_size = 0
        self._connection.resume()

    async def _changed(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection: one answer after another, idle in between."""

    def __init__(self, keep: "Callable[[Connection], None]") -> None:
        """`keep` is called when an answer is whole and the connection can serve another."""
        self._keep = keep
        self._response: Response | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> Response:
        response = self._response = Response(self)
        if self._transport is None:
            response.fail(OutboundError(_CLOSED))
        else:
            self._transport.write(request)
        return response

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._response:
            self._response.feed(data)
        else:
            self.abort()  # nobody asked

    def eof_received(self) -> None:
        """The other side says no more; the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._response:
            self._response.lose()

    def finish(self, *, keeps: bool) -> None:
        self.resume()
        self._response = None
        if keeps and self.usable:
            self._keep(self)
        else:
            self.abort()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()

    def pause(self) -> None:
        if self._transport and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._transport and not self._transport.is_closing():
                self._transport.resume_reading()
