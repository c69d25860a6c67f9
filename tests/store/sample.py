"""Apps, conversations and messages to test with; every default can be said otherwise."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import count
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import bindparam, insert, text
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App, AppConfig, AppDraft, ModelConfig, Site
from kaiwa.domain.file import MessageFile, NewFile, StoredFile
from kaiwa.domain.knowledge import (
    ChunkRule,
    Document,
    KnowledgeBase,
    RetrievalSettings,
    document_key,
)
from kaiwa.domain.message import Closing, Inputs, Message, Opening, Outcome
from kaiwa.domain.terms import index_terms
from kaiwa.domain.thought import Called, Thought
from kaiwa.domain.usage import Price, Round, Usage
from kaiwa.store.apps import apply_app
from kaiwa.store.columns import ID
from kaiwa.store.db import Database
from kaiwa.store.documents import NewDocument, add_document, claim_document, get_document
from kaiwa.store.files import add_file
from kaiwa.store.knowledge import NewBase, create_base
from kaiwa.store.messages import close_message, open_message
from kaiwa.store.segments import NewSegment, add_segments, finish_document
from kaiwa.store.tables import DEFAULT_WORKSPACE, citations

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
OWNER = UUID(int=7)
APP_FOLDER = UUID(int=8)
_ticks = count(1)

ROUND = Round(
    provider="openai",
    model="small",
    prompt_tokens=11,
    completion_tokens=3,
    price=Price(Decimal("0.15"), Decimal("0.60"), Decimal("0.000001")),
    estimated=False,
    latency=0.25,
)
THOUGHTS = (
    Thought(
        UUID(int=5),
        1,
        datetime(2026, 11, 1, 12, tzinfo=UTC),
        "Let me see…",
        (Called("call_1", "clock", '{"zone": "UTC"}', "12:00 \0"), Called("call_2", "x", "{")),
        {"clock": {"en_US": "Clock", "zh_Hans": "时钟"}},
        (UUID(int=6),),
    ),
    Thought(UUID(int=7), 2, datetime(2026, 11, 1, 12, tzinfo=UTC), "It is noon."),
)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def tick() -> datetime:
    """Each time a microsecond later."""
    return START + timedelta(microseconds=next(_ticks))


def draft(
    name: str = "Helper",
    *,
    id: UUID | None = None,
    prompt: str = "",
    source: str = "file",
    api_enabled: bool = True,
) -> AppDraft:
    config = AppConfig(ModelConfig("scripted", "m"), pre_prompt=prompt)
    return AppDraft(id, name, "chat", Site(title=name), api_enabled, config, source)


async def make_app(db: Database, name: str = "Helper") -> App:
    made, _ = await apply_app(db, draft(name, id=uuid7()), uuid7, tick())
    return made


def opening(
    app: App, user: str = "ann", conversation_id: UUID | None = None, query: str = "why?"
) -> Opening:
    """A new conversation's, unless one is named."""
    inputs: Inputs = {"city": "東京", "n": 2**80}
    return Opening(
        workspace_id=app.workspace_id,
        app_id=app.id,
        key_id=None,
        user_id=uuid7(),
        user=user,
        source="api",
        conversation_id=conversation_id or uuid7(),
        new=conversation_id is None,
        name="New conversation",
        introduction="Hello.",
        config_id=app.config_id,
        conversation_inputs=inputs,
        message_id=uuid7(),
        inputs={"city": "京都"},
        query=query,
        owner=OWNER,
        now=tick(),
    )


async def begin(
    db: Database, app: App, user: str = "ann", *, now: datetime | None = None
) -> Message:
    """The first message of a new conversation."""
    message, _ = await open_message(db, replace(opening(app, user), now=now or tick()))
    return message


async def go_on(
    db: Database, app: App, conversation_id: UUID, user: str = "ann", query: str = "why?"
) -> Message:
    """One more message of a conversation."""
    message, _ = await open_message(db, opening(app, user, conversation_id, query))
    return message


def closing(
    message_id: UUID, answer: str = "because", outcome: Outcome = Outcome.NORMAL
) -> Closing:
    return Closing(message_id, answer, "", outcome, None, None, Usage((ROUND,)), tick())


async def finish(
    db: Database,
    message: Message,
    answer: str = "because",
    outcome: Outcome = Outcome.NORMAL,
    thoughts: tuple[Thought, ...] = (),
) -> None:
    await close_message(db, replace(closing(message.id, answer, outcome), thoughts=thoughts))


