"""The floor: one Litestar handler that relays with aiohttp and msgspec, and keeps nothing.

`python -m bench.floor PORT MODEL_URL`. It answers the load's questions with frames like Kaiwa's.
"""

import sys
from json.encoder import encode_basestring_ascii
from tempfile import TemporaryFile

import aiohttp
import msgspec
import uvicorn
import uvloop
from litestar import Litestar, Request, post
from litestar.datastructures import State
from litestar.types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    Receive,
    Scope,
    Send,
)
from msgspec import Struct

_START: HTTPResponseStartEvent = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
_COMMON = (
    '"conversation_id": "019aa1d2-0000-7000-8000-000000000000", '
    '"message_id": "019aa1d2-0000-7000-8000-000000000001", "created_at": 1763631412, '
    '"task_id": "c3800678-a077-43df-a102-53f23ed20b88"'
)
_BEFORE = f'data: {{"event": "message", {_COMMON}, "answer": '
_AFTER = "}\n\n"
_END = f'data: {{"event": "message_end", {_COMMON}}}\n\n'.encode()


class _Question(Struct):
    query: str
    model: str


class _Delta(Struct):
    content: str | None = None


class _Choice(Struct):
    delta: _Delta


class _Chunk(Struct):
    choices: list[_Choice]


_decode = msgspec.json.Decoder(_Chunk).decode


class Floor:
    """Relays to one model server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    def relay(self, question: _Question) -> ASGIApp:
        body = {
            "model": question.model,
            "messages": [{"role": "user", "content": question.query}],
            "stream": True,
        }

        async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
            session = self._session = self._session or aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0)
            )
            async with session.post(self._url, data=msgspec.json.encode(body)) as response:
                await send(_START)
                rest = b""
                async for data in response.content.iter_any():
                    *lines, rest = (rest + data).split(b"\n\n")
                    frames = "".join(map(_frame, lines)).encode()
                    if frames:
                        await send(_body(frames, True))
                await send(_body(_END, False))

        return answer


def _body(frames: bytes, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": frames, "more_body": more}


def _frame(line: bytes) -> str:
    if line == b"data: [DONE]":
        return ""
    choices = _decode(line[6:]).choices
    text = choices[0].delta.content if choices else None
    return f"{_BEFORE}{encode_basestring_ascii(text)}{_AFTER}" if text else ""


@post("/v1/chat-messages", status_code=200)
async def post_question(request: "Request[object, object, State]") -> ASGIApp:
    question = msgspec.json.decode(await request.body(), type=_Question)
    return request.app.state.floor.relay(question)


@post("/upload", status_code=201)
async def post_upload(request: "Request[object, object, State]") -> None:
    """Bytes into a file, unread."""
    with TemporaryFile() as file:
        async for piece in request.stream():
            file.write(piece)


def main(port: int, url: str) -> None:
    app = Litestar(
        [post_question, post_upload],
        request_max_body_size=None,
        state=State({"floor": Floor(url)}),
        openapi_config=None,
        logging_config=None,
    )
    config = uvicorn.Config(  # as kaiwa.serve has it
        app,
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        backlog=2048,
    )
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
