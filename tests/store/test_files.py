"""Files: whose they are, in which messages they are, and which nobody has taken."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

import anyio
import pytest
from msgspec.structs import replace
from psycopg import AsyncConnection
from sqlalchemy import Connection, func, select
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App
from kaiwa.domain.file import ListedFile, MessageFile, StoredFile
from kaiwa.domain.message import Exchange
from kaiwa.errors import NotFound
from kaiwa.store.conversations import delete_conversation, purge_conversations
from kaiwa.store.db import Database
from kaiwa.store.files import (
    add_file,
    find_file,
    find_files,
    known_keys,
    list_files,
    sweep_files,
)
from kaiwa.store.messages import find_message, list_messages, open_message, read_history
from kaiwa.store.postgres import open_postgres
from kaiwa.store.tables import end_users, message_files, messages, upload_files
from tests.store.sample import (
    Erased,
    at,
    begin,
    finish,
    go_on,
    keep_file,
    make_app,
    new_file,
    opening,
    send,
    sent,
)

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class Counting:
    """A database that counts the statements of the last thing it was asked."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.statements = 0

    async def read(self, unit: Callable[[Connection], T]) -> T:
        def counted(conn: Connection) -> T:
            said: list[str] = []
            driver: Any = conn.connection.driver_connection
            driver.set_trace_callback(said.append)
            try:
                return unit(conn)
            finally:
                driver.set_trace_callback(None)
                self.statements = len(said)

        return await self._db.read(counted)

    async def snapshot(self, unit: Callable[[Connection], T]) -> T:
        return await self._db.snapshot(unit)

    async def write(self, unit: Callable[[Connection], T]) -> T:
        return await self._db.write(unit)

    async def close(self) -> None:
        await self._db.close()


async def count_rows(db: Database) -> tuple[int, int]:
    """Files, and places of files in messages."""
    files, places = (
        select(func.count()).select_from(table) for table in (upload_files, message_files)
    )
    return await db.read(lambda conn: (conn.scalar(files) or 0, conn.scalar(places) or 0))


async def test_a_file_is_found_as_it_was_written_down(db: Database, app: App) -> None:
    new = replace(new_file("猫 \U0001f431.png"), origin="remote", source_url="https://e.org/c")
    stored = await add_file(db, app.workspace_id, app.id, "ann", new)
    assert stored == StoredFile(
        id=new.id,
        user_id=new.fresh_user_id,
        name="猫 \U0001f431.png",
        size=3 * 2**31,
        extension="png",
        mime_type="image/png",
        type="image",
        key=new.key,
        created_at=new.created_at,
    )
    assert await find_file(db, new.id) == stored
    assert await find_files(db, app.id, "ann", [new.id]) == {new.id: stored}
    row = await db.read(lambda conn: conn.execute(select(upload_files)).one())
    assert (row.origin, row.source_url, row.used_at) == ("remote", "https://e.org/c", None)


async def test_uploads_at_once_make_their_end_user_once(db: Database, app: App) -> None:
    await asyncio.gather(*(keep_file(db, app) for _ in range(5)), begin(db, app))
    names = select(end_users.c.name)
    assert await db.read(lambda conn: conn.scalars(names).all()) == ["ann"]
    assert (await count_rows(db))[0] == 5


async def test_nobody_finds_somebody_elses_file(db: Database, app: App) -> None:
    other = await make_app(db, "Other")
    anns = await keep_file(db, app)
    await keep_file(db, app, "bob")
    await keep_file(db, other)
    for where, who in ((app, "bob"), (other, "ann"), (app, "stranger")):
        assert await find_files(db, where.id, who, [anns.id]) == {}
    assert await find_files(db, app.id, "ann", [anns.id], source="terminal") == {}
    assert await find_files(db, app.id, "ann", []) == {}
    assert await find_files(db, app.id, "ann", [uuid7(), anns.id]) == {anns.id: anns}
    assert await find_file(db, uuid7()) is None


