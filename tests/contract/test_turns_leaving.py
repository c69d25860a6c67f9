"""A turn outlives its client: whoever leaves, and whenever, the answer is finished and kept."""

import asyncio
import json
import socket
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from yarl import URL

from tests.support.apps import app_file, says
from tests.support.client import Client, text_of
from tests.support.server import TestServer, serving
from tests.support.talking import settled, stop, take

pytestmark = pytest.mark.anyio

WORDS = ["one", " two", " three", " four", " five"]
SPEAKS = app_file(says(*WORDS, pace=0.01))


def post(client: Client, mode: str = "streaming") -> tuple[URL, bytes]:
    """A question as the bytes that go to the server."""
    url = URL(f"{client.base}/chat-messages")
    question: dict[str, object] = {"user": client.user, "inputs": {}, "query": "Hello"}
    body = json.dumps(question | {"response_mode": mode})
    lines = [
        f"POST {url.path} HTTP/1.1",
        f"Host: {url.host}:{url.port}",
        f"Authorization: Bearer {client.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return url, ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def ask_and_never_read(client: Client) -> socket.socket:
    url, request = post(client)
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect((url.host, url.port))
    caller.sendall(request)
    return caller


async def ask_and_wait_until_kept(client: Client, mode: str) -> asyncio.StreamWriter:
    """A client that has sent its question, and could leave without losing it: it is on disk."""
    url, request = post(client, mode)
    assert url.host
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request)
    for _ in range(1000):
        if (await client.get("/conversations")).body["data"]:
            return writer
        await anyio.sleep(0.005)
    raise AssertionError("the question is not kept")


@pytest.mark.parametrize("count", range(len(WORDS) + 2))
async def test_leaving_after_any_frame_loses_nothing(server: TestServer, count: int) -> None:
    client = await server.client(SPEAKS)
    async with client.streaming("Hello") as stream:
        frames = await take(stream, count)
    [message] = await settled(client)
    assert message["answer"] == "".join(WORDS)
    assert message["answer"].startswith(text_of(frames))
    assert (message["outcome"], message["status"]) == ("normal", "normal")


@pytest.mark.parametrize("count", [1, 7, 100, 400, 600, 900])
async def test_leaving_after_reading_byte_by_byte_loses_nothing(
    server: TestServer, count: int
) -> None:
    client = await server.client(SPEAKS)
    with closing(ask_and_never_read(client)) as caller:
        caller.setblocking(False)
        for _ in range(count):
            assert await asyncio.get_running_loop().sock_recv(caller, 1)
    [message] = await settled(client)
    assert (message["answer"], message["outcome"]) == ("".join(WORDS), "normal")


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
@pytest.mark.parametrize("abruptly", [False, True])
async def test_leaving_before_the_first_byte_loses_nothing(
    server: TestServer, mode: str, abruptly: bool
) -> None:
    client = await server.client(app_file({"silence": 0.2}, says(*WORDS)))
    writer = await ask_and_wait_until_kept(client, mode)
    if abruptly:
        writer.transport.abort()
    writer.close()
    [message] = await settled(client)
    assert (message["answer"], message["outcome"]) == ("".join(WORDS), "normal")


async def test_a_blocking_client_that_leaves_stops_an_answer_where_the_app_says_so(
    server: TestServer,
) -> None:
    client = await server.client(
        app_file(says("one"), {"hang": True}, kaiwa={"leaving": "stop"}),
    )
    writer = await ask_and_wait_until_kept(client, "blocking")
    writer.close()
    [message] = await settled(client)
    assert message["outcome"] == "stopped"


async def test_a_client_that_never_reads_has_left_and_its_answer_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, write_timeout=0.2, default_model="quoting/quoting") as server:
        text = "x" * 1000
        client = await server.client(app_file({"repeat": {"text": text, "times": 8000}}))
        with closing(ask_and_never_read(client)):
            [message] = await settled(client)
        assert message["answer"] == text * 8000
        assert message["outcome"] == "normal"


async def test_a_client_that_never_reads_holds_the_model_back_and_not_its_words_in_memory(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, write_timeout=0.3, default_model="quoting/quoting") as server:
        endless = {"repeat": {"text": "x" * 1000, "times": 10_000_000}}
        client = await server.client(app_file(endless, kaiwa={"leaving": "stop"}))
        with closing(ask_and_never_read(client)):
            [message] = await settled(client)
        assert message["outcome"] == "stopped"
        assert len(message["answer"]) < 1_000_000  # with the system's usual buffers over two
        other = await server.client(SPEAKS)
        assert (await other.ask("Hello")).body["answer"] == "".join(WORDS)


async def test_a_slow_reader_does_not_make_the_model_look_silent(tmp_path: Path) -> None:
    async with serving(
        tmp_path,
        write_timeout=30,
        token_timeout=0.1,
        checkpoint_interval=0.02,
        default_model="quoting/quoting",
    ) as server:
        client = await server.client(app_file({"repeat": {"text": "x" * 1000, "times": 6000}}))
        with closing(ask_and_never_read(client)) as caller:
            await asyncio.sleep(0.5)
            caller.setblocking(False)
            loop = asyncio.get_running_loop()
            said = b""
            while b"message_end" not in said[-2000:]:
                assert b'"error"' not in said[-2000:]
                piece = await loop.sock_recv(caller, 1 << 20)
                assert piece
                said = said[-2000:] + piece
        [message] = await settled(client)
        assert message["outcome"] == "normal"
        assert len(message["answer"]) == 6_000_000


async def test_stop_reaches_a_turn_whose_client_does_not_read(tmp_path: Path) -> None:
    async with serving(tmp_path, write_timeout=30, default_model="quoting/quoting") as server:
        endless = {"repeat": {"text": "x" * 1000, "times": 10_000_000}}
        client = await server.client(app_file(endless))
        async with client.streaming("Hello") as stream:
            [frame] = await take(stream, 1)
            await asyncio.sleep(0.3)
            await stop(client, frame)
            rest = await stream.rest()
        assert rest[-1].event == "message_end"
        [message] = await client.messages(frame.data["conversation_id"])
        assert message["outcome"] == "stopped"
        assert message["answer"] == text_of([frame, *rest])
