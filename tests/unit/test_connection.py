"""A client's connection: a request that stays away ends it, one that is slow does not."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
import uvicorn
from litestar.types import Receive, Scope, Send
from uvicorn.server import ServerState

from kaiwa.api.connection import Connection

pytestmark = pytest.mark.anyio

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Hasty(Connection):
    head_seconds = 0.3
    body_seconds = 0.3


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return
        body += event["body"]
        more = event["more_body"]
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """A client's ends of a connection."""
    config = uvicorn.Config(echo, http=Hasty, lifespan="off", log_config=None)
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Hasty(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield reader, writer
    writer.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "begun",
    [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n", HEAD + b"Content-Length: 9\r\n\r\nabc"],
    ids=["nothing", "half a head", "no body", "half a body"],
)
async def test_a_request_that_stays_away_ends_the_connection(ends: Ends, begun: bytes) -> None:
    reader, writer = ends
    writer.write(begun)
    with anyio.fail_after(10):
        assert await reader.read() == b""


async def test_a_head_that_drips_ends_the_connection(ends: Ends) -> None:
    reader, writer = ends
    writer.write(HEAD)
    with anyio.fail_after(10):
        while not reader.at_eof():
            writer.write(b"x")
            await anyio.sleep(0.02)


async def test_a_body_that_comes_slowly_is_waited_for(ends: Ends) -> None:
    reader, writer = ends
    writer.write(HEAD + b"Content-Length: 10\r\n\r\n")
    for _ in range(10):
        await anyio.sleep(0.06)
        writer.write(b"x")
    with anyio.fail_after(10):
        assert (await reader.read()).endswith(b"\r\n\r\n" + b"x" * 10)


async def test_an_answer_may_take_its_time(ends: Ends) -> None:
    reader, writer = ends
    writer.write(HEAD.replace(b"close", b"keep-alive") + b"Content-Length: 1\r\n\r\nx")
    with anyio.fail_after(10):
        assert b"200" in await reader.readline()
        await anyio.sleep(0.5)
        writer.write(HEAD + b"Content-Length: 1\r\n\r\ny")
        assert (await reader.read()).endswith(b"\r\n\r\ny")
