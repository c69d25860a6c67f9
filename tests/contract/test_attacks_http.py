"""Attacks below the API: heads, lengths, chunks, methods and paths as no client sends them."""

import asyncio
import re

import msgspec
import pytest

from kaiwa.api.routes import ROUTES, Route
from tests.support.attacks import Fortress, Raw, check_answer, check_refusal, send, talk
from tests.support.client import Client
from tests.support.networked import SECRET

pytestmark = pytest.mark.anyio

LAST = b"GET /v1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
ASK = b'{"user": "eve", "query": "Hello"}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
EMPTY = b"0\r\n\r\n"


def request(
    fort: Fortress,
    method: bytes = b"GET",
    path: bytes = b"/v1/info",
    headers: bytes = b"",
    body: bytes = b"",
    version: bytes = b"HTTP/1.1",
) -> bytes:
    """With a good key, and JSON's content type."""
    return b"%b %b %b\r\nHost: x\r\nAuthorization: Bearer %b\r\n" % (
        method,
        path,
        version,
        key(fort),
    ) + b"Content-Type: application/json\r\n%b\r\n%b" % (headers, body)


def key(fort: Fortress) -> bytes:
    return fort.owner.key.encode()


def ask(fort: Fortress, headers: bytes, body: bytes) -> bytes:
    return request(fort, b"POST", b"/v1/chat-messages", headers, body)


def check(answers: list[Raw]) -> list[int]:
    """Each answer is one a client understands and carries nothing that was not ours."""
    for answer in answers:
        assert answer.status < 500
        assert SECRET.encode() not in answer.body
        assert answer.header("content-type") == "application/json"
        assert answer.header("x-content-type-options") == "nosniff"
        names = [name for name, _ in answer.headers]
        assert len(names) == len(set(names))
        assert not {"set-cookie", "x-evil", "server", "location"} & set(names)
        if answer.status >= 400 and answer.body:
            check_refusal(answer.status, msgspec.json.decode(answer.body))
    return [answer.status for answer in answers]


# What may be read in two ways is refused, and the connection closed: nothing after it is answered.
AMBIGUOUS = {
    "a length and chunks": (b"Content-Length: 5\r\n" + CHUNKED, EMPTY),
    "chunks and a length": (CHUNKED + b"Content-Length: 5\r\n", EMPTY),
    "an unknown coding": (b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n", b"{}"),
    "two codings": (CHUNKED + b"Transfer-Encoding: identity\r\n", EMPTY),
    "a blank before the colon": (b"Transfer-Encoding : chunked\r\nContent-Length: 2\r\n", b"{}"),
    "two lengths": (b"Content-Length: 2\r\nContent-Length: 4\r\n", b"{}xx"),
    "a list of lengths": (b"Content-Length: 2, 2\r\n", b"{}"),
    "a negative length": (b"Content-Length: -1\r\n", b"{}"),
    "a length with a sign": (b"Content-Length: +2\r\n", b"{}"),
    "a length with a letter": (b"Content-Length: 0x2\r\n", b"{}"),
    "a length beyond all numbers": (b"Content-Length: 99999999999999999999999\r\n", b"{}"),
    "a chunk of no size": (CHUNKED, b"zz\r\n{}\r\n" + EMPTY),
    "a chunk beyond all numbers": (CHUNKED, b"ffffffffffffffffff\r\n{}\r\n" + EMPTY),
    "chunks with bare line feeds": (CHUNKED, b"2\n{}\n0\n\n"),
    "a folded header": (b"X-A: b\r\n c: d\r\n", b""),
    "a bare carriage return": (b"X-A: b\rX-B: c\r\n", b""),
    "a NUL in a header": (b"X-A: b\0c\r\n", b""),
    "a control character in a header": (b"X-A: b\x01c\r\n", b""),
    "a header without a name": (b": x\r\n", b""),
    "a header without a colon": (b"nonsense\r\n", b""),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
async def test_what_can_be_read_in_two_ways_is_refused(fort: Fortress, what: str) -> None:
    headers, body = AMBIGUOUS[what]
    answers = await talk(fort.port, ask(fort, headers, body) + request(fort, path=b"/v1/meta"))
    assert check(answers)[-1] == 400
    assert answers[-1].header("connection") == "close"
    assert not any(b"tool_icons" in answer.body for answer in answers)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (CHUNKED, b"2;name=value\r\n{}\r\n" + EMPTY, 400),
        (CHUNKED, b"2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n", 400),
        (CHUNKED, b"%x\r\n%b\r\n%b" % (len(ASK), ASK, EMPTY), 200),
        (CHUNKED, b"".join(b"1\r\n%c\r\n" % byte for byte in ASK) + EMPTY, 200),
        (b"Content-Length: %d\r\n" % (len(ASK) - 1), ASK[:-1], 400),
        (b"Content-Length: %d\r\nExpect: pony\r\n" % len(ASK), ASK, 200),
        (b"", b"", 400),
        (b"Content-Length: 3\r\nContent-Encoding: gzip\r\n", b"\x1f\x8b\x08", 400),
    ],
)
async def test_a_body_ends_where_its_head_says(
    fort: Fortress, headers: bytes, body: bytes, status: int
) -> None:
    assert check(await talk(fort.port, ask(fort, headers, body) + LAST)) == [status, 200]


