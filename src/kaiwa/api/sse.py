"""EventStream: one client's end of a turn, as an ASGI app.

A turn outlives its socket: `emit` to a client that has left does nothing. Nearly always a write
needs no waiting, and none is set up; what a cut kept from being sent goes out with the next write.
"""

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from types import coroutine
from typing import Any, NamedTuple, cast

import anyio
from litestar.types import Receive, Scope, Send

from kaiwa.api.frames import PING, Frames
from kaiwa.api.wire import Link
from kaiwa.chat.once import Once
from kaiwa.chat.running import Live, Running
from kaiwa.domain.events import TurnEnded, TurnEvent, TurnFailed, TurnSpoken
from kaiwa.ports import Rest

_ENDS = (TurnEnded, TurnFailed)
Sending = Coroutine[object, Any, None]

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """Streams a turn's events; its `emit` is handed to the turn."""

    def __init__(
        self, task_id: str, running: Running, ping: float, patience: float, link: Link
    ) -> None:
        """`ping` and `patience` in seconds: between pings, and what one write may take."""
        self.live: Live | None = None
        """Set before the stream is served."""
        self._running = running
        self._ping = ping
        self._patience = patience
        self._frames = Frames(task_id, link)
        # The first frame may be far off, and a client may want to stop before it.
        self._headers = [*_HEADERS, (b"x-task-id", task_id.encode())]
        self._unsent = b""
        self._send: Send | None = None
        self._stuck: _Stuck | None = None
        """A write that the client could not take at once and that nobody waits for yet."""
        self._writing = False
        """Whether somebody waits for a write."""
        self._written: asyncio.Event | None = None
        """Set when that wait has ended; only there while somebody else wants to write."""
        self._closed = False
        """Whether the last write has been made."""
        self._started = Once()
        self._left = False
        self._over = False
        self._pause: asyncio.Timeout | None = None
        """The wait for the next ping."""

    def emit(self, events: Sequence[TurnEvent]) -> Rest | None:
        """Send the events' frames in one write.

        What it returns waits until the client can take them. It need not be awaited: what was not
        sent goes out with the next write.
        """
        if self._left:
            return None
        self._unsent += self._frames.encode(events)
        if isinstance(events[-1], TurnSpoken if self._frames.speaks else _ENDS):
            self._over = True
            self._end_pause()  # what is unsent is the last write's
            return None
        if not self._unsent:
            return None
        if self._send is None:
            return self._write_when_served
        if self._writing or self._stuck:
            return self._write
        return self._step()

    def leave(self) -> None:
        """The client has gone, or is never going to be served."""
        if not self._left:
            self._left = True
            self._started.set()
            self._end_pause()
            if self.live:
                self._running.leave(self.live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until the turn has ended, and is spoken, or the client has left."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            # The layers between look at the start alone, and cost each token 2 µs.
            state = cast("dict[str, dict[str, Send]]", scope).get("state", {})
            self._send = state.get("send", send)
            self._started.set()
            await self._attend(receive)
            if not self._left and (self._writing or self._stuck or self._step(last=True)):
                await self._write(last=True)
        except OSError:
            return  # how some servers say that the client has gone
        finally:
            self.leave()

    async def _attend(self, receive: Receive) -> None:
        """Notice when the client leaves; show it every few seconds that we have not."""
        while not (self._over or self._left or self._told_all()):
            try:
                # Not a cancel scope, whose cancelling costs 50 µs, once for every answer.
                async with asyncio.timeout(self._ping) as self._pause:
                    message = await receive()
            except TimeoutError:
                if not (self._over or self._left):
                    self._unsent += PING
                    await self._write()
                continue
            finally:
                self._pause = None
            if message["type"] == "http.disconnect":
                self.leave()
                return  # asked again it would answer the same at once, for ever

    def _told_all(self) -> bool:
        """Whether nothing comes any more, even if no end was said."""
        return bool(self.live and self.live.ended.is_set() and not self._frames.speaks)

    def _end_pause(self) -> None:
        pause, self._pause = self._pause, None
        if pause and not pause.expired():  # else it ends by itself, just now
            pause.reschedule(0)

    async def _write_when_served(self) -> None:
        with anyio.move_on_after(self._patience) as limit:
            await self._started.wait()
        if limit.cancelled_caught:
            self.leave()
        await self._write()

    async def _write(self, *, last: bool = False) -> None:
        """Send what is unsent, after the write that is under way, if there is one."""
        while self._writing:
            self._written = self._written or asyncio.Event()
            await self._written.wait()
        self._writing = True
        try:
            with anyio.move_on_after(self._patience) as limit:
                await self._flush(last)
            if limit.cancelled_caught:
                self.leave()
        except OSError:  # how some servers say that the client has gone
            self.leave()
        finally:
            self._writing = False
            if self._written:
                self._written.set()
                self._written = None

    async def _flush(self, last: bool) -> None:
        if self._stuck:
            await self._finish(self._stuck)
        if self._left or self._closed or self._send is None:
            return
        if (last or self._unsent) and self._step(last=last):
            assert self._stuck
            await self._finish(self._stuck)

    def _step(self, *, last: bool = False) -> Rest | None:
        """Send what is unsent, as far as it goes without waiting."""
        assert self._send
        self._closed = last
        body, self._unsent = self._unsent, b""
        sending = cast(
            "Sending",
            self._send({"type": "http.response.body", "body": body, "more_body": not last}),
        )
        try:
            waited_for = sending.send(None)
        except StopIteration:  # the socket took it at once, as nearly always
            return None
        except OSError:
            self.leave()
            return None
        self._stuck = _Stuck(sending, waited_for, body)
        return self._write

    async def _finish(self, stuck: "_Stuck") -> None:
        self._stuck = None
        try:
            await _finish(stuck.sending, stuck.waited_for)
        except OSError:
            raise
        except BaseException:  # a cut: the web server had not taken it yet
            self._unsent = stuck.body + self._unsent
            raise


class _Stuck(NamedTuple):
    """A `send` that was stepped once and waits for the client."""

    sending: Sending
    waited_for: object
    body: bytes


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
