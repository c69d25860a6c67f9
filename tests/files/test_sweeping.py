"""The bytes of files that nothing uses go, and no others."""

import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App
from kaiwa.domain.file import StoredFile
from kaiwa.domain.knowledge import Document, KnowledgeBase, document_key
from kaiwa.errors import BlobsUnavailable
from kaiwa.files.sweeping import Swept, erase, find_orphans, sweep_unused
from kaiwa.ports import BlobStore
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.store.apps import delete_app
from kaiwa.store.conversations import delete_conversation, purge_conversations
from kaiwa.store.db import Database
from kaiwa.store.documents import add_document, delete_document, replace_document
from kaiwa.store.files import add_file, find_file
from kaiwa.store.knowledge import delete_base
from kaiwa.store.sqlite import open_sqlite
from kaiwa.worker import Sweep, UpkeepSettings
from tests.store.sample import at, make_app, make_base, new_document, new_file, send, tick

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def db(file: Path) -> AsyncIterator[Database]:
    database = await open_sqlite(file)
    yield database
    await database.close()


@pytest.fixture
async def app(db: Database) -> App:
    return await make_app(db)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return open_blobs("", tmp_path)


def id_of(moment: datetime) -> UUID:
    """A UUIDv7 made then."""
    micros = int(moment.timestamp() * 1000)
    return UUID(int=(uuid7().int & ((1 << 80) - 1)) | micros << 80)