async def test_a_body_nobody_asked_for_is_passed_over(fort: Fortress) -> None:
    hidden = b"DELETE /v1/conversations/%b HTTP/1.1\r\n\r\n" % fort.ids["conversation_id"].encode()
    with_body = request(fort, headers=b"Content-Length: %d\r\n" % len(hidden), body=hidden)
    assert check(await talk(fort.port, with_body + LAST)) == [200, 200]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/ HTTP/9.9\r\n\r\n",
        b"FOO /v1/ HTTP/1.1\r\n\r\n",
        b"get /v1/ HTTP/1.1\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
        b"GET /v1/\0 HTTP/1.1\r\n\r\n",
        b"GET /v1/ in fo HTTP/1.1\r\n\r\n",
        "GET /v1/инфо HTTP/1.1\r\n\r\n".encode(),
        b"GET /v1/" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/ HTTP/1.1\nHost: x\n\n",
        b"\0" * 1000,
    ],
    ids=range(12),
)
async def test_what_is_no_http_is_refused_in_json(fort: Fortress, data: bytes) -> None:
    assert check(await talk(fort.port, data)) == [400]


async def test_an_old_client_is_served(fort: Fortress) -> None:
    assert check(await talk(fort.port, request(fort, version=b"HTTP/1.0"))) == [200]


@pytest.mark.parametrize(
    "piece", [b"X-A: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["many headers", "one header"]
)
async def test_a_head_without_an_end_is_cut_off(fort: Fortress, piece: bytes) -> None:
    """Else anybody could fill the memory, without a key."""
    _, writer = await asyncio.open_connection("127.0.0.1", fort.port)
    sent = 0
    writer.write(b"GET /v1/ HTTP/1.1\r\nX-B: ")
    try:
        async with asyncio.timeout(20):
            while sent < 100_000_000:
                writer.write(piece * 100)
                sent += len(piece) * 100
                await writer.drain()
    except ConnectionError:
        pass
    writer.transport.abort()
    assert sent < 20_000_000


@pytest.mark.parametrize("size", [8_000, 40_000])
async def test_a_large_head_is_fine(fort: Fortress, size: int) -> None:
    headers = b"X-A: " + b"a" * size + b"\r\nConnection: close\r\n"
    assert check(await talk(fort.port, request(fort, headers=headers))) == [200]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Authorization: Bearer app-wrong\r\nAuthorization: Bearer %b\r\n", 401),
        (b"Authorization: Bearer %b\r\nAuthorization: Bearer app-wrong\r\n", 200),
        (b"Authorization: Bearer %b, Bearer app-wrong\r\n", 401),
        (b"Authorization: Bearer \xe9\xff\xf0 %b\r\n", 401),
        (b"Authorization: Bearer %b\tx\r\n", 401),
        (b"Authorization: Bearer " + "ключ".encode() + b" %b\r\n", 401),
        (b"Authorization: Bearer " + b"a" * 20_000 + b"%b\r\n", 401),
        (b"Proxy-Authorization: Bearer %b\r\n", 401),
        (b"Cookie: Authorization=Bearer %b\r\n", 401),
        (b"X-Authorization: Bearer %b\r\n", 401),
    ],
    ids=range(10),
)
async def test_a_key_counts_only_where_it_belongs(
    fort: Fortress, headers: bytes, status: int
) -> None:
    head = b"GET /v1/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    assert check(await talk(fort.port, head + headers % key(fort) + b"\r\n")) == [status]


