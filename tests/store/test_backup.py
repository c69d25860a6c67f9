"""Backups: what goes in comes out, in either engine; what is no backup changes nothing."""

import gzip
import io
import json
import random
import stat
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, select, update
from uuid_utils.compat import uuid7

from kaiwa.domain.file import StoredFile
from kaiwa.errors import BlobsUnavailable, OperatorError
from kaiwa.ports import BlobStore
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.store.apps import delete_app
from kaiwa.store.backup import back_up, check_archive, restore
from kaiwa.store.db import Database
from kaiwa.store.documents import list_documents
from kaiwa.store.feedback import set_rating
from kaiwa.store.files import find_file
from kaiwa.store.keys import create_key
from kaiwa.store.knowledge import create_knowledge_key, list_bases
from kaiwa.store.postgres import open_postgres
from kaiwa.store.segments import insert_segments
from kaiwa.store.sqlite import open_sqlite
from kaiwa.store.tables import DEFAULT_WORKSPACE, messages, metadata
from tests.store.finding import find_passages
from tests.store.sample import (
    START,
    THOUGHTS,
    begin,
    cite,
    finish,
    go_on,
    keep_file,
    make_app,
    make_base,
    make_found,
    piece,
    send,
    tick,
)

pytestmark = pytest.mark.anyio

Members = dict[str, bytes]
TEXT = "猫は魚が好き。\nDogs bark.".encode()
BYTES = random.Random(1).randbytes(2_500_000)


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


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """The storage of the database that is backed up."""
    return open_blobs("", tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path) -> BlobStore:
    """The storage of the database that is restored into."""
    return open_blobs("", tmp_path / "elsewhere")


async def cut_up(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 100_000):
        yield content[at : at + 100_000]


async def all_of(blobs: BlobStore) -> dict[str, bytes]:
    return {key: await blobs.read(key) async for key, _ in blobs.list_keys()}


async def fill(db: Database, blobs: BlobStore) -> list[StoredFile]:
    """Something in every table, and what is hard to write down; its files, the small one last."""
    app = await make_app(db)
    await create_key(db, app.id, b"\x00\xff" * 16, "app-abcd", uuid7, tick())
    message = await begin(db, app)
    said = 'He said: "你好"\n\t\u2028 \U0001f600 \\u0000'
    await finish(db, message, said, thoughts=THOUGHTS)
    await set_rating(db, app.id, "ann", message.id, "like", "good", uuid7, tick())
    await go_on(db, app, message.conversation_id)
    files = [await keep_file(db, app) for _ in range(2)]
    for file, content in zip(files, (BYTES, b"small"), strict=True):
        await blobs.put(file.key, cut_up(content))
    await send(db, app, files[0], conversation_id=message.conversation_id)
    gone = await make_app(db, "Gone")
    await delete_app(db, gone.id, tick())
    for _ in range(3):
        await finish(db, await begin(db, app, "bob"))
    await cite(db, message, uuid7(), tick())
    base = await make_base(db)
    await create_knowledge_key(db, base.workspace_id, uuid7(), b"\xff\x00" * 16, "ds-", tick())
    document = await make_found(db, base, "猫は魚が好き。", "Dogs bark.")
    await blobs.put(document.key, cut_up(TEXT))
    return files


async def text_of(db: Database) -> dict[str, bytes]:
    """The bytes of its only document, by their key."""
    [base], _ = await list_bases(db, DEFAULT_WORKSPACE)
    [document], _ = await list_documents(db, base.id)
    return {document.key: TEXT}


async def test_rows_are_the_same_in_either_engine(
    db: Database, blobs: BlobStore, other: Callable[[str], Any], tmp_path: Path
) -> None:
    await fill(db, blobs)
    file = tmp_path / "b.tar.gz"
    counts = await back_up(db, blobs, file, "1", START)
    before = await db.read(everything)
    assert all(before.values())
    assert counts == {name: len(rows) for name, rows in before.items()}
    assert check_archive(file).created_at == START
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for engine in ("sqlite", "postgres"):
        target = await other(engine)
        assert await restore(target, blobs, file) == counts
        assert await target.read(everything) == before
        again = tmp_path / f"{engine}.tar.gz"
        await back_up(target, blobs, again, "1", START)
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
    db: Database, blobs: BlobStore, tmp_path: Path
) -> None:
    await fill(db, blobs)
    file = tmp_path / "b.tar.gz"
    await back_up(db, blobs, file, "1", START)
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


def swap_last(file: Path) -> None:
    content = members(file)
    last, before = content.popitem(), content.popitem()
    pack(file, content | dict([last, before]))


