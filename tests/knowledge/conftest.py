"""A workspace with room for bases, on every engine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kaiwa.store.db import Database
from kaiwa.store.postgres import open_postgres
from kaiwa.store.sqlite import open_sqlite
from tests.store.sample import make_app
from tests.support.bases import Bases


@pytest.fixture(params=["sqlite", "postgres"])
async def db(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        file: Path = request.getfixturevalue("file")
        database = await open_sqlite(file)
    else:
        database = await open_postgres(request.getfixturevalue("url"))
    yield database
    await database.close()


@pytest.fixture
async def bases(db: Database) -> Bases:
    app = await make_app(db)
    return Bases(db, app.workspace_id)
