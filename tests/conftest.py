"""What every test gets: one event loop, databases of every engine, no network beyond loopback."""

import shutil
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts

from kaiwa.store.db import Database
from kaiwa.store.postgres import open_postgres
from kaiwa.store.sqlite import open_sqlite
from tests.support.postgres import Postgres, name_of, postgres_server
from tests.support.turns import run_apart


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One loop for the whole run, so that fixtures of any scope can share it."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _loopback_alone() -> None:
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


def migrate(opening: Callable[[], Awaitable[Database]]) -> None:
    """Open a new database, which brings it to the newest schema, and close it."""

    async def run() -> None:
        await (await opening()).close()

    run_apart(run)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database at the newest schema; copied, for migrating takes its time."""
    path = tmp_path_factory.mktemp("migrated") / "kaiwa.db"
    migrate(lambda: open_sqlite(path))
    return path


@pytest.fixture
def file(migrated: Path, tmp_path: Path) -> Path:
    """A SQLite database of the test's own."""
    return Path(shutil.copy(migrated, tmp_path / "kaiwa.db"))


@pytest.fixture(scope="session")
def postgres(testrun_uid: str) -> Generator[Postgres]:
    """A PostgreSQL server, shared by the processes of the run."""
    with postgres_server(testrun_uid) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Postgres) -> str:
    """The name of an empty PostgreSQL database at the newest schema."""
    url = postgres.create()
    migrate(lambda: open_postgres(url))
    return name_of(url)


@pytest.fixture
def url(postgres: Postgres, migrated_postgres: str) -> Generator[str]:
    """A PostgreSQL database of the test's own."""
    url = postgres.create(migrated_postgres)
    yield url
    postgres.drop(url)
