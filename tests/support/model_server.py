"""A real local server of language models for tests: OpenAI's and Anthropic's wire, and its faults.

    async with ModelServer() as server:
        server.play(refuse(503, "busy"), speak("Hello world"))
        ...                                  # ask `server.openai_url` or `server.anthropic_url`
        server.requests[-1].body["messages"]
        await server.wait_left()             # the client closed its connection mid-answer

Each request plays the next behaviour; the last one is played for all that follow. Which wire is
spoken follows from the path that was asked.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

from tests.support.model_wires import Events, Wire, answer_events, error_body, whole_body


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]
    at: float
    """The loop's time."""
    connection: int
    """The number of its connection: the same for requests that shared one."""


class Exchange:
    """One request and the answer being written to it."""

    def __init__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._writer = writer
        self.keep_alive = False

    @property
    def wire(self) -> Wire:
        if self.request.path.endswith("/messages"):
            return "messages"
        return "chat" if self.request.path.endswith("/chat/completions") else "completions"

    async def start(
        self,
        status: int = 200,
        content_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send the status and the headers."""
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase if status != 529 else 'Overloaded'}",
            f"Content-Type: {content_type}",
            "Transfer-Encoding: chunked",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        await self.write_raw(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        if data:
            await self.write_raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def write_raw(self, data: bytes) -> None:
        """Send bytes as they are, below HTTP's framing."""
        self._writer.write(data)
        await self._writer.drain()

    async def end(self) -> None:
        """End the answer; the connection stays open for the next request."""
        await self.write_raw(b"0\r\n\r\n")
        self.keep_alive = True

    def reset(self) -> None:
        """Break the connection."""
        self._writer.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[None]]


