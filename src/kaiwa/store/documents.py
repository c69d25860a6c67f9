"""Documents of knowledge bases, and who works on each until it is found.

A document's row is its job: whoever claims it beats its heart, and each step asks whether the
document is still theirs. What a worker that died has done stays, and the next one goes on from it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    TextClause,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from kaiwa.domain.file import StoredFile
from kaiwa.domain.knowledge import (
    ChunkRule,
    Document,
    DocumentSource,
    DocumentStatus,
)
from kaiwa.errors import NotFound
from kaiwa.store.columns import MICROS, database_time
from kaiwa.store.db import Database, Reads
from kaiwa.store.rows import columns_of
from kaiwa.store.tables import IS_UNFINISHED, documents, knowledge_bases, segments

COLUMNS = columns_of(Document, documents)
LIVE = documents.c.deleted_at.is_(None)
_AGAIN = {
    "status": "waiting",
    "error": None,
    "owner": None,
    "heartbeat_at": None,
    "attempts": 0,
    "started_at": None,
    "parsed_at": None,
    "split_at": None,
    "completed_at": None,
    "segment_count": 0,
    "segments_done": 0,
}


class NewDocument(Struct, frozen=True):
    """What is to be searched, its bytes already kept."""

    id: UUID
    name: str
    source: DocumentSource
    origin: str | None
    digest: bytes
    key: str
    size: int
    extension: str
    mime_type: str
    rule: ChunkRule
    language: str
    batch: str


def to_document(row: RowMapping) -> Document:
    """From the values of `COLUMNS`."""
    found = dict(row)
    found["rule"] = msgspec.json.decode(found["rule"], type=ChunkRule)
    return Document(**found)


async def add_document(
    db: Database, workspace_id: UUID, base_id: UUID, new: NewDocument, now: datetime
) -> Document:
    """The document at the end of its base, waiting to be worked on. Raises `NotFound`.

    When another one of the same origin has come meanwhile, it is that one, and nothing changes.
    """

    def unit(conn: Connection) -> Document:
        touch_base(conn, workspace_id, base_id, now, found=False)  # one after the other from here
        if new.origin and (known := _find_of(conn, base_id, new.origin)):
            return known
        last = select(func.max(documents.c.position)).where(documents.c.base_id == base_id)
        row = _values(new) | {
            "workspace_id": workspace_id,
            "base_id": base_id,
            "position": (conn.scalar(last) or 0) + 1,
            "status": "waiting",
            "enabled": True,
            "archived": False,
            "created_at": now,
            "updated_at": now,
        }
        conn.execute(insert(documents).values(row))
        return _get(conn, base_id, new.id)

    return await db.write(unit)


async def replace_document(
    db: Database, workspace_id: UUID, document: Document, new: NewDocument, now: datetime
) -> Document:
    """The same document with other content, which is worked on anew.

    What was found of it is found until that is done. Raises `NotFound`.
    """

    def unit(conn: Connection) -> Document:
        touch_base(conn, workspace_id, document.base_id, now, found=False)
        values = _values(new) | _AGAIN | {"updated_at": now}
        del values["id"], values["source"]
        change = update(documents).where(documents.c.id == document.id, LIVE).values(values)
        if not conn.execute(change).rowcount:
            raise NotFound("Document not found.")
        return _get(conn, document.base_id, document.id)

    return await db.write(unit)


def _values(new: NewDocument) -> dict[str, Any]:
    return msgspec.structs.asdict(new) | {"rule": msgspec.json.encode(new.rule).decode()}


def touch_base(
    conn: Connection, workspace_id: UUID, base_id: UUID, now: datetime, *, found: bool
) -> None:
    """Inside a unit: the base changes; with `found`, so does what is found in it.

    Raises `NotFound` when there is no such base.
    """
    values: dict[str, Any] = {"updated_at": now}
    if found:
        values["version"] = knowledge_bases.c.version + 1
    change = (
        update(knowledge_bases)
        .where(
            knowledge_bases.c.id == base_id,
            knowledge_bases.c.workspace_id == workspace_id,
            knowledge_bases.c.deleted_at.is_(None),
        )
        .values(values)
    )
    if not conn.execute(change).rowcount:
        raise NotFound("Dataset not found.")


def _get(conn: Connection, base_id: UUID, document_id: UUID) -> Document:
    query = select(*COLUMNS).where(
        documents.c.id == document_id, documents.c.base_id == base_id, LIVE
    )
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound("Document not found.")
    return to_document(row)


async def get_document(db: Reads, base_id: UUID, document_id: UUID) -> Document:
    """Raises `NotFound`."""
    return await db.read(lambda conn: _get(conn, base_id, document_id))


async def find_document_of(db: Reads, base_id: UUID, origin: str) -> Document | None:
    """The one that came from this path or address."""
    return await db.read(lambda conn: _find_of(conn, base_id, origin))


def _find_of(conn: Connection, base_id: UUID, origin: str) -> Document | None:
    query = select(*COLUMNS).where(
        documents.c.base_id == base_id, documents.c.origin == origin, LIVE
    )
    row = conn.execute(query).mappings().first()
    return to_document(row) if row else None


async def list_documents(
    db: Database,
    base_id: UUID,
    *,
    keyword: str = "",
    batch: str = "",
    offset: int = 0,
    limit: int | None = None,
) -> tuple[list[Document], int]:
    """A page of them, newest first, and how many there are in all."""
    wanted = [documents.c.base_id == base_id, LIVE]
    if keyword:
        wanted.append(documents.c.name.icontains(keyword, autoescape=True))
    if batch:
        wanted.append(documents.c.batch == batch)
    query = select(*COLUMNS).where(*wanted).order_by(documents.c.position.desc())
    page = query.offset(offset).limit(limit)
    count = select(func.count()).select_from(documents).where(*wanted)

    def unit(conn: Connection) -> tuple[list[Document], int]:
        found = [to_document(row) for row in conn.execute(page).mappings()]
        return found, conn.scalar(count) or 0

    return await db.snapshot(unit)


async def list_standing(db: Reads, ids: Sequence[UUID]) -> dict[UUID, Document]:
    """Those of the ids that there still are, by id."""
    query = select(*COLUMNS).where(documents.c.id.in_(ids), LIVE)
    found = await db.read(lambda conn: conn.execute(query).mappings().all())
    return {row["id"]: to_document(row) for row in found}


async def count_failed(db: Reads) -> dict[UUID, int]:
    """How many documents have failed, by base; those without any are left out."""
    query = (
        select(documents.c.base_id, func.count())
        .where(documents.c.status == "error", LIVE)
        .group_by(documents.c.base_id)
    )
    found = await db.read(lambda conn: conn.execute(query).all())
    return {row[0]: row[1] for row in found}


async def change_documents(
    db: Database,
    workspace_id: UUID,
    base_id: UUID,
    ids: Sequence[UUID],
    now: datetime,
    *,
    enabled: bool | None = None,
    archived: bool | None = None,
) -> None:
    """All of them, or none; None leaves a thing as it is. Raises `NotFound`."""
    given = {"enabled": enabled, "archived": archived}
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    wanted = set(ids)
    change = update(documents).where(
        documents.c.id.in_(wanted), documents.c.base_id == base_id, LIVE
    )

    def unit(conn: Connection) -> None:
        touch_base(conn, workspace_id, base_id, now, found=True)
        if conn.execute(change.values(values | {"updated_at": now})).rowcount != len(wanted):
            raise NotFound("Document not found.")

    await db.write(unit)


async def delete_document(
    db: Database, workspace_id: UUID, document: Document, now: datetime
) -> None:
    """It is not found from now on; its segments go later, in portions. Raises `NotFound`."""

    def unit(conn: Connection) -> None:
        touch_base(conn, workspace_id, document.base_id, now, found=True)
        change = update(documents).where(documents.c.id == document.id, LIVE)
        if not conn.execute(change.values(deleted_at=now, status="completed")).rowcount:
            raise NotFound("Document not found.")

    await db.write(unit)


async def index_again(db: Database, document: Document, now: datetime) -> None:
    """Work on it once more from the beginning, as after an error."""
    change = update(documents).where(documents.c.id == document.id, LIVE)
    await db.write(lambda conn: conn.execute(change.values(_AGAIN | {"updated_at": now})))


async def claim_document(
    db: Database, owner: UUID, silence: timedelta, now: datetime
) -> Document | None:
    """The oldest that nobody works on, or whose worker has not been heard of for so long."""
    moment = database_time()
    this = (
        select(documents.c.id)
        .where(*_free(silence))
        .order_by(documents.c.created_at, documents.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    claim = (
        update(documents)
        .where(documents.c.id == this.scalar_subquery())
        .values(
            owner=owner,
            heartbeat_at=moment,
            attempts=documents.c.attempts + 1,
            started_at=func.coalesce(documents.c.started_at, literal(now, MICROS)),
        )
        .returning(*COLUMNS)
    )

    def unit(conn: Connection) -> Document | None:
        row = conn.execute(claim).mappings().one_or_none()
        return to_document(row) if row else None

    return await db.write(unit)


async def is_work_waiting(db: Reads, silence: timedelta) -> bool:
    """Whether `claim_document` would find one: a look that writes nothing."""
    query = select(documents.c.id).where(*_free(silence)).limit(1)
    return await db.read(lambda conn: conn.scalar(query)) is not None


def _free(silence: timedelta) -> list[ColumnElement[bool] | TextClause]:
    stale = documents.c.heartbeat_at < database_time() - silence // timedelta(microseconds=1)
    free = or_(documents.c.owner.is_(None), documents.c.heartbeat_at.is_(None), stale)
    return [IS_UNFINISHED, LIVE, free]


async def beat_documents(db: Database, owner: UUID, ids: Sequence[UUID]) -> set[UUID]:
    """Those that are still this worker's; they are worked on."""
    change = (
        update(documents)
        .where(documents.c.id.in_(ids), documents.c.owner == owner, IS_UNFINISHED, LIVE)
        .values(heartbeat_at=database_time())
        .returning(documents.c.id)
    )
    return await db.write(lambda conn: set(conn.scalars(change)))