async def test_two_files_cannot_have_one_key(db: Database, app: App) -> None:
    first = new_file()
    await add_file(db, app.workspace_id, app.id, "ann", first)
    with pytest.raises(Exception, match=r"(?i)unique"):
        await add_file(
            db, app.workspace_id, app.id, "ann", replace(new_file("b.png"), key=first.key)
        )
    assert await count_rows(db) == (1, 0)


async def test_a_message_has_its_files_in_the_order_they_were_sent(db: Database, app: App) -> None:
    kept = [await keep_file(db, app) for _ in range(3)]
    files = (
        MessageFile(uuid7(), kept[2], "user", "remote_url", "https://example.org/cat.png"),
        MessageFile(uuid7(), kept[0], "user", "local_file"),
        MessageFile(uuid7(), kept[1], "assistant", "tool_file"),
        MessageFile(uuid7(), kept[0], "user", "local_file"),
    )
    opened, _ = await open_message(db, replace(opening(app), files=files))
    assert opened.files == files
    assert await find_message(db, app.id, "ann", opened.id) == opened


async def test_a_file_that_is_not_ones_own_refuses_the_question(db: Database, app: App) -> None:
    anns, bobs = await keep_file(db, app), await keep_file(db, app, "bob")
    missing = replace(anns, id=uuid7())
    for wrong in (bobs, missing):
        with pytest.raises(NotFound, match=r"^File Not Exists\.$"):
            await send(db, app, anns, wrong)
    assert await db.read(lambda conn: conn.scalar(select(func.count()).select_from(messages))) == 0
    assert await count_rows(db) == (2, 0)
    assert [one.used for one in await list_files(db)] == [False, False]


async def page(
    db: Database, app: App, conversation_id: UUID, first_id: UUID | None = None
) -> list[tuple[UUID, Sequence[MessageFile]]]:
    found = await list_messages(db, app.id, "ann", conversation_id, first_id=first_id, limit=2)
    return [(message.id, message.files) for message in found.items]


async def test_a_page_of_messages_shows_the_files_of_each(db: Database, app: App) -> None:
    a, b, c = [await keep_file(db, app) for _ in range(3)]
    first = await send(db, app, a, b)
    where = first.conversation_id
    bare = await go_on(db, app, where)
    third = await send(db, app, b, conversation_id=where)
    last = await send(db, app, c, conversation_id=where)
    await send(db, app, a)  # elsewhere, at the same position
    assert [(m.id, [f.file for f in m.files]) for m in (first, bare, third)] == [
        (first.id, [a, b]),
        (bare.id, []),
        (third.id, [b]),
    ]
    assert await page(db, app, where) == [(third.id, third.files), (last.id, last.files)]
    assert await page(db, app, where, third.id) == [(first.id, first.files), (bare.id, ())]


async def test_only_a_page_with_files_costs_one_statement_more(sqlite: Database) -> None:
    app = await make_app(sqlite)
    seen = Counting(sqlite)
    bare = await begin(sqlite, app)
    await go_on(sqlite, app, bare.conversation_id)
    await page(seen, app, bare.conversation_id)
    without = seen.statements
    full = await send(sqlite, app, await keep_file(sqlite, app), await keep_file(sqlite, app))
    await send(sqlite, app, await keep_file(sqlite, app), conversation_id=full.conversation_id)
    await page(seen, app, full.conversation_id)
    assert seen.statements == without + 1
    await find_message(seen, app.id, "ann", bare.id)
    without = seen.statements
    await find_message(seen, app.id, "ann", full.id)
    assert seen.statements == without + 1


