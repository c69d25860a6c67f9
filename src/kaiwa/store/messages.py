"""Messages: opened, kept while they grow, closed; found, paged, and read as history."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    Connection,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from kaiwa.domain.file import MessageFile
from kaiwa.domain.message import (
    REFUSED,
    Closing,
    Draft,
    Exchange,
    Message,
    Opening,
    Outcome,
    Page,
)
from kaiwa.errors import NotFound
from kaiwa.store.citations import citations_between, keep_citations
from kaiwa.store.columns import ID, INPUTS, MICROS, OUTCOME, database_time
from kaiwa.store.conversations import find_within
from kaiwa.store.db import Database, Reads
from kaiwa.store.files import files_between, take_files
from kaiwa.store.prepared import Bound, Prepared, Row
from kaiwa.store.rows import (
    THEIR_LIVE,
    columns_of,
    conversation_row,
    ensure_user,
    message_row,
    round_row,
    scope_of,
)
from kaiwa.store.tables import IS_RUNNING, conversations, feedback, messages, rounds
from kaiwa.store.thoughts import keep_thoughts, thoughts_between

T = TypeVar("T")

Choose = Callable[[Iterator[Exchange]], T]

HISTORY_LIMIT = 500
_FILES_REACH = 20
_AFTER_ALL = 2**31 - 1  # larger than any position

_THIS = messages.c.conversation_id == bindparam("this", type_=ID)

_ADD_CONVERSATION = Prepared(insert(conversations))
_ADD = Prepared(insert(messages).values(heartbeat_at=database_time()))
_TOUCH = Prepared(
    update(conversations)
    .where(THEIR_LIVE, conversations.c.id == bindparam("this", type_=ID))
    .values(
        updated_at=bindparam("moment", type_=MICROS), inputs=bindparam("new_inputs", type_=INPUTS)
    )
    .returning(conversations.c.user_id)
)
_LAST = Prepared(
    select(messages.c.id, messages.c.position)
    .where(_THIS)
    .order_by(messages.c.position.desc())
    .limit(1)
)


async def open_message(
    db: Database, opening: Opening, choose: Choose[T] | None = None
) -> tuple[Message, T | None]:
    """Keep the question, and its end user and conversation where they are new.

    With it comes what `choose` makes of the history before it, as in `read_history`: the one way
    to the database that every question takes anyway. Raises `NotFound` when the conversation is
    not new and not there to be continued, and when a file is not the end user's or has been swept.
    """

    def unit(conn: Connection) -> tuple[Message, T | None]:
        message = _open(conn, opening)
        if choose is None:
            return message, None
        if opening.new:
            return message, choose(iter(()))
        return message, choose_history(conn, opening.conversation_id, choose)

    return await db.write(unit)


def _open(conn: Connection, opening: Opening) -> Message:
    parent_id, position = None, 1
    if opening.new:
        user_id = ensure_user(
            conn,
            opening.workspace_id,
            opening.app_id,
            opening.user,
            opening.source,
            opening.user_id,
            opening.now,
        )
        _ADD_CONVERSATION.run(conn, conversation_row(opening, user_id))
    else:
        user_id = _touch(conn, opening)
        if last := _LAST.row(conn, {"this": opening.conversation_id}):
            parent_id, position = last[0], last[1] + 1
    message = Message(
        id=opening.message_id,
        conversation_id=opening.conversation_id,
        parent_id=parent_id,
        position=position,
        inputs=opening.inputs,
        query=opening.query,
        answer="",
        reasoning="",
        outcome=Outcome.RUNNING,
        error_code=None,
        error=None,
        created_at=opening.now,
        files=opening.files,
    )
    _ADD.run(conn, message_row(message, opening, user_id))
    if opening.files:
        take_files(conn, opening, user_id)
    return message


def _touch(conn: Connection, opening: Opening) -> UUID:
    scope = scope_of(opening.app_id, opening.user, opening.source)
    touched = {
        "this": opening.conversation_id,
        "moment": opening.now,
        "new_inputs": opening.conversation_inputs,
    }
    user_id = _TOUCH.value(conn, scope | touched)
    if user_id is None:
        raise NotFound("Conversation Not Exists.")
    return user_id


# A row that another transaction holds is being closed: waiting for it, while holding others, could
# end in a deadlock, and it needs neither words nor a heartbeat any more.
_FREE = (
    select(messages.c.id)
    .where(messages.c.id == bindparam("this", type_=ID), IS_RUNNING)
    .with_for_update(key_share=True, skip_locked=True)
    .scalar_subquery()
)
_SAID: dict[str, Any] = {"answer": bindparam("new_answer"), "reasoning": bindparam("new_reasoning")}
_CHECKPOINT = Prepared(
    update(messages).where(messages.c.id == _FREE).values(**_SAID, heartbeat_at=database_time())
)


async def checkpoint_messages(db: Database, drafts: Sequence[Draft]) -> None:
    """Keep how far answers have come; those that have ended stay as they are."""
    rows = [
        {"this": draft.message_id, "new_answer": draft.answer, "new_reasoning": draft.reasoning}
        for draft in drafts
    ]
    if not rows:
        return

    def unit(conn: Connection) -> None:
        _CHECKPOINT.run_all(conn, rows)
        for draft in drafts:
            if draft.thoughts:
                keep_thoughts(conn, draft.message_id, draft.thoughts, running=True)

    await db.write(unit)


_BEAT = Prepared(
    update(messages).where(messages.c.id == _FREE).values(heartbeat_at=database_time())
)


async def beat(db: Database, message_ids: Sequence[UUID]) -> None:
    """Say that these messages, where they are running, are still worked on."""
    rows = [{"this": message_id} for message_id in message_ids]
    if rows:
        await db.write(lambda conn: _BEAT.run_all(conn, rows))


_ENDED: dict[str, Any] = {
    "outcome": bindparam("new_outcome", type_=OUTCOME),
    "error_code": bindparam("new_code"),
    "error": bindparam("new_error"),
    "finished_at": bindparam("moment", type_=MICROS),
}
_CLOSE = (
    update(messages)
    .where(messages.c.id == bindparam("this", type_=ID))
    .values(**_SAID, **_ENDED)
    .returning(messages.c.workspace_id)
)
_CLOSE_RUNNING = Prepared(_CLOSE.where(IS_RUNNING))
_CLOSE_AGAIN = Prepared(_CLOSE)
_DROP_ROUNDS = delete(rounds).where(rounds.c.message_id == bindparam("this", type_=ID))
_ADD_ROUNDS = Prepared(insert(rounds))


async def close_message(db: Database, closing: Closing) -> None:
    """Keep the whole answer and its usage; the last word, also over `close_abandoned`.

    Safe to run twice; does nothing when the message has been erased.
    """
    await db.write(lambda conn: _close(conn, closing))


def _close(conn: Connection, closing: Closing) -> None:
    this = {"this": closing.message_id}
    said = {"new_answer": closing.answer, "new_reasoning": closing.reasoning}
    ended = {
        "new_outcome": closing.outcome,
        "new_code": closing.error_code,
        "new_error": closing.error,
        "moment": closing.now,
    }
    bound = this | said | ended
    kept = closing.rounds_before
    workspace_id = _CLOSE_RUNNING.value(conn, bound)
    if workspace_id is None:  # closed before, by us or as abandoned, or erased
        workspace_id = _CLOSE_AGAIN.value(conn, bound)
        if workspace_id is None:
            return
        conn.execute(_DROP_ROUNDS, this)
        kept = 0
    whose = {"message_id": closing.message_id, "workspace_id": workspace_id}
    rows = [
        whose | {"position": position} | round_row(spent)
        for position, spent in enumerate(closing.usage.rounds, 1)
        if position > kept
    ]
    _ADD_ROUNDS.run_all(conn, rows)
    if closing.thoughts:
        keep_thoughts(conn, closing.message_id, closing.thoughts, running=False)
    if closing.citations or closing.rounds_before:  # an answer that went on may have had some
        keep_citations(conn, closing.message_id, closing.citations)


_ABANDON = Prepared(
    update(messages)
    .where(
        type_coerce(messages.c.heartbeat_at, BigInteger)
        < database_time() - bindparam("silence", type_=BigInteger),
        IS_RUNNING,
    )
    .values(**_ENDED)
)


async def close_abandoned(
    db: Database, silence: timedelta, error_code: str, error: str, now: datetime
) -> int:
    """End as `interrupted`, text kept, what has had no heartbeat for so long; how many."""
    bound = {
        "silence": silence // timedelta(microseconds=1),
        "new_outcome": Outcome.INTERRUPTED,
        "new_code": error_code,
        "new_error": error,
        "moment": now,
    }
    return await db.write(lambda conn: _ABANDON.run(conn, bound))


# `rating` is the last field of `Message` that a row fills; behind it stands how many files,
# thoughts and citations it has.
_RATED = select(
    *columns_of(Message, messages),
    feedback.c.rating,
    messages.c.file_count,
    messages.c.thought_count,
    messages.c.citation_count,
).outerjoin_from(
    messages,
    feedback,
    and_(
        feedback.c.message_id == messages.c.id,
        feedback.c.source == bindparam("of_source"),
    ),
)

_POSITION = Prepared(
    select(messages.c.position).where(_THIS, messages.c.id == bindparam("first", type_=ID))
)
_PAGE = Prepared(
    _RATED.where(_THIS, messages.c.position < bindparam("before"))
    .order_by(messages.c.position.desc())
    .limit(bindparam("most"))
)


async def list_messages(
    db: Reads,
    app_id: UUID,
    user: str,
    conversation_id: UUID,
    *,
    first_id: UUID | None,
    limit: int,
    source: str = "api",
) -> Page[Message]:
    """The newest `limit` before `first_id`, oldest first; `has_more` means still older ones.

    Raises `NotFound` for a conversation or a first message that is not there to be seen.
    """
    bound = scope_of(app_id, user, source) | {"this": conversation_id, "most": limit + 1}

    def unit(conn: Connection) -> Page[Message]:
        if find_within(conn, bound) is None:
            raise NotFound("Conversation Not Exists.")
        before: int | None = _AFTER_ALL
        if first_id:
            before = _POSITION.value(conn, {"this": conversation_id, "first": first_id})
        if before is None:
            raise NotFound("First Message Not Exists.")
        rows = _PAGE.rows(conn, bound | {"before": before})
        return Page(_messages_of(conn, rows[:limit][::-1]), len(rows) > limit)

    return await db.read(unit)


def _messages_of(conn: Connection, rows: Sequence[Row]) -> list[Message]:
    """Those of the rows, of one conversation and oldest first, with all that belongs to them."""
    found = [Message(*row[:-3]) for row in rows]
    if not any(row[-3] or row[-2] or row[-1] for row in rows):
        return found
    within = found[0].conversation_id, found[0].position, found[-1].position
    files = files_between(conn, *within) if any(row[-3] for row in rows) else {}
    thoughts = thoughts_between(conn, *within) if any(row[-2] for row in rows) else {}
    cited = citations_between(conn, *within) if any(row[-1] for row in rows) else {}
    return [
        replace(
            message,
            files=files.get(message.position, ()),
            thoughts=thoughts.get(message.position, ()),
            citations=cited.get(message.position, ()),
        )
        for message in found
    ]


_FIND = Prepared(
    _RATED.join(conversations, conversations.c.id == messages.c.conversation_id).where(
        THEIR_LIVE, messages.c.id == bindparam("this", type_=ID)
    )
)


async def find_message(
    db: Database, app_id: UUID, user: str, message_id: UUID, *, source: str = "api"
) -> Message | None:
    """None also when it is somebody else's or its conversation is deleted."""
    bound = scope_of(app_id, user, source) | {"this": message_id}

    return await db.read(lambda conn: find_theirs(conn, bound))


