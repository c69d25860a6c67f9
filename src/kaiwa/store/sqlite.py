"""SQLite behind the `Database` protocol: one thread writes, one reads, one tends the log.

Units that wait together are committed together. Other processes may have the file open.
"""

import importlib
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from anyio import to_thread
from msgspec import Struct
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from kaiwa.errors import OperatorError, StoreUnavailable
from kaiwa.store.checkpointer import Checkpointer
from kaiwa.store.db import Database
from kaiwa.store.lane import Done, Failed, Lane, Lanes, Result, Unit
from kaiwa.store.tables import SCHEMA

_LOG_PATIENCE = 0.2  # while the checkpointer waits for a reader, writers wait for it
# Units run in one go: one commit, one message to the event loop.
_WRITES, _READS = 256, 16

# What the machine does to us; everything else is a mistake of a unit and passes through.
_OUTSIDE = {
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_PROTOCOL: "is locked by another program",
    sqlite3.SQLITE_READONLY: "may not be written",
    sqlite3.SQLITE_PERM: "may not be written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; its folder must exist and be writable",
    sqlite3.SQLITE_FULL: "cannot grow; the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written; the disk reports an error",
    sqlite3.SQLITE_NOMEM: "cannot be used; there is not enough memory",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_NOTADB: "is not a database",
}


class _Link(Struct, frozen=True):
    """One connection: the driver's own, and Core's over it."""

    raw: sqlite3.Connection
    core: Connection

    def commit(self) -> None:
        """Core takes part in a transaction only if a unit has used it."""
        if self.core.in_transaction():
            self.core.commit()
        self.raw.commit()

    def roll_back(self) -> None:
        """Leave whatever transaction is open, in Core's eyes or the driver's; none is fine."""
        if self.core.get_transaction():
            self.core.rollback()
        self.raw.rollback()


