"""HTTP/1.1 answers of every kind and of none: the same however they are cut, bounded, and safe."""

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaiwa.providers.http1 import OutboundError, Response
from kaiwa.providers.pool import Pool, find_target

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NO_HTTP = "the server did not answer in HTTP"
CLOSED = "the server closed the connection"
HELLO = CHUNKED + b"5\r\nHello\r\n6\r\n world\r\n0\r\n\r\n"

PACKED = gzip.compress(b"Hello world", mtime=0)

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Served:
    """A server that says what the test wants, whatever it is asked."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.questions = 0
        self.heads: list[bytes] = []
        self.play: Play = answer(HELLO)
        self.left = asyncio.Event()
        """Set when a client has gone."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1?a=b"

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await reader.readexactly(length)
                self.questions += 1
                self.heads.append(head)
                await self.play(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            self.left.set()
        finally:
            writer.close()


def answer(*pieces: bytes, closes: bool = False) -> Play:
    """Write these, one write each."""

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if closes:
            writer.close()

    return play


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    found = Served()
    server = await asyncio.start_server(found.attend, "127.0.0.1", 0, limit=1 << 20)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    found = Pool(5.0)
    yield found
    await found.close()


@asynccontextmanager
async def asking(pool: Pool, url: str) -> AsyncGenerator[Response]:
    with anyio.fail_after(10):
        response = await pool.post(find_target(url), {"X-Key": "k"}, b"{}")
        try:
            yield response
        finally:
            response.close()


async def body_of(pool: Pool, url: str, *, pours: bool = True) -> bytes:
    """The whole body, by either way of reading it."""
    body = bytearray()
    async with asking(pool, url) as response:
        if pours:
            await response.pour(body.extend)
        else:
            while chunk := await response.receive():
                body += chunk
    return bytes(body)


WHOLE = {
    "a length": (OK + b"Content-Length: 11\r\n\r\nHello world", False),
    "chunks": (HELLO, False),
    "chunks with extensions and a trailer": (
        CHUNKED + b"5;x=1\r\nHello\r\n006\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
        False,
    ),
    "until the end": (OK + b"\r\nHello world", True),
    "the old protocol": (b"HTTP/1.0 200 OK\r\n\r\nHello world", True),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + HELLO,
        False,
    ),
    "a reason of its own": (
        b"HTTP/1.1 200 Tr\xe8s bien\r\nContent-Length: 11\r\n\r\nHello world",
        False,
    ),
    "packed": (
        OK
        + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        % len(gzip.compress(b"Hello world", mtime=0))
        + gzip.compress(b"Hello world", mtime=0),
        False,
    ),
    "packed otherwise": (
        OK + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(b"Hello world"),
        True,
    ),
}


@pytest.mark.parametrize("pours", [True, False])
@pytest.mark.parametrize("kind", WHOLE)
async def test_a_whole_answer_is_read_however_it_is_cut(
    served: Served, pool: Pool, kind: str, pours: bool
) -> None:
    said, closes = WHOLE[kind]
    for step in (1, 7, len(said)):
        pieces = [said[at : at + step] for at in range(0, len(said), step)]
        served.play = answer(*pieces, closes=closes)
        assert await body_of(pool, served.url, pours=pours) == b"Hello world"


@given(cuts=st.lists(st.integers(0, len(HELLO)), max_size=8), pours=st.booleans())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_cut_gives_the_same(
    served: Served, pool: Pool, cuts: list[int], pours: bool
) -> None:
    places = [0, *sorted(cuts), len(HELLO)]
    served.play = answer(*(HELLO[a:b] for a, b in pairwise(places)))
    assert await body_of(pool, served.url, pours=pours) == b"Hello world"


BROKEN = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", NO_HTTP),
    "the next protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NO_HTTP),
    "a request": (b"GET / HTTP/1.1\r\n\r\n", NO_HTTP),
    "nonsense": (bytes(range(256)), NO_HTTP),
    "a status that is none": (b"HTTP/1.1 2x0 OK\r\n\r\n", NO_HTTP),
    "another protocol offered": (
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        NO_HTTP,
    ),
    "a header that is none": (OK + b"no colon here\r\n\r\n", NO_HTTP),
    "a NUL in a header": (OK + b"X-A: a\0b\r\n\r\n", NO_HTTP),
    "a length and chunks": (
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        NO_HTTP,
    ),
    "two lengths": (OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", NO_HTTP),
    "a negative length": (OK + b"Content-Length: -1\r\n\r\n", NO_HTTP),
    "a length beyond all numbers": (OK + b"Content-Length: %d\r\n\r\n" % 2**70, NO_HTTP),
    "a chunk of no size": (CHUNKED + b"zz\r\nab\r\n", NO_HTTP),
    "a chunk beyond all numbers": (CHUNKED + b"f" * 20 + b"\r\n", NO_HTTP),
    "a chunk longer than it said": (CHUNKED + b"2\r\nabc\r\n0\r\n\r\n", NO_HTTP),
    "a long head": (
        OK + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(80)) + b"\r\n",
        "the server's answer has too long a head",
    ),
    "one long header": (
        OK + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
        "the server's answer has too long a head",
    ),
    "packed as we cannot read": (
        OK + b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        "the server's answer is packed as 'br'",
    ),
    "packed badly": (
        OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        "the server's answer cannot be unpacked",
    ),
    "nothing": (b"", CLOSED),
    "half a head": (OK + b"Content-", CLOSED),
    "less than its length": (OK + b"Content-Length: 5\r\n\r\nabc", CLOSED),
    "half a chunk": (CHUNKED + b"5\r\nab", CLOSED),
    "no last chunk": (CHUNKED + b"2\r\nab\r\n", CLOSED),
}


