"""Knowledge bases, and the keys of those who fill them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Executable, RowMapping, func, insert, or_, select, update

from kaiwa.domain.knowledge import Indexing, KnowledgeBase, RetrievalSettings
from kaiwa.errors import BaseInUse, BaseNameTaken, InvalidParam, NotFound
from kaiwa.store.apps import decode_config
from kaiwa.store.db import Database, Reads
from kaiwa.store.tables import app_configs, apps, documents, knowledge_bases, knowledge_keys

_LIVE = knowledge_bases.c.deleted_at.is_(None)
_STILL = documents.c.deleted_at.is_(None)
_OF_BASE = (documents.c.base_id == knowledge_bases.c.id) & _STILL


def _counting(what: Any) -> Any:
    return select(what).where(_OF_BASE).correlate(knowledge_bases).scalar_subquery()


_STORED = tuple(name for name in KnowledgeBase.__struct_fields__ if name in knowledge_bases.c)
_BARE = select(*(knowledge_bases.c[name] for name in _STORED)).where(_LIVE)
_BASES = select(
    *(knowledge_bases.c[name] for name in _STORED),
    _counting(func.count()).label("document_count"),
    _counting(func.coalesce(func.sum(documents.c.words), 0)).label("word_count"),
).where(_LIVE)


class NewBase(Struct, frozen=True):
    """A base that is to be."""

    id: UUID
    name: str
    description: str = ""
    permission: str = "only_me"
    indexing: Indexing = "high_quality"
    embedding_provider: str = ""
    embedding_model: str = ""
    retrieval: RetrievalSettings = RetrievalSettings()


class BaseKind(Struct, frozen=True):
    """How all of a base's documents are indexed."""

    indexing: Indexing
    embedding_provider: str
    embedding_model: str


class KnowledgeKey(Struct, frozen=True):
    """A key as the operator sees it: its secret is kept as a hash alone."""

    id: UUID
    workspace_id: UUID
    prefix: str
    created_at: datetime
    revoked_at: datetime | None


def _to_base(row: RowMapping) -> KnowledgeBase:
    found = dict(row)
    found["retrieval"] = msgspec.json.decode(found["retrieval"], type=RetrievalSettings)
    return KnowledgeBase(**found)


def _get(conn: Connection, workspace_id: UUID, base_id: UUID) -> KnowledgeBase:
    query = _BASES.where(
        knowledge_bases.c.id == base_id, knowledge_bases.c.workspace_id == workspace_id
    )
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound("Dataset not found.")
    return _to_base(row)


def _check_name(conn: Connection, workspace_id: UUID, name: str, but: UUID | None) -> None:
    query = select(knowledge_bases.c.id).where(
        knowledge_bases.c.workspace_id == workspace_id, knowledge_bases.c.name == name, _LIVE
    )
    found = conn.scalar(query)
    if found is not None and found != but:
        raise BaseNameTaken


async def create_base(
    db: Database, workspace_id: UUID, new: NewBase, now: datetime
) -> KnowledgeBase:
    """Raises `BaseNameTaken`."""
    row = msgspec.structs.asdict(new) | {
        "workspace_id": workspace_id,
        "retrieval": msgspec.json.encode(new.retrieval).decode(),
        "created_at": now,
        "updated_at": now,
    }

    def unit(conn: Connection) -> KnowledgeBase:
        _check_name(conn, workspace_id, new.name, None)
        conn.execute(insert(knowledge_bases).values(row))
        return _get(conn, workspace_id, new.id)

    return await db.write(unit)


async def change_base(
    db: Database,
    workspace_id: UUID,
    base_id: UUID,
    now: datetime,
    *,
    name: str | None = None,
    description: str | None = None,
    permission: str | None = None,
    retrieval: RetrievalSettings | None = None,
    kind: BaseKind | None = None,
) -> KnowledgeBase:
    """The base so changed; None leaves a thing as it is.

    Raises `NotFound`, `BaseNameTaken`, and `InvalidParam` for another `kind` of a base that has
    documents.
    """
    given = {
        "name": name,
        "description": description,
        "permission": permission,
        "retrieval": None if retrieval is None else msgspec.json.encode(retrieval).decode(),
    }
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}

    def unit(conn: Connection) -> KnowledgeBase:
        base = _get(conn, workspace_id, base_id)
        if name is not None:
            _check_name(conn, workspace_id, name, base_id)
        if kind is not None and kind != kind_of(base):
            values.update(_changed_kind(base, kind))
        change = update(knowledge_bases).where(knowledge_bases.c.id == base_id)
        conn.execute(change.values(values | {"updated_at": now}))
        return _get(conn, workspace_id, base_id)

    return await db.write(unit)