async def test_history_has_the_files_of_earlier_questions(db: Database, app: App) -> None:
    a, b = await keep_file(db, app), await keep_file(db, app)
    first = await send(db, app, a)
    where = first.conversation_id
    await finish(db, first, "one")
    made = MessageFile(uuid7(), b, "assistant", "tool_file")
    asked = replace(opening(app, conversation_id=where), files=(made, *sent(b, a)))
    second, _ = await open_message(db, asked)
    await finish(db, second, "two")
    await finish(db, await go_on(db, app, where, query="bare?"), "three")
    expected = [
        Exchange("bare?", "three"),
        Exchange("why?", "two", (b, a)),
        Exchange("why?", "one", (a,)),
    ]
    assert await read_history(db, where, list[Exchange]) == expected
    _, chosen = await open_message(db, opening(app, conversation_id=where), list[Exchange])
    assert chosen == expected


async def test_files_are_found_however_far_back(sqlite: Database) -> None:
    app = await make_app(sqlite)
    seen = Counting(sqlite)
    file = await keep_file(sqlite, app)
    first = await send(sqlite, app, file)
    where = first.conversation_id
    await finish(sqlite, first)
    for _ in range(60):
        await finish(sqlite, await go_on(sqlite, app, where))
    newest = await send(sqlite, app, file, conversation_id=where)
    await finish(sqlite, newest)
    found = await read_history(seen, where, list[Exchange])
    assert [len(exchange.files) for exchange in found] == [1, *[0] * 60, 1]
    assert seen.statements == 3

    def choose(newest_first: Iterator[Exchange]) -> int:
        next(newest_first)
        return len(next(newest_first).files)

    assert await read_history(seen, where, choose) == 0
    assert seen.statements == 2


async def test_history_without_files_asks_for_none(sqlite: Database) -> None:
    app = await make_app(sqlite)
    seen = Counting(sqlite)
    first = await begin(sqlite, app)
    await finish(sqlite, first)
    assert len(await read_history(seen, first.conversation_id, list[Exchange])) == 1
    assert seen.statements == 1


async def test_only_what_no_message_took_is_swept(db: Database, app: App) -> None:
    old = [await keep_file(db, app, created_at=at(second)) for second in range(3)]
    young = await keep_file(db, app, created_at=at(10))
    message = await send(db, app, old[1])
    swept = await sweep_files(db, at(10))
    assert sorted(swept, key=lambda file: file.id) == [old[0], old[2]]
    assert await sweep_files(db, at(10)) == []
    assert await find_files(db, app.id, "ann", [file.id for file in (*old, young)]) == {
        old[1].id: old[1],
        young.id: young,
    }
    assert await find_message(db, app.id, "ann", message.id) == message
    with pytest.raises(NotFound, match=r"^File Not Exists\.$"):
        await send(db, app, old[0])


async def test_sweeping_works_in_portions(db: Database, app: App) -> None:
    file = await keep_file(db, app)
    fields = {name: getattr(file, name) for name in StoredFile.__struct_fields__}
    whose = {"workspace_id": app.workspace_id, "app_id": app.id, "origin": "upload"}
    rows = [fields | whose | {"id": uuid7(), "key": f"k/{n}"} for n in range(1100)]
    await db.write(lambda conn: conn.execute(upload_files.insert(), rows).rowcount)
    assert len(await sweep_files(db, at(100_000))) == 1101
    assert await count_rows(db) == (0, 0)


async def test_a_file_is_swept_or_taken_but_never_both(db: Database, app: App) -> None:
    """On either engine: who comes second sees what the first has done."""
    files = [await keep_file(db, app, created_at=at(0)) for _ in range(30)]
    swept: list[StoredFile] = []
    taken: list[StoredFile] = []

    async def take(file: StoredFile) -> None:
        try:
            await send(db, app, file)
        except NotFound:
            return
        taken.append(file)

    async def sweep() -> None:
        swept.extend(await sweep_files(db, at(1)))

    await asyncio.gather(*(take(file) for file in files[:15]), sweep(), *map(take, files[15:]))
    assert len(swept) + len(taken) == 30
    assert await count_rows(db) == (len(taken), len(taken))