@pytest.mark.parametrize("pours", [True, False])
@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_answer_is_said_in_plain_words(
    served: Served, pool: Pool, kind: str, pours: bool
) -> None:
    said, sentence = BROKEN[kind]
    served.play = answer(said, closes=True)
    with pytest.raises(OutboundError) as caught:
        await body_of(pool, served.url, pours=pours)
    assert str(caught.value) == sentence
    served.play = answer(HELLO)
    assert await body_of(pool, served.url) == b"Hello world"


async def test_what_came_before_a_fault_is_heard(served: Served, pool: Pool) -> None:
    served.play = answer(CHUNKED + b"5\r\nHello\r\nzz\r\n")
    heard = bytearray()
    async with asking(pool, served.url) as response:
        with pytest.raises(OutboundError, match=NO_HTTP):
            await response.pour(heard.extend)
    assert heard == b"Hello"


@pytest.mark.parametrize("line", [b"X-A: " + b"a" * 1000 + b"\r\n", b"a" * 1000])
async def test_a_head_without_end_is_cut_off(served: Served, pool: Pool, line: bytes) -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"X-B: ")
        for _ in range(1_000_000):
            writer.write(line)
            await writer.drain()

    served.play = drip
    with pytest.raises(OutboundError, match="too long a head"):
        await body_of(pool, served.url)
    with anyio.fail_after(10):
        await served.left.wait()


@pytest.mark.parametrize("status", [204, 301, 400, 429, 500, 599])
async def test_a_status_is_the_askers_business(served: Served, pool: Pool, status: int) -> None:
    head = (
        b"HTTP/1.1 %d X\r\nRetry-After: 7\r\nLocation: /x\r\nContent-Type: Text/Plain\r\n" % status
    )
    served.play = answer(head + (b"\r\n" if status == 204 else b"Content-Length: 2\r\n\r\nno"))
    async with asking(pool, served.url) as response:
        assert (response.status, response.retry_after) == (status, "7")
        assert response.content_type == "text/plain"
        assert await response.read(100) == (b"" if status == 204 else b"no")


async def test_a_whole_answer_leaves_its_connection_to_the_next(served: Served, pool: Pool) -> None:
    for _ in range(3):
        assert await body_of(pool, served.url) == b"Hello world"
    assert (served.connections, served.questions) == (1, 3)


@pytest.mark.parametrize(
    "said",
    [
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
        OK + b"Content-Length: 2\r\n\r\nab" + OK + b"Content-Length: 4\r\n\r\nevil",
    ],
    ids=["it says so", "the old protocol", "it said too much"],
)
async def test_a_connection_that_may_not_be_used_again_is_not(
    served: Served, pool: Pool, said: bytes
) -> None:
    served.play = answer(said)
    for _ in range(2):
        assert await body_of(pool, served.url) == b"ab"
    assert served.connections == 2


