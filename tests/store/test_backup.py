"""Backups: what goes in comes out, in either engine; what is no backup changes nothing."""

import gzip
import io
import json
import stat
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, select, update
from uuid_utils.compat import uuid7

from kaiwa.errors import OperatorError
from kaiwa.store.apps import delete_app
from kaiwa.store.backup import back_up, check_archive, restore
from kaiwa.store.db import Database
from kaiwa.store.feedback import set_rating
from kaiwa.store.keys import create_key
from kaiwa.store.postgres import open_postgres
from kaiwa.store.sqlite import open_sqlite
from kaiwa.store.tables import messages, metadata
from tests.store.sample import START, begin, finish, go_on, make_app, tick

pytestmark = pytest.mark.anyio

Members = dict[str, bytes]


@pytest.fixture
async def other(
    request: pytest.FixtureRequest, migrated: Path, tmp_path: Path
) -> AsyncIterator[Callable[[str], Any]]:
    """Opens one more, empty database of the engine that is named."""
    opened: list[Database] = []

    async def make(engine: str) -> Database:
        if engine == "postgres":
            server = request.getfixturevalue("postgres")
            template = request.getfixturevalue("migrated_postgres")
            db = await open_postgres(server.create(template))
        else:
            db = await open_sqlite(tmp_path / f"other-{len(opened)}.db")
        opened.append(db)
        return db

    yield make
    for db in opened:
        await db.close()


def everything(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    return {
        table.name: [
            dict(row._mapping)  # pyright: ignore[reportPrivateUsage]
            for row in connection.execute(select(table).order_by(*table.primary_key))
        ]
        for table in metadata.sorted_tables
    }


async def fill(db: Database) -> None:
    """Something in every table, and what is hard to write down."""
    app = await make_app(db)
    await create_key(db, app.id, b"\x00\xff" * 16, "app-abcd", uuid7, tick())
    message = await begin(db, app)
    await finish(db, message, 'He said: "你好"\n\t\u2028 \U0001f600 \\u0000')
    await set_rating(db, app.id, "ann", message.id, "like", "good", uuid7, tick())
    await go_on(db, app, message.conversation_id)
    gone = await make_app(db, "Gone")
    await delete_app(db, gone.id, tick())
    for _ in range(3):
        await finish(db, await begin(db, app, "bob"))


async def test_rows_are_the_same_in_either_engine(
    db: Database, other: Callable[[str], Any], tmp_path: Path
) -> None:
    await fill(db)
    file = tmp_path / "b.tar.gz"
    counts = await back_up(db, file, "1", START)
    before = await db.read(everything)
    assert all(before.values())
    assert counts == {name: len(rows) for name, rows in before.items()}
    assert check_archive(file).created_at == START
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for engine in ("sqlite", "postgres"):
        target = await other(engine)
        assert await restore(target, file) == counts
        assert await target.read(everything) == before
        again = tmp_path / f"{engine}.tar.gz"
        await back_up(target, again, "1", START)
        assert members(again).keys() == members(file).keys()


def members(file: Path) -> Members:
    with tarfile.open(file) as archive:
        found = [(member.name, archive.extractfile(member)) for member in archive]
        return {name: content.read() for name, content in found if content}


def pack(file: Path, content: Members) -> None:
    with tarfile.open(file, "w:gz") as archive:
        for name, text in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))


async def test_values_stand_in_the_archive_as_any_engine_reads_them(
    db: Database, tmp_path: Path
) -> None:
    await fill(db)
    file = tmp_path / "b.tar.gz"
    await back_up(db, file, "1", START)
    found = members(file)
    assert list(found)[:2] == ["manifest.json", "workspaces.jsonl"]
    key = json.loads(found["api_keys.jsonl"])
    assert key["digest"] == "00ff" * 16
    assert isinstance(key["created_at"], int)
    assert json.loads(found["rounds.jsonl"].splitlines()[0])["price_unit"] == "0.000001"
    assert json.loads(found["conversations.jsonl"].splitlines()[0])["inputs"]["n"] == 2**80


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def write_letter(file: Path) -> None:
    file.write_text("Dear reader, " * 100)


def write_other_tar(file: Path) -> None:
    pack(file, {"holiday.jpg": b"..."})