def forget_last(file: Path) -> None:
    """Bytes that are said to be gone, and are there."""
    content = members(file)
    name, text = content.popitem()
    pack(file, content | {name.replace("files/", "gone/"): text})


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
        change("manifest.json", b'"0004"', b'"9999"'),
        change("manifest.json", b'"0004"', b'"0001"'),
        change("manifest.json", b'"format": 1', b'"format": 2'),
        change("manifest.json", b'"format": 1', b'"format": "x"'),
        change("messages.jsonl", b"}\n", b"\n"),
        change("messages.jsonl", b'"position": 1', b'"position": "one"'),
        change("messages.jsonl", b'"position": 1', b'"position": null'),
        change("messages.jsonl", b'"position"', b'"place"'),
        change("messages.jsonl", b'"outcome": "normal"', b'"outcome": "fine"'),
        change("messages.jsonl", b"{", b"["),
        change("rounds.jsonl", b'"0.000001"', b'"cheap"'),
        change("upload_files.jsonl", b'"key": "', b'"key": "../'),
        swap_last,
        forget_last,
    ],
)
async def test_what_is_no_whole_backup_changes_nothing(
    sqlite: Database,
    blobs: BlobStore,
    elsewhere: BlobStore,
    tmp_path: Path,
    spoil: Callable[[Path], None],
) -> None:
    await fill(sqlite, blobs)
    file = tmp_path / "b.tar.gz"
    await back_up(sqlite, blobs, file, "1", START)
    before = await sqlite.read(everything)
    stored = await all_of(blobs)
    spoil(file)
    with pytest.raises(OperatorError, match=r"^(The file|The backup) .*\.$"):
        check_archive(file)
    with pytest.raises(OperatorError, match=r"^(The file|The backup) .*\.$"):
        await restore(sqlite, blobs, file, force=True)
    with pytest.raises(OperatorError, match=r"^(The file|The backup) .*\.$"):
        await restore(sqlite, elsewhere, file, force=True)
    assert await sqlite.read(everything) == before
    assert (await all_of(blobs), await all_of(elsewhere)) == (stored, {})


async def test_rows_that_lead_nowhere_change_nothing(
    db: Database, blobs: BlobStore, tmp_path: Path
) -> None:
    await fill(db, blobs)
    file = tmp_path / "b.tar.gz"
    await back_up(db, blobs, file, "1", START)
    before = await db.read(everything)
    pack(file, members(file) | {"conversations.jsonl": b""})
    with pytest.raises(OperatorError, match=r"does not fit .* nothing was changed\.$"):
        await restore(db, blobs, file, force=True)
    assert await db.read(everything) == before


async def test_a_database_that_is_in_use_is_replaced_only_by_force(
    db: Database, blobs: BlobStore, tmp_path: Path
) -> None:
    file = tmp_path / "b.tar.gz"
    await fill(db, blobs)
    before = await db.read(everything)
    await back_up(db, blobs, file, "1", START)
    await make_app(db, "Later")
    with pytest.raises(OperatorError, match="--force"):
        await restore(db, blobs, file)
    assert await db.read(everything) != before
    await restore(db, blobs, file, force=True)
    assert await db.read(everything) == before
    await begin(db, await make_app(db, "Afterwards"))


