"""One client's end of a turn, with a server and a client that misbehave."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kaiwa.api.sse import EventStream
from kaiwa.chat.relay import say
from kaiwa.chat.running import Live, Running, TurnLimits
from kaiwa.domain.events import TurnFailed, TurnOpened, TurnText
from kaiwa.domain.file import StoredFile

pytestmark = pytest.mark.anyio

OPENED = TurnOpened(uuid4(), uuid4(), "t", datetime(2026, 1, 2, tzinfo=UTC))
FAILED = TurnFailed("completion_request_error", 400, "no")


class Wire:
    """A server's `send` and `receive`, and a client that reads while it wants to."""

    def __init__(self) -> None:
        self.sent = b""
        self.whole = False
        self.reading = anyio.Event()
        self.reading.set()
        self.gone = anyio.Event()
        self.broken = False
        self.goodbyes = 0

    async def send(self, message: Any) -> None:
        await self.reading.wait()
        if self.broken:
            raise OSError("the client has gone")
        self.sent += message.get("body", b"")
        self.whole = message["type"] == "http.response.body" and not message["more_body"]

    async def receive(self) -> Any:
        if not self.gone.is_set():
            await self.gone.wait()
        self.goodbyes += 1
        assert self.goodbyes < 10, "asked again and again, without ever waiting"
        return {"type": "http.disconnect"}

    def stop_reading(self) -> None:
        self.reading = anyio.Event()

    @property
    def frames(self) -> list[str]:
        return self.sent.decode().split("\n\n")[:-1]


def link_to(file: StoredFile, *, made: bool = False) -> str:
    return f"{file.id}, made: {made}"


def make_stream(ping: float = 60, patience: float = 60) -> EventStream:
    async def nothing(*_: object) -> None:
        """Neither saves nor beats."""

    stream = EventStream("t", Running(TurnLimits(), nothing, nothing), ping, patience, link_to)
    stream.live = Live("t", uuid4(), "ann", uuid4())
    return stream


async def serve(stream: EventStream, wire: Wire) -> None:
    scope: Any = {"type": "http"}
    await stream(scope, wire.receive, wire.send)


async def test_a_stream_that_is_never_served_counts_as_left() -> None:
    stream = make_stream(patience=0.02)
    assert stream.live
    with anyio.fail_after(5):
        await say(stream.emit, [OPENED])
        await say(stream.emit, [TurnText("a")])
        await say(stream.emit, [FAILED])
    assert not stream.live.listens


async def test_a_client_that_takes_nothing_counts_as_left() -> None:
    stream, wire = make_stream(patience=0.05), Wire()
    assert stream.live
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, stream, wire)
            await say(stream.emit, [OPENED])
            await say(stream.emit, [TurnText("a")])
            wire.stop_reading()
            await say(stream.emit, [TurnText("b")])
    assert not stream.live.listens
    await say(stream.emit, [TurnText("c")])
    assert len(wire.frames) == 1
    assert not wire.whole


async def test_a_client_that_takes_all_but_the_end_does_not_hold_its_request() -> None:
    stream, wire = make_stream(patience=0.05), Wire()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, stream, wire)
            await say(stream.emit, [OPENED, TurnText("a")])
            wire.stop_reading()
            await say(stream.emit, [FAILED])
    assert len(wire.frames) == 1


async def test_what_a_cut_kept_from_being_sent_goes_out_with_the_end() -> None:
    stream, wire = make_stream(), Wire()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, stream, wire)
            await say(stream.emit, [OPENED])
            await say(stream.emit, [TurnText("a")])
            wire.stop_reading()
            with anyio.move_on_after(0.02):
                await say(stream.emit, [TurnText("b")])
            wire.reading.set()
            await say(stream.emit, [FAILED])
    assert ['"a"' in wire.frames[0], '"b"' in wire.frames[1], len(wire.frames)] == [True, True, 3]
    assert wire.whole


async def test_a_ping_that_waits_for_a_slow_client_does_not_reorder_what_is_said() -> None:
    stream, wire = make_stream(ping=0.01), Wire()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, stream, wire)
            await say(stream.emit, [OPENED])
            await say(stream.emit, [TurnText("a")])
            wire.stop_reading()
            async with anyio.create_task_group() as others:
                others.start_soon(say, stream.emit, [TurnText("b")])
                await anyio.sleep(0.05)
                wire.reading.set()
            await say(stream.emit, [FAILED])
    said = [frame for frame in wire.frames if frame != "event: ping"]
    assert ['"a"' in said[0], '"b"' in said[1], '"error"' in said[2]] == [True] * 3
    assert len(said) == 3


async def test_a_server_that_says_the_client_has_gone_is_believed() -> None:
    stream, wire = make_stream(), Wire()
    assert stream.live
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, stream, wire)
            await say(stream.emit, [OPENED])
            wire.broken = True
            await say(stream.emit, [TurnText("a")])
            await say(stream.emit, [FAILED])
    assert not stream.live.listens


async def test_a_client_that_leaves_ends_the_request_and_not_the_turn() -> None:
    stream, wire = make_stream(), Wire()
    assert stream.live
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, stream, wire)
            await say(stream.emit, [OPENED])
            wire.gone.set()
            await checkpoint()
    await say(stream.emit, [TurnText("a")])
    assert (stream.live.listens, stream.live.cut_by, wire.frames) == (False, None, [])


async def test_an_end_may_come_at_the_moment_of_a_ping() -> None:
    """The wait for it has expired, and whoever waited has not been told yet."""
    stream, loop = make_stream(ping=0.02), asyncio.get_running_loop()
    said: list[object] = []

    class Punctual(Wire):
        async def receive(self) -> Any:
            if not said:  # both come due in one turn of the loop, one after the other
                loop.call_at(loop.time() + 0.02 + 1e-6, say_all)
            return await super().receive()

    def say_all() -> None:
        if not said:
            said.append("before")
            said.append(stream.emit([FAILED]))

    wire = Punctual()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, stream, wire)
            await say(stream.emit, [OPENED, TurnText("a")])
    assert said == ["before", None]
    assert wire.whole
    assert '"error"' in wire.frames[-1]