def write_gzip(file: Path) -> None:
    file.write_bytes(gzip.compress(b"Dear reader, " * 100))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def change(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        content = members(file)
        assert old in content[name]
        pack(file, content | {name: content[name].replace(old, new, 1)})

    return spoil


def drop_last(file: Path) -> None:
    content = members(file)
    content.popitem()
    pack(file, content)


def add_one(file: Path) -> None:
    pack(file, members(file) | {"more.jsonl": b"{}\n"})


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        cut_in_half,
        flip,
        empty,
        write_letter,
        write_other_tar,
        write_gzip,
        drop_last,
        add_one,
        Path.unlink,
        change("manifest.json", b'"0001"', b'"9999"'),
        change("manifest.json", b'"0001"', b'"0000"'),
        change("manifest.json", b'"format": 1', b'"format": 2'),
        change("manifest.json", b'"format": 1', b'"format": "x"'),
        change("messages.jsonl", b"}\n", b"\n"),
        change("messages.jsonl", b'"position": 1', b'"position": "one"'),
        change("messages.jsonl", b'"position": 1', b'"position": null'),
        change("messages.jsonl", b'"position"', b'"place"'),
        change("messages.jsonl", b'"outcome": "normal"', b'"outcome": "fine"'),
        change("messages.jsonl", b"{", b"["),
        change("rounds.jsonl", b'"0.000001"', b'"cheap"'),
    ],
)
async def test_what_is_no_whole_backup_changes_nothing(
    sqlite: Database, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    await fill(sqlite)
    file = tmp_path / "b.tar.gz"
    await back_up(sqlite, file, "1", START)
    before = await sqlite.read(everything)
    spoil(file)
    with pytest.raises(OperatorError, match=r"^(The file|The backup) .*\.$"):
        check_archive(file)
    with pytest.raises(OperatorError, match=r"^(The file|The backup) .*\.$"):
        await restore(sqlite, file, force=True)
    assert await sqlite.read(everything) == before


async def test_rows_that_lead_nowhere_change_nothing(db: Database, tmp_path: Path) -> None:
    await fill(db)
    file = tmp_path / "b.tar.gz"
    await back_up(db, file, "1", START)
    before = await db.read(everything)
    pack(file, members(file) | {"conversations.jsonl": b""})
    with pytest.raises(OperatorError, match=r"does not fit .* nothing was changed\.$"):
        await restore(db, file, force=True)
    assert await db.read(everything) == before


async def test_a_database_that_is_in_use_is_replaced_only_by_force(
    db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "b.tar.gz"
    await fill(db)
    before = await db.read(everything)
    await back_up(db, file, "1", START)
    await make_app(db, "Later")
    with pytest.raises(OperatorError, match="--force"):
        await restore(db, file)
    assert await db.read(everything) != before
    await restore(db, file, force=True)
    assert await db.read(everything) == before
    await begin(db, await make_app(db, "Afterwards"))


async def test_a_file_is_replaced_only_by_force_and_never_by_half(
    sqlite: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    file = folder / "b.tar.gz"
    file.write_text("precious")
    with pytest.raises(OperatorError, match="--force"):
        await back_up(sqlite, file, "1", START)
    await fill(sqlite)

    def spoil(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE feedback RENAME TO feedbacks")

    await sqlite.write(spoil)
    with pytest.raises(Exception, match="no such table: feedback"):
        await back_up(sqlite, file, "1", START, force=True)
    assert file.read_text() == "precious"
    assert [one.name for one in folder.iterdir()] == ["b.tar.gz"]

    await sqlite.write(
        lambda connection: connection.exec_driver_sql("ALTER TABLE feedbacks RENAME TO feedback")
    )
    await back_up(sqlite, file, "1", START, force=True)
    assert check_archive(file).kaiwa == "1"
    assert [one.name for one in folder.iterdir()] == ["b.tar.gz"]


async def test_a_place_that_cannot_be_written_is_named(sqlite: Database, tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "nowhere" / "b.tar.gz"):
        with pytest.raises(OperatorError, match=rf"{file} cannot be written: .*\.$"):
            await back_up(sqlite, file, "1", START, force=True)


async def test_a_backup_is_of_one_moment(
    db: Database, other: Callable[[str], Any], tmp_path: Path
) -> None:
    """Each turn writes its message and its round; none may be there by half."""
    app = await make_app(db)
    stopped = anyio.Event()
    wrote = 0

    async def write() -> None:
        nonlocal wrote
        while not stopped.is_set():
            await finish(db, await begin(db, app))
            wrote += 1

    files = [tmp_path / f"{number}.tar.gz" for number in range(5)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        for file in files:
            before = wrote
            counts = await back_up(db, file, "1", START)
            assert counts["conversations"] == counts["messages"] >= before
            assert counts["messages"] - counts["rounds"] in (0, 1)
            await anyio.sleep(0.02)
        stopped.set()
    assert wrote
    target = await other("sqlite")
    for file in files:
        await restore(target, file, force=True)


async def test_what_the_engine_cannot_hold_is_refused_whole(
    sqlite: Database, other: Callable[[str], Any], tmp_path: Path
) -> None:
    """We never write a NUL; a hand in the file might have."""
    await fill(sqlite)
    await sqlite.write(lambda conn: conn.execute(update(messages).values(answer="a\0b")).close())
    await back_up(sqlite, tmp_path / "kept", "0", START)
    target = await other("postgres")
    before = await target.read(everything)
    with pytest.raises(OperatorError, match=r"does not fit into the database.*nothing was changed"):
        await restore(target, tmp_path / "kept")
    assert await target.read(everything) == before
