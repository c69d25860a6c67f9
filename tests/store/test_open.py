"""Opening a SQLite file: migrations, and the sentences an operator gets."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select

from kaiwa.errors import OperatorError
from kaiwa.store.db import Database
from kaiwa.store.migrate import configure
from kaiwa.store.sqlite import open_sqlite
from kaiwa.store.tables import DEFAULT_WORKSPACE, SCHEMA, metadata, workspaces

pytestmark = pytest.mark.anyio


def tables_of(path: Path) -> set[str]:
    other = sqlite3.connect(path)
    try:
        return {name for (name,) in other.execute("SELECT name FROM sqlite_master")}
    finally:
        other.close()


def write_sql(path: Path, *statements: str) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in statements:
            other.execute(statement)
    finally:
        other.close()


async def refusal(path: Path) -> str:
    """What the operator is told; one sentence that names the file."""
    with pytest.raises(OperatorError) as caught:
        await open_sqlite(path, lock_patience=0.05)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence)
    return sentence


def test_schema_names_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(configure()).get_heads() == [SCHEMA]


async def test_migrations_make_exactly_the_tables_we_use(db: Database) -> None:
    def differences(conn: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(conn, opts=options), metadata))

    assert await db.read(differences) == []


async def test_a_new_database_has_its_workspace(db: Database) -> None:
    found = await db.read(lambda conn: conn.scalars(select(workspaces.c.id)).all())
    assert found == [DEFAULT_WORKSPACE]


async def test_starters_at_once_migrate_once(tmp_path: Path) -> None:
    path = tmp_path / "kaiwa.db"
    opened: list[Database] = []

    async def start() -> None:
        opened.append(await open_sqlite(path))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(start)
    assert len(opened) == 4
    for db in opened:
        await db.close()


def test_processes_starting_at_once_migrate_once(tmp_path: Path) -> None:
    program = f"""
import anyio, pathlib, sys
from kaiwa.store.sqlite import open_sqlite
import kaiwa.store.migrate
async def main():
    sys.stdin.read()
    await (await open_sqlite(pathlib.Path({str(tmp_path / "kaiwa.db")!r}))).close()
anyio.run(main)
"""
    command = [sys.executable, "-c", program]
    starters = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for starter in starters:
        assert starter.stdin
        starter.stdin.close()
    assert [starter.wait(60) for starter in starters] == [0, 0, 0]


async def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kaiwa.db"
    write_sql(path, "CREATE TABLE alembic_version (version_num)", "CREATE TABLE messages (n)")
    assert "nothing in it was changed" in await refusal(path)
    assert tables_of(path) == {"alembic_version", "messages"}


async def test_a_newer_schema_is_refused(file: Path) -> None:
    write_sql(file, "UPDATE alembic_version SET version_num = '9999'")
    assert "newer version" in await refusal(file)


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    write_sql(path, "CREATE TABLE photos (n)")
    assert "another program" in await refusal(path)
    assert tables_of(path) == {"photos"}


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 100)
    assert "not a database" in await refusal(path)


async def test_a_file_another_program_holds_is_refused(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "locked" in await refusal(file)
    other.close()


async def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert "folder" in await refusal(tmp_path / "nowhere" / "kaiwa.db")


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[None]:
    """The test's folder may be read only; root, who may write everywhere, is somebody else."""
    if os.geteuid() != 0:
        tmp_path.chmod(0o555)
        yield
        return
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("unwritable")
async def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    assert "folder must exist and be writable" in await refusal(tmp_path / "kaiwa.db")


async def test_a_file_that_may_not_be_written_is_refused(file: Path, unwritable: None) -> None:
    assert re.search("may not be written|be writable", await refusal(file))
