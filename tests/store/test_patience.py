"""A database that takes too long: whoever waits is told so, and nothing runs late."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, text

from kaiwa.errors import StoreUnavailable
from kaiwa.store.db import Database
from kaiwa.store.postgres import open_postgres
from kaiwa.store.sqlite import open_sqlite

pytestmark = pytest.mark.anyio


@pytest.fixture
async def hasty(place: Path | str) -> AsyncIterator[Database]:
    """One writer, and units that may take 0.4 s."""
    if isinstance(place, Path):
        db = await open_sqlite(place, patience=0.4)
    else:
        db = await open_postgres(place, writers=1, patience=0.4)
    yield db
    await db.close()


async def test_a_unit_that_takes_too_long_is_given_up_and_the_next_goes_on(hasty: Database) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    ran: list[str] = []

    def hangs(conn: Connection) -> None:
        begun.set()
        go_on.wait(10)
        ran.append("begun in time")
        ended.set()

    with pytest.raises(StoreUnavailable, match="too long"):
        await hasty.write(hangs)
    assert begun.is_set()
    with pytest.raises(StoreUnavailable, match="too long"):
        await hasty.write(lambda _: ran.append("never begun"))
    assert await hasty.read(lambda conn: conn.scalar(text("SELECT 1"))) == 1
    go_on.set()
    await anyio.to_thread.run_sync(ended.wait, 10)
    while "after" not in ran:
        try:
            await hasty.write(lambda _: ran.append("after"))
        except StoreUnavailable:
            continue
    assert ran == ["begun in time", "after"]


async def test_a_database_that_hangs_does_not_keep_the_server_from_ending(
    place: Path | str, caplog: pytest.LogCaptureFixture
) -> None:
    opened = open_sqlite(place, patience=0.4) if isinstance(place, Path) else None
    db = await (opened or open_postgres(str(place), patience=0.4))
    go_on = threading.Event()
    with pytest.raises(StoreUnavailable):
        await db.write(lambda _: go_on.wait(10))
    await db.close()
    assert "does not answer" in caplog.text
    go_on.set()
    await db.close()
