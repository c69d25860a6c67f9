"""Apps and the immutable versions of their configuration."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from kaiwa.domain.app import App, AppConfig, AppDraft, Site
from kaiwa.errors import AppUnavailable, OperatorError
from kaiwa.ports import NewId
from kaiwa.store.db import Database, Reads
from kaiwa.store.prepared import Prepared
from kaiwa.store.rows import columns_of
from kaiwa.store.tables import DEFAULT_WORKSPACE, app_configs, apps

_LIVE = apps.c.deleted_at.is_(None)

APP_COLUMNS = columns_of(App, apps)
"""What `to_app` needs, in this order."""

_TARGET = [*APP_COLUMNS, apps.c.deleted_at]


class _Fresh(Struct, frozen=True):
    """Ids made before the transaction, which may run twice."""

    app_id: UUID
    config_id: UUID


def to_app(row: Sequence[Any]) -> App:
    """From the values of `APP_COLUMNS`."""
    app_id, workspace_id, name, mode, site, api_enabled, config_id = row
    return App(app_id, workspace_id, name, mode, _decode_site(site), api_enabled, config_id)


@lru_cache(maxsize=256)
def decode_config(config: str) -> AppConfig:
    """A version's configuration; the text never changes, so equal texts share one value."""
    return msgspec.json.decode(config, type=AppConfig)


@lru_cache(maxsize=256)
def _decode_site(site: str) -> Site:
    return msgspec.json.decode(site, type=Site)


async def apply_app(
    db: Database, draft: AppDraft, new_id: NewId, now: datetime
) -> tuple[App, bool]:
    """The app as it stands after `draft`, and whether it is new.

    A draft with an id means that app alone, made if it is missing; one without means the only
    app of its name. Raises `OperatorError` when that app was deleted, or several have the name.
    """
    fresh = _Fresh(new_id(), new_id())
    return await db.write(lambda conn: _apply(conn, draft, fresh, now))


def _apply(conn: Connection, draft: AppDraft, fresh: _Fresh, now: datetime) -> tuple[App, bool]:
    found = _find_target(conn, draft)
    app_id = found.id if found else draft.id or fresh.app_id
    config = msgspec.json.encode(draft.config).decode()
    same = found and _is_current(conn, found, config, draft.source)
    values = {
        "name": draft.name,
        "mode": draft.mode,
        "site": msgspec.json.encode(draft.site).decode(),
        "api_enabled": draft.api_enabled,
        "config_id": found.config_id if found and same else fresh.config_id,
        "updated_at": now,
    }
    if found:
        conn.execute(update(apps).where(apps.c.id == app_id).values(values))
    else:
        values |= {"id": app_id, "workspace_id": DEFAULT_WORKSPACE, "created_at": now}
        conn.execute(insert(apps).values(values))
    if not same:
        _add_version(conn, app_id, fresh.config_id, config, draft.source, now)
    return to_app(conn.execute(select(*APP_COLUMNS).where(apps.c.id == app_id)).one()), not found


def _find_target(conn: Connection, draft: AppDraft) -> Row[Any] | None:
    if draft.id is None:
        query = select(*_TARGET).where(apps.c.name == draft.name, _LIVE)
        return _only(conn.execute(query).all(), draft.name)
    row = conn.execute(select(*_TARGET).where(apps.c.id == draft.id)).one_or_none()
    if row and row.deleted_at:
        raise OperatorError(f"The app {draft.id} was deleted; give the file another id.")
    return row


def _only(rows: Sequence[Row[Any]], name: str) -> Row[Any] | None:
    if len(rows) > 1:
        raise OperatorError(f"{len(rows)} apps are called {name}; say which one by its id.")
    return rows[0] if rows else None


def _is_current(conn: Connection, app: Row[Any], config: str, source: str) -> bool:
    query = select(app_configs.c.config, app_configs.c.source)
    current = conn.execute(query.where(app_configs.c.id == app.config_id)).one()
    return (current.config, current.source) == (config, source)


def _add_version(
    conn: Connection, app_id: UUID, config_id: UUID, config: str, source: str, now: datetime
) -> None:
    newest = select(func.max(app_configs.c.version)).where(app_configs.c.app_id == app_id)
    values = {
        "id": config_id,
        "workspace_id": DEFAULT_WORKSPACE,
        "app_id": app_id,
        "version": (conn.scalar(newest) or 0) + 1,
        "config": config,
        "source": source,
        "created_at": now,
    }
    conn.execute(insert(app_configs).values(values))


async def list_app_ids(db: Reads) -> set[UUID]:
    """Of all that ever were, those that are deleted too."""
    return await db.read(lambda conn: set(conn.scalars(select(apps.c.id))))


async def list_apps(db: Database) -> list[App]:
    """All that are not deleted, oldest first."""
    query = select(*APP_COLUMNS).where(_LIVE).order_by(apps.c.created_at, apps.c.id)
    return await db.read(lambda conn: [to_app(row) for row in conn.execute(query)])


async def find_app(db: Database, ref: str) -> App | None:
    """By id or else by name; raises `OperatorError` when several have that name."""
    return await db.read(lambda conn: _find(conn, ref))


def _find(conn: Connection, ref: str) -> App | None:
    app_id = parse_id(ref)
    rows = conn.execute(select(*APP_COLUMNS).where(apps.c.id == app_id, _LIVE)).all()
    if not rows:
        rows = conn.execute(select(*APP_COLUMNS).where(apps.c.name == ref, _LIVE)).all()
    row = _only(rows, ref)
    return to_app(row) if row else None


def parse_id(ref: str) -> UUID | None:
    """The id an operator typed, if it is one."""
    try:
        return UUID(ref)
    except ValueError:
        return None


async def delete_app(db: Database, app_id: UUID, now: datetime) -> None:
    """Its keys stop working at once; nothing is erased. Raises `OperatorError` if there is none."""
    deletion = update(apps).where(apps.c.id == app_id, _LIVE).values(deleted_at=now, updated_at=now)
    if not await db.write(lambda conn: conn.execute(deletion).rowcount):
        raise OperatorError(f"There is no app {app_id}.")


_GET_CONFIG = Prepared(
    select(app_configs.c.config).where(
        app_configs.c.id == bindparam("config"), app_configs.c.app_id == bindparam("app")
    )
)


async def get_config(db: Database, app_id: UUID, config_id: UUID) -> AppConfig:
    """A version of the app's configuration, current or not; raises `AppUnavailable`."""
    bound = {"config": config_id, "app": app_id}
    config = await db.read(lambda conn: _GET_CONFIG.value(conn, bound))
    if config is None:
        raise AppUnavailable
    return decode_config(config)


async def has_had_apps(db: Database) -> bool:
    """Whether any app was ever made here, deleted ones included."""
    query = select(func.count()).select_from(apps)
    return bool(await db.read(lambda conn: conn.scalar(query)))
