"""Every schema we have released migrates to the newest with its data, on both engines."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import select

from kaiwa.domain.message import Message, Outcome
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.store.backup import back_up, restore
from kaiwa.store.conversations import list_conversations
from kaiwa.store.db import Database
from kaiwa.store.documents import list_documents
from kaiwa.store.keys import find_caller
from kaiwa.store.knowledge import find_knowledge_caller, list_bases
from kaiwa.store.messages import close_abandoned, list_messages
from kaiwa.store.migrate import configure
from kaiwa.store.postgres import open_postgres
from kaiwa.store.segments import insert_segments
from kaiwa.store.sqlite import open_sqlite
from kaiwa.store.tables import DEFAULT_WORKSPACE, rounds
from tests.store.finding import find_passages
from tests.store.release import (
    ANSWER,
    APP,
    BASE,
    CONVERSATION,
    DIGEST,
    FOLDER,
    INPUTS,
    OTHER,
    START,
)
from tests.store.sample import ROUND, THOUGHTS, piece
from tests.support.postgres import Postgres

pytestmark = pytest.mark.anyio

RELEASED = sorted({file.name.partition(".")[0] for file in FOLDER.glob("*.sql")})
ENGINES = ["sqlite", "postgres"]
FILES = [("猫.png", 2**40, "https://example.org/cat.png")]
CUT = [Outcome.STOPPED, Outcome.ERROR, Outcome.INTERRUPTED]


def load(schema: str, engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A database as that schema has left it."""
    dump = (FOLDER / f"{schema}.{engine}.sql").read_text()
    if engine == "sqlite":
        path = tmp_path / "kaiwa.db"
        with closing(sqlite3.connect(path)) as raw:
            raw.executescript(dump)
        return path
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create()
    with psycopg.connect(url) as connection:
        connection.execute(dump.encode())
    return url


async def open_at(place: Path | str) -> Database:
    return await (open_sqlite(place) if isinstance(place, Path) else open_postgres(place))


async def talk(db: Database, user: str, conversation_id: UUID) -> list[Message]:
    page = await list_messages(db, APP, user, conversation_id, first_id=None, limit=20)
    return page.items


async def found_by(db: Database, question: str) -> list[str]:
    """What the words of the question find."""
    return [one.segment.told for one in await find_passages(db, BASE, question)]


async def check_knowledge(db: Database, schema: str) -> None:
    """It is found at once, and more can be added to it."""
    bases, _ = await list_bases(db, DEFAULT_WORKSPACE)
    if schema < "0004":
        assert bases == []
        return
    assert [(one.name, one.dimensions, one.document_count) for one in bases] == [("指南", 1, 2)]
    assert await find_knowledge_caller(db, DIGEST)
    assert await found_by(db, "魚") == ["猫は魚が好き。"]
    assert await found_by(db, "dogs") == [f"question:Dogs don't. \nanswer:{ANSWER}"]
    [later, found], _ = await list_documents(db, BASE)
    assert (later.status, found.status) == ("waiting", "completed")
    await insert_segments(db, found, [piece("Birds.")], START)
    assert await found_by(db, "birds") == ["Birds."]


async def check(db: Database, schema: str) -> None:
    """All of it is there, and goes on from where it was."""
    await check_knowledge(db, schema)
    [of_bob] = await talk(db, "bob", OTHER)
    files = [(one.file.name, one.file.size, one.url) for one in of_bob.files]
    assert files == (FILES if schema >= "0002" else [])
    caller = await find_caller(db, DIGEST)
    assert caller
    assert (caller.app.id, caller.app.name) == (APP, "Helper")
    assert caller.config.pre_prompt == "Be brief."
    [conversation] = (
        await list_conversations(
            db, APP, "ann", last_id=None, limit=20, pinned=None, sort_by="-updated_at"
        )
    ).items
    assert (conversation.id, conversation.inputs) == (CONVERSATION, INPUTS)
    assert conversation.created_at > START
    whole, *cut, running = await talk(db, "ann", CONVERSATION)
    assert (whole.query, whole.answer, whole.reasoning) == ("why?", ANSWER, "hm")
    assert (whole.inputs, whole.outcome, whole.rating) == (INPUTS, Outcome.NORMAL, "like")
    assert whole.thoughts == (THOUGHTS if schema >= "0003" else ())
    assert not any(message.thoughts for message in (*cut, running))
    assert [message.outcome for message in cut] == CUT
    assert [message.error for message in cut] == [None, "Why.", "Why."]
    assert [message.answer for message in (*cut, running)] == ["half"] * 4
    spent = await db.read(lambda conn: conn.execute(select(rounds)).all())
    assert [(row.message_id, row.prompt_price) for row in spent] == [
        (whole.id, ROUND.prompt_price)
    ] * 2
    assert await close_abandoned(db, timedelta(0), "code", "why", START) == 2
    assert (await talk(db, "ann", CONVERSATION))[-1].outcome is Outcome.INTERRUPTED


def test_every_schema_has_its_data_to_migrate() -> None:
    revisions = [
        script.revision for script in ScriptDirectory.from_config(configure()).walk_revisions()
    ]
    assert sorted(revisions) == RELEASED
    assert {file.name for file in FOLDER.glob("*.sql")} == {
        f"{schema}.{engine}.sql" for schema in RELEASED for engine in ENGINES
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("schema", RELEASED)
async def test_a_released_schema_migrates_with_its_data(
    schema: str, engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    db = await open_at(load(schema, engine, request, tmp_path))
    await check(db, schema)
    await db.close()


@pytest.mark.parametrize("schema", RELEASED)
async def test_migrated_data_moves_to_the_other_engine(
    schema: str, request: pytest.FixtureRequest, tmp_path: Path, url: str
) -> None:
    """As one grows: from a file to a server."""
    file = tmp_path / "grown.tar.gz"
    blobs = open_blobs("", tmp_path)
    small = await open_at(load(schema, "sqlite", request, tmp_path))
    await back_up(small, blobs, file, "0", START)
    large = await open_postgres(url)
    await restore(large, blobs, file)
    await check(large, schema)
    await small.close()
    await large.close()
