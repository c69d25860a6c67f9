"""One database per test, on every engine we have."""

import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from kaiwa.domain.app import App
from kaiwa.store.db import Database
from kaiwa.store.sqlite import open_sqlite
from tests.store.sample import make_app


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database at the newest schema; copied, for migrating takes its time."""
    path = tmp_path_factory.mktemp("migrated") / "kaiwa.db"

    async def migrate() -> None:
        await (await open_sqlite(path)).close()

    with ThreadPoolExecutor(1) as thread:  # other fixtures may hold a loop open in this one
        thread.submit(anyio.run, migrate).result()
    return path


@pytest.fixture
def file(migrated: Path, tmp_path: Path) -> Path:
    """A SQLite database of the test's own."""
    return Path(shutil.copy(migrated, tmp_path / "kaiwa.db"))


@pytest.fixture(params=["sqlite"])
async def db(request: pytest.FixtureRequest, file: Path) -> AsyncIterator[Database]:
    opened = {"sqlite": open_sqlite}[str(request.param)]
    database = await opened(file)
    yield database
    await database.close()


@pytest.fixture
async def app(db: Database) -> App:
    return await make_app(db)
