"""EventStream: one client's end of a turn, as an ASGI app.

A turn outlives its socket: `emit` to a client that has left does nothing. Pings and `emit` take
turns; what a cut kept from being sent goes out with the next write.
"""

from collections.abc import Coroutine, Generator, Sequence
from types import coroutine
from typing import Any, cast

import anyio
from litestar.types import Receive, Scope, Send

from kaiwa.api.frames import PING, Frames
from kaiwa.chat.running import Live, Running
from kaiwa.domain.events import TurnEnded, TurnEvent, TurnFailed

Sending = Coroutine[object, Any, None]

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """Streams a turn's events; its `emit` is handed to the turn."""

    def __init__(self, task_id: str, running: Running, ping: float, patience: float) -> None:
        """`ping` and `patience` in seconds: between pings, and what one write may take."""
        self.live: Live | None = None
        """Set before the stream is served."""
        self._running = running
        self._ping = ping
        self._patience = patience
        self._frames = Frames(task_id)
        # The first frame may be far off, and a client may want to stop before it.
        self._headers = [*_HEADERS, (b"x-task-id", task_id.encode())]
        self._writing = False
        self._written: anyio.Event | None = None
        """Set when the write under way has ended; only there while somebody waits for it."""
        self._unsent = b""
        self._send: Send | None = None
        self._started = anyio.Event()
        self._left = False
        self._over = False
        self._attending = anyio.CancelScope()

    async def emit(self, events: Sequence[TurnEvent]) -> None:
        """Send the events' frames in one write; waits until the client can take them."""
        if self._left:
            return
        self._unsent += self._frames.encode(events)
        if self._send is None:
            await self._wait_served()
        if self._unsent:
            await self._write()
        if isinstance(events[-1], TurnEnded | TurnFailed):
            self._over = True
            self._attending.cancel()

    def leave(self) -> None:
        """The client has gone, or is never going to be served."""
        if not self._left:
            self._left = True
            self._started.set()
            self._attending.cancel()
            if self.live:
                self._running.leave(self.live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until the turn has ended or the client has left."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            self._send = send
            self._started.set()
            with self._attending:
                await self._attend(receive)
            if not self._left:
                with anyio.move_on_after(self._patience):
                    await send(
                        {"type": "http.response.body", "body": self._unsent, "more_body": False}
                    )
        finally:
            self.leave()

    async def _wait_served(self) -> None:
        with anyio.move_on_after(self._patience) as limit:
            await self._started.wait()
        if limit.cancelled_caught:
            self.leave()

    async def _attend(self, receive: Receive) -> None:
        """Notice when the client leaves; show it every few seconds that we have not."""
        while not self._over and not (self.live and self.live.ended.is_set()):
            with anyio.move_on_after(self._ping):
                if (await receive())["type"] == "http.disconnect":
                    self.leave()
                    return  # asked again it would answer the same at once, for ever
                continue
            self._unsent += PING
            await self._write()

    async def _write(self) -> None:
        """Send what is unsent, after the write that is under way, if there is one."""
        while self._writing:
            self._written = self._written or anyio.Event()
            await self._written.wait()
        if self._left:
            return
        self._writing = True
        try:
            await self._flush()
        finally:
            self._writing = False
            if self._written:
                self._written.set()
                self._written = None

    async def _flush(self) -> None:
        body, self._unsent = self._unsent, b""
        if not body or self._send is None:
            return
        sending = cast(
            "Sending",
            self._send({"type": "http.response.body", "body": body, "more_body": True}),
        )
        try:
            try:
                waited_for = sending.send(None)
            except StopIteration:  # the socket took it at once, as nearly always
                return
            with anyio.move_on_after(self._patience) as limit:
                await _finish(sending, waited_for)
            if limit.cancelled_caught:
                self.leave()
        except OSError:  # how some servers say that the client has gone
            self.leave()
        except BaseException:
            self._unsent = body + self._unsent
            raise


@coroutine
def _finish(sending: Sending, waited_for: object) -> Generator[object, Any, None]:
    """Await the rest of a coroutine that was stepped once by hand.

    A time limit around every write costs 10 µs, most of a token's way out; stepping finds out
    whether there is anything to wait for.
    """
    while True:
        resume = sending.send
        try:
            value: Any = yield waited_for
        except BaseException as error:  # passed on: it is the coroutine's to take
            value, resume = error, sending.throw
        try:
            waited_for = resume(value)
        except StopIteration:
            return