@pytest.mark.parametrize(
    "headers",
    [
        b"X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\n",
        b"X-Original-URL: /v1/meta\r\nX-Rewrite-URL: /v1/meta\r\n",
        b"X-Forwarded-Host: evil\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Prefix: /x\r\n",
        b"X-Forwarded-For: ' OR 1=1 --\r\nForwarded: for=evil\r\n",
        b"X-Request-Id: " + b"z" * 10_000 + b"\r\n",
        b"X-Request-Id: a\\r\\nX-Evil: 1\r\n",
        b"Accept: text/html\r\nAccept-Encoding: gzip, br\r\nRange: bytes=0-1\r\n",
        b"If-None-Match: *\r\nIf-Modified-Since: Sat, 21 Nov 2099 00:00:00 GMT\r\n",
        b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    ],
    ids=range(10),
)
async def test_headers_that_change_a_request_elsewhere_do_nothing(
    fort: Fortress, headers: bytes
) -> None:
    plain = await talk(fort.port, request(fort, headers=b"Connection: close\r\n"))
    more = headers if b"Connection" in headers else headers + b"Connection: close\r\n"
    [answer] = await talk(fort.port, request(fort, headers=more))
    assert check([answer]) == [200]
    assert answer.body == plain[0].body
    assert re.fullmatch("[0-9a-f]{32}", answer.header("x-request-id"))
    assert answer.header("x-request-id") != plain[0].header("x-request-id")


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0"])
async def test_a_question_that_offers_an_upgrade_is_answered_without(
    fort: Fortress, protocol: bytes
) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings, close\r\nUPGRADE: %b\r\n" % protocol
    length = b"HTTP2-Settings: AAEAAEAAAAIA\r\nContent-Length: %d\r\n" % len(ASK)
    [answer] = await talk(fort.port, ask(fort, offer + length, ASK))
    assert check([answer]) == [200]
    assert msgspec.json.decode(answer.body)["answer"]


@pytest.mark.parametrize(
    "host", [b'"><script>,;\xff', b"[::1", b"a b", b"", b"x:99999999", b"\xff"]
)
async def test_a_host_that_is_none_is_no_trouble(fort: Fortress, host: bytes) -> None:
    head = b"GET /v1/info HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer %b\r\n" % key(fort)
    [status] = check(await talk(fort.port, head + b"Host: %b\r\n\r\n" % host))
    assert status in (200, 400)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "SEARCH", "PURGE")
PATHS = sorted({route.path for route in ROUTES})


@pytest.mark.parametrize("path", PATHS)
async def test_a_method_that_is_not_in_the_table_is_refused(fort: Fortress, path: str) -> None:
    allowed = {route.method for route in ROUTES if route.path == path}
    filled = re.sub(r"{(\w+)}", lambda part: fort.ids[part[1]], path)
    client = Client(fort.owner.session, fort.server.url, fort.owner.key, "eve")
    for method in set(METHODS) - allowed:
        reply = await send(client, method, filled)
        check_answer(reply)
        assert (reply.status, reply.body["code"]) == (405, "method_not_allowed"), method
        assert allowed <= set(reply.headers["Allow"].split(", "))


@pytest.mark.parametrize("path", PATHS)
async def test_a_head_request_has_an_answer_without_a_body(fort: Fortress, path: str) -> None:
    """Else the next answer on the connection would be read in its place."""
    head = b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.replace("{", "").replace("}", "").encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", fort.port)
    writer.write(head + LAST)
    async with asyncio.timeout(20):
        first = await reader.readuntil(b"\r\n\r\n")
        second = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert re.match(rb"HTTP/1\.1 (405|404) ", first)
    assert second.startswith(b"HTTP/1.1 200 ")


TRICKS = (
    "/{0}",
    "//v1//{0}",
    "/v1//{0}",
    "/v1/{0}/",
    "/v1/../v1/{0}",
    "/v1/./{0}",
    "/v1/%2e%2e/v1/{0}",
    "/v1/%252e%252e/{0}",
    "/v1%2f{0}",
    "/v1/{0};x=1",
    "/v1;x=1/{0}",
    "/v1/{0}%00",
    "/v1/{0}%20",
    "/v1/{0}%0d%0aX-Evil:%201",
    "/v1/{0}%3fuser=owner",
    "/v1/{0}%23",
    "/v1\\{0}",
    "/V1/{0}",
    "http://evil/v1/{0}",
    "https://evil:99//v1/{0}",
    "/v1/{0}.json",
)
OPEN = ("/v1/", "/healthz", "/readyz")


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_spelling_of_a_path_is_a_way_around_the_key(fort: Fortress, trick: str) -> None:
    for route in ROUTES:
        if route.path in OPEN or not route.path.startswith("/v1/"):
            continue
        path = trick.format(filled_in(fort, route))
        head = f"{route.method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        [status] = check(await talk(fort.port, head.encode()))
        assert status in (401, 404, 405), path


def filled_in(fort: Fortress, route: Route) -> str:
    return fort.path_of(route).removeprefix("/v1/")


@pytest.mark.parametrize(
    "path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static/..%2f..%2fserve.py", "/*"]
)
async def test_no_file_but_the_pages_own_is_served(fort: Fortress, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert check(await talk(fort.port, head.encode())) == [404]
