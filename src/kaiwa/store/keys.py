"""API keys: who may call an app. Only their digests are kept."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from kaiwa.domain.app import ApiKey, Caller
from kaiwa.errors import Forbidden, OperatorError, Unauthorized
from kaiwa.ports import NewId
from kaiwa.store.apps import APP_COLUMNS, decode_config, parse_id, to_app
from kaiwa.store.db import Database
from kaiwa.store.prepared import Prepared
from kaiwa.store.tables import api_keys, app_configs, apps

T = TypeVar("T")

_KEYS = (
    select(
        api_keys.c.id,
        api_keys.c.app_id,
        apps.c.name.label("app_name"),
        api_keys.c.prefix,
        api_keys.c.created_at,
        api_keys.c.revoked_at,
    )
    .join(apps, apps.c.id == api_keys.c.app_id)
    .order_by(api_keys.c.created_at, api_keys.c.id)
)


async def create_key(
    db: Database, app_id: UUID, digest: bytes, prefix: str, new_id: NewId, now: datetime
) -> ApiKey:
    """`digest` is the SHA-256 of the secret; raises `OperatorError` if there is no such app."""
    key_id = new_id()

    def unit(conn: Connection) -> ApiKey:
        app = select(apps.c.workspace_id).where(apps.c.id == app_id, apps.c.deleted_at.is_(None))
        workspace_id = conn.scalar(app)
        if workspace_id is None:
            raise OperatorError(f"There is no app {app_id}.")
        key = {
            "id": key_id,
            "workspace_id": workspace_id,
            "app_id": app_id,
            "digest": digest,
            "prefix": prefix,
            "created_at": now,
        }
        conn.execute(insert(api_keys).values(key))
        return _get(conn, key_id)

    return await db.write(unit)


def _get(conn: Connection, key_id: UUID) -> ApiKey:
    return ApiKey(*conn.execute(_KEYS.where(api_keys.c.id == key_id)).one())


async def list_keys(db: Database, app_id: UUID | None = None) -> list[ApiKey]:
    """Those of one app or of all that are not deleted, revoked ones too, oldest first."""
    query = _KEYS.where(apps.c.deleted_at.is_(None))
    if app_id:
        query = query.where(api_keys.c.app_id == app_id)
    return await db.read(lambda conn: [ApiKey(*row) for row in conn.execute(query)])


async def revoke_key(db: Database, ref: str, now: datetime) -> ApiKey:
    """The key of that id, or the only one whose secret begins so; it fails from now on.

    Raises `OperatorError` when no key that still works is meant, or several are.
    """
    meant = or_(
        api_keys.c.id == parse_id(ref),
        func.substr(api_keys.c.prefix, 1, max(len(ref), 1)) == ref,
    )
    query = select(api_keys.c.id).where(api_keys.c.revoked_at.is_(None), meant)

    def unit(conn: Connection) -> ApiKey:
        ids = conn.scalars(query).all()
        if len(ids) != 1:
            found = f"{len(ids)} keys begin" if ids else "No working key begins"
            raise OperatorError(f"{found} with {ref}; name one by its id or more of its prefix.")
        conn.execute(update(api_keys).where(api_keys.c.id == ids[0]).values(revoked_at=now))
        return _get(conn, ids[0])

    return await db.write(unit)


_FIND_CALLER = Prepared(
    select(api_keys.c.id, apps.c.deleted_at, app_configs.c.config, *APP_COLUMNS)
    .join(apps, apps.c.id == api_keys.c.app_id)
    .join(app_configs, app_configs.c.id == apps.c.config_id)
    .where(api_keys.c.digest == bindparam("sought"), api_keys.c.revoked_at.is_(None))
)


async def find_caller(db: Database, digest: bytes) -> Caller | None:
    """Who holds the secret of this digest; None when its key is unknown or revoked.

    Raises `Forbidden` when the app was deleted, or its API is switched off.
    """
    return await db.read(lambda conn: _find_caller(conn, digest))


class KeyedReads:
    """A database that looks a key up with the first thing it reads for its holder.

    A way to the database's thread costs more than what is asked there, so one does for both. For
    a key whose app is known: which app a key opens never changes.
    """

    def __init__(self, db: Database, digest: bytes, app_id: UUID) -> None:
        self.caller: Caller | None = None
        """Who holds the key, once anything was read."""
        self._db = db
        self._digest = digest
        self._app_id = app_id

    async def read(self, unit: Callable[[Connection], T]) -> T:
        """As `Database.read`; first raises `Unauthorized` or `Forbidden` before `unit` runs."""
        if self.caller:
            return await self._db.read(unit)

        def both(conn: Connection) -> tuple[Caller, T]:
            caller = _find_caller(conn, self._digest)
            if caller is None or caller.app.id != self._app_id:
                raise Unauthorized
            return caller, unit(conn)

        self.caller, found = await self._db.read(both)
        return found


def _find_caller(conn: Connection, digest: bytes) -> Caller | None:
    row = _FIND_CALLER.row(conn, {"sought": digest})
    return _to_caller(*row) if row else None


def _to_caller(key_id: UUID, deleted_at: datetime | None, config: str, *app_row: Any) -> Caller:
    app = to_app(app_row)
    if deleted_at:
        raise Forbidden("The app no longer exists.")
    if not app.api_enabled:
        raise Forbidden("The app's API service has been disabled.")
    return Caller(key_id, app, decode_config(config))
