"""Conversations: one end user's threads in one app; nobody else's are ever found."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, select, tuple_, update

from kaiwa.domain.message import Conversation, Page
from kaiwa.errors import NotFound
from kaiwa.store.columns import ID, MICROS
from kaiwa.store.db import Database, Reads
from kaiwa.store.files import forget_files
from kaiwa.store.prepared import Prepared
from kaiwa.store.rows import THEIR_LIVE, columns_of, scope_of
from kaiwa.store.tables import citations, conversations, feedback, messages, rounds, thoughts

SortBy = Literal["created_at", "-created_at", "updated_at", "-updated_at"]

Erase = Callable[[Sequence[str]], Awaitable[None]]
"""Removes the blobs of these keys; what it leaves has no rows any more, and is found by that."""

_PORTION = 500
_COLUMNS = columns_of(Conversation, conversations)
_FIND = Prepared(
    select(*_COLUMNS).where(THEIR_LIVE, conversations.c.id == bindparam("this", type_=ID))
)
_CHANGE = update(conversations).where(THEIR_LIVE, conversations.c.id == bindparam("this", type_=ID))


def find_within(conn: Connection, bound: Mapping[str, Any]) -> Conversation | None:
    """Inside a unit: the conversation `this` of the end user, both in `bound`."""
    row = _FIND.row(conn, bound)
    return Conversation(*row) if row else None


async def find_conversation(
    db: Reads, app_id: UUID, user: str, conversation_id: UUID, *, source: str = "api"
) -> Conversation | None:
    """None also when it is deleted or somebody else's."""
    bound = scope_of(app_id, user, source) | {"this": conversation_id}
    return await db.read(lambda conn: find_within(conn, bound))


async def get_conversation(
    db: Reads, app_id: UUID, user: str, conversation_id: UUID, *, source: str = "api"
) -> Conversation:
    """Raises `NotFound`, also when it is deleted or somebody else's."""
    found = await find_conversation(db, app_id, user, conversation_id, source=source)
    if found is None:
        raise NotFound("Conversation Not Exists.")
    return found


async def list_conversations(
    db: Reads,
    app_id: UUID,
    user: str,
    *,
    last_id: UUID | None,
    limit: int,
    pinned: bool | None,
    sort_by: SortBy,
    source: str = "api",
) -> Page[Conversation]:
    """Those behind `last_id` in the order of `sort_by`; `pinned` None means all.

    Raises `NotFound` when `last_id` is not a live conversation of this end user.
    """
    bound = scope_of(app_id, user, source) | {"this": last_id, "most": limit + 1, "kept": pinned}

    def unit(conn: Connection) -> Page[Conversation]:
        after: dict[str, Any] = {}
        if last_id:
            last = find_within(conn, bound)
            if last is None:
                raise NotFound("Last Conversation Not Exists.")
            moment = last.created_at if sort_by.endswith("created_at") else last.updated_at
            after = {"moment": moment}
        query = _listing(sort_by, resumed=bool(last_id), sifted=pinned is not None)
        found = [Conversation(*row) for row in query.rows(conn, bound | after)]
        return Page(found[:limit], len(found) > limit)

    return await db.read(unit)


@cache
def _listing(sort_by: SortBy, *, resumed: bool, sifted: bool) -> Prepared:
    column = conversations.c[sort_by.removeprefix("-")]
    place = tuple_(column, conversations.c.id)
    last = tuple_(bindparam("moment", type_=MICROS), bindparam("this", type_=ID))
    query = select(*_COLUMNS).where(THEIR_LIVE).limit(bindparam("most"))
    if sifted:
        query = query.where(conversations.c.pinned == bindparam("kept"))
    if sort_by.startswith("-"):
        query = query.order_by(column.desc(), conversations.c.id.desc())
        return Prepared(query.where(place < last) if resumed else query)
    query = query.order_by(column, conversations.c.id)
    return Prepared(query.where(place > last) if resumed else query)


