"""Apps, conversations and messages to test with; every default can be said otherwise."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import bindparam, text
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App, AppConfig, AppDraft, ModelConfig, Site
from kaiwa.domain.file import MessageFile, NewFile, StoredFile
from kaiwa.domain.message import Closing, Inputs, Message, Opening, Outcome
from kaiwa.domain.thought import Called, Thought
from kaiwa.domain.usage import Price, Round, Usage
from kaiwa.store.apps import apply_app
from kaiwa.store.columns import ID
from kaiwa.store.db import Database
from kaiwa.store.files import add_file
from kaiwa.store.messages import close_message, open_message

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