async def test_purging_takes_the_files_that_nothing_else_uses(db: Database, app: App) -> None:
    shared, own, twice, unused = [await keep_file(db, app) for _ in range(4)]
    old = await send(db, app, shared, own, twice)
    await send(db, app, twice, conversation_id=old.conversation_id)
    kept = await send(db, app, shared)
    await delete_conversation(db, app.id, "ann", old.conversation_id, at(100))
    erased = Erased()
    assert await purge_conversations(db, at(200), erased) == 1
    assert sorted(erased.keys) == [own.key, twice.key]
    ids = [file.id for file in (shared, own, twice, unused)]
    found = await find_files(db, app.id, "ann", ids)
    assert set(found) == {shared.id, unused.id}
    assert await find_message(db, app.id, "ann", kept.id) == kept
    await delete_conversation(db, app.id, "ann", kept.conversation_id, at(100))
    erased = Erased()
    assert await purge_conversations(db, at(200), erased) == 1
    assert erased.keys == [shared.key]
    assert await count_rows(db) == (1, 0)


async def test_a_file_that_is_being_taken_outlives_its_purge(url: str) -> None:
    """The taker holds the file and has not committed when the purge comes to it."""
    db = await open_postgres(url)
    app = await make_app(db)
    file = await keep_file(db, app)
    old, taking = await send(db, app, file), await begin(db, app)
    await delete_conversation(db, app.id, "ann", old.conversation_id, at(100))
    erased = Erased()
    taker = await AsyncConnection.connect(url)
    async with taker, anyio.create_task_group() as tasks:
        await taker.execute("UPDATE upload_files SET used_at = 1 WHERE id = %s", [file.id])
        tasks.start_soon(purge_conversations, db, at(200), erased)
        await until_someone_waits(url)
        await taker.execute(
            "INSERT INTO message_files SELECT %s, workspace_id, id, %s, 1, 'user', 'local_file'"
            " FROM messages WHERE id = %s",
            [uuid7(), file.id, taking.id],
        )
        await taker.commit()
    assert erased.keys == []
    assert await find_file(db, file.id) == file
    await db.close()


async def test_a_file_that_is_being_taken_is_not_swept(url: str) -> None:
    """The sweep has chosen the file, and waits for who has taken it meanwhile."""
    db = await open_postgres(url)
    file = await keep_file(db, await make_app(db), created_at=at(0))
    swept: list[StoredFile] = []

    async def sweep() -> None:
        swept.extend(await sweep_files(db, at(1)))

    taker = await AsyncConnection.connect(url)
    async with taker, anyio.create_task_group() as tasks:
        await taker.execute("UPDATE upload_files SET used_at = 1 WHERE id = %s", [file.id])
        tasks.start_soon(sweep)
        await until_someone_waits(url)
        await taker.commit()
    assert swept == []
    assert [listed.file for listed in await list_files(db)] == [file]
    await db.close()


async def until_someone_waits(url: str) -> None:
    """For a row that another connection holds."""
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
    async with await AsyncConnection.connect(url, autocommit=True) as looker:
        with anyio.fail_after(10):
            while not await (await looker.execute(waiting)).fetchone():  # noqa: ASYNC110
                await anyio.sleep(0.01)


async def test_files_are_listed_with_whose_they_are(db: Database, app: App) -> None:
    other = await make_app(db, "Other")
    anns, bobs, others = [
        await keep_file(db, where, who)
        for where, who in ((app, "ann"), (app, "bob"), (other, "ann"))
    ]
    await send(db, app, bobs, user="bob")
    listed = [
        ListedFile(anns, "Helper", "ann", used=False),
        ListedFile(bobs, "Helper", "bob", used=True),
        ListedFile(others, "Other", "ann", used=False),
    ]
    assert await list_files(db) == listed
    assert await list_files(db, app.id) == listed[:2]
    assert await list_files(db, last_id=anns.id, limit=1) == listed[1:2]


async def test_keys_that_a_file_has_are_known(db: Database, app: App) -> None:
    file = await keep_file(db, app)
    strange = [f"strange/{number}" for number in range(1200)]
    assert await known_keys(db, [*strange, file.key]) == {file.key}
    assert await known_keys(db, []) == set()