class DocumentLost(Exception):
    """The document is somebody else's now, or gone: nothing was written."""


def hold(conn: Connection, document_id: UUID, holder: UUID, **values: Any) -> None:
    """Inside a unit: go on with a document that is still this worker's. Raises `DocumentLost`."""
    change = (
        update(documents)
        .where(documents.c.id == document_id, documents.c.owner == holder, IS_UNFINISHED, LIVE)
        .values({"heartbeat_at": database_time()} | values)
    )
    if not conn.execute(change).rowcount:
        raise DocumentLost


async def note_document(
    db: Database,
    document_id: UUID,
    holder: UUID,
    status: DocumentStatus,
    **values: Any,
) -> None:
    """Its next step, and what else is known of it now. Raises `DocumentLost`."""
    await db.write(lambda conn: hold(conn, document_id, holder, status=status, **values))


async def fail_document(
    db: Database, document_id: UUID, owner: UUID, error: str, now: datetime
) -> None:
    """It cannot be searched, and says why; an earlier version of it stays. As `note_document`."""
    await note_document(
        db, document_id, owner, "error", error=error, owner=None, updated_at=now, completed_at=now
    )


async def release_documents(db: Database, owner: UUID) -> None:
    """Leave all that this worker has begun to others, at once; it was no failed attempt."""
    change = update(documents).where(documents.c.owner == owner, IS_UNFINISHED)
    free = {"owner": None, "heartbeat_at": None, "attempts": documents.c.attempts - 1}
    await db.write(lambda conn: conn.execute(change.values(free)))


