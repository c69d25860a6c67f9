"""The engine: units, batches, waiters, other processes, trouble with the disk."""

import asyncio
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from kaiwa.errors import StoreUnavailable
from kaiwa.store.db import Database
from kaiwa.store.sqlite import open_sqlite

pytestmark = pytest.mark.anyio


@pytest.fixture
async def notes(sqlite: Database) -> Database:
    """With a table of the test's own."""
    made = "CREATE TABLE notes (n UNIQUE, body)"
    await sqlite.write(lambda conn: conn.execute(text(made)).close())
    return sqlite


def adding(n: int, body: str = "") -> Callable[[Connection], int]:
    def unit(conn: Connection) -> int:
        conn.execute(text("INSERT INTO notes VALUES (:n, :body)"), {"n": n, "body": body})
        return n

    return unit


def waiting_for(event: threading.Event) -> Callable[[Connection], bool]:
    return lambda _: event.wait(10)


def all_notes(conn: Connection) -> list[int]:
    return [n for (n,) in conn.execute(text("SELECT n FROM notes ORDER BY rowid"))]


@contextmanager
def held(db_file: Path) -> Generator[sqlite3.Connection]:
    """Another program's connection, in the middle of a write."""
    other = sqlite3.connect(db_file, isolation_level=None, check_same_thread=False)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield other
    finally:
        other.close()


@contextmanager
def busy_writer(db: Database) -> Generator[threading.Event]:
    """Hold the writer's thread until the event is set, so that what is asked meanwhile waits."""
    go_on = threading.Event()
    try:
        yield go_on
    finally:
        go_on.set()


async def _ask_together(
    db: Database, units: list[Callable[[Connection], int]]
) -> list[int | Exception]:
    """The units, queued while the writer is busy; what each returned or raised."""
    with busy_writer(db) as go_on:
        first = asyncio.gather(db.write(waiting_for(go_on)))
        asked = asyncio.gather(*map(db.write, units), return_exceptions=True)
        await asyncio.sleep(0)  # every task runs up to its wait
        go_on.set()
        await first
        return [
            answer if isinstance(answer, int) else _as_exception(answer) for answer in await asked
        ]


def _as_exception(answer: BaseException) -> Exception:
    assert isinstance(answer, Exception)
    return answer


async def test_what_a_write_returns_is_what_the_next_read_sees(notes: Database) -> None:
    assert await notes.write(adding(1)) == 1
    assert await notes.read(all_notes) == [1]


async def test_units_that_wait_together_are_run_in_the_order_asked(notes: Database) -> None:
    units = [adding(n) for n in range(600)]
    assert await _ask_together(notes, units) == list(range(600))
    assert await notes.read(all_notes) == list(range(600))


async def test_units_that_wait_together_share_one_commit(notes: Database) -> None:
    said: list[str] = []

    def trace(listener: Callable[[str], None] | None) -> Callable[[Connection], None]:
        def unit(conn: Connection) -> None:
            driver = conn.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.set_trace_callback(listener)

        return unit

    await notes.write(trace(said.append))
    said.clear()
    await _ask_together(notes, [adding(n) for n in range(100)])
    await notes.write(trace(None))
    # One for the hundred; the unit that kept the writer busy may have had its own.
    assert said.count("COMMIT") in (1, 2)


async def test_a_failing_unit_harms_nobody_in_its_batch(notes: Database) -> None:
    def failing(conn: Connection) -> int:
        adding(77)(conn)
        raise LookupError("mine alone")

    answers = await _ask_together(notes, [adding(1), failing, adding(2), adding(1), adding(3)])
    assert [answers[0], answers[2], answers[4]] == [1, 2, 3]
    assert isinstance(answers[1], LookupError)
    assert isinstance(answers[3], IntegrityError)
    assert await notes.read(all_notes) == [1, 2, 3]


async def test_even_an_error_no_future_may_carry_reaches_its_caller(notes: Database) -> None:
    nothing: Iterator[int] = iter(())
    with pytest.raises(RuntimeError, match="StopIteration"):
        await notes.write(lambda _: next(nothing))
    assert await notes.write(adding(1)) == 1


async def test_a_cancelled_waiter_stops_neither_its_unit_nor_its_batch(notes: Database) -> None:
    with busy_writer(notes) as go_on, anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(notes.write, waiting_for(go_on))
            await asyncio.sleep(0)
            async with anyio.create_task_group() as leaving:
                leaving.start_soon(notes.write, adding(1))
                await asyncio.sleep(0)
                leaving.cancel_scope.cancel()
            group.start_soon(notes.write, adding(2))
            await asyncio.sleep(0)
            go_on.set()
    assert await notes.read(all_notes) == [1, 2]


async def test_a_snapshot_stands_on_one_state_while_others_write(notes: Database) -> None:
    begun, written = threading.Event(), threading.Event()

    def look_twice(conn: Connection) -> tuple[list[int], list[int]]:
        before = all_notes(conn)
        begun.set()
        assert written.wait(10)
        return before, all_notes(conn)

    views: list[tuple[list[int], list[int]]] = []

    async def look() -> None:
        views.append(await notes.snapshot(look_twice))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await anyio.to_thread.run_sync(begun.wait, 10)
        await notes.write(adding(1))
        written.set()
    assert views == [([], [])]
    assert await notes.read(all_notes) == [1]