async def fall_silent(db: Database, message: Message, seconds: float) -> None:
    """As if nobody had worked on the message for so long, by the engine's own clock."""
    earlier = text("UPDATE messages SET heartbeat_at = heartbeat_at - :micros WHERE id = :id")
    bound = earlier.bindparams(bindparam("id", message.id, ID), micros=int(seconds * 1_000_000))
    await db.write(lambda conn: conn.execute(bound).rowcount)


def new_file(name: str = "cat.png", *, created_at: datetime | None = None) -> NewFile:
    """As if its bytes had just been stored."""
    file_id = uuid7()
    return NewFile(
        id=file_id,
        fresh_user_id=uuid7(),
        name=name,
        size=3 * 2**31,
        extension="png",
        mime_type="image/png",
        type="image",
        key=f"{APP_FOLDER}/{file_id}.png",
        origin="upload",
        source_url=None,
        created_at=created_at or tick(),
    )


async def keep_file(
    db: Database, app: App, user: str = "ann", *, created_at: datetime | None = None
) -> StoredFile:
    """A file that no message has yet."""
    return await add_file(db, app.workspace_id, app.id, user, new_file(created_at=created_at))


def sent(*files: StoredFile) -> tuple[MessageFile, ...]:
    """The files as an end user sends them."""
    return tuple(MessageFile(uuid7(), file, "user", "local_file") for file in files)


async def send(
    db: Database,
    app: App,
    *files: StoredFile,
    user: str = "ann",
    conversation_id: UUID | None = None,
) -> Message:
    """A question with these files, in a new conversation unless one is named."""
    asked = replace(opening(app, user, conversation_id), files=sent(*files))
    message, _ = await open_message(db, asked)
    return message


class Erased:
    """Notes the keys of blobs that were to be removed."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def __call__(self, keys: Sequence[str]) -> None:
        assert keys
        self.keys += keys


LEASE = timedelta(seconds=30)


async def make_base(
    db: Database, name: str = "Guide", workspace_id: UUID = DEFAULT_WORKSPACE
) -> KnowledgeBase:
    """An empty base that has vectors."""
    new = NewBase(
        id=uuid7(),
        name=name,
        description="所有说明",
        embedding_provider="openai",
        embedding_model="small",
        retrieval=RetrievalSettings(top_k=3, score_threshold=0.25),
    )
    return await create_base(db, workspace_id, new, tick())


def new_document(
    base: KnowledgeBase,
    name: str = "guide.txt",
    *,
    origin: str | None = None,
    new_id: Callable[[], UUID] = uuid7,
) -> NewDocument:
    """As if its bytes had just been stored."""
    document_id = new_id()
    return NewDocument(
        id=document_id,
        name=name,
        source="upload_file",
        origin=origin,
        digest=sha256(name.encode()).digest(),
        key=document_key(base.id, document_id, new_id()),
        size=3 * 2**31,
        extension="txt",
        mime_type="text/plain",
        rule=ChunkRule(mode="custom", separator="###"),
        language="English",
        batch="20260102030405000001",
    )


async def give_document(
    db: Database, base: KnowledgeBase, name: str = "guide.txt", *, origin: str | None = None
) -> Document:
    """A document that waits to be worked on."""
    new = new_document(base, name, origin=origin)
    return await add_document(db, base.workspace_id, base.id, new, tick())


def piece(
    content: str, position: int = 1, embedding: bytes | None = None, answer: str = ""
) -> NewSegment:
    return NewSegment(
        id=uuid7(),
        position=position,
        content=content,
        terms=" ".join(index_terms(content)),
        tokens=len(content) // 4,
        words=len(content),
        digest=sha256(content.encode()).digest(),
        answer=answer,
        keywords=("one", "二"),
        embedding=embedding,
    )


async def claim(db: Database, owner: UUID = OWNER) -> Document:
    """The next one, which there must be."""
    document = await claim_document(db, owner, LEASE, tick())
    assert document
    return document


async def make_found(
    db: Database, base: KnowledgeBase, *contents: str, name: str = "guide.txt"
) -> Document:
    """A document with these segments, which are found."""
    await give_document(db, base, name)
    document = await claim(db)
    pieces = [piece(content, at, b"\x00\x3c") for at, content in enumerate(contents, 1)]
    await add_segments(db, document, OWNER, pieces, tick())
    assert await finish_document(db, document, OWNER, tick(), 1)
    return await get_document(db, base.id, document.id)


async def cite(db: Database, message: Message, id: UUID, now: datetime) -> None:
    """As if the message had been told one passage."""
    row = {
        "message_id": message.id,
        "position": 1,
        "workspace_id": DEFAULT_WORKSPACE,
        "id": id,
        "created_at": now,
        "passage": '{"content": "说"}',
    }
    await db.write(lambda conn: conn.execute(insert(citations).values(row)).close())
