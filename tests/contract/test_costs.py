"""What a token and a message cost, counted: a change that doubles their work fails here.

Counts, not seconds, so that every machine finds the same; `make bench` has the seconds. The model
and the client wait for each other, so that each read of Kaiwa's holds what the test says.
"""

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest
import uvloop
from aiohttp import ClientSession
from anyio.from_thread import BlockingPortal, start_blocking_portal
from msgspec import Struct
from sqlalchemy import Engine, event

from tests.support.client import Client
from tests.support.model_server import Behaviour, Exchange, ModelServer
from tests.support.model_wires import answer_events
from tests.support.networked import networked_app
from tests.support.server import serving

# Bounds of calls are about 1.3 times what was counted, which stands beside them: on SQLite, on
# PostgreSQL. What is counted now is shown by a bound of 0.
CALLS_OF_A_TOKEN = 26  # 20.1, 19.9
CALLS_OF_A_MESSAGE = 875  # 679, 681
DATABASE_CALLS_OF_A_MESSAGE = {"sqlite": 325, "postgres": 1030}  # 250, 794
STATEMENTS_OF_A_MESSAGE = 8  # 8, 8: exact, on every machine
WRITES_OF_A_MESSAGE = 2

_MESSAGES = 10
_SHORT, _LONG = 10, 60
_CHORES: dict[str, Any] = {"checkpoint_interval": 3600.0, "ping_interval": 3600.0}
"""What does not belong to any one message stays away."""


class Counted(Struct, frozen=True):
    """What so many messages of one conversation cost."""

    calls: int
    """Of Python functions, on the event loop's thread."""
    database_calls: int
    """The same on the database's threads."""
    statements: int
    writes: int
    """Transactions that changed something."""
    frames: list[int]
    """Of every write that brought text: how many pieces."""


class Costs(Struct, frozen=True):
    short: Counted
    """Messages of `_SHORT` tokens, one in a read."""
    long: Counted
    """Messages of `_LONG` tokens, one in a read."""
    grouped: Counted
    """Messages of `_LONG` tokens, `_SHORT` in a read."""

    @property
    def calls_of_a_token(self) -> float:
        return (self.long.calls - self.short.calls) / (_LONG - _SHORT) / _MESSAGES

    @property
    def calls_of_a_message(self) -> float:
        """Without its tokens."""
        return self.short.calls / _MESSAGES - _SHORT * self.calls_of_a_token


class Meter:
    """Counts calls by thread, and what reaches the database."""

    def __init__(self) -> None:
        self._calls: Counter[int] = Counter()
        self._statements = 0
        self._writes = 0

    @contextmanager
    def running(self) -> Generator[None]:
        """On this thread, and on those that start meanwhile."""
        event.listen(Engine, "before_cursor_execute", self._execute)
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            event.remove(Engine, "before_cursor_execute", self._execute)

    def read(self) -> Counted:
        """What was counted until now."""
        calls, database = self._calls[threading.get_ident()], 0
        for thread in threading.enumerate():
            if thread.name.startswith("kaiwa-"):
                database += self._calls[thread.ident or 0]
        return Counted(calls, database, self._statements, self._writes, [])

    def _profile(self, frame: FrameType, what: str, _: object) -> None:
        if what != "call":
            return
        self._calls[threading.get_ident()] += 1
        code = frame.f_code
        place = (Path(code.co_filename).name, code.co_name)
        if place == ("prepared.py", "_form"):
            self._statements += 1
        elif place in _COMMITS and threading.current_thread().name.startswith("kaiwa-writer"):
            self._writes += 1

    def _execute(self, *_: object) -> None:
        """Core runs a statement."""
        self._statements += 1


_COMMITS = (("sqlite.py", "commit"), ("connection.py", "commit"))
"""Of SQLite's link, and of psycopg's connection."""