async def test_a_reader_cannot_write(notes: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await notes.read(adding(1))
    assert await notes.read(all_notes) == []


async def test_a_mistake_in_sql_is_not_called_an_outage(notes: Database) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        await notes.write(lambda conn: conn.execute(text("DELETE FROM nowhere")))


async def test_a_value_the_driver_refuses_is_not_called_an_outage(notes: Database) -> None:
    with pytest.raises(ProgrammingError):
        await notes.write(lambda conn: conn.exec_driver_sql("SELECT ?", (object(),)))
    assert await notes.write(adding(1)) == 1


async def test_foreign_keys_are_enforced(sqlite: Database) -> None:
    orphan = text(
        "INSERT INTO rounds VALUES (x'00', 1, x'00', '', '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)"
    )
    with pytest.raises(IntegrityError):
        await sqlite.write(lambda conn: conn.execute(orphan))


async def test_close_finishes_what_waits_and_refuses_what_comes(file: Path) -> None:
    db = await open_sqlite(file)
    await db.write(lambda conn: conn.execute(text("CREATE TABLE notes (n UNIQUE, body)")).close())
    with busy_writer(db) as go_on:
        async with anyio.create_task_group() as group:
            group.start_soon(db.write, waiting_for(go_on))
            for n in range(300):
                group.start_soon(db.write, adding(n))
            await asyncio.sleep(0)
            group.start_soon(db.close)
            group.start_soon(db.close)
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable):
                await db.write(adding(999))
            go_on.set()
    with pytest.raises(StoreUnavailable):
        await db.read(all_notes)
    await db.close()
    assert [found.name for found in file.parent.iterdir()] == [file.name]
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT count(*) FROM notes").fetchone() == (300,)
    other.close()


async def test_a_write_waits_for_another_program(notes: Database, file: Path) -> None:
    with held(file) as other:
        async with anyio.create_task_group() as group:
            group.start_soon(notes.write, adding(1))
            await notes.read(all_notes)
            other.execute("INSERT INTO notes VALUES (0, '')")
            other.execute("COMMIT")
    assert await notes.read(all_notes) == [0, 1]


async def test_a_lock_held_too_long_is_an_outage_that_ends(file: Path) -> None:
    db = await open_sqlite(file, lock_patience=0.05)
    with held(file), pytest.raises(StoreUnavailable) as caught:
        await db.write(lambda _: None)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert await db.write(lambda _: 1) == 1
    await db.close()


async def test_another_process_may_write_at_the_same_time(notes: Database, file: Path) -> None:
    program = f"""
import anyio, pathlib
from kaiwa.store.sqlite import open_sqlite
from sqlalchemy import text
async def main():
    db = await open_sqlite(pathlib.Path({str(file)!r}))
    for n in range(100, 200):
        add = text(f"INSERT INTO notes VALUES ({{n}}, '')")
        await db.write(lambda conn: conn.execute(add).close())
    await db.close()
anyio.run(main)
"""
    running = True

    async def run() -> None:
        nonlocal running
        await anyio.run_process([sys.executable, "-c", program], stderr=sys.stderr)
        running = False

    mine = 1000
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        while running:
            await notes.write(adding(mine))
            mine += 1
    found = await notes.read(all_notes)
    assert [n for n in found if n < 1000] == list(range(100, 200))
    assert [n for n in found if n >= 1000] == list(range(1000, mine))


async def test_a_full_disk_is_an_outage_and_leaves_no_half_write(notes: Database) -> None:
    def limit(conn: Connection) -> None:
        pages = conn.execute(text("PRAGMA page_count")).scalar_one()
        conn.execute(text(f"PRAGMA max_page_count = {pages + 4}")).close()

    def lift(conn: Connection) -> None:
        conn.execute(text("PRAGMA max_page_count = 1000000")).close()

    await notes.write(limit)
    answers = await _ask_together(notes, [adding(1), adding(2, "x" * 100_000), adding(3)])
    assert [answers[0], answers[2]] == [1, 3]
    assert isinstance(answers[1], StoreUnavailable)
    await notes.write(lift)
    await notes.write(adding(4, "x" * 100_000))
    assert await notes.read(all_notes) == [1, 3, 4]


async def test_a_commit_that_fails_is_an_outage_and_writes_nothing(
    notes: Database, file: Path
) -> None:
    await notes.write(adding(1))
    log = file.with_name(file.name + "-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        answers = await _ask_together(notes, [adding(2), adding(3)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]
    assert await notes.read(all_notes) == [1]
    await notes.write(adding(4))
    assert await notes.read(all_notes) == [1, 4]


async def test_the_log_is_taken_in_while_the_database_is_open(notes: Database, file: Path) -> None:
    """A copy of the file alone, without its log, holds what was committed a while ago."""
    await notes.write(adding(1, "a word to look for"))
    with anyio.fail_after(10):
        # Only the file itself tells that SQLite has changed it.
        while b"a word to look for" not in await anyio.Path(file).read_bytes():  # noqa: ASYNC110
            await anyio.sleep(0.05)


def test_the_store_opens_without_alembic(file: Path) -> None:
    program = f"""
import anyio, pathlib, sys
from kaiwa.store.sqlite import open_sqlite
async def main():
    await (await open_sqlite(pathlib.Path({str(file)!r}))).close()
anyio.run(main)
assert "alembic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