_RENAME = Prepared(
    _CHANGE.values(name=bindparam("new_name"), updated_at=bindparam("moment", type_=MICROS))
)


async def rename_conversation(
    db: Database,
    app_id: UUID,
    user: str,
    conversation_id: UUID,
    name: str,
    now: datetime,
    *,
    source: str = "api",
) -> Conversation:
    """As it is afterwards, moved to `now`; raises `NotFound`."""
    bound = scope_of(app_id, user, source) | {"this": conversation_id}
    return await _change(db, _RENAME, bound, {"new_name": name, "moment": now})


_PIN = Prepared(_CHANGE.values(pinned=bindparam("kept")))


async def pin_conversation(
    db: Database,
    app_id: UUID,
    user: str,
    conversation_id: UUID,
    pinned: bool,
    *,
    source: str = "api",
) -> Conversation:
    """As it is afterwards; its `updated_at` stays. Raises `NotFound`."""
    bound = scope_of(app_id, user, source) | {"this": conversation_id}
    return await _change(db, _PIN, bound, {"kept": pinned})


async def _change(
    db: Database, change: Prepared, bound: Mapping[str, Any], values: Mapping[str, Any]
) -> Conversation:
    def unit(conn: Connection) -> Conversation:
        change.run(conn, {**bound, **values})
        changed = find_within(conn, bound)
        if changed is None:
            raise NotFound("Conversation Not Exists.")
        return changed

    return await db.write(unit)


_RETITLE = Prepared(
    update(conversations)
    .where(
        conversations.c.id == bindparam("this", type_=ID),
        conversations.c.name == bindparam("old_name"),
        conversations.c.deleted_at.is_(None),
    )
    .values(name=bindparam("new_name"))
)


async def retitle_conversation(
    db: Database, conversation_id: UUID, title: str, instead_of: str
) -> None:
    """Name it after its content, unless somebody named it meanwhile; `updated_at` stays."""
    bound = {"this": conversation_id, "old_name": instead_of, "new_name": title}
    await db.write(lambda conn: _RETITLE.run(conn, bound))


_DELETE = Prepared(_CHANGE.values(deleted_at=bindparam("moment", type_=MICROS)))


async def delete_conversation(
    db: Database,
    app_id: UUID,
    user: str,
    conversation_id: UUID,
    now: datetime,
    *,
    source: str = "api",
) -> None:
    """Nobody finds it any more; `purge_conversations` erases it. Raises `NotFound`."""
    bound = scope_of(app_id, user, source) | {"this": conversation_id, "moment": now}
    if not await db.write(lambda conn: _DELETE.run(conn, bound)):
        raise NotFound("Conversation Not Exists.")


async def purge_conversations(db: Database, deleted_before: datetime, erase: Erase) -> int:
    """Erase what was deleted before then, with all that hangs on it; how many conversations.

    Files that nothing else uses go too; `erase` gets their keys, when their rows are gone. Other
    writers get their turn between portions.
    """
    purged = 0
    while True:
        portion = await db.write(lambda conn: _purge_portion(conn, deleted_before))
        if portion is None:
            return purged
        count, keys = portion
        purged += count
        if keys:
            await erase(keys)


def _purge_portion(conn: Connection, deleted_before: datetime) -> tuple[int, list[str]] | None:
    """Some messages and the keys of their files, else some conversations; None at the end.

    With it goes how many conversations those were.
    """
    old = conversations.c.deleted_at < deleted_before
    held = (
        select(messages.c.id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .where(old)
        .limit(_PORTION)
    )
    if ids := conn.scalars(held).all():
        keys = forget_files(conn, ids)
        for table in (rounds, thoughts, citations, feedback):
            conn.execute(delete(table).where(table.c.message_id.in_(ids)))
        conn.execute(delete(messages).where(messages.c.id.in_(ids)))
        return 0, keys
    empty = select(conversations.c.id).where(old).limit(_PORTION)
    count = conn.execute(delete(conversations).where(conversations.c.id.in_(empty))).rowcount
    return (count, []) if count else None
