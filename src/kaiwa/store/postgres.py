"""PostgreSQL behind the `Database` protocol: a few threads, each with one connection.

Units that wait together are committed together. A connection that breaks is opened anew; what ran
on it is run again unless its commit may already have arrived.
"""

import importlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from anyio import to_thread
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    OperationalError,
)

from kaiwa.errors import OperatorError, StoreUnavailable
from kaiwa.store.db import Database
from kaiwa.store.lane import Done, Failed, Lane, Lanes, Result, Unit
from kaiwa.store.tables import SCHEMA

logger = logging.getLogger(__name__)

_PORTION = 32
_CONNECT_SECONDS = 5
# A server whose machine is gone says nothing; else the system would wait for a quarter of an hour.
_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_MIGRATION_LOCK = 0x6B616977  # "kaiw"
# Conflicts with another transaction: the unit is not at fault and may run again.
_CONFLICTS = {"40001", "40P01", "23505"}
# The server is at fault, and another connection may reach one that is not: a standby takes no
# writes, and a server that was one for a moment tells those who are connected so for ever.
_UNFIT = {"25006"}


class _Worker:
    """One connection and the thread that uses it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def run_all(self, units: Sequence[Unit]) -> Sequence[Result]:
        """All in one transaction or, if one of them fails, each in its own."""
        try:
            return self._run(units)
        except _Doubtful as doubt:
            return [Failed(doubt.error) for _ in units]
        except BaseException as error:  # not swallowed: whoever asked for the unit gets it
            if len(units) == 1:
                return [self._run_again(units[0], error)]
        return self._run_each(units)

    def _run_each(self, units: Sequence[Unit]) -> Sequence[Result]:
        """Each in a transaction of its own, or none where there is no connection to be had."""
        results: list[Result] = []
        for unit in units:
            try:
                self._open()
            except DBAPIError as error:
                away = Failed(_explain(error))
                return [*results, *(away for _ in units[len(results) :])]
            results += self.run_all([unit])
        return results

    def close(self) -> None:
        if self._connection:
            with suppress(DBAPIError):
                self._connection.close()
            self._connection = None

    def _run(self, units: Sequence[Unit]) -> Sequence[Result]:
        connection = self._open()
        transaction = connection.begin()
        try:
            results = [Done(unit(connection)) for unit in units]
        except BaseException as error:
            self._abandon(connection, error)
            raise
        try:
            transaction.commit()
        except DBAPIError as error:
            self._abandon(connection, error)
            if error.connection_invalidated:
                raise _Doubtful(_explain(error)) from error
            raise
        return results

    def _run_again(self, unit: Unit, error: BaseException) -> Result:
        """Once more, where the first failure was not the unit's own."""
        if not _may_run_again(error):
            return Failed(_explain(error))
        try:
            return self._run([unit])[0]
        except _Doubtful as doubt:
            return Failed(doubt.error)
        except BaseException as second:  # not swallowed: whoever asked for the unit gets it
            return Failed(_explain(second))

    def _open(self) -> Connection:
        if self._connection is None or self._connection.invalidated:
            self.close()
            self._connection = self._engine.connect()
        return self._connection

    def _abandon(self, connection: Connection, error: BaseException) -> None:
        try:
            connection.rollback()
        except DBAPIError:
            self.close()
        else:
            if connection.invalidated or _state(error) in _UNFIT:
                self.close()


class _Doubtful(Exception):
    """The connection broke in the commit: nobody knows whether it arrived."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__()


async def open_postgres(
    url: str, *, writers: int = 2, readers: int = 2, patience: float | None = None
) -> Database:
    """The database at `url`, migrated to the newest schema if need be.

    It takes at most `writers` + `readers` connections. A unit may take `patience` seconds. Raises
    `OperatorError`.
    """
    parsed = _parse(url)
    write_engine = _engine(parsed, "READ COMMITTED", read_only=False)
    # No transaction around a read: it would cost two more ways to the server.
    read_engine = _engine(parsed, "AUTOCOMMIT", read_only=True)
    try:
        await to_thread.run_sync(_bring_up, write_engine)
    except DBAPIError as error:
        raise _refusal(parsed, error) from error
    writing = [_Worker(write_engine) for _ in range(writers)]
    reading = [_Worker(read_engine) for _ in range(readers)]

    def release() -> None:
        for worker in (*writing, *reading):
            worker.close()

    return Lanes(
        Lane("kaiwa-writer", [worker.run_all for worker in writing], _PORTION, patience),
        Lane("kaiwa-reader", [worker.run_all for worker in reading], 1, patience),
        release,
        _fix,
    )


def _fix(unit: Unit) -> Unit:
    """The unit in a transaction that sees one state, on a connection that begins none itself."""

    def fixed(connection: Connection) -> Any:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            found = unit(connection)
        except BaseException:
            with suppress(DBAPIError, InvalidRequestError):  # what went wrong first is what counts
                connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")
        return found

    return fixed


async def read_postgres_schema(url: str) -> str | None:
    """The database's schema as it is: nothing is made or migrated.

    None when it is empty. Raises `OperatorError`.
    """
    parsed = _parse(url)
    engine = _engine(parsed, "REPEATABLE READ", read_only=True)

    def read() -> str | None:
        with engine.connect() as connection:
            return _read_version(connection)

    try:
        return await to_thread.run_sync(read)
    except DBAPIError as error:
        raise _refusal(parsed, error) from error


def _refusal(url: URL, error: DBAPIError) -> OperatorError:
    shown = url.render_as_string(hide_password=True)
    reason = str(error.orig).strip().splitlines()[0]
    return OperatorError(f"The database {shown} cannot be used: {reason}.")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise OperatorError("The setting database_url is not a database's address.") from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise OperatorError("The setting database_url must begin with postgresql://.")
    return parsed.set(drivername="postgresql+psycopg")


def _engine(url: URL, isolation: str, *, read_only: bool) -> Engine:
    options = "-c default_transaction_read_only=on" if read_only else ""
    return create_engine(
        url,
        poolclass=NullPool,
        isolation_level=isolation,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            **_KEEPALIVE,
            "application_name": "kaiwa",
            "options": options,
            "prepare_threshold": 2,
        },
    )


def _bring_up(engine: Engine) -> None:
    """Migrate under a lock, so that of several starters one does and the rest wait."""
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        version = _read_version(connection)
        if version == SCHEMA:
            return
        # Only now: Alembic takes longer to import than all the rest of the store.
        migrate = importlib.import_module("kaiwa.store.migrate")
        if version is not None and not migrate.knows_revision(version):
            raise OperatorError(
                f"The database has the schema {version}, which this version of Kaiwa does not "
                "know; use the newer version that wrote it."
            )
        migrate.upgrade(connection)


def _read_version(connection: Connection) -> str | None:
    """None in a new database."""
    names = inspect(connection).get_table_names()
    if "alembic_version" in names:
        return connection.scalar(text("SELECT version_num FROM alembic_version"))
    if names:
        raise OperatorError("The database belongs to another program.")
    return None


def _may_run_again(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or _state(error) in _CONFLICTS | _UNFIT


def _state(error: BaseException) -> str:
    original = error.orig if isinstance(error, DBAPIError) else None
    return str(getattr(original, "sqlstate", None) or "")


def _explain(error: BaseException) -> BaseException:
    """What the server or the way to it does to us; mistakes of a unit pass through."""
    if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError):
        return error
    if not (
        isinstance(error, OperationalError)
        or error.connection_invalidated
        or _state(error) in _UNFIT
    ):
        return error
    unavailable = StoreUnavailable()
    unavailable.__cause__ = error
    return unavailable
