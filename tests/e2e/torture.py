"""How often the suites of failures strike, what they count, and the tables they look at."""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

TORTURE = int(os.environ.get("KAIWA_TORTURE", "0"))
COUNTED = "torture"
"""The property of a test's report that holds its `Tally`."""


def rounds(usual: int, share: int = 1) -> int:
    """How often to strike: `usual`, or KAIWA_TORTURE divided by `share`."""
    return max(1, TORTURE // share) if TORTURE else usual


@dataclass
class Tally:
    """What a suite has seen so far; each answer is compared with what its client heard."""

    suite: str
    strikes: int = 0
    answers: int = 0
    cut: int = 0
    """Answers that were struck in their midst."""
    tail: float = 0
    """The seconds of speech before a strike that were not kept, at most."""
    grown: float = 0
    """The MB of memory that the server had gained by the end."""

    def report(self, request: pytest.FixtureRequest) -> None:
        """Have it in the table at the end of the run."""
        request.node.user_properties.append((COUNTED, asdict(self)))


@dataclass(frozen=True)
class Kept:
    """The database of a server, seen from outside."""

    folder: Path
    url: str
    """Empty: the SQLite file in the folder."""

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        if self.url:
            with psycopg.connect(self.url) as connection:
                return connection.execute(statement.encode()).fetchall()
        with closing(sqlite3.connect(self.folder / "data" / "kaiwa.db")) as database:
            return database.execute(statement).fetchall()

    def outcomes(self) -> dict[str, int]:
        """How many messages ended, and how."""
        return dict(self.rows("SELECT outcome, count(*) FROM messages GROUP BY outcome"))

    def check(self) -> None:
        """It is whole, and no conversation has a gap or two messages in one place."""
        if not self.url:
            self._check_file()
        crooked = """
            SELECT conversation_id, count(*) FROM messages GROUP BY conversation_id
            HAVING count(*) <> max(position) OR count(DISTINCT position) <> count(*)
        """
        assert self.rows(crooked) == []
        homeless = """
            SELECT conversations.id FROM conversations
            LEFT JOIN messages ON messages.conversation_id = conversations.id
            WHERE messages.id IS NULL
        """
        assert self.rows(homeless) == []

    def _check_file(self) -> None:
        """A copy, so that the log stays as a crash has left it."""
        copy = self.folder / "copy"
        shutil.copytree(self.folder / "data", copy)
        with closing(sqlite3.connect(copy / "kaiwa.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        shutil.rmtree(copy)