class Outside:
    """A model server and a client of Kaiwa's, on an event loop of their own."""

    def __init__(self) -> None:
        self.models = ModelServer()
        self._open = AsyncExitStack()
        self._heard = asyncio.Semaphore(0)

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self.models)
        self._session = await self._open.enter_async_context(ClientSession())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def ask(self, found: Client, conversation: str, count: int) -> tuple[str, list[int]]:
        """So many questions; the conversation, and the pieces of each write."""
        client = Client(self._session, found.base, found.key, found.user)
        frames: list[int] = []
        async with asyncio.timeout(60):  # a frame that is lost is waited for
            for _ in range(count):
                async with client.streaming(
                    "And then?", conversation_id=conversation, auto_generate_name=False
                ) as stream:
                    conversation = await self._hear(stream.response.content, frames)
        return conversation, frames

    async def _hear(self, content: Any, frames: list[int]) -> str:
        conversation, piece = "", b""
        async for data, whole in content.iter_chunks():
            piece += data
            if whole:
                count = piece.count(b'"event": "message",')
                if count:
                    frames.append(count)
                    _, _, rest = piece.partition(b'"conversation_id": "')
                    conversation = rest[:36].decode()
                for _ in range(count):
                    self._heard.release()
                piece = b""
        return conversation

    def speak(self, tokens: int, group: int) -> Behaviour:
        """Says `group` tokens in one write, and goes on when the client has heard them all."""

        async def play(exchange: Exchange) -> None:
            await exchange.start()
            words = [" word"] * tokens
            opening, events, closing = answer_events(exchange.wire, words, (), (7, 3), True, True)
            for i in range(0, tokens, group):
                await exchange.write(opening + b"".join(events[i : i + group]))
                opening = b""
                for _ in range(group):
                    await self._heard.acquire()
            await exchange.write(closing)
            await exchange.end()

        return play


async def _count(folder: Path) -> Costs:
    meter = Meter()
    with start_blocking_portal() as portal:
        outside: Outside = portal.call(_make_outside)
        with portal.wrap_async_context_manager(outside), meter.running():
            url = outside.models.openai_url
            providers = {"openai": {"kind": "openai", "base_url": url, "api_key": "k"}}
            async with serving(folder, providers=providers, **_CHORES) as server:
                client = await server.client(networked_app())

                async def cost(tokens: int, group: int) -> Counted:
                    outside.models.play(outside.speak(tokens, group))
                    return await _cost(portal, outside, client, meter)

                await cost(_SHORT, 1)
                return Costs(await cost(_SHORT, 1), await cost(_LONG, 1), await cost(_LONG, _SHORT))


async def _make_outside() -> Outside:
    return Outside()


async def _cost(portal: BlockingPortal, outside: Outside, client: Client, meter: Meter) -> Counted:
    """Of `_MESSAGES` messages; the first of the conversation comes before them."""

    async def ask(conversation: str, count: int) -> tuple[str, list[int]]:
        asking = portal.start_task_soon(outside.ask, client, conversation, count)
        found = await asyncio.wrap_future(asking)
        await asyncio.sleep(0.1)  # what comes behind the last frame
        return found

    conversation, _ = await ask("", 1)
    before = meter.read()
    _, frames = await ask(conversation, _MESSAGES)
    after = meter.read()
    return Counted(
        after.calls - before.calls,
        after.database_calls - before.database_calls,
        after.statements - before.statements,
        after.writes - before.writes,
        frames,
    )


@pytest.fixture(scope="module")
def costs(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Costs:
    """Counted once for each engine, on a loop like the server's own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(uvloop.run, _count(tmp_path_factory.mktemp("costs"))).result()


def test_a_token_costs_few_calls(costs: Costs) -> None:
    assert costs.calls_of_a_token <= CALLS_OF_A_TOKEN


def test_a_message_costs_few_calls(costs: Costs) -> None:
    assert costs.calls_of_a_message <= CALLS_OF_A_MESSAGE


def test_every_token_has_a_frame_and_every_read_one_write(costs: Costs) -> None:
    assert costs.long.frames == [1] * _LONG * _MESSAGES
    assert costs.grouped.frames == [_SHORT] * (_LONG // _SHORT) * _MESSAGES


def test_a_message_costs_the_database_two_writes_and_few_statements(
    costs: Costs, engine: str
) -> None:
    assert costs.short.writes == WRITES_OF_A_MESSAGE * _MESSAGES
    assert costs.short.statements <= STATEMENTS_OF_A_MESSAGE * _MESSAGES
    assert costs.short.database_calls <= DATABASE_CALLS_OF_A_MESSAGE[engine] * _MESSAGES


def test_tokens_cost_the_database_nothing(costs: Costs) -> None:
    assert costs.long.statements == costs.short.statements
    assert costs.long.writes == costs.short.writes
