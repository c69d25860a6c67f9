"""Turns without a server: a model that plays along, a database that fails on demand, an ear."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import anyio
from msgspec.structs import replace
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kaiwa.chat.files import FileRoom
from kaiwa.chat.order import Context, Order, check_order
from kaiwa.chat.running import Live, Running, TurnLimits
from kaiwa.chat.turn import start_turn
from kaiwa.domain.app import App, AppConfig, ModelConfig
from kaiwa.domain.events import Delta, TextDelta, TurnEnded, TurnEvent, TurnFailed, TurnText
from kaiwa.domain.message import Draft, Message
from kaiwa.domain.prompt import ModelRequest
from kaiwa.errors import StoreUnavailable
from kaiwa.files.extract import Extractor
from kaiwa.files.keeping import Keeper, SizeLimits
from kaiwa.files.parsers.wire import Limits
from kaiwa.ports import DeltaStream, Emit, Fetched, Kit, ModelChoice, Moderator, Sight, Speaker
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.providers.speaking import Spoken
from kaiwa.store.db import Database
from kaiwa.store.messages import beat, checkpoint_messages, find_message
from kaiwa.store.sqlite import open_sqlite
from tests.store.sample import OWNER, make_app

T = TypeVar("T")
Play = Callable[[ModelRequest], AsyncIterator[Sequence[Delta]]]

CALM = TurnLimits(turn=1e9, first_token=1e9, between_tokens=1e9, checkpoint=0.002, beat=0.002)


def now() -> datetime:
    return datetime.now(UTC)


async def says_hello(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
    yield [TextDelta("Hel")]
    yield [TextDelta("lo")]


class PlayedModel:
    """A `ChatModel` that plays what the test gave it."""

    generative = False
    sight = Sight()
    calls_tools: bool | None = None

    def __init__(self, play: Play = says_hello) -> None:
        self.play = play
        self.asked: list[ModelRequest] = []

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[DeltaStream]:
        self.asked.append(request)
        yield Spoken(self.play(request))


class FlakyDatabase:
    """A real database that cannot be written while the test says so."""

    def __init__(self, real: Database) -> None:
        self.real = real
        self.failing = 0
        """How many writes fail from now on."""
        self.failed = 0
        self.writes = 0
        self.recovered = anyio.Event()
        """Set at the first write that succeeds after one that failed."""

    async def read(self, unit: Callable[[Connection], T]) -> T:
        return await self.real.read(unit)

    async def snapshot(self, unit: Callable[[Connection], T]) -> T:
        return await self.real.snapshot(unit)

    async def write(self, unit: Callable[[Connection], T]) -> T:
        self.writes += 1
        if self.failing:
            self.failing -= 1
            self.failed += 1
            raise StoreUnavailable
        written = await self.real.write(unit)
        if self.failed:
            self.recovered.set()
        return written

    async def close(self) -> None:
        await self.real.close()


class Ear:
    """A client's end of a turn; remembers what left for it."""

    def __init__(self) -> None:
        self.events: list[TurnEvent] = []
        self.spoken_to = anyio.Event()
        """Set at the first piece of text."""

    def __call__(self, events: Sequence[TurnEvent]) -> None:
        self.events += events
        if any(isinstance(event, TurnText) for event in events):
            self.spoken_to.set()

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TurnText))

    @property
    def ends(self) -> list[TurnEnded | TurnFailed]:
        return [event for event in self.events if isinstance(event, TurnEnded | TurnFailed)]


class NoFetcher:
    """A `Fetcher` that nothing is asked of."""

    def fetch(self, url: str, limit: int) -> AbstractAsyncContextManager[Fetched]:
        raise AssertionError(url)


class Stage:
    """One app on a database, and what its turns need."""

    def __init__(self, db: FlakyDatabase, app: App, running: Running) -> None:
        self.db = db
        self.app = app
        self.running = running
        self.model = PlayedModel()
        self.speaker: Speaker | None = None
        self.moderator: Moderator | None = None
        self.config = AppConfig(ModelConfig("played", "m"))
        self.blobs = open_blobs("memory:", Path())
        keeper = Keeper(db, self.blobs, NoFetcher(), SizeLimits(), now, uuid7)
        room = FileRoom(keeper, self.blobs, Extractor(Limits()), uuid7, None)
        self.context = Context(db, now, uuid7, OWNER, running, self._kit_for, room)

    async def _kit_for(self, config: AppConfig) -> Kit:
        choice = ModelChoice(self.model, "played", config.model.name, None, None)
        return Kit(choice, choice, speaker=self.speaker, moderator=self.moderator)

    async def ask(
        self, emit: Emit, query: str = "why?", within: UUID | None = None, *, aloud: bool = False
    ) -> Live:
        """Start a turn; it may not have begun yet."""
        order = Order(
            app=self.app,
            config=self.config,
            key_id=None,
            user="ann",
            source="api",
            query=query,
            inputs={},
            conversation_id=within,
            auto_name=False,
            task_id=str(uuid7()),
        )
        return start_turn(await check_order(order, self.context), self.context, emit, aloud=aloud)

    async def stored(self, live: Live) -> Message:
        assert live.message_id
        found = await find_message(self.db.real, live.app_id, live.user, live.message_id)
        assert found
        return found


@asynccontextmanager
async def on_stage(
    file: Path,
    limits: TurnLimits = CALM,
    save: Callable[[Sequence[Draft]], Awaitable[None]] | None = None,
    show_alive: Callable[[Sequence[UUID]], Awaitable[None]] | None = None,
    **config: object,
) -> AsyncGenerator[Stage]:
    """A stage on the database in `file`; `config` overrides the app's configuration."""
    db = FlakyDatabase(await open_sqlite(file))

    try:
        app = await make_app(db)
        async with Running(
            limits,
            save or partial(checkpoint_messages, db),
            show_alive or partial(beat, db),
        ) as running:
            stage = Stage(db, app, running)
            stage.config = replace(stage.config, **config)
            yield stage
    finally:
        await db.close()


def run_apart(work: Callable[[], Awaitable[None]]) -> None:
    """Run it on a loop of its own, whatever loop the fixtures of others hold open here."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, work).result()


async def ended(live: Live) -> Live:
    """The turn, once it has ended; a turn that hangs fails the test."""
    with anyio.fail_after(10):
        await live.ended.wait()
    return live
