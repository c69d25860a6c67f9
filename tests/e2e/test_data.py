"""Backup, restore and migrate as an operator runs them, also beside a running server."""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from aiohttp import ClientSession, FormData

from kaiwa.store.tables import SCHEMA
from tests.contract.test_uploads import get, picture
from tests.e2e.process import call, make_key, run, serving
from tests.e2e.test_cli import sentence_of
from tests.support.apps import app_file, says
from tests.support.client import Client

FILE = "kept.tar.gz"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with a database that holds an app, and a backup of it."""
    make_key(tmp_path, app_file(name="Guide"))
    assert call(tmp_path, "backup", FILE).returncode == 0
    return tmp_path


def test_a_backup_made_under_a_running_server_is_restored_elsewhere(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.wait_demo()
        done = run(tmp_path, "backup", FILE)
        assert (done.returncode, done.stdout) == (0, "")
        told = "1 apps, 0 conversations, 0 messages and 0 files"
        assert done.stderr == f"Backed up {told} into {FILE}.\n"
        assert call(tmp_path, "app", "delete", "Kaiwa guide").returncode == 0
        assert server.answers() == 200
    done = run(tmp_path, "--data", "new", "restore", FILE)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Restored {told} from {FILE}.\n"
    listed = call(tmp_path, "--data", "new", "key", "list")
    assert "works" in listed.stdout


def test_a_restore_is_seen_by_the_server_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.wait_demo()
        assert call(tmp_path, "backup", FILE).returncode == 0
        make_key(tmp_path, app_file(name="Later"))
        assert "--force" in sentence_of(call(tmp_path, "restore", FILE))
        assert call(tmp_path, "restore", FILE, "--force").returncode == 0
        assert "Later" not in call(tmp_path, "app", "list").stdout
        assert server.answers() == 200
        assert server.stop() == 0
        assert "Traceback" not in server.stderr()


async def ask_with_a_picture(url: str, key: str) -> None:
    async with ClientSession() as session:
        client = Client(session, f"{url}/v1", key, "ann")
        form = FormData({"user": "ann"})
        form.add_field("file", picture(), filename="a.png", content_type="image/png")
        file = (await client.call("POST", "/files/upload", data=form)).body["id"]
        given = {"type": "image", "transfer_method": "local_file", "upload_file_id": file}
        assert (await client.ask("What?", files=[given])).status == 200


async def picture_link(url: str, key: str) -> str:
    """Of the one picture that was asked about."""
    async with ClientSession() as session:
        client = Client(session, f"{url}/v1", key, "ann")
        [conversation] = (await client.get("/conversations")).body["data"]
        [message] = await client.messages(conversation["id"])
        return message["message_files"][0]["url"]


def test_the_key_of_links_stays_behind_and_a_restored_installation_has_its_own(
    tmp_path: Path,
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    key = make_key(tmp_path, app_file(says("A square."), file_upload={"enabled": True}))
    with serving(tmp_path) as server:
        anyio.run(ask_with_a_picture, server.url, key)
        old_link = anyio.run(picture_link, server.url, key)
        assert anyio.run(get, old_link)[:2] == (200, picture())
        assert call(tmp_path, "backup", FILE).returncode == 0
    secret = (tmp_path / "data" / "secret.key").read_bytes()
    archive = gzip.decompress((tmp_path / FILE).read_bytes())
    assert picture() in archive
    assert secret not in archive
    assert key.encode() not in archive
    assert call(new, "restore", str(tmp_path / FILE)).returncode == 0
    with serving(new) as server:
        link = anyio.run(picture_link, server.url, key)
        assert anyio.run(get, link)[:2] == (200, picture())
        address = urlsplit(old_link)
        assert anyio.run(get, f"{server.url}{address.path}?{address.query}")[0] == 404
    own = new / "data" / "secret.key"
    assert own.read_bytes() != secret
    assert own.stat().st_mode & 0o777 == 0o600


def test_a_file_is_kept_unless_force_is_said(kept: Path) -> None:
    before = (kept / FILE).read_bytes()
    assert "--force" in sentence_of(call(kept, "backup", FILE))
    assert (kept / FILE).read_bytes() == before
    assert call(kept, "backup", FILE, "--force").returncode == 0


def test_without_a_database_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    assert "no database yet" in sentence_of(call(tmp_path, "backup", FILE))
    assert [*tmp_path.iterdir()] == []


def test_a_backup_goes_to_postgresql_and_back(kept: Path, url: str) -> None:
    assert call(kept, "restore", FILE, KAIWA_DATABASE_URL=url).returncode == 0
    again = call(kept, "backup", "again.tar.gz", KAIWA_DATABASE_URL=url)
    assert again.returncode == 0, again.stderr
    assert call(kept, "--data", "new", "restore", "again.tar.gz").returncode == 0
    lists = [
        call(kept, "key", "list").stdout,
        call(kept, "key", "list", KAIWA_DATABASE_URL=url).stdout,
        call(kept, "--data", "new", "key", "list").stdout,
    ]
    assert lists[0]
    assert lists == [lists[0]] * 3


@pytest.mark.parametrize("text", [b"", b"Dear reader", b"\x1f\x8b\x08"])
def test_what_is_no_backup_is_refused_and_makes_nothing(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE).write_bytes(text)
    assert "not a whole backup" in sentence_of(call(tmp_path, "restore", FILE))
    assert "missing" in sentence_of(call(tmp_path, "restore", "missing"))
    assert not (tmp_path / "data").exists()


def test_migrate_makes_what_check_only_tells(tmp_path: Path) -> None:
    done = call(tmp_path, "migrate", "--check")
    assert (done.returncode, done.stderr) == (1, "")
    assert "is not there yet" in done.stdout
    assert [*tmp_path.iterdir()] == []
    made = call(tmp_path, "migrate")
    assert (made.returncode, made.stdout) == (0, f"Made the database at schema {SCHEMA}.\n")
    for command in (["migrate"], ["migrate", "--check"]):
        done = call(tmp_path, *command)
        assert (done.returncode, done.stdout) == (
            0,
            f"The database is up to date: schema {SCHEMA}.\n",
        )
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["kaiwa.db"]


def test_migrate_works_beside_a_server(tmp_path: Path, url: str) -> None:
    with serving(tmp_path, database_url=url):
        for command in (["migrate"], ["migrate", "--check"]):
            assert call(tmp_path, *command, KAIWA_DATABASE_URL=url).returncode == 0
    with serving(tmp_path):
        for command in (["migrate"], ["migrate", "--check"]):
            assert call(tmp_path, *command).returncode == 0


def set_schema(folder: Path, schema: str) -> None:
    with closing(sqlite3.connect(folder / "data" / "kaiwa.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = ?", (schema,))


def test_another_schema_is_told(kept: Path) -> None:
    set_schema(kept, "0000")
    done = call(kept, "migrate", "--check")
    assert done.returncode == 1
    assert "has the schema 0000" in done.stdout
    assert "kaiwa migrate" in sentence_of(call(kept, "backup", "other"))
    set_schema(kept, "9999")
    for command in (["migrate"], ["migrate", "--check"], ["backup", "other"]):
        assert "newer version" in sentence_of(call(kept, *command))


def test_a_database_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kaiwa.db").write_text("Dear reader, " * 100)
    for command in (["migrate"], ["migrate", "--check"], ["backup", FILE]):
        assert "is not a database" in sentence_of(call(tmp_path, *command))
        sentence = sentence_of(
            call(tmp_path, *command, KAIWA_DATABASE_URL="postgresql://a:secret@127.0.0.1:9/x")
        )
        assert "secret" not in sentence
