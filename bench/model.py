"""A model server in a process of its own: `python -m bench.model PORT`.

A model's name says how it speaks: `TOKENS-PER_SECOND[-SILENCE_MS[-CALLS[-WORDS]]]`, 0 a second
meaning at once. It calls one of the tools it is offered, by turns, until it has been told CALLS
results, and only then says its tokens. A paced token's text is the moment at which it left, by the
monotonic clock, so that whoever gets it knows how long it was under way; with WORDS it is a word
that can be read aloud, linked to that moment, and every WORDS-th ends a sentence. `GET /log` gives,
and forgets, what questions came; see `Line`.
"""

import asyncio
import json
import sys
from time import monotonic
from typing import cast

import httptools
import msgspec
import uvloop
from msgspec import Struct

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_CHUNK = (
    'data: {"id":"chatcmpl-BxW2mQvG7mJ9yq3h","object":"chat.completion.chunk",'
    '"created":1763631412,"model":"bench-model","system_fingerprint":"fp_44709d6fcb",'
    '"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}],"usage":%s}\n\n'
)


class _Part(Struct):
    text: str = ""


class _Message(Struct):
    role: str
    content: str | list[_Part] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _Function(Struct):
    name: str


class _Tool(Struct):
    function: _Function


class _Question(Struct):
    model: str
    messages: list[_Message]
    tools: list[_Tool] = []

    @property
    def asked(self) -> int:
        """The place of what the user said last."""
        roles = [message.role for message in self.messages]
        return len(roles) - 1 - roles[::-1].index("user")

    @property
    def results(self) -> int:
        """What tools have said since."""
        return sum(message.role == "tool" for message in self.messages[self.asked :])


class Line(Struct, array_like=True):
    """One question of the log."""

    question: str
    messages: int
    """What the model was told in all: the prompt, the history and the question."""
    arrived: float
    spoke: float
    """When the first token left."""


class _Plan(Struct, frozen=True):
    tokens: int
    per_second: float
    silence: float
    calls: int
    words: int


def _chunked(text: str) -> bytes:
    body = text.encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


def _frame(delta: str, finish: str = "null", usage: str = "null") -> bytes:
    return _chunked(_CHUNK % (delta, finish, usage))


_FIRST = _frame('{"role":"assistant","content":""}')
_TOKEN = _frame('{"content":" word"}')
_ARGUMENTS = {"eval_expression": '{"expression": "(12 + 30) * 1.5"}'}
_decode = msgspec.json.Decoder(_Question).decode


def _last(tokens: int, reason: str = "stop") -> bytes:
    usage = f'{{"prompt_tokens":30,"completion_tokens":{tokens},"total_tokens":{tokens + 30}}}'
    return _frame("{}", f'"{reason}"', usage) + _chunked("data: [DONE]\n\n") + b"0\r\n\r\n"


def _plan(model: str) -> _Plan:
    tokens, per_second, silence, calls, words, *_ = [*model.split("-"), "0", "0", "0"]
    return _Plan(int(tokens), float(per_second), float(silence) / 1000, int(calls), int(words))


def _stamp(said: int, words: int) -> str:
    """The text of a paced token that leaves now."""
    moment = f"{monotonic():.6f}"
    if not words:
        return f"{moment} "
    return f"[word]({moment}){'' if (said + 1) % words else '.'} "


def _call(question: _Question) -> bytes:
    """A call in pieces, and the end of the round."""
    done = question.results
    name = question.tools[done % len(question.tools)].function.name
    arguments = _ARGUMENTS.get(name, "{}")
    half = len(arguments) // 2
    first = {"index": 0, "id": f"call_{done}", "type": "function"}
    pieces: list[dict[str, object]] = [
        {**first, "function": {"name": name, "arguments": ""}},
        {"index": 0, "function": {"arguments": arguments[:half]}},
        {"index": 0, "function": {"arguments": arguments[half:]}},
    ]
    frames = [_frame(json.dumps({"tool_calls": [piece]})) for piece in pieces]
    return b"".join([_FIRST, *frames, _last(len(pieces), "tool_calls")])


class Log:
    """The questions that came."""

    def __init__(self) -> None:
        self.lines: list[Line] = []


class Speaker(asyncio.Protocol):
    """One connection."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._url = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._url == b"/log":
            body = msgspec.json.encode(self._log.lines)
            self._log.lines = []
            head = (
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            )
            self._transport.write(head % len(body) + body)
            return
        arrived = monotonic()
        question = _decode(b"".join(self._body))
        plan = _plan(question.model)
        self._transport.write(_HEAD)
        self._timer = self._loop.call_later(plan.silence, self._speak, plan, question, arrived)

    def _speak(self, plan: _Plan, question: _Question, arrived: float) -> None:
        now = monotonic()
        told = question.messages
        self._log.lines.append(Line(told[question.asked].text, len(told), arrived, now))
        if question.tools and question.results < plan.calls:
            self._transport.write(_call(question))
            return
        if plan.per_second:
            self._transport.write(_FIRST)
            self._go_on(plan, 0, now)
            return
        for frame in (_FIRST, *[_TOKEN] * plan.tokens, _last(plan.tokens)):
            self._transport.write(frame)

    def _go_on(self, plan: _Plan, said: int, begun: float) -> None:
        if said == plan.tokens:
            self._transport.write(_last(said))
            return
        self._transport.write(_frame(f'{{"content":"{_stamp(said, plan.words)}"}}'))
        due = begun + (said + 1) / plan.per_second
        self._timer = self._loop.call_later(
            max(0.0, due - monotonic()), self._go_on, plan, said + 1, begun
        )


async def serve(port: int) -> None:
    """Until the process is ended."""
    log = Log()
    server = await asyncio.get_running_loop().create_server(
        lambda: Speaker(log), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