def kind_of(base: KnowledgeBase) -> BaseKind:
    return BaseKind(base.indexing, base.embedding_provider, base.embedding_model)


def _changed_kind(base: KnowledgeBase, kind: BaseKind) -> dict[str, Any]:
    if base.document_count:
        raise InvalidParam(
            "The indexing technique and the embedding model of a dataset with documents cannot be"
            " changed.",
            params="indexing_technique",
        )
    more = {"dimensions": None, "version": knowledge_bases.c.version + 1}
    return msgspec.structs.asdict(kind) | more


async def delete_base(db: Database, workspace_id: UUID, base_id: UUID, now: datetime) -> None:
    """It is gone at once with its documents; what they hold is removed later.

    Whoever works on one of them loses it. Raises `NotFound` and `BaseInUse`.
    """

    def unit(conn: Connection) -> None:
        base = _get(conn, workspace_id, base_id)
        if _apps_of(base, _list_named(conn, workspace_id)):
            raise BaseInUse
        gone = update(knowledge_bases).where(knowledge_bases.c.id == base_id)
        conn.execute(gone.values(deleted_at=now, version=knowledge_bases.c.version + 1))
        # So that whoever works on one of them stops.
        theirs = update(documents).where(_STILL, documents.c.base_id == base_id)
        conn.execute(theirs.values(deleted_at=now, status="completed", owner=None))

    await db.write(unit)


async def count_apps(
    db: Reads, workspace_id: UUID, bases: Sequence[KnowledgeBase]
) -> dict[UUID, int]:
    """How many apps answer from each, by their current configurations."""

    named = await db.read(lambda conn: _list_named(conn, workspace_id))
    return {base.id: len(_apps_of(base, named)) for base in bases}


async def list_apps_of(db: Reads, base: KnowledgeBase) -> list[str]:
    """The names of the apps that answer from it, by their current configurations."""
    return _apps_of(base, await db.read(lambda conn: _list_named(conn, base.workspace_id)))


def _list_named(conn: Connection, workspace_id: UUID) -> list[tuple[str, set[UUID | str]]]:
    """Each app's name, and the bases it answers from by their ids and names."""
    current = (
        select(apps.c.name, app_configs.c.config)
        .join(app_configs, apps.c.config_id == app_configs.c.id)
        .where(apps.c.workspace_id == workspace_id, apps.c.deleted_at.is_(None))
        .order_by(apps.c.name)
    )
    found = [(name, decode_config(config).knowledge) for name, config in conn.execute(current)]
    return [
        (name, {_read_id(one) or one for one in config.bases}) for name, config in found if config
    ]


def _apps_of(base: KnowledgeBase, named: Sequence[tuple[str, set[UUID | str]]]) -> list[str]:
    return [name for name, bases in named if base.id in bases or base.name in bases]


async def get_base(db: Reads, workspace_id: UUID, base_id: UUID) -> KnowledgeBase:
    """Raises `NotFound`."""
    return await db.read(lambda conn: _get(conn, workspace_id, base_id))


async def find_bases(db: Reads, workspace_id: UUID, ids: Sequence[UUID]) -> list[KnowledgeBase]:
    """Those of the ids that there are, in this order."""
    query = _BASES.where(
        knowledge_bases.c.workspace_id == workspace_id, knowledge_bases.c.id.in_(ids)
    )
    found = {base.id: base for base in await db.read(lambda conn: _read(conn, query))}
    return [found[one] for one in ids if one in found]