class _Engine:
    """What the lanes' threads run units with."""

    def __init__(self, writer: _Link, reader: _Link, log: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._checkpointer = Checkpointer(log)

    def release(self) -> None:
        self._writer.core.close()
        self._reader.core.close()
        self._checkpointer.close()

    def run_writes(self, units: Sequence[Unit]) -> Sequence[Result]:
        """All in one transaction, or, if one of them fails, each in its own."""
        core = self._writer.core
        try:
            self._writer.raw.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._writer.roll_back()
            return [Failed(_unavailable(error)) for _ in units]
        try:
            results = [Done(unit(core)) for unit in units]
            self._writer.commit()
        except BaseException as error:  # not swallowed: whoever asked for the unit gets it
            self._writer.roll_back()
            if len(units) == 1:
                return [Failed(_explain(error))]
            return [result for unit in units for result in self.run_writes([unit])]
        self._checkpointer.note_commit()
        return results

    def run_reads(self, units: Sequence[Unit]) -> Sequence[Result]:
        return [self._run_read(unit) for unit in units]

    def _run_read(self, unit: Unit) -> Result:
        try:
            self._reader.raw.execute("BEGIN")
            return Done(unit(self._reader.core))
        except BaseException as error:  # not swallowed: whoever asked for the unit gets it
            return Failed(_explain(error))
        finally:
            self._reader.roll_back()


async def open_sqlite(
    path: Path, *, lock_patience: float = 5.0, patience: float | None = None
) -> Database:
    """The database in the file `path`, made or migrated to the newest schema if need be.

    Its folder must exist; another program may hold the file for `lock_patience` seconds, now and at
    each write. A unit may take `patience` seconds. Raises `OperatorError`.
    """
    engine = _Engine(*await to_thread.run_sync(_open_links, path, lock_patience))
    return Lanes(
        Lane("kaiwa-writer", [engine.run_writes], _WRITES, patience),
        Lane("kaiwa-reader", [engine.run_reads], _READS, patience),
        engine.release,
    )


def read_sqlite_schema(path: Path) -> str | None:
    """The file's schema as it is: nothing is made, migrated or waited for long.

    None when there is no file yet. Raises `OperatorError`.
    """
    try:
        if not path.exists():
            return None
        raw = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
        try:
            raw.execute("PRAGMA query_only = ON")
            return _read_version(raw, path)
        finally:
            raw.close()
    except OSError as error:
        raise OperatorError(f"The database {path} cannot be read: {error.strerror}.") from error
    except sqlite3.Error as error:
        raise OperatorError(f"The database {path} {_describe(error)}.") from error


def _open_links(path: Path, patience: float) -> tuple[_Link, _Link, sqlite3.Connection]:
    with ExitStack() as opened:
        try:
            writer = _connect(path, patience, opened)
            _enter_wal(writer, patience)
            core = _wrap(writer, opened)
            _bring_up(core, writer, path)
            writer.execute("PRAGMA foreign_keys = ON")
            reader = _connect(path, patience, opened)
            reader.execute("PRAGMA query_only = ON")
            log = _connect(path, _LOG_PATIENCE, opened)
            links = _Link(writer, core), _Link(reader, _wrap(reader, opened)), log
        except (sqlite3.Error, DBAPIError) as error:
            raise OperatorError(f"The database {path} {_describe(error)}.") from error
        opened.pop_all()
        return links


def _connect(path: Path, patience: float, opened: ExitStack) -> sqlite3.Connection:
    raw = sqlite3.connect(
        path,
        timeout=patience,
        isolation_level=None,  # we say BEGIN ourselves
        check_same_thread=False,  # opened on one thread, used on one other
        cached_statements=256,
    )
    opened.callback(raw.close)
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("PRAGMA wal_autocheckpoint = 0")
    raw.execute("PRAGMA cache_size = -8192")  # KB
    return raw


def _wrap(raw: sqlite3.Connection, opened: ExitStack) -> Connection:
    engine = create_engine("sqlite+pysqlite://", creator=lambda: raw, poolclass=NullPool)
    return opened.enter_context(engine.connect())


def _enter_wal(raw: sqlite3.Connection, patience: float) -> None:
    """SQLite does not itself wait for a lock when it changes the journal's mode."""
    deadline = time.monotonic() + patience
    while True:
        try:
            raw.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _bring_up(core: Connection, raw: sqlite3.Connection, path: Path) -> None:
    """Migrate inside one transaction, so that of several starters one does and the rest wait."""
    raw.execute("BEGIN IMMEDIATE")  # also finds out whether the file may be written
    transaction = core.begin()
    try:
        version = _read_version(raw, path)
        if version != SCHEMA:
            # Only now: Alembic takes longer to import than a server with nothing to migrate
            # takes to start.
            migrate = importlib.import_module("kaiwa.store.migrate")
            if version is not None and not migrate.knows_revision(version):
                raise OperatorError(
                    f"The database {path} has the schema {version}, which this version of Kaiwa "
                    "does not know; use the newer version that wrote it."
                )
            migrate.upgrade(core)
        transaction.commit()
    finally:
        _Link(raw, core).roll_back()


def _read_version(raw: sqlite3.Connection, path: Path) -> str | None:
    """None in a new file."""
    names = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
    if "alembic_version" in names:
        row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
        return row and row[0]
    if names:
        raise OperatorError(f"The database {path} belongs to another program.")
    return None


def _code(error: BaseException) -> int:
    """SQLite's primary result code; 0 for errors that are not its own."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlite_errorcode", 0) & 0xFF


def _explain(error: BaseException) -> BaseException:
    return _unavailable(error) if _code(error) in _OUTSIDE else error


def _unavailable(error: BaseException) -> StoreUnavailable:
    unavailable = StoreUnavailable()
    unavailable.__cause__ = error
    return unavailable


def _describe(error: Exception) -> str:
    """For a sentence that begins with the file's name."""
    reason = error.orig if isinstance(error, DBAPIError) else error
    return _OUTSIDE.get(_code(error), f"cannot be used, and nothing in it was changed: {reason}")
