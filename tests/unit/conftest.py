"""What turns need: a database file at the newest schema."""

import shutil
from pathlib import Path

import pytest

from kaiwa.store.sqlite import open_sqlite
from tests.support.turns import run_apart


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database; copied, for migrating takes its time."""
    path = tmp_path_factory.mktemp("migrated") / "kaiwa.db"

    async def migrate() -> None:
        await (await open_sqlite(path)).close()

    run_apart(migrate)
    return path


@pytest.fixture
def file(migrated: Path, tmp_path: Path) -> Path:
    """A database of the test's own."""
    return Path(shutil.copy(migrated, tmp_path / "kaiwa.db"))