@dataclass
class ModelServer:
    """Listens on a free port of 127.0.0.1 while its context is open."""

    requests: list[Request] = field(default_factory=list[Request])
    left: list[float] = field(default_factory=list[float])
    """The loop's time whenever a client closed its connection before the answer's end."""
    models: list[str] = field(default_factory=list[str])
    """What `GET …/models` lists."""
    url: str = ""
    _behaviours: list[Behaviour] = field(default_factory=lambda: [speak()])
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set["asyncio.Task[Any]"])
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _server: asyncio.Server | None = None
    _connections: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def play(self, *behaviours: Behaviour) -> None:
        """What to do from the next request on."""
        self._behaviours = list(behaviours)

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        return self.url

    async def wait_asked(self, count: int = 1, timeout: float = 5) -> None:
        """Until so many requests have come in all."""
        await self._wait(lambda: len(self.requests) >= count, timeout)

    async def wait_left(self, count: int = 1, timeout: float = 5) -> float:
        """Until so many clients have left in all; the loop's time of the last of them."""
        await self._wait(lambda: len(self.left) >= count, timeout)
        return self.left[count - 1]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self, reached: Callable[[], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self._connections += 1
        number = self._connections
        ahead = bytearray()
        try:
            while (request := await _read_request(reader, ahead, number)) is not None:
                if not await self._answer(request, reader, ahead, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _answer(
        self,
        request: Request,
        reader: asyncio.StreamReader,
        ahead: bytearray,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Whether the connection can be used again."""
        exchange = Exchange(request, writer)
        if request.method == "GET":
            await _list_models(exchange, self.models)
            return True
        self.requests.append(request)
        self._changed.set()
        behaviour = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(_play(behaviour, exchange))
            watching = tasks.create_task(_watch(reader, ahead))
            await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
            heard_out = playing.done() and playing.result()
            playing.cancel()
            watching.cancel()
        if not heard_out and self._server is not None and self._server.is_serving():
            self.left.append(asyncio.get_running_loop().time())
            self._changed.set()
        return exchange.keep_alive


def speak(
    text: str | Sequence[str] = "Hello world",
    *,
    pace: float = 0,
    group: int = 1,
    split: int = 0,
    usage: tuple[int, int] | None = (7, 3),
    reasoning: Sequence[str] = (),
    finish: bool = True,
    done: bool = True,
    end: bool = True,
) -> Behaviour:
    """A normal answer; a `text` is said word by word, a sequence piece by piece.

    `pace`: seconds between pieces; `group`: events in one write; `split`: bytes in one write,
    wherever that cuts; `finish`: say the reason of the end; `done`: send the end marker; `end`:
    end the body, else hang there.
    """
    tokens = _tokens(text)

    async def play(exchange: Exchange) -> None:
        await exchange.start()
        opening, events, closing = _events(exchange, tokens, reasoning, usage, finish, done)
        if events:
            events[0] = opening + events[0]
        else:
            closing = opening + closing
        for i in range(0, len(events), group):
            await _write_split(exchange, b"".join(events[i : i + group]), split)
            if pace:
                await asyncio.sleep(pace * group)
        await _write_split(exchange, closing, split)
        if end:
            await exchange.end()
        else:
            await _forever()

    return play


def hang() -> Behaviour:
    """Silence, even before the headers."""

    async def play(exchange: Exchange) -> None:
        await _forever()

    return play


def hang_after(*tokens: str) -> Behaviour:
    """Headers, these tokens, then silence."""
    return speak(tokens, usage=None, finish=False, done=False, end=False)


def reset_after(*tokens: str, headers: bool = True) -> Behaviour:
    """The connection breaks after these tokens, or before the headers."""

    async def play(exchange: Exchange) -> None:
        if headers:
            await exchange.start()
            opening, events, _ = _events(exchange, tokens)
            await exchange.write(opening + b"".join(events))
            await asyncio.sleep(0.02)
        exchange.reset()

    return play


def raw(
    *pieces: bytes,
    tokens: Sequence[str] = (),
    status: int = 200,
    content_type: str = "text/event-stream",
) -> Behaviour:
    """These bytes after the tokens, then the end of the body."""

    async def play(exchange: Exchange) -> None:
        await exchange.start(status, content_type)
        if tokens:
            opening, events, _ = _events(exchange, tokens)
            await exchange.write(opening + b"".join(events))
        for piece in pieces:
            await exchange.write(piece)
        await exchange.end()

    return play


def half_json(*tokens: str) -> Behaviour:
    """Ends within a line of JSON."""
    return raw(b'data: {"choices": [{"del', tokens=tokens)


def invalid_utf8(*tokens: str) -> Behaviour:
    """In what each of the wires would show."""
    frame = b"""data: {"choices": [{"delta": {"content": "\xff\xfe"}}], "index": 0,
        "type": "content_block_delta", "delta": {"type": "text_delta", "text": "\xff\xfe"}}"""
    return raw(frame.replace(b"\n", b"") + b"\n\n", tokens=tokens)


def endless_line(*tokens: str, megabytes: int = 3) -> Behaviour:
    return raw(b"data: ", *[b"x" * 65536] * (16 * megabytes), tokens=tokens)


def nothing() -> Behaviour:
    """Status 200 and not a byte more."""
    return raw()


def empty() -> Behaviour:
    """A whole stream that says nothing."""
    return speak((), usage=(7, 0))


def drip(text: str = "Hello world", *, pause: float = 0.001) -> Behaviour:
    """One byte at a time."""

    async def play(exchange: Exchange) -> None:
        await exchange.start()
        opening, events, closing = _events(exchange, _tokens(text), (), (7, 3), True, True)
        for byte in opening + b"".join(events) + closing:
            await exchange.write(bytes([byte]))
            await asyncio.sleep(pause)
        await exchange.end()

    return play


def whole(text: str = "Hello world", usage: tuple[int, int] = (7, 3)) -> Behaviour:
    """One JSON document instead of a stream."""

    async def play(exchange: Exchange) -> None:
        await exchange.start(content_type="application/json")
        await exchange.write(whole_body(exchange.wire, text, usage))
        await exchange.end()

    return play


def refuse(
    status: int,
    message: str = "no",
    *,
    code: str | None = None,
    kind: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Behaviour:
    """An error before the stream; `kind` is the error's `type`."""

    async def play(exchange: Exchange) -> None:
        await exchange.start(status, "application/json", headers)
        await exchange.write(error_body(exchange.wire, message, code, kind))
        await exchange.end()

    return play


def refuse_page(status: int, page: str = "<html><body>Bad gateway</body></html>") -> Behaviour:
    """A web page, as a proxy sends it."""

    async def play(exchange: Exchange) -> None:
        await exchange.start(status, "text/html")
        await exchange.write(page.encode())
        await exchange.end()

    return play


def fail_within(
    *tokens: str, message: str = "no", code: str | None = None, kind: str | None = None
) -> Behaviour:
    """An error event inside the stream, after these tokens."""

    async def play(exchange: Exchange) -> None:
        await exchange.start()
        opening, events, _ = _events(exchange, tokens)
        body = error_body(exchange.wire, message, code, kind)
        name = b"event: error\n" if exchange.wire == "messages" else b""
        data = opening + b"".join(events) if tokens else b""
        await exchange.write(data + name + b"data: " + body + b"\n\n")
        await exchange.end()

    return play


def _tokens(text: str | Sequence[str]) -> list[str]:
    if not isinstance(text, str):
        return list(text)
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def _events(
    exchange: Exchange,
    tokens: Sequence[str],
    reasoning: Sequence[str] = (),
    usage: tuple[int, int] | None = None,
    finish: bool = False,
    done: bool = False,
) -> Events:
    """The events of an answer on the wire that was asked; counts only for who wants them."""
    wire = exchange.wire
    if wire != "messages" and "stream_options" not in exchange.request.body:
        usage = None
    return answer_events(wire, tokens, reasoning, usage, finish, done)


async def _write_split(exchange: Exchange, data: bytes, split: int) -> None:
    for i in range(0, len(data), split or len(data) or 1):
        await exchange.write(data[i : i + split] if split else data)
        if split:
            await asyncio.sleep(0)


async def _play(behaviour: Behaviour, exchange: Exchange) -> bool:
    """Whether the client was there to the end."""
    try:
        await behaviour(exchange)
    except ConnectionError:
        return False
    return True


async def _watch(reader: asyncio.StreamReader, ahead: bytearray) -> None:
    """Returns when the client closes its connection; what it says meanwhile is its next request."""
    with suppress(ConnectionError):
        while byte := await reader.read(1):
            ahead += byte


async def _forever() -> None:
    await asyncio.Event().wait()


async def _read_request(
    reader: asyncio.StreamReader, ahead: bytearray, connection: int
) -> Request | None:
    try:
        head = bytes(ahead) + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    ahead.clear()
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    now = asyncio.get_running_loop().time()
    return Request(method, path, headers, json.loads(content or b"{}"), now, connection)


async def _list_models(exchange: Exchange, models: Sequence[str]) -> None:
    await exchange.start(content_type="application/json")
    body = {"object": "list", "data": [{"id": name, "object": "model"} for name in models]}
    await exchange.write(json.dumps(body).encode())
    await exchange.end()