async def find_document_file(db: Reads, document_id: UUID) -> StoredFile | None:
    """Its bytes as a file, whosever it is: for who has shown a signature."""
    query = (
        select(*COLUMNS)
        .join(knowledge_bases, knowledge_bases.c.id == documents.c.base_id)
        .where(documents.c.id == document_id, LIVE, knowledge_bases.c.deleted_at.is_(None))
    )
    row = await db.read(lambda conn: conn.execute(query).mappings().one_or_none())
    return file_of(to_document(row)) if row else None


def file_of(document: Document) -> StoredFile:
    """The document's bytes, which belong to its workspace."""
    return StoredFile(
        id=document.id,
        user_id=document.workspace_id,
        name=document.name,
        size=document.size,
        extension=document.extension,
        mime_type=document.mime_type,
        type="document",
        key=document.key,
        created_at=document.created_at,
    )


async def forget_documents(db: Database, deleted_before: datetime, portion: int) -> list[str]:
    """Remove the rows of those deleted before then whose segments are gone, so many at most.

    The keys of their bytes, which are to be removed after that. Bases go when they are empty.
    """
    gone = (
        select(documents.c.id)
        .where(
            documents.c.deleted_at < deleted_before,
            ~exists().where(segments.c.document_id == documents.c.id),
        )
        .limit(portion)
    )
    forget = delete(documents).where(documents.c.id.in_(gone)).returning(documents.c.key)
    empty = delete(knowledge_bases).where(
        knowledge_bases.c.deleted_at < deleted_before,
        ~exists().where(documents.c.base_id == knowledge_bases.c.id),
    )

    def unit(conn: Connection) -> list[str]:
        keys = list(conn.scalars(forget))
        if not keys:  # their bytes were removed before: nothing else leads to them
            conn.execute(empty)
        return keys

    return await db.write(unit)


def kept_keys(conn: Connection, keys: Sequence[str]) -> set[str]:
    """Inside a unit: those of the keys under which a document's bytes lie that is not deleted."""
    query = (
        select(documents.c.key)
        .join(knowledge_bases, knowledge_bases.c.id == documents.c.base_id)
        .where(documents.c.key.in_(keys), LIVE, knowledge_bases.c.deleted_at.is_(None))
    )
    return set(conn.scalars(query))