def find_theirs(conn: Connection, bound: Bound) -> Message | None:
    """Inside a unit: the message `this`, in the scope of `scope_of`."""
    found = _messages_of(conn, _FIND.rows(conn, bound))
    return found[0] if found else None


def is_last(conn: Connection, message: Message) -> bool:
    """Inside a unit: whether its conversation has not gone on."""
    last = _LAST.row(conn, {"this": message.conversation_id})
    return last is not None and last[0] == message.id


_HISTORY = Prepared(
    select(
        messages.c.query,
        messages.c.answer,
        messages.c.position,
        messages.c.file_count,
        messages.c.error_code,
    )
    .where(_THIS, messages.c.answer != "", messages.c.outcome != Outcome.RUNNING)
    .order_by(messages.c.position.desc())
    .limit(bindparam("most"))
)


async def read_history(
    db: Database, conversation_id: UUID, choose: Choose[T], limit: int = HISTORY_LIMIT
) -> T:
    """What `choose` makes of the newest `limit` exchanges that were answered and have ended.

    It gets them newest first, on the database's thread, perhaps twice; what it does not take is
    not loaded, so a long conversation never is as a whole.
    """
    return await db.read(lambda conn: choose_history(conn, conversation_id, choose, limit))


def choose_history(
    conn: Connection, conversation_id: UUID, choose: Choose[T], limit: int = HISTORY_LIMIT
) -> T:
    """Inside a unit: see `read_history`."""
    with closing(_HISTORY.each(conn, {"this": conversation_id, "most": limit})) as rows:
        return choose(_exchanges(conn, conversation_id, rows))


def _exchanges(conn: Connection, conversation_id: UUID, rows: Iterable[Row]) -> Iterator[Exchange]:
    """Files are looked for only where there are some, for several questions at once."""
    files: dict[int, tuple[MessageFile, ...]] = {}
    reach = _AFTER_ALL
    for query, answer, position, file_count, error_code in rows:
        refused = error_code == REFUSED
        if not file_count:
            yield Exchange(query, answer, refused=refused)
            continue
        if position < reach:
            reach = max(position - _FILES_REACH, 0)
            files = files_between(conn, conversation_id, reach, position)
        theirs = [one.file for one in files.get(position, ()) if one.belongs_to == "user"]
        yield Exchange(query, answer, tuple(theirs), refused)


_FIRST = Prepared(
    select(messages.c.query)
    .where(_THIS, func.coalesce(messages.c.error_code, "") != REFUSED)
    .order_by(messages.c.position)
    .limit(1)
)


async def first_query(db: Database, conversation_id: UUID) -> str | None:
    """The first question that was not refused; None when there is none."""
    return await db.read(lambda conn: _FIRST.value(conn, {"this": conversation_id}))
