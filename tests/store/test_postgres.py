"""The PostgreSQL engine: units, batches, broken connections, several processes."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable

import anyio
import anyio.lowlevel
import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from kaiwa.errors import OperatorError, StoreUnavailable
from kaiwa.store.db import Database
from kaiwa.store.messages import close_message, list_messages, open_message
from kaiwa.store.postgres import open_postgres
from kaiwa.store.tables import SCHEMA
from tests.store.sample import closing, make_app, opening
from tests.support.postgres import Postgres, name_of

pytestmark = pytest.mark.anyio

MADE = "CREATE TABLE notes (n INTEGER UNIQUE, body TEXT)"


@pytest.fixture
async def notes(url: str) -> AsyncIterator[Database]:
    """One writer and one reader, and a table of the test's own."""
    db = await open_postgres(url, writers=1, readers=1)
    await db.write(lambda conn: conn.execute(text(MADE)).close())
    yield db
    await db.close()


def adding(n: int) -> Callable[[Connection], int]:
    def unit(conn: Connection) -> int:
        conn.execute(text("INSERT INTO notes VALUES (:n, '')"), {"n": n})
        return n

    return unit


def all_notes(conn: Connection) -> list[int]:
    return list(conn.scalars(text("SELECT n FROM notes ORDER BY n")))


def xact(conn: Connection) -> int:
    return conn.execute(text("SELECT txid_current()")).scalar_one()


async def together(db: Database, *units: Callable[[Connection], int]) -> list[int | BaseException]:
    """The units, asked while the writer is busy; what each returned or raised."""
    go_on = threading.Event()
    first = asyncio.gather(db.write(lambda _: go_on.wait(10)), return_exceptions=True)
    asked = asyncio.gather(*map(db.write, units), return_exceptions=True)
    await anyio.lowlevel.checkpoint()
    go_on.set()
    await first
    return await asked


async def test_units_that_wait_together_share_one_commit(notes: Database) -> None:
    found = await together(notes, xact, xact, xact)
    assert len(set(found)) == 1


async def test_a_failing_unit_harms_nobody_in_its_batch(notes: Database) -> None:
    await notes.write(adding(1))
    found = await together(notes, adding(2), adding(1), adding(3))
    assert [found[0], found[2]] == [2, 3]
    assert isinstance(found[1], IntegrityError)
    assert await notes.read(all_notes) == [1, 2, 3]


async def test_a_reader_cannot_write(notes: Database) -> None:
    for read in (notes.read, notes.snapshot):
        with pytest.raises(StoreUnavailable) as caught:
            await read(adding(1))
        assert "read-only" in str(caught.value.__cause__)
    assert await notes.read(all_notes) == []


