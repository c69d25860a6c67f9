"""What a turn or a page asks is answered from indexes, however many rows there are."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kaiwa.domain.message import Draft, Exchange
from kaiwa.store.apps import get_config
from kaiwa.store.conversations import (
    SortBy,
    delete_conversation,
    list_conversations,
    pin_conversation,
    purge_conversations,
    rename_conversation,
    retitle_conversation,
)
from kaiwa.store.db import Database
from kaiwa.store.feedback import set_rating
from kaiwa.store.files import find_file, find_files, known_keys, sweep_files
from kaiwa.store.keys import find_caller
from kaiwa.store.messages import (
    beat,
    checkpoint_messages,
    close_abandoned,
    find_message,
    first_query,
    list_messages,
    read_history,
)
from tests.store.sample import Erased, at, begin, finish, keep_file, make_app, send, tick

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class Explaining:
    """A database that notes how SQLite goes about every statement it is given."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.plans: list[tuple[str, str]] = []

    async def read(self, unit: Callable[[Connection], T]) -> T:
        return await self._db.read(self._explained(unit))

    async def snapshot(self, unit: Callable[[Connection], T]) -> T:
        return await self._db.snapshot(self._explained(unit))

    async def write(self, unit: Callable[[Connection], T]) -> T:
        return await self._db.write(self._explained(unit))

    async def close(self) -> None:
        await self._db.close()

    def _explained(self, unit: Callable[[Connection], T]) -> Callable[[Connection], T]:
        def explain(conn: Connection) -> T:
            said: list[str] = []
            driver: Any = conn.connection.driver_connection
            driver.set_trace_callback(said.append)
            try:
                return unit(conn)
            finally:
                driver.set_trace_callback(None)
                for sql in said:
                    steps = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all()
                    self.plans.extend((sql, step.detail) for step in steps)

        return explain


async def test_no_statement_of_a_turn_or_page_reads_a_whole_table(sqlite: Database) -> None:
    app = await make_app(sqlite)
    seen = Explaining(sqlite)
    first = await begin(seen, app)
    file = await keep_file(seen, app)
    where = first.conversation_id
    second = await send(seen, app, file, conversation_id=where)
    await find_files(seen, app.id, "ann", [file.id, uuid7()])
    await find_file(seen, file.id)
    await known_keys(seen, [file.key, "other"])
    await sweep_files(seen, at(100))
    await checkpoint_messages(seen, [Draft(second.id, "so", "")])
    await beat(seen, [second.id])
    await finish(seen, second)
    await close_abandoned(seen, timedelta(0), "code", "why", at(0))
    await find_caller(seen, b"")
    await get_config(seen, app.id, app.config_id)
    await list_messages(seen, app.id, "ann", where, first_id=second.id, limit=5)
    await find_message(seen, app.id, "ann", second.id)
    await set_rating(seen, app.id, "ann", second.id, "like", None, uuid7, tick())
    await set_rating(seen, app.id, "ann", second.id, None, None, uuid7, tick())
    await read_history(seen, where, list[Exchange])
    await first_query(seen, where)
    await rename_conversation(seen, app.id, "ann", where, "x", tick())
    await pin_conversation(seen, app.id, "ann", where, True)
    await retitle_conversation(seen, where, "x", "y")
    sorts: list[SortBy] = ["created_at", "-created_at", "updated_at", "-updated_at"]
    for sort_by in sorts:
        for last_id in (None, where):
            await list_conversations(
                seen, app.id, "ann", last_id=last_id, limit=5, pinned=None, sort_by=sort_by
            )
    await delete_conversation(seen, app.id, "ann", where, tick())
    await purge_conversations(seen, at(100), Erased())
    assert len(seen.plans) > 40
    for sql, step in seen.plans:
        # The index over running messages is read whole: it holds no others.
        harmless = step == "SCAN CONSTANT ROW" or "ix_messages_running" in step
        assert not step.startswith("SCAN") or harmless, (sql, step)
        assert "TEMP B-TREE" not in step, (sql, step)