async def test_what_nobody_asked_for_is_never_taken_for_an_answer(
    served: Served, pool: Pool
) -> None:
    """A server that writes into an idle connection, to poison the next question."""
    goes_on = asyncio.Event()

    async def poison(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        await writer.drain()
        await goes_on.wait()
        writer.write(OK + b"Content-Length: 4\r\n\r\nevil")

    served.play = poison
    assert await body_of(pool, served.url) == b"Hello world"
    served.play = answer(HELLO)
    goes_on.set()
    with anyio.fail_after(10):
        await served.left.wait()
    assert await body_of(pool, served.url) == b"Hello world"
    assert served.connections == 2


async def test_a_connection_that_was_closed_while_idle_is_replaced(
    served: Served, pool: Pool
) -> None:
    served.play = answer(HELLO, closes=True)
    for _ in range(4):
        assert await body_of(pool, served.url) == b"Hello world"
    assert served.questions == 4


async def test_a_question_nobody_answers_is_asked_twice_at_most(served: Served, pool: Pool) -> None:
    """However many connections are free: it may be the question that the server dies of."""
    all_there = asyncio.Event()

    async def wait_for_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if served.questions == 5:
            all_there.set()
        await all_there.wait()
        await answer(HELLO)(reader, writer)

    served.play = wait_for_all
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(body_of, pool, served.url)
    assert served.connections == served.questions == 5
    served.play = answer(closes=True)
    with pytest.raises(OutboundError, match=CLOSED):
        await body_of(pool, served.url)
    assert served.questions == 7


async def test_a_slow_hearer_holds_the_server_back(served: Served, pool: Pool) -> None:
    written = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(CHUNKED)
        for _ in range(1000):
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()
            written += 65536
        writer.write(b"0\r\n\r\n")

    served.play = flood
    goes_on = asyncio.Event()
    heard = 0

    def hear(body: bytes) -> Callable[[], Awaitable[Any]]:
        nonlocal heard
        heard += len(body)
        return goes_on.wait

    async with asking(pool, served.url) as response, anyio.create_task_group() as tasks:
        tasks.start_soon(response.pour, hear)
        before = -1
        while written != before:
            before = written
            await anyio.sleep(0.1)
        assert heard <= 1 << 20
        assert written < 20_000_000
        goes_on.set()
    assert heard == written == 65_536_000


async def test_an_answer_nobody_reads_is_bounded(served: Served, pool: Pool) -> None:
    bomb = gzip.compress(b"x" * 100_000_000)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    served.play = answer(head + bomb)
    most = heard = 0

    def hear(body: bytes) -> None:
        nonlocal most, heard
        most, heard = max(most, len(body)), heard + len(body)

    async with asking(pool, served.url) as response:
        await response.pour(hear)
    assert heard == 100_000_000
    assert most <= 1 << 20


async def test_what_the_hearer_raises_is_raised_and_the_connection_closed(
    served: Served, pool: Pool
) -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while True:
            writer.write(b"2\r\nab\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    def hear(body: bytes) -> None:
        raise KeyError(body)

    served.play = babble
    async with asking(pool, served.url) as response:
        with pytest.raises(KeyError):
            await response.pour(hear)
    with anyio.fail_after(10):
        await served.left.wait()


@pytest.mark.parametrize("begun", [b"", OK, CHUNKED + b"2\r\nab\r\n"])
async def test_a_cut_closes_the_connection_at_once(
    served: Served, pool: Pool, begun: bytes
) -> None:
    served.play = answer(begun)
    with anyio.move_on_after(0.1):
        await body_of(pool, served.url)
    with anyio.fail_after(10):
        await served.left.wait()


async def test_stopping_ends_the_pouring(served: Served, pool: Pool) -> None:
    served.play = answer(CHUNKED + b"2\r\nab\r\n", b"2\r\ncd\r\n")
    heard = bytearray()
    async with asking(pool, served.url) as response:

        def hear(body: bytes) -> None:
            heard.extend(body)
            response.stop()

        await response.pour(hear)
    assert heard in (b"ab", b"abcd")


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"X-A": "a\r\nX-B: b"}, ""),
        ({"X-A\r\n": "a"}, ""),
        ({"X-A": "a\n"}, ""),
        ({"X-A": "字"}, ""),
    ],
)
async def test_a_header_cannot_smuggle_another(
    served: Served, pool: Pool, headers: dict[str, str], path: str
) -> None:
    with pytest.raises(OutboundError, match="a header of the request is not valid"):
        await pool.post(find_target(served.url + path), headers, b"")
    assert served.questions == 0


async def test_the_operators_headers_stand_before_ours_and_none_twice(
    served: Served, pool: Pool
) -> None:
    given = {"HOST": "models.example", "User-Agent": "x", "Authorization": "Bearer k"}
    given |= {"Content-Length": "99", "Transfer-Encoding": "chunked"}
    target = find_target(served.url.replace("http://", "http://ann:secret@"))
    with anyio.fail_after(10):
        response = await pool.post(target, given, b"{}")
        await response.pour(lambda _: None)
    lines = [line.lower() for line in served.heads[0].split(b"\r\n")[1:-2]]
    assert sorted(lines) == [
        b"accept-encoding: identity",
        b"authorization: bearer k",
        b"content-length: 2",
        b"host: models.example",
        b"user-agent: x",
    ]


async def test_a_path_cannot_smuggle_a_line(served: Served, pool: Pool) -> None:
    assert await body_of(pool, served.url + "%0d%0aX: y&z=a b\r\nX-B: c") == b"Hello world"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_must_be_good(
    tmp_path: Path, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    ((trusted and authority) or trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    found = Served()
    pool = Pool(5.0)
    async with await asyncio.start_server(found.attend, "localhost", 0, ssl=context) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
        if trusted:
            for _ in range(2):
                assert await body_of(pool, url) == b"Hello world"
            assert found.connections == 1
        else:
            with pytest.raises(OutboundError, match="its certificate or TLS is not valid"):
                await body_of(pool, url)
        await pool.close()
