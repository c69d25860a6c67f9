"""Whoever guesses keys has to wait, and nobody else: over real connections, from real addresses."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientSession, TCPConnector

from kaiwa.api.routes import ROUTES, Route
from kaiwa.app import now
from kaiwa.store.keys import revoke_key
from tests.support.apps import app_file, says
from tests.support.client import Client, Reply
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

LIMIT = 5
WRONG = "app-wrong-000000000000"


class Watch:
    """The server's timer, set by a test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def watch() -> Watch:
    return Watch()


@pytest.fixture
async def guarded(tmp_path: Path, watch: Watch) -> AsyncIterator[TestServer]:
    async with serving(tmp_path, timer=watch, failed_keys=LIMIT, failed_keys_window=60) as server:
        yield server


async def new_client(server: TestServer) -> Client:
    """A client whose key the server has not seen yet."""
    return await server.client(app_file(says("Fine.")))


@asynccontextmanager
async def coming_from(client: Client, address: str) -> AsyncGenerator[Client]:
    """The same client at another address of this machine."""
    async with ClientSession(connector=TCPConnector(local_addr=(address, 0))) as session:
        yield Client(session, client.base, client.key, client.user)


async def guess(client: Client, times: int, **headers: str) -> list[int]:
    """The statuses of so many wrong keys."""
    replies = [
        await client.call(
            "GET", "/info", headers={"Authorization": f"Bearer {WRONG}{number}", **headers}
        )
        for number in range(times)
    ]
    return [reply.status for reply in replies]


def check_waits(reply: Reply, seconds: int = 60) -> None:
    assert reply.status == 429
    assert reply.body == {
        "code": "too_many_requests",
        "message": "Too many wrong API keys came from your address. Please try again later.",
        "status": 429,
    }
    assert reply.headers["Retry-After"] == str(seconds)


async def test_after_too_many_wrong_keys_even_a_right_one_has_to_wait(
    guarded: TestServer, watch: Watch
) -> None:
    client = await new_client(guarded)
    assert await guess(client, LIMIT + 2) == [401] * LIMIT + [429, 429]
    check_waits(await client.get("/info"))
    watch.now = 59.5
    check_waits(await client.get("/info"), 1)
    watch.now = 60
    assert (await client.get("/info")).status == 200
    assert await guess(client, LIMIT + 1) == [401] * LIMIT + [429]


@pytest.mark.parametrize("route", [r for r in ROUTES if r.key], ids=lambda r: f"{r.path}")
async def test_no_route_is_a_way_around_it(guarded: TestServer, route: Route) -> None:
    client = await new_client(guarded)
    await guess(client, LIMIT)
    reply = await client.call(route.method, route.path.removeprefix("/v1"))
    check_waits(reply)


async def test_other_addresses_are_not_affected(guarded: TestServer) -> None:
    client = await new_client(guarded)
    async with coming_from(client, "127.0.0.2") as attacker:
        assert (await guess(attacker, LIMIT + 1))[-1] == 429
        check_waits(await attacker.get("/info"))
    assert (await client.ask("Hello")).status == 200
    assert await guess(client, 1) == [401]


async def test_what_a_proxy_on_this_machine_says_counts_and_what_others_say_does_not(
    guarded: TestServer,
) -> None:
    client = await new_client(guarded)
    through_a_proxy = {"X-Forwarded-For": "203.0.113.9"}
    assert (await guess(client, LIMIT + 1, **through_a_proxy))[-1] == 429
    assert (await client.get("/info")).status == 200
    async with coming_from(client, "127.0.0.2") as attacker:
        for number in range(LIMIT):
            assert await guess(attacker, 1, **{"X-Forwarded-For": f"203.0.113.{number}"}) == [401]
        assert await guess(attacker, 1, **{"X-Forwarded-For": "203.0.113.77"}) == [429]


async def test_a_key_that_was_good_before_goes_on(guarded: TestServer) -> None:
    known, unknown = await new_client(guarded), await new_client(guarded)
    assert (await known.get("/info")).status == 200
    assert (await guess(known, LIMIT + 1))[-1] == 429
    assert (await known.ask("Hello")).status == 200
    check_waits(await unknown.get("/info"))


async def test_a_key_that_was_good_before_fails_once_it_is_revoked(guarded: TestServer) -> None:
    client = await new_client(guarded)
    assert (await client.get("/info")).status == 200
    await guess(client, LIMIT)
    await revoke_key(guarded.house.context.db, client.key[:8], now())
    assert (await client.get("/info")).status == 401
    check_waits(await client.get("/info"))


async def test_no_key_and_no_bearer_are_no_guesses(guarded: TestServer) -> None:
    client = await new_client(guarded)
    wrong: list[dict[str, str]] = [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic eDp5"}]
    for headers in wrong * LIMIT:
        assert (await client.call("GET", "/info", headers=headers)).status == 401
    assert (await client.get("/info")).status == 200


async def test_many_guesses_at_once_learn_no_more(guarded: TestServer) -> None:
    """Also those on their way to the database when the last one allowed fails."""
    client = await new_client(guarded)
    statuses: list[int] = []

    async def attempt() -> None:
        statuses.extend(await guess(client, 1))

    async with (
        ClientSession(connector=TCPConnector(limit=0)) as client.session,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(100):
            tasks.start_soon(attempt)
    assert sorted(statuses) == [401] * LIMIT + [429] * (100 - LIMIT)


async def test_memory_is_bounded_whatever_a_proxy_passes_on(guarded: TestServer) -> None:
    client = await new_client(guarded)
    claims = ["x" * 8000, "", "[::1", "1.2.3.4:x", "%00", "2001:db8::1", "2001:db8::2", "\xff"]
    for claim in claims * LIMIT:
        await guess(client, 1, **{"X-Forwarded-For": claim})
    assert (await new_client(guarded)).key != client.key
    assert await guess(client, 1, **{"X-Forwarded-For": "also nonsense"}) == [429]


async def test_the_log_names_the_address_once_and_never_a_key(
    guarded: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = await new_client(guarded)
    await guess(client, LIMIT + 3)
    lines = [record.getMessage() for record in caplog.records if record.name == "kaiwa.api.guesses"]
    assert lines == [f"{LIMIT} wrong API keys came from 127.0.0.1; it has to wait"]
    assert WRONG not in caplog.text
