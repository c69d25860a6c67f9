"""The seam between Kaiwa's queries and the engine that runs them.

A unit is a plain function of a connection. It runs whole inside one transaction on the engine's own
thread, so no transaction can be open while anything is awaited. A unit may be run twice (its
batch failed, the server restarted): it must not touch anything but the connection.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection, text

T = TypeVar("T")


class Reads(Protocol):
    """What can be read from."""

    async def read(self, unit: Callable[[Connection], T]) -> T:
        """Run `unit`; each of its statements sees everything committed before the call.

        A later one may see more than an earlier one: what has to agree is asked for in `snapshot`.
        Raises `StoreUnavailable` when the engine cannot be reached; errors of `unit` pass through.
        """
        ...


class Database(Reads, Protocol):
    """An open database, its schema at the newest version."""

    async def snapshot(self, unit: Callable[[Connection], T]) -> T:
        """As `read`, all statements on one and the same state; costs two more ways to a server."""
        ...

    async def write(self, unit: Callable[[Connection], T]) -> T:
        """Run `unit` and commit; when this returns, what it wrote survives a crash.

        Raises `StoreUnavailable` when it cannot be written (full disk, locked); errors of `unit`
        pass through, and then nothing was written. A cancelled caller does not undo the unit.
        """
        ...

    async def close(self) -> None:
        """Finish what was asked for, then let go of the files or connections."""
        ...


async def check_alive(db: Database) -> None:
    """Raises `StoreUnavailable` when the database does not answer."""
    await db.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())


async def measure(db: Database) -> tuple[int, str | None]:
    """The size in bytes, and SQLite's journal mode."""

    def unit(connection: Connection) -> tuple[int, str | None]:
        if connection.dialect.name == "postgresql":
            size = "SELECT pg_database_size(current_database())"
            return connection.scalar(text(size)) or 0, None
        pages, length, mode = (
            connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("page_count", "page_size", "journal_mode")
        )
        return pages * length, mode

    return await db.read(unit)