async def once(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


async def put(blobs: BlobStore, key: str) -> str:
    await blobs.put(key, once(b"12345"))
    return key


async def keep(db: Database, blobs: BlobStore, app: App, made_at: datetime) -> StoredFile:
    """A file with its bytes."""
    file_id = id_of(made_at)
    key = await put(blobs, f"{app.id}/{file_id}.png")
    file = replace(new_file(created_at=made_at), id=file_id, key=key, size=5)
    return await add_file(db, app.workspace_id, app.id, "ann", file)


async def keys_of(blobs: BlobStore) -> set[str]:
    return {key async for key, _ in blobs.list_keys()}


class Away:
    """A store that cannot be reached; only what is asked of it here."""

    async def delete(self, keys: Sequence[str]) -> None:
        raise BlobsUnavailable


async def test_what_no_message_took_goes_with_its_bytes(
    db: Database, blobs: BlobStore, app: App
) -> None:
    old, used, young = [await keep(db, blobs, app, NOW - HOUR * hours) for hours in (30, 30, 20)]
    await send(db, app, used)
    assert await sweep_unused(db, blobs, NOW - HOUR * 24) == Swept(1, 5)
    assert await find_file(db, old.id) is None
    assert await keys_of(blobs) == {used.key, young.key}
    assert await sweep_unused(db, blobs, NOW - HOUR * 24) == Swept()


async def test_only_old_bytes_of_our_apps_that_no_row_names_are_orphans(
    db: Database, blobs: BlobStore, app: App
) -> None:
    await keep(db, blobs, app, NOW - HOUR * 9)
    gone = await make_app(db, "Gone")
    await delete_app(db, gone.id, tick())
    orphans = {
        await put(blobs, f"{owner}/{id_of(NOW - HOUR * hours)}{end}")
        for owner, hours, end in ((app.id, 2, ".png"), (app.id, 900, ""), (gone.id, 2, ".tar.gz"))
    }
    last = UUID(int=(1 << 128) - 1 & ~(0xF << 76) | 7 << 76)  # of the year 10889
    for strange in (
        f"{app.id}/{id_of(NOW - HOUR / 2)}.png",
        f"{uuid7()}/{id_of(NOW - HOUR * 2)}.png",
        f"{app.id}/{uuid4()}",
        f"{app.id}/{last}",
        f"{app.id}/cat.png",
        f"{app.id}/a/{id_of(NOW - HOUR * 2)}",
        f"{id_of(NOW - HOUR * 2)}",
        "README",
    ):
        await put(blobs, strange)
    assert await find_orphans(db, blobs, NOW - HOUR) == dict.fromkeys(orphans, 5)


async def test_upkeep_removes_an_orphan_at_second_sight(
    db: Database, blobs: BlobStore, app: App, tmp_path: Path
) -> None:
    """A restore may have put back the bytes, and be about to write the rows."""
    orphan = await put(blobs, f"{app.id}/{id_of(NOW - HOUR * 2)}.png")
    late_id = id_of(NOW - HOUR * 2)
    late = await put(blobs, f"{app.id}/{late_id}.png")
    unused = await keep(db, blobs, app, NOW - HOUR * 25)
    left = tmp_path / "files" / f"{app.id}" / "half#1"
    left.write_bytes(b"")
    an_age_ago = (NOW - HOUR * 2).timestamp()
    os.utime(left, (an_age_ago, an_age_ago))
    sweep = Sweep(db, blobs, lambda: NOW, UpkeepSettings())
    await sweep.run()
    assert await find_file(db, unused.id) is None
    assert await keys_of(blobs) == {orphan, late}
    assert not left.exists()
    new = replace(new_file(created_at=NOW), id=late_id, key=late)
    await add_file(db, app.workspace_id, app.id, "ann", new)
    await sweep.run()
    assert await keys_of(blobs) == {late}


async def test_purging_removes_bytes_and_a_store_that_is_away_does_not_stop_it(
    db: Database, blobs: BlobStore, app: App
) -> None:
    one, two = [await keep(db, blobs, app, NOW) for _ in range(2)]
    for file, store in ((one, blobs), (two, Away())):
        message = await send(db, app, file)
        await delete_conversation(db, app.id, "ann", message.conversation_id, at(100))

        async def remove(keys: Sequence[str], store: BlobStore | Away = store) -> None:
            await erase(store, keys)  # pyright: ignore[reportArgumentType]

        assert await purge_conversations(db, at(200), remove) == 1
        assert await find_file(db, file.id) is None
    assert await keys_of(blobs) == {two.key}
    assert await find_orphans(db, blobs, NOW + HOUR) == {two.key: 5}


async def keep_document(db: Database, blobs: BlobStore, base: KnowledgeBase) -> Document:
    """A document of long ago with its bytes."""
    new = new_document(base, new_id=lambda: id_of(NOW - 9 * HOUR))
    await put(blobs, new.key)
    return await add_document(db, base.workspace_id, base.id, new, tick())


async def orphans_of(db: Database, blobs: BlobStore) -> set[str]:
    return {*await find_orphans(db, blobs, NOW - HOUR)}


async def test_the_bytes_of_documents_stay_and_those_of_deleted_ones_go(
    db: Database, blobs: BlobStore
) -> None:
    base = await make_base(db)
    document, deleted = [await keep_document(db, blobs, base) for _ in range(2)]
    assert await orphans_of(db, blobs) == set()
    await delete_document(db, base.workspace_id, deleted, tick())
    assert await orphans_of(db, blobs) == {deleted.key}
    await delete_base(db, base.workspace_id, base.id, tick())
    assert await orphans_of(db, blobs) == {document.key, deleted.key}
    sweep = Sweep(db, blobs, lambda: NOW, UpkeepSettings())
    await sweep.run()
    await sweep.run()
    assert await keys_of(blobs) == set()


async def test_the_bytes_of_a_documents_earlier_version_go_and_a_new_one_may_take_its_time(
    db: Database, blobs: BlobStore
) -> None:
    base = await make_base(db)
    document = await keep_document(db, blobs, base)
    coming = await put(blobs, document_key(base.id, document.id, id_of(NOW)))
    old = await put(blobs, document_key(base.id, document.id, id_of(NOW - 5 * HOUR)))
    assert await orphans_of(db, blobs) == {old}
    new = replace(new_document(base), id=document.id, key=coming)
    await replace_document(db, base.workspace_id, document, new, tick())
    assert await orphans_of(db, blobs) == {old, document.key}


@pytest.mark.parametrize(
    "key", ["knowledge/a/b/c", f"knowledge/{'0' * 32}/{'0' * 32}/{'f' * 32}", "knowledge/x.txt"]
)
async def test_what_looks_like_a_documents_bytes_is_left_alone(
    db: Database, blobs: BlobStore, key: str
) -> None:
    await make_base(db)
    await put(blobs, key)
    assert await orphans_of(db, blobs) == set()
