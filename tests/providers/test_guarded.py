"""The guarded door: only public addresses, only those that were checked, and all of it bounded.

127.0.0.2 and its neighbours play the internet here, 127.0.0.1 the operator's own network.
"""

import asyncio
import gzip
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path

import aiohttp
import pytest
import trustme
from pytest_socket import socket_allow_hosts

from kaiwa.errors import FetchRefused, FileTooLarge, InvalidParam
from kaiwa.ports import Fetcher
from kaiwa.providers.guarded import Guarded, Resolve
from kaiwa.providers.pinned import open_pinned
from tests.support.file_server import Site, chunks, find_port, lead_on, say

pytestmark = pytest.mark.anyio

ALSO = [ip_network("127.0.0.2/31"), ip_network("127.0.0.4/30")]
LIMIT = 1000
UNREACHED = "The file cannot be fetched: the server could not be reached."

PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0x7f.1",
    "0x7F000001",
    "0x7f.0x0.0x0.0x1",
    "①②⑦.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "ｌｏｃａｌｈｏｓｔ",
    "169.254.169.254",
    "10.0.0.1",
    "[fe80::1]",
    "[fd00:ec2::254]",
]


class Names:
    """Answers each name with the next of its answers; the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {f"{name}.example": list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        found = self.answers.get(host)
        if not found:
            raise OSError("no such name")
        return found.pop(0) if len(found) > 1 else found[0]


@pytest.fixture(autouse=True)
def _all_of_loopback(_loopback_alone: None) -> None:
    socket_allow_hosts(["127.0.0.0/8", "::1"])


@pytest.fixture
async def site(anyio_backend: str) -> AsyncGenerator[Site]:
    async with Site("127.0.0.2", find_port("127.0.0.1", "127.0.0.2")) as opened:
        opened.pages["/cat.png"] = say(b"meow", "Content-Type: image/png")
        yield opened


@pytest.fixture
async def inside(site: Site) -> AsyncGenerator[Site]:
    """A server nobody outside may reach, at the same port."""
    async with Site("127.0.0.1", site.port) as opened:
        opened.pages["/cat.png"] = say(b"secret", "Content-Type: image/png")
        yield opened


@pytest.fixture
async def door(anyio_backend: str) -> AsyncGenerator[Guarded]:
    opened = Guarded(ALSO)
    yield opened
    await opened.close()


def knowing(resolve: Resolve) -> Guarded:
    return Guarded(ALSO, resolve=resolve)


async def fetch(door: Fetcher, url: str, limit: int = LIMIT) -> bytes:
    async with asyncio.timeout(15), door.fetch(url, limit) as fetched:
        return b"".join([piece async for piece in fetched.pieces()])


async def refusal(door: Fetcher, url: str, limit: int = LIMIT) -> str:
    with pytest.raises(FetchRefused) as caught:
        await fetch(door, url, limit)
    assert isinstance(caught.value, InvalidParam)
    return caught.value.message


# What is fetched


async def test_a_file_comes_with_its_type_and_name(site: Site, door: Guarded) -> None:
    site.pages["/a%20b.png?c=d"] = say(b"meow", "Content-Type: Image/PNG; charset=x")
    async with door.fetch(site.url("/a b.png?c=d#top"), 4) as fetched:
        assert fetched.content_type == "image/png"
        assert fetched.name == "a b.png"
        assert fetched.url == site.url("/a%20b.png?c=d")
        assert [piece async for piece in fetched.pieces()] == [b"meow"]


async def test_a_server_can_say_the_name_and_nothing_of_the_type(site: Site, door: Guarded) -> None:
    head = "Content-Disposition: attachment; filename=\"a.png\"; filename*=UTF-8''%E7%8C%AB.png"
    site.pages["/x"] = say(b"meow", head)
    async with door.fetch(site.url("/x"), LIMIT) as fetched:
        assert (fetched.name, fetched.content_type) == ("猫.png", "")


async def test_a_large_file_comes_in_pieces(site: Site, door: Guarded) -> None:
    body = bytes(range(256)) * 8192
    for said in (say(body), chunks(body[:1000], body[1000:])):
        site.pages["/large"] = said
        async with door.fetch(site.url("/large"), len(body)) as fetched:
            pieces = [piece async for piece in fetched.pieces()]
        assert b"".join(pieces) == body
        assert len(pieces) > 4


async def test_a_file_without_a_length_ends_with_its_connection(site: Site, door: Guarded) -> None:
    site.pages["/cat"] = b"HTTP/1.0 200 OK\r\n\r\nmeow"
    site.breaks.add("/cat")
    assert await fetch(door, site.url("/cat")) == b"meow"


async def test_a_request_carries_nothing_of_ours(
    site: Site, inside: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login me password secret\n", "utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, inside.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    site.pages["/first"] = say(
        b"", "Set-Cookie: a=b; Path=/", f"Location: {site.url('/cat.png#me')}", status=302
    )
    names = Names(pictures=[["127.0.0.2"]])
    assert await fetch(knowing(names.resolve), site.url("/first", "pictures.example")) == b"meow"
    assert [request.headers for request in site.requests] == [
        {
            "host": f"{host}:{site.port}",
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "kaiwa",
            "connection": "close",
        }
        for host in ("pictures.example", "127.0.0.2")
    ]
    assert [request.path for request in site.requests] == ["/first", "/cat.png"]
    assert inside.connections == 0


# Who may be asked


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_a_private_address_is_refused_in_every_spelling(
    site: Site, inside: Site, door: Guarded, host: str
) -> None:
    assert await refusal(door, f"http://{host}:{site.port}/cat.png") == UNREACHED
    assert inside.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_a_private_address_is_refused(
    site: Site, inside: Site, door: Guarded, status: int
) -> None:
    site.pages["/first"] = lead_on(inside.url("/cat.png"), status)
    assert await refusal(door, site.url("/first")) == UNREACHED
    assert inside.connections == 0


async def test_a_redirect_to_a_private_address_is_refused_in_every_spelling(
    site: Site, inside: Site, door: Guarded
) -> None:
    for host in PRIVATE_HOSTS:
        site.pages["/first"] = lead_on(f"//{host}:{site.port}/cat.png")
        # Location is read as UTF-8, so full-width letters count here too.
        assert await refusal(door, site.url("/first")) == UNREACHED
    assert inside.connections == 0
    assert site.connections == len(PRIVATE_HOSTS)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "its address has to begin with http:// or https://"),
        ("gopher://127.0.0.2:70/", "its address has to begin with http:// or https://"),
        ("data:image/png;base64,AAAA", "its address has to begin with http:// or https://"),
        ("http://good@127.0.0.1/", "its address must not contain a user or a password"),
        ("http:/\\/127.0.0.1/", "the server's address is not valid"),
        ("http://127.0.0.1%2f/", "the server's address is not valid"),
        ("http://[fe80::1%25lo]/", "the server's address is not valid"),
    ],
)
async def test_a_redirect_to_what_is_no_address_is_refused(
    site: Site, door: Guarded, location: str, reason: str
) -> None:
    site.pages["/first"] = lead_on(location)
    assert await refusal(door, site.url("/first")) == f"The file cannot be fetched: {reason}."
    assert site.connections == 1


async def test_one_private_address_among_public_ones_refuses_all(site: Site, inside: Site) -> None:
    for odd in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1%1", "10.0.0.1"):
        for found in ([site.host, odd], [odd, site.host]):
            door = knowing(Names(a=[found]).resolve)
            assert await refusal(door, site.url("/cat.png", "a.example")) == UNREACHED
    assert (site.connections, inside.connections) == (0, 0)


async def test_our_answers_do_not_tell_what_is_inside(site: Site, inside: Site) -> None:
    names = Names(
        closed=[["127.0.0.3"]], private=[[inside.host]], odd=[["not an address"]], no=[[]]
    )
    door = knowing(names.resolve)
    hosts = ["closed.example", "private.example", "odd.example", "no.example", "unknown.example"]
    hosts += ["127.0.0.1", "127.0.0.3"]
    said = {await refusal(door, site.url("/cat.png", host)) for host in hosts}
    assert said == {UNREACHED}


async def test_a_name_that_changes_its_meaning_is_asked_once(site: Site, inside: Site) -> None:
    names = Names(rebinding=[[site.host], [inside.host]])
    door = knowing(names.resolve)
    assert await fetch(door, site.url("/cat.png", "rebinding.example")) == b"meow"
    assert names.asked == ["rebinding.example"]
    assert (site.connections, inside.connections) == (1, 0)
    assert await refusal(door, site.url("/cat.png", "rebinding.example")) == UNREACHED
    assert names.asked == ["rebinding.example"] * 2
    assert (site.connections, inside.connections) == (1, 0)


async def test_a_redirect_to_the_same_name_is_checked_anew(site: Site, inside: Site) -> None:
    names = Names(rebinding=[[site.host], [inside.host]])
    site.pages["/first"] = lead_on("/cat.png")
    assert (
        await refusal(knowing(names.resolve), site.url("/first", "rebinding.example")) == UNREACHED
    )
    assert names.asked == ["rebinding.example"] * 2
    assert (site.connections, inside.connections) == (1, 0)


async def test_a_server_that_breaks_off_is_not_looked_up_again(site: Site, inside: Site) -> None:
    names = Names(rebinding=[[site.host], [inside.host]])
    site.pages["/gone"] = b"HTTP/1.1 200 OK\r\n"
    site.breaks.add("/gone")
    said = await refusal(knowing(names.resolve), site.url("/gone", "rebinding.example"))
    assert said == "The file cannot be fetched: the server closed the connection."
    assert names.asked == ["rebinding.example"]
    assert inside.connections == 0


async def test_a_literal_address_cannot_get_past_the_pin(site: Site, inside: Site) -> None:
    async with open_pinned([ip_address(site.host)], None, 5.0) as session:
        for host in ("127.0.0.1", "[::1]"):
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(inside.url("/cat.png", host))
        for host in ("localhost", "any.example", site.host):
            async with session.get(inside.url("/cat.png", host)) as response:
                assert await response.read() == b"meow"
    assert (site.connections, inside.connections) == (3, 0)


async def test_only_a_few_of_many_addresses_are_tried() -> None:
    knocked: list[str] = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocked.append(writer.get_extra_info("sockname")[0])
        writer.close()

    hosts = [f"127.0.0.{i}" for i in range(2, 8)]
    async with AsyncExitStack() as stack:
        port = find_port(*hosts)
        for host in hosts:
            await stack.enter_async_context(await asyncio.start_server(hang_up, host, port))
        names = Names(many=[[*hosts, hosts[0]]])
        # Only a handshake that fails makes aiohttp try the next one.
        assert await refusal(knowing(names.resolve), f"https://many.example:{port}/") == UNREACHED
    assert set(knocked) == {"127.0.0.2", "127.0.0.3", "127.0.0.4"}


# Redirects


async def test_redirects_are_followed_five_times_and_no_more(site: Site, door: Guarded) -> None:
    for i in range(6):
        site.pages[f"/{i}"] = lead_on(f"{i + 1}", 301)
    site.pages["/6"] = say(b"meow")
    async with door.fetch(site.url("/1"), LIMIT) as fetched:
        assert (fetched.url, fetched.name) == (site.url("/6"), "6")
    assert site.connections == 6
    said = await refusal(door, site.url("/0"))
    assert said == "The file cannot be fetched: its address leads on more than 5 times."
    assert site.connections == 12


async def test_a_redirect_in_a_circle_ends(site: Site, door: Guarded) -> None:
    site.pages["/a"] = lead_on("/b")
    site.pages["/b"] = lead_on("/a")
    assert "leads on" in await refusal(door, site.url("/a"))
    assert site.connections == 6


# What is refused of an answer


@pytest.mark.parametrize("status", [300, 301, 304, 401, 404, 407, 500, 599])
async def test_an_answer_that_is_no_file_is_refused(site: Site, door: Guarded, status: int) -> None:
    site.pages["/x"] = say(b"" if status == 304 else b"no", status=status)
    said = await refusal(door, site.url("/x"))
    assert said == f"The file cannot be fetched: the server answered with HTTP {status}."


async def test_a_length_over_the_limit_is_refused_before_the_body(
    site: Site, door: Guarded
) -> None:
    site.pages["/x"] = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"
    with pytest.raises(FileTooLarge, match="1001 > 1000"):
        await fetch(door, site.url("/x"))


async def test_a_body_over_the_limit_is_refused_where_it_passes_it(
    site: Site, door: Guarded
) -> None:
    site.pages["/x"] = chunks(b"a" * LIMIT)
    assert len(await fetch(door, site.url("/x"))) == LIMIT
    # It never ends, so only the limit can.
    site.pages["/x"] = chunks(b"a" * LIMIT, b"a").removesuffix(b"0\r\n\r\n")
    site.left.clear()
    with pytest.raises(FileTooLarge, match="1001 > 1000"):
        await fetch(door, site.url("/x"))
    await site.left.wait()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", "GZIP"])
async def test_a_packed_answer_is_refused(site: Site, door: Guarded, coding: str) -> None:
    bomb = gzip.compress(bytes(1 << 20))
    site.pages["/x"] = say(bomb, f"Content-Encoding: {coding}")
    said = await refusal(door, site.url("/x"), 1 << 30)
    assert (
        said == "The file cannot be fetched: the server sent it packed, which it was not asked for."
    )


async def test_a_truncated_body_is_refused(site: Site, door: Guarded) -> None:
    for said in (say(b"meow")[:-1], chunks(b"meow")[:-5]):
        site.pages["/x"] = said
        site.breaks.add("/x")
        assert await refusal(door, site.url("/x")) == (
            "The file cannot be fetched: the server closed the connection."
        )


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"220 mail.example ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_or_has_a_head_without_end_is_refused(
    site: Site, door: Guarded, said: bytes
) -> None:
    site.pages["/x"] = said
    site.breaks.add("/x")
    assert await refusal(door, site.url("/x")) == (
        "The file cannot be fetched: the server did not answer in HTTP."
    )


# Time


@pytest.mark.parametrize("said", [b"HTTP/1.1 200", say(b"meow")[:-2], b"HTTP/1.1 100 C\r\n\r\n"])
async def test_a_fetch_has_a_time_limit(site: Site, said: bytes) -> None:
    door = Guarded(ALSO, total_timeout=0.1)
    site.pages["/x"] = said
    assert await refusal(door, site.url("/x")) == (
        "The file cannot be fetched: it did not arrive in 0.1 seconds."
    )
    await site.left.wait()


async def test_looking_a_name_up_has_a_time_limit() -> None:
    async def never(host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return [host]

    door = Guarded(resolve=never, connect_timeout=0.05)
    assert await refusal(door, "http://a.example/") == UNREACHED


async def test_a_tls_handshake_has_a_time_limit() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.2", 0) as server:
        port = server.sockets[0].getsockname()[1]
        door = Guarded(ALSO, connect_timeout=0.1)
        assert await refusal(door, f"https://127.0.0.2:{port}/") == UNREACHED


# TLS


@pytest.mark.parametrize("case", ["good", "another name", "another authority"])
async def test_a_certificate_must_be_that_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    name = "other.example" if case == "another name" else "pictures.example"
    authority.issue_cert(name).configure_cert(served)  # pyright: ignore[reportUnknownMemberType]
    trusted = trustme.CA() if case == "another authority" else authority
    trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    heard: list[str | None] = []
    served.sni_callback = lambda _connection, server_name, _context: heard.append(server_name)
    names = Names(pictures=[["127.0.0.2"]])
    door = knowing(names.resolve)
    async with Site("127.0.0.2", tls=served) as site:
        site.pages["/cat.png"] = say(b"meow")
        url = site.url("/cat.png", "pictures.example")
        if case == "good":
            assert await fetch(door, url) == b"meow"
            assert site.requests[0].headers["host"] == f"pictures.example:{site.port}"
        else:
            assert "its certificate or TLS is not valid" in await refusal(door, url)
            assert site.requests == []
    assert heard == ["pictures.example"]


# Many at once, and connections


async def test_only_so_many_are_fetched_at_once(site: Site) -> None:
    door = Guarded(ALSO, at_once=1, total_timeout=0.2)
    async with door.fetch(site.url("/cat.png"), LIMIT):
        assert "did not arrive" in await refusal(door, site.url("/cat.png"))
        assert site.connections == 1
    for _ in range(2):  # a refused one gives its seat back too
        assert "HTTP 404" in await refusal(door, site.url("/none"))
    assert await fetch(door, site.url("/cat.png")) == b"meow"


async def test_no_connection_is_used_again(site: Site, door: Guarded) -> None:
    for i in range(3):
        assert await fetch(door, site.url("/cat.png")) == b"meow"
        assert site.connections == i + 1


async def test_leaving_closes_the_connection(site: Site, door: Guarded) -> None:
    site.pages["/x"] = say(b"meow" * 2)[:-4]
    async with door.fetch(site.url("/x"), LIMIT) as fetched:
        async for piece in fetched.pieces():
            assert piece == b"meow"
            break
        assert not site.left.is_set()
    await site.left.wait()


async def test_a_fetch_that_is_given_up_closes_its_connection_and_leaves_its_seat(
    site: Site,
) -> None:
    door = Guarded(ALSO, at_once=1)
    site.pages["/x"] = b"HTTP/1.1 200"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await fetch(door, site.url("/x"))
    await site.left.wait()
    assert await fetch(door, site.url("/cat.png")) == b"meow"


async def test_names_are_looked_up_by_the_system_when_nobody_else_does(site: Site) -> None:
    door = Guarded([ip_network("127.0.0.0/8"), ip_network("::1/128")])
    async with Site("127.0.0.1") as own:
        own.pages["/"] = say(b"home")
        assert await fetch(door, own.url("/", "localhost")) == b"home"
        assert await refusal(door, own.url("/", "no-such-name.invalid")) == UNREACHED
    await door.close()