async def find_named_bases(
    db: Reads, workspace_id: UUID, names: Sequence[str]
) -> list[KnowledgeBase]:
    """Those that there are of these names and ids, in this order, their documents not counted."""
    ids = {name: id for name in names if (id := _read_id(name))}
    named = (knowledge_bases.c.id.in_(ids.values()), knowledge_bases.c.name.in_(names))
    query = _BARE.where(knowledge_bases.c.workspace_id == workspace_id, or_(*named))
    bases = await db.read(lambda conn: _read(conn, query))
    by_id, by_name = {one.id: one for one in bases}, {one.name: one for one in bases}
    found = [by_id.get(ids[name]) if name in ids else by_name.get(name) for name in names]
    return list({one.id: one for one in found if one}.values())


async def list_missing_bases(db: Reads, workspace_id: UUID, names: Sequence[str]) -> list[str]:
    """Those of these names and ids that no base has."""
    bases = await find_named_bases(db, workspace_id, names)
    known = {base.id for base in bases} | {base.name for base in bases}
    return [name for name in names if (_read_id(name) or name) not in known]


def _read_id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


async def find_base_by_name(db: Reads, workspace_id: UUID, name: str) -> KnowledgeBase | None:
    query = _BASES.where(
        knowledge_bases.c.workspace_id == workspace_id, knowledge_bases.c.name == name
    )
    return next(iter(await db.read(lambda conn: _read(conn, query))), None)


async def list_bases(
    db: Database,
    workspace_id: UUID,
    *,
    keyword: str = "",
    offset: int = 0,
    limit: int | None = None,
) -> tuple[list[KnowledgeBase], int]:
    """A page of them, newest first, and how many there are in all."""
    wanted = [knowledge_bases.c.workspace_id == workspace_id, _LIVE]
    if keyword:
        wanted.append(knowledge_bases.c.name.icontains(keyword, autoescape=True))
    query = _BASES.where(*wanted).order_by(
        knowledge_bases.c.created_at.desc(), knowledge_bases.c.id.desc()
    )
    count = select(func.count()).select_from(knowledge_bases).where(*wanted)

    def unit(conn: Connection) -> tuple[list[KnowledgeBase], int]:
        return _read(conn, query.offset(offset).limit(limit)), conn.scalar(count) or 0

    return await db.snapshot(unit)


def _read(conn: Connection, query: Executable) -> list[KnowledgeBase]:
    return [_to_base(row) for row in conn.execute(query).mappings()]


_KEYS = select(*(knowledge_keys.c[name] for name in KnowledgeKey.__struct_fields__))


async def create_knowledge_key(
    db: Database, workspace_id: UUID, key_id: UUID, digest: bytes, prefix: str, now: datetime
) -> KnowledgeKey:
    """`digest` is the SHA-256 of the secret."""
    row = {
        "id": key_id,
        "workspace_id": workspace_id,
        "digest": digest,
        "prefix": prefix,
        "created_at": now,
    }
    await db.write(lambda conn: conn.execute(insert(knowledge_keys).values(row)))
    return KnowledgeKey(key_id, workspace_id, prefix, now, None)


async def list_knowledge_keys(db: Reads, workspace_id: UUID) -> list[KnowledgeKey]:
    """Revoked ones too, oldest first."""
    query = _KEYS.where(knowledge_keys.c.workspace_id == workspace_id).order_by(
        knowledge_keys.c.created_at, knowledge_keys.c.id
    )
    return await db.read(lambda conn: [KnowledgeKey(*row) for row in conn.execute(query)])


async def revoke_knowledge_key(db: Database, key_id: UUID, now: datetime) -> bool:
    """It fails from now on; False when it did so before."""
    change = update(knowledge_keys).where(
        knowledge_keys.c.id == key_id, knowledge_keys.c.revoked_at.is_(None)
    )
    return bool(await db.write(lambda conn: conn.execute(change.values(revoked_at=now)).rowcount))


async def find_knowledge_caller(db: Reads, digest: bytes) -> KnowledgeKey | None:
    """The key that still works and has this digest."""
    query = _KEYS.where(knowledge_keys.c.digest == digest, knowledge_keys.c.revoked_at.is_(None))
    row = await db.read(lambda conn: conn.execute(query).one_or_none())
    return KnowledgeKey(*row) if row else None


async def list_base_ids(db: Reads) -> set[UUID]:
    """Of all workspaces, deleted ones too, as long as anything is known of them."""
    return await db.read(lambda conn: set(conn.scalars(select(knowledge_bases.c.id))))
