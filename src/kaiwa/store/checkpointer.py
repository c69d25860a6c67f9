"""Moves SQLite's write-ahead log into the database file, away from the thread that commits.

A checkpoint inside a commit makes that commit wait for tens of milliseconds.
"""

import logging
import sqlite3
from threading import Event, Thread

_log = logging.getLogger(__name__)

_PERIOD = 1.0
_LONG_LOG = 16_384  # pages, 64 MB


class Checkpointer:
    """Owns `connection`, and its thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._grown = Event()
        self._closing = Event()
        self._thread = Thread(target=self._work, name="kaiwa-checkpointer", daemon=True)
        self._thread.start()

    def note_commit(self) -> None:
        """The log has grown; it is taken in within about a second. Any thread may say so."""
        self._grown.set()

    def close(self) -> None:
        """Take the whole log in and end; blocks until that is done."""
        self._closing.set()
        self._grown.set()
        self._thread.join()

    def _work(self) -> None:
        while self._grown.wait() and not self._closing.wait(_PERIOD):
            self._grown.clear()
            # Under steady writing a passive checkpoint never catches up and the log is never
            # begun anew; then writers have to wait for one that does.
            if self._checkpoint("PASSIVE") > _LONG_LOG:
                self._checkpoint("RESTART")
        self._checkpoint("TRUNCATE")
        self._connection.close()

    def _checkpoint(self, mode: str) -> int:
        """The length of the log in pages."""
        try:
            _, pages, _ = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            # Nothing is lost, the log keeps it; the next round tries again.
            _log.warning("the database's log could not be taken in: %s", error)
            return 0
        return pages