async def test_a_snapshot_stands_on_one_state_and_leaves_no_transaction(notes: Database) -> None:
    seen = threading.Event()
    written = threading.Event()

    def twice(conn: Connection) -> tuple[list[int], list[int]]:
        before = all_notes(conn)
        seen.set()
        written.wait(10)
        return before, all_notes(conn)

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(notes.snapshot(twice))
        await anyio.to_thread.run_sync(seen.wait)
        await notes.write(adding(1))
        written.set()
    assert reading.result() == ([], [])
    assert await notes.read(all_notes) == [1]
    with pytest.raises(ZeroDivisionError):
        await notes.snapshot(lambda _: 1 // 0)
    left = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    assert await notes.read(lambda conn: conn.scalar(left)) == 0


async def test_a_mistake_in_sql_is_not_called_an_outage(notes: Database) -> None:
    with pytest.raises(ProgrammingError):
        await notes.write(lambda conn: conn.execute(text("DELETE FROM nowhere")))
    await notes.write(adding(1))


async def test_connections_that_were_cut_are_made_anew_and_nobody_notices(
    notes: Database, postgres: Postgres, url: str
) -> None:
    for n in range(5):
        await notes.write(adding(n))
        postgres.cut(url)
        assert await notes.read(all_notes) == list(range(n + 1))
        postgres.cut(url)


async def test_a_server_that_was_a_standby_for_a_moment_is_written_again(
    notes: Database, postgres: Postgres, url: str
) -> None:
    postgres.demote(url, True)
    postgres.cut(url)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await notes.write(adding(1))
    assert await notes.read(all_notes) == []
    postgres.demote(url, False)
    await notes.write(adding(1))
    assert await notes.read(all_notes) == [1]


@pytest.mark.parametrize("state", ["53100", "53200", "53300", "58030", "57P03"])
async def test_a_server_in_need_is_unavailable(notes: Database, state: str) -> None:
    """No room on its disk, no memory, no connection, no working disk, still starting."""

    def unit(conn: Connection) -> None:
        conn.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$"))

    with pytest.raises(StoreUnavailable):
        await notes.write(unit)
    await notes.write(adding(1))


async def test_a_connection_cut_within_a_unit_runs_it_again(
    notes: Database, postgres: Postgres, url: str
) -> None:
    runs = 0

    def unit(conn: Connection) -> int:
        nonlocal runs
        runs += 1
        adding(7)(conn)
        if runs == 1:
            postgres.cut(url)
        return len(all_notes(conn))

    assert await notes.write(unit) == 1
    assert runs == 2


async def test_a_server_that_is_away_is_an_outage_that_ends(
    notes: Database, postgres: Postgres, url: str
) -> None:
    """A database that takes no connections stands for a server that is starting again."""
    postgres.admit(url, False)
    postgres.cut(url)
    with pytest.raises(StoreUnavailable) as caught:
        await notes.write(adding(1))
    assert caught.value.retry_after
    with pytest.raises(StoreUnavailable):
        await notes.read(all_notes)
    postgres.admit(url, True)
    assert await notes.write(adding(1)) == 1
    assert await notes.read(all_notes) == [1]


async def test_units_that_wait_together_learn_of_an_outage_together(
    notes: Database, postgres: Postgres, url: str
) -> None:
    """Not one after another, each waiting for an attempt of its own to connect."""
    await notes.write(adding(0))
    postgres.admit(url, False)
    postgres.cut(url)
    for _ in ("the connection is broken", "there is none"):
        found = await together(notes, adding(1), adding(2), adding(3))
        assert all(isinstance(error, StoreUnavailable) for error in found)
        assert len({id(error) for error in found}) == 1
    postgres.admit(url, True)
    assert await together(notes, adding(1), adding(2)) == [1, 2]


async def test_two_processes_append_to_one_conversation_without_gaps(url: str) -> None:
    one, two = await open_postgres(url), await open_postgres(url)
    app = await make_app(one)
    first, _ = await open_message(one, opening(app))
    where = first.conversation_id
    async with asyncio.TaskGroup() as tasks:
        for db in (one, two) * 10:
            tasks.create_task(open_message(db, opening(app, conversation_id=where)))
    page = await list_messages(two, app.id, "ann", where, first_id=None, limit=100)
    assert [message.position for message in page.items] == list(range(1, 22))
    assert [m.parent_id for m in page.items] == [None, *(m.id for m in page.items[:-1])]
    await one.close()
    await two.close()


async def test_a_new_end_user_of_two_first_questions_at_once_is_one(url: str) -> None:
    one, two = await open_postgres(url), await open_postgres(url)
    app = await make_app(one)
    async with asyncio.TaskGroup() as tasks:
        for db in (one, two) * 5:
            tasks.create_task(open_message(db, opening(app, user="new")))
    count = text("SELECT count(*) FROM end_users")
    assert await one.read(lambda conn: conn.scalar(count)) == 1
    await one.close()
    await two.close()


async def test_closing_twice_is_closing_once(url: str) -> None:
    db = await open_postgres(url)
    app = await make_app(db)
    message, _ = await open_message(db, opening(app))
    await close_message(db, closing(message.id))
    await close_message(db, closing(message.id))
    await db.close()


async def test_openers_at_once_migrate_once(postgres: Postgres) -> None:
    url = postgres.create()
    opened = await asyncio.gather(*(open_postgres(url) for _ in range(4)))
    for db in opened:
        assert (
            await db.read(lambda conn: conn.scalar(text("SELECT version_num FROM alembic_version")))
            == SCHEMA
        )
        await db.close()
    postgres.drop(url)


async def refusal(url: str) -> str:
    with pytest.raises(OperatorError) as caught:
        await open_postgres(url)
    sentence = str(caught.value)
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence), sentence
    assert "hunter2" not in sentence
    return sentence


async def test_what_cannot_be_opened_is_told_in_a_sentence(url: str, postgres: Postgres) -> None:
    assert "postgresql://" in await refusal("mysql://user:hunter2@127.0.0.1/kaiwa")
    assert "database's address" in await refusal("nonsense")
    assert "127.0.0.1" in await refusal("postgresql://user:hunter2@127.0.0.1:1/kaiwa")
    await refusal(url.replace(name_of(url), "nowhere"))


async def test_a_newer_schema_and_a_strangers_database_are_refused(
    url: str, postgres: Postgres
) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "9999" in await refusal(url)
    strange = postgres.create()
    with psycopg.connect(strange) as conn:
        conn.execute("CREATE TABLE theirs (n INTEGER)")
    assert "another program" in await refusal(strange)
    postgres.drop(strange)
