"""The commands about files: what they show, and what they remove."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import anyio
from msgspec.structs import replace
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App
from kaiwa.domain.file import StoredFile
from kaiwa.store.apps import list_apps
from kaiwa.store.db import Database
from kaiwa.store.files import add_file
from kaiwa.store.sqlite import open_sqlite
from tests.e2e.process import call, make_key
from tests.e2e.test_cli import sentence_of
from tests.store.sample import new_file, send
from tests.support.apps import app_file

EVIL = "a\x1b[2J\nb\u202egnp.exe"


def blob(folder: Path, app: App, file_id: UUID) -> Path:
    """Bytes in the storage, as an upload leaves them."""
    path = folder / "data" / "files" / f"{app.id}" / f"{file_id}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")
    return path


async def keep(db: Database, folder: Path, app: App, days: float, name: str) -> StoredFile:
    made_at = datetime.now(UTC) - timedelta(days=days)
    new = replace(new_file(name, created_at=made_at), size=5)
    key = f"{app.id}/{new.id}.png"
    await anyio.to_thread.run_sync(blob, folder, app, new.id)
    return await add_file(db, app.workspace_id, app.id, "ann", replace(new, key=key))


async def fill(folder: Path) -> tuple[StoredFile, StoredFile, StoredFile]:
    """One that is used, one that was not for two days, and a new one."""
    db = await open_sqlite(folder / "data" / "kaiwa.db")
    try:
        [app] = await list_apps(db)
        used, unused, young = [
            await keep(db, folder, app, days, name)
            for days, name in ((9, "猫.png"), (2, EVIL), (0.5, "b.png"))
        ]
        await send(db, app, used)
        hour_id = int((datetime.now(UTC) - timedelta(hours=2)).timestamp() * 1000)
        orphan = UUID(int=(uuid7().int & ((1 << 80) - 1)) | hour_id << 80)
        await anyio.to_thread.run_sync(blob, folder, app, orphan)
        return used, unused, young
    finally:
        await db.close()


def test_files_are_listed_and_what_nothing_uses_is_swept(tmp_path: Path) -> None:
    make_key(tmp_path, app_file(name="Guide"))
    used, unused, young = anyio.run(fill, tmp_path)
    listed = call(tmp_path, "files", "list", "Guide")
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(f.id) for f in (used, unused, young)]
    assert lines[0].endswith("  5  used    image     Guide  ann  猫.png")
    assert lines[1].endswith("  5  unused  image     Guide  ann  a�[2J�b�gnp.exe")
    assert call(tmp_path, "files", "list").stdout == listed.stdout
    swept = call(tmp_path, "files", "sweep")
    assert (swept.returncode, swept.stdout) == (0, "")
    told = "Removed 1 unused files (5 bytes) and 1 that were left over (5 bytes).\n"
    assert swept.stderr == told
    left = {path.name for path in (tmp_path / "data" / "files").rglob("*.png")}
    assert left == {f"{used.id}.png", f"{young.id}.png"}
    assert len(call(tmp_path, "files", "list").stdout.splitlines()) == 2
    assert call(tmp_path, "files", "sweep").stderr == told.replace("1", "0").replace("5", "0")


def test_a_backup_carries_the_files(tmp_path: Path) -> None:
    make_key(tmp_path, app_file(name="Guide"))
    anyio.run(fill, tmp_path)
    done = call(tmp_path, "backup", "kept.tar.gz")
    assert done.stderr.endswith("1 messages and 3 files into kept.tar.gz.\n")
    new = tmp_path / "new"
    assert call(tmp_path, "--data", "new", "restore", "kept.tar.gz").returncode == 0
    listed = call(tmp_path, "--data", "new", "files", "list").stdout
    ids = [line.split()[0] for line in listed.splitlines()]
    assert sorted(path.stem for path in (new / "files").rglob("*.png")) == sorted(ids)
    assert listed == call(tmp_path, "files", "list").stdout
    assert len(ids) == 3


def test_what_is_wrong_is_told_in_one_sentence(tmp_path: Path) -> None:
    make_key(tmp_path, app_file(name="Guide"))
    assert "no app 'Nobody'" in sentence_of(call(tmp_path, "files", "list", "Nobody"))
    away = f"file://{tmp_path}/away"
    done = call(tmp_path, "files", "sweep", KAIWA_STORAGE_URL=away)
    assert "does not exist" in sentence_of(done)
