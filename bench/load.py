"""Clients: each asks one question after another on a connection of its own, and counts every frame.

It reads the bytes of an answer itself, for it must cost less than what it measures.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import cast

import httptools
import msgspec

# Of a piece of text and of the end: as Kaiwa and the floor write them, and as the model does.
_STAMP = re.compile(rb'"(?:answer|content)": ?"(?:\[word\]\()?(\d+\.\d{6})\)?\.? "')
_SENTENCE = re.compile(rb'"answer": "\[word\]\((\d+\.\d{6})\)\. "')
_TEXTS = (b'"event": "message", ', b'"event": "agent_message", ', b'"delta":{"content":')
_ENDS = (b'"event": "message_end"', b"data: [DONE]")


@dataclass
class Heard:
    """What one question brought."""

    number: int = 0
    asked_at: float = 0
    first_at: float = 0
    """When the first piece of the answer came."""
    ended_at: float = 0
    sentence_at: float = 0
    """When the model let go the end of the first sentence."""
    spoken_at: float = 0
    """When the first audio came."""
    frames: int = 0
    reads: int = 0
    """Reads of the socket that brought frames."""
    status: int = 0
    task_id: str = ""
    whole: bool = False
    body: bytes = b""
    """Of an answer that was no stream."""
    delays: list[float] = field(default_factory=list[float])
    """How long each token was under way, in seconds; of paced models alone."""


class Connection(asyncio.Protocol):
    """One connection, which asks again and again."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._heard = Heard()
        self._rest = b""
        self._streams = False
        self._first: asyncio.Future[None] | None = None
        self._end: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        _wake(self._first)
        _wake(self._end)

    async def send(self, request: bytes, number: int = 0) -> Heard:
        """One request, to the end of its answer."""
        self.ask(request, number)
        return await self.hear_rest()

    def ask(self, request: bytes, number: int = 0) -> None:
        """Send a request."""
        self._rest = b""
        self._heard = Heard(number, monotonic())
        self._first = self._loop.create_future()
        self._end = self._loop.create_future()
        self._transport.write(request)

    async def hear_first(self) -> Heard:
        """The answer so far, once its first piece is here, or its end."""
        if self._first:
            await self._first
        return self._heard

    async def hear_rest(self) -> Heard:
        """The answer, once it has ended."""
        if self._end:
            await self._end
        return self._heard

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self._streams = value.startswith(b"text/event-stream")
        elif name == b"x-task-id":
            self._heard.task_id = value.decode()

    def on_headers_complete(self) -> None:
        self._heard.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self._streams:
            self._heard.body += body
            return
        heard = self._heard
        frames = self._rest + body
        cut = frames.rfind(b"\n\n") + 2
        frames, self._rest = frames[:cut], frames[cut:]
        count = sum(map(frames.count, _TEXTS))
        if count:
            now = monotonic()
            if not heard.first_at:
                heard.first_at = now
                _wake(self._first)
            heard.frames += count
            heard.reads += 1
            heard.delays += [now - float(stamp) for stamp in _STAMP.findall(frames)]
        if not heard.sentence_at and (sentence := _SENTENCE.search(frames)):
            heard.sentence_at = float(sentence[1])
        if not heard.spoken_at and b'"event": "tts_message",' in frames:
            heard.spoken_at = monotonic()
        if any(end in frames for end in _ENDS):
            heard.whole = True

    def on_message_complete(self) -> None:
        self._heard.ended_at = monotonic()
        _wake(self._first)
        _wake(self._end)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter and not waiter.done():
        waiter.set_result(None)


async def connect(port: int) -> Connection:
    """A new connection to a server of this machine."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    return connection


def post(path: str, key: str, body: dict[str, object]) -> bytes:
    """A request's bytes."""
    encoded = msgspec.json.encode(body)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded


def get(path: str, key: str) -> bytes:
    """A request's bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


Request = Callable[[int], bytes]
"""Makes the bytes of the n-th request."""


async def run_load(
    port: int, request: Request, *, at_once: int, questions: int, spread: float = 0
) -> list[Heard]:
    """Ask `questions` in all, `at_once` at a time, their first starts spread over `spread` s."""
    heard: list[Heard] = []
    numbers = iter(range(questions))

    async def ask_on(place: int) -> None:
        await asyncio.sleep(spread * place / at_once)
        connection = await connect(port)
        heard.extend([await connection.send(request(number), number) for number in numbers])
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for place in range(at_once):
            tasks.create_task(ask_on(place))
    return heard
