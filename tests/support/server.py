"""A real server on a free loopback port, for tests over the real wire."""

import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from socket import socket
from uuid import UUID

import anyio
import uvicorn
from aiohttp import ClientSession
from msgspec import structs

from kaiwa.api.connection import Connection
from kaiwa.app import House, build, new_id, now
from kaiwa.domain.app import App
from kaiwa.domain.dsl import read_dsl
from kaiwa.ports import Clock
from kaiwa.serve import Server, open_socket
from kaiwa.settings import Settings
from kaiwa.store.apps import apply_app
from kaiwa.store.keys import create_key
from kaiwa.store.knowledge import create_knowledge_key
from kaiwa.store.tables import DEFAULT_WORKSPACE
from tests.support.client import Client


class Databases:
    """Where test servers keep what they keep: in their folder, or in a PostgreSQL database."""

    def __init__(self) -> None:
        self.create: Callable[[], str] | None = None
        """Makes an empty PostgreSQL database and returns its url; None: an SQLite file."""
        self._urls: dict[Path, str] = {}

    def url_for(self, folder: Path) -> str:
        """The same for the same folder, so that a second server there finds what the first kept."""
        if self.create and folder not in self._urls:
            self._urls[folder] = self.create()
        return self._urls[folder] if self.create else ""


DATABASES = Databases()


class TestServer:
    """A running server and its house."""

    __test__ = False

    def __init__(self, house: House, url: str, session: ClientSession) -> None:
        self.house = house
        self.url = url
        self._session = session

    async def make_app(self, dsl: str) -> App:
        """Apply an app's file."""
        draft, _ = read_dsl(dsl, "app.yml")
        app, _ = await apply_app(self.house.context.db, draft, new_id, now())
        return app

    async def make_key(self, app: App) -> str:
        key = "app-" + secrets.token_hex(12)
        digest = hashlib.sha256(key.encode()).digest()
        await create_key(self.house.context.db, app.id, digest, key[:8], new_id, now())
        return key

    async def knowledge_client(self, workspace_id: UUID = DEFAULT_WORKSPACE) -> Client:
        """A client with a new key for the knowledge of a workspace."""
        key = "dataset-" + secrets.token_hex(12)
        digest = hashlib.sha256(key.encode()).digest()
        db = self.house.context.db
        await create_knowledge_key(db, workspace_id, new_id(), digest, key[:12], now())
        return self.client_of(key)

    async def client(self, dsl: str, user: str = "abc-123") -> Client:
        """A client of a new app."""
        return self.client_of(await self.make_key(await self.make_app(dsl)), user)

    def client_of(self, key: str, user: str = "abc-123") -> Client:
        return Client(self._session, f"{self.url}/v1", key, user)


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    timer: Callable[[], float] = time.monotonic,
    clock: Clock = now,
    **settings: object,
) -> AsyncGenerator[TestServer]:
    """Serve until the block ends; `settings` override the defaults.

    Documents are left to the tests, unless they set `ingest_at_once`.
    """
    url = DATABASES.url_for(folder)
    plain = Settings(data=str(folder), database_url=url, speech_model="silent", ingest_at_once=0)
    found = structs.replace(plain, **settings)
    with closing(open_socket("127.0.0.1", 0)) as listener:
        async with House(found, timer, clock) as house, _listening(house, listener) as server:
            yield server


@asynccontextmanager
async def _listening(house: House, listener: socket) -> AsyncGenerator[TestServer]:
    config = uvicorn.Config(
        build(house),
        http=Connection,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
    )
    listening = anyio.Event()
    server = Server(config, listening.set)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        await listening.wait()
        async with ClientSession() as session:
            port = listener.getsockname()[1]
            yield TestServer(house, f"http://127.0.0.1:{port}", session)
        server.force_exit = True
        server.should_exit = True