async def test_a_file_is_replaced_only_by_force_and_never_by_half(
    sqlite: Database, blobs: BlobStore, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    file = folder / "b.tar.gz"
    file.write_text("precious")
    with pytest.raises(OperatorError, match="--force"):
        await back_up(sqlite, blobs, file, "1", START)
    await fill(sqlite, blobs)

    def spoil(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE feedback RENAME TO feedbacks")

    await sqlite.write(spoil)
    with pytest.raises(Exception, match="no such table: feedback"):
        await back_up(sqlite, blobs, file, "1", START, force=True)
    assert file.read_text() == "precious"
    assert [one.name for one in folder.iterdir()] == ["b.tar.gz"]

    await sqlite.write(
        lambda connection: connection.exec_driver_sql("ALTER TABLE feedbacks RENAME TO feedback")
    )
    await back_up(sqlite, blobs, file, "1", START, force=True)
    assert check_archive(file).kaiwa == "1"
    assert [one.name for one in folder.iterdir()] == ["b.tar.gz"]


async def test_a_place_that_cannot_be_written_is_named(
    sqlite: Database, blobs: BlobStore, tmp_path: Path
) -> None:
    for file in (tmp_path, tmp_path / "nowhere" / "b.tar.gz"):
        with pytest.raises(OperatorError, match=rf"{file} cannot be written: .*\.$"):
            await back_up(sqlite, blobs, file, "1", START, force=True)


async def test_a_backup_is_of_one_moment(
    db: Database, blobs: BlobStore, other: Callable[[str], Any], tmp_path: Path
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
            counts = await back_up(db, blobs, file, "1", START)
            assert counts["conversations"] == counts["messages"] >= before
            assert counts["messages"] - counts["rounds"] in (0, 1)
            await anyio.sleep(0.02)
        stopped.set()
    assert wrote
    target = await other("sqlite")
    for file in files:
        await restore(target, blobs, file, force=True)


async def test_what_the_engine_cannot_hold_is_refused_whole(
    sqlite: Database, blobs: BlobStore, other: Callable[[str], Any], tmp_path: Path
) -> None:
    """We never write a NUL; a hand in the file might have."""
    await fill(sqlite, blobs)
    await sqlite.write(lambda conn: conn.execute(update(messages).values(answer="a\0b")).close())
    await back_up(sqlite, blobs, tmp_path / "kept", "0", START)
    target = await other("postgres")
    before = await target.read(everything)
    with pytest.raises(OperatorError, match=r"does not fit into the database.*nothing was changed"):
        await restore(target, blobs, tmp_path / "kept")
    assert await target.read(everything) == before


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_files_are_restored_with_their_rows(
    engine: str,
    db: Database,
    blobs: BlobStore,
    elsewhere: BlobStore,
    other: Callable[[str], Any],
    tmp_path: Path,
) -> None:
    """Into the other engine too, and where some of them are already."""
    files = await fill(db, blobs)
    stored = await all_of(blobs)
    assert stored == {files[0].key: BYTES, files[1].key: b"small"} | await text_of(db)
    file = tmp_path / "b.tar.gz"
    await back_up(db, blobs, file, "1", START)
    names = [*members(file)]
    assert names[-2:] == [f"files/{one.key}" for one in files]
    target = await other(engine)
    await elsewhere.put(files[1].key, cut_up(b"small"))
    await elsewhere.put("other/key", cut_up(b"not ours"))
    await restore(target, elsewhere, file)
    assert await all_of(elsewhere) == stored | {"other/key": b"not ours"}
    assert [await find_file(target, one.id) for one in files] == files


async def test_bytes_that_are_gone_do_not_hinder_a_backup(
    sqlite: Database, blobs: BlobStore, elsewhere: BlobStore, tmp_path: Path
) -> None:
    files = await fill(sqlite, blobs)
    before = await sqlite.read(everything)
    await blobs.delete([files[0].key])
    file = tmp_path / "b.tar.gz"
    await back_up(sqlite, blobs, file, "1", START)
    assert [*members(file)][-2:] == [f"gone/{files[0].key}", f"files/{files[1].key}"]
    await restore(sqlite, elsewhere, file, force=True)
    assert await sqlite.read(everything) == before
    assert await all_of(elsewhere) == {files[1].key: b"small"} | await text_of(sqlite)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_what_is_restored_is_found_at_once_and_more_can_be_added(
    engine: str, db: Database, blobs: BlobStore, other: Callable[[str], Any], tmp_path: Path
) -> None:
    await fill(db, blobs)
    await back_up(db, blobs, tmp_path / "b.tar.gz", "1", START)
    target: Database = await other(engine)
    await restore(target, blobs, tmp_path / "b.tar.gz")

    async def found_by(question: str) -> list[str]:
        return [one.segment.content for one in await find_passages(target, base.id, question)]

    [base], _ = await list_bases(target, DEFAULT_WORKSPACE)
    assert await found_by("魚") == ["猫は魚が好き。"]
    [document], _ = await list_documents(target, base.id)
    await insert_segments(target, document, [piece("Birds sing.")], tick())
    assert await found_by("birds") == ["Birds sing."]
    assert sorted(await found_by("birds dogs")) == ["Birds sing.", "Dogs bark."]


async def test_knowledge_too_is_replaced_only_by_force(
    db: Database, blobs: BlobStore, tmp_path: Path
) -> None:
    await back_up(db, blobs, tmp_path / "b.tar.gz", "1", START)
    await make_base(db)
    with pytest.raises(OperatorError, match="--force"):
        await restore(db, blobs, tmp_path / "b.tar.gz")
    await restore(db, blobs, tmp_path / "b.tar.gz", force=True)
    assert await list_bases(db, DEFAULT_WORKSPACE) == ([], 0)


async def test_a_refused_restore_leaves_no_files(
    sqlite: Database, blobs: BlobStore, elsewhere: BlobStore, tmp_path: Path
) -> None:
    await fill(sqlite, blobs)
    file = tmp_path / "b.tar.gz"
    await back_up(sqlite, blobs, file, "1", START)
    with pytest.raises(OperatorError, match="--force"):
        await restore(sqlite, elsewhere, file)
    pack(file, members(file) | {"conversations.jsonl": b""})
    with pytest.raises(OperatorError, match=r"nothing was changed\.$"):
        await restore(sqlite, elsewhere, file, force=True)
    assert await all_of(elsewhere) == {}


class Away:
    """A store that cannot be reached; it has what is asked of it here."""

    def get(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        raise BlobsUnavailable

    async def delete(self, keys: list[str]) -> None:
        raise BlobsUnavailable


async def test_a_store_that_is_away_is_told_and_nothing_changes(
    sqlite: Database, blobs: BlobStore, tmp_path: Path
) -> None:
    await fill(sqlite, blobs)
    before = await sqlite.read(everything)
    away: Any = Away()
    folder = tmp_path / "kept"
    folder.mkdir()
    with pytest.raises(OperatorError, match=r"was not written: The file storage cannot be reached"):
        await back_up(sqlite, away, folder / "b.tar.gz", "1", START)
    assert [*folder.iterdir()] == []
    await back_up(sqlite, blobs, folder / "b.tar.gz", "1", START)
    with pytest.raises(OperatorError, match=r"nothing was changed: The file storage cannot be"):
        await restore(sqlite, away, folder / "b.tar.gz", force=True)
    assert await sqlite.read(everything) == before
