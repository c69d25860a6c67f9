"""Files: written down, taken by messages, found again, and swept when nobody took them.

Their bytes lie elsewhere. Whoever is given back rows that are gone removes the bytes, after the
commit: what a crash leaves is found by `known_keys`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, update

from kaiwa.domain.file import ListedFile, MessageFile, NewFile, StoredFile
from kaiwa.domain.message import Opening
from kaiwa.errors import NotFound
from kaiwa.store.columns import ID, MICROS
from kaiwa.store.db import Database, Reads
from kaiwa.store.documents import kept_keys
from kaiwa.store.prepared import Prepared
from kaiwa.store.rows import OF_USER, columns_of, ensure_user, message_file_row, scope_of
from kaiwa.store.tables import apps, conversations, end_users, message_files, messages, upload_files

T = TypeVar("T")

_PORTION = 500
_COLUMNS = columns_of(StoredFile, upload_files)
_WIDTH = len(_COLUMNS)
_KEY = upload_files.c.key

_ADD = Prepared(insert(upload_files))


async def add_file(
    db: Database,
    workspace_id: UUID,
    app_id: UUID,
    user: str,
    file: NewFile,
    *,
    source: str = "api",
) -> StoredFile:
    """Write down a file, and its end user when that one is new."""

    def unit(conn: Connection) -> StoredFile:
        moment = file.created_at
        whose = ensure_user(conn, workspace_id, app_id, user, source, file.fresh_user_id, moment)
        stored = _store(file, whose)
        row = {name: getattr(stored, name) for name in StoredFile.__struct_fields__}
        more = {"origin": file.origin, "source_url": file.source_url, "used_at": None}
        _ADD.run(conn, row | more | {"workspace_id": workspace_id, "app_id": app_id})
        return stored

    return await db.write(unit)


def _store(file: NewFile, user_id: UUID) -> StoredFile:
    return StoredFile(
        id=file.id,
        user_id=user_id,
        name=file.name,
        size=file.size,
        extension=file.extension,
        mime_type=file.mime_type,
        type=file.type,
        key=file.key,
        created_at=file.created_at,
    )


# What only deleted conversations have is deleted with them, though it is erased later.
_IS_THERE = or_(
    upload_files.c.used_at.is_(None),
    exists().where(
        message_files.c.file_id == upload_files.c.id,
        messages.c.id == message_files.c.message_id,
        conversations.c.id == messages.c.conversation_id,
        conversations.c.deleted_at.is_(None),
    ),
)
_THEIRS = select(*_COLUMNS).where(
    upload_files.c.app_id == bindparam("in_app", type_=ID),
    upload_files.c.user_id == OF_USER,
    _IS_THERE,
)


async def find_files(
    db: Reads, app_id: UUID, user: str, ids: Sequence[UUID], *, source: str = "api"
) -> dict[UUID, StoredFile]:
    """Those of the ids that are files of this end user, in any order."""
    if not ids:
        return {}
    query = _THEIRS.where(upload_files.c.id.in_(ids))
    bound = scope_of(app_id, user, source)
    rows = await db.read(lambda conn: conn.execute(query, bound).all())
    return {row.id: StoredFile(*row) for row in rows}


_FIND = Prepared(
    select(*_COLUMNS).where(upload_files.c.id == bindparam("this", type_=ID), _IS_THERE)
)


async def find_file(db: Reads, file_id: UUID) -> StoredFile | None:
    """Whosever it is: for who has shown a signature."""
    row = await db.read(lambda conn: _FIND.row(conn, {"this": file_id}))
    return StoredFile(*row) if row else None


# Whoever sweeps or purges the file meanwhile waits for this row, and then sees that it is used.
_TAKE = Prepared(
    update(upload_files)
    .where(
        upload_files.c.id == bindparam("this", type_=ID),
        upload_files.c.user_id == bindparam("whose", type_=ID),
    )
    .values(used_at=bindparam("moment", type_=MICROS))
)
_ADD_TO_MESSAGE = Prepared(insert(message_files))


def take_files(conn: Connection, opening: Opening, user_id: UUID) -> None:
    """Inside a unit: write down which files the new message has.

    Raises `NotFound` when one is not there any more, or not this end user's.
    """
    for file_id in sorted({file.file.id for file in opening.files}):
        if not _TAKE.run(conn, {"this": file_id, "whose": user_id, "moment": opening.now}):
            raise NotFound("File Not Exists.")
    whose = opening.workspace_id, opening.message_id
    rows = [message_file_row(file, number, *whose) for number, file in enumerate(opening.files, 1)]
    _ADD_TO_MESSAGE.run_all(conn, rows)


_LAST_PLACE = (
    select(func.coalesce(func.max(message_files.c.position), 0))
    .where(message_files.c.message_id == bindparam("this", type_=ID))
    .scalar_subquery()
)
_GIVE = (
    update(messages)
    .where(messages.c.id == bindparam("this", type_=ID))
    .values(file_count=messages.c.file_count + 1)
    .returning(messages.c.workspace_id, _LAST_PLACE)
)
_USE = (
    update(upload_files)
    .where(upload_files.c.id == bindparam("this", type_=ID))
    .values(used_at=bindparam("moment", type_=MICROS))
)


async def give_file(db: Database, message_id: UUID, file: MessageFile, now: datetime) -> None:
    """The running message has this file too, which a tool has made. Raises `NotFound`."""

    def unit(conn: Connection) -> None:
        row = conn.execute(_GIVE, {"this": message_id}).first()
        if not row or not conn.execute(_USE, {"this": file.file.id, "moment": now}).rowcount:
            raise NotFound("Message Not Exists.")
        workspace_id, last = row
        _ADD_TO_MESSAGE.run(conn, message_file_row(file, last + 1, workspace_id, message_id))

    await db.write(unit)


_BETWEEN = Prepared(
    select(
        messages.c.position,
        message_files.c.id,
        message_files.c.belongs_to,
        message_files.c.method,
        message_files.c.url,
        *_COLUMNS,
    )
    .join_from(messages, message_files, message_files.c.message_id == messages.c.id)
    .join(upload_files, upload_files.c.id == message_files.c.file_id)
    .where(
        messages.c.conversation_id == bindparam("this", type_=ID),
        messages.c.position.between(bindparam("first"), bindparam("last")),
        messages.c.file_count > 0,
    )
    .order_by(messages.c.position, message_files.c.position)
)


def files_between(
    conn: Connection, conversation_id: UUID, first: int, last: int
) -> dict[int, tuple[MessageFile, ...]]:
    """Inside a unit: the files of the messages from one position to another, by position."""
    rows = _BETWEEN.rows(conn, {"this": conversation_id, "first": first, "last": last})
    return {
        position: tuple(
            MessageFile(id, StoredFile(*stored), belongs_to, method, url)
            for _, id, belongs_to, method, url, *stored in group
        )
        for position, group in groupby(rows, lambda row: row[0])
    }


async def list_files(
    db: Reads, app_id: UUID | None = None, *, last_id: UUID | None = None, limit: int = _PORTION
) -> list[ListedFile]:
    """The oldest `limit` behind `last_id`, of one app or of all."""
    query = (
        select(*_COLUMNS, apps.c.name, end_users.c.name, upload_files.c.used_at.is_not(None))
        .join_from(upload_files, apps, apps.c.id == upload_files.c.app_id)
        .join(end_users, end_users.c.id == upload_files.c.user_id)
        .order_by(upload_files.c.id)
        .limit(limit)
    )
    if app_id:
        query = query.where(upload_files.c.app_id == app_id)
    if last_id:
        query = query.where(upload_files.c.id > last_id)
    rows = await db.read(lambda conn: conn.execute(query).all())
    return [ListedFile(StoredFile(*row[:_WIDTH]), *row[_WIDTH:]) for row in rows]


async def sweep_files(db: Database, unused_before: datetime) -> list[StoredFile]:
    """Forget the files from before then that no message has taken; they are given back.

    Other writers get their turn between portions.
    """
    swept: list[StoredFile] = []
    while portion := await db.write(lambda conn: _sweep_portion(conn, unused_before)):
        swept += portion
    return swept


def _sweep_portion(conn: Connection, unused_before: datetime) -> list[StoredFile]:
    unused = upload_files.c.used_at.is_(None)
    old = (
        select(upload_files.c.id)
        .where(upload_files.c.created_at < unused_before, unused)
        .limit(_PORTION)
    )
    # Asked again, for a message may take it while this waits for the row.
    gone = delete(upload_files).where(upload_files.c.id.in_(old), unused).returning(*_COLUMNS)
    return [StoredFile(*row) for row in conn.execute(gone)]


def forget_files(conn: Connection, message_ids: Sequence[UUID]) -> list[str]:
    """Inside a unit: take the files from messages that are to be erased.

    The keys of those that no other message has, which are forgotten.
    """
    left = delete(message_files).where(message_files.c.message_id.in_(message_ids))
    ids = set(conn.scalars(left.returning(message_files.c.file_id)))
    keys: list[str] = []
    for some in _portions(sorted(ids)):
        # Held first, so that the next statement sees every message that has taken them.
        these = upload_files.c.id.in_(some)
        held = select(upload_files.c.id).where(these).order_by(upload_files.c.id)
        conn.execute(held.with_for_update()).all()
        taken = select(message_files.c.id).where(message_files.c.file_id == upload_files.c.id)
        gone = delete(upload_files).where(these, ~taken.exists()).returning(upload_files.c.key)
        keys += conn.scalars(gone)
    return keys


async def known_keys(db: Reads, keys: Sequence[str]) -> set[str]:
    """Those of the keys that a file or a document has."""

    def unit(conn: Connection) -> set[str]:
        found: set[str] = set()
        for some in _portions(keys):
            found.update(conn.scalars(select(upload_files.c.key).where(_KEY.in_(some))))
            found.update(kept_keys(conn, some))
        return found

    return await db.read(unit)


def _portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[at : at + _PORTION] for at in range(0, len(items), _PORTION))
