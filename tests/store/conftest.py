"""One database per test, on every engine we have."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kaiwa.domain.app import App
from kaiwa.store.db import Database
from kaiwa.store.postgres import open_postgres
from kaiwa.store.sqlite import open_sqlite
from tests.store.sample import make_app


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Path | str:
    """Where a database at the newest schema is: a file, or a url."""
    return request.getfixturevalue("file" if request.param == "sqlite" else "url")


@pytest.fixture
async def db(place: Path | str) -> AsyncIterator[Database]:
    database = await (open_sqlite(place) if isinstance(place, Path) else open_postgres(place))
    yield database
    await database.close()


@pytest.fixture
async def sqlite(file: Path) -> AsyncIterator[Database]:
    """For what only SQLite has."""
    database = await open_sqlite(file)
    yield database
    await database.close()


@pytest.fixture
async def app(db: Database) -> App:
    return await make_app(db)
