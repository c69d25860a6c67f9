"""What an operator does to apps, keys and files, and to the schema.

The command line, the first start and the talk in the terminal share it.
"""

import hashlib
import secrets
import string
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from kaiwa.app import (
    list_guard_notes,
    new_id,
    now,
    open_database,
    open_toolbox,
    read_schema,
)
from kaiwa.bases import list_base_notes
from kaiwa.domain.app import AgentConfig, ApiKey, App, AppConfig
from kaiwa.domain.dsl import read_dsl
from kaiwa.domain.file import ListedFile
from kaiwa.errors import BlobsForbidden, BlobsUnavailable, OperatorError
from kaiwa.files.sweeping import Swept, find_orphans, sweep_unused
from kaiwa.ports import BlobStore
from kaiwa.settings import Settings
from kaiwa.store.apps import apply_app, find_app
from kaiwa.store.db import Database
from kaiwa.store.files import list_files
from kaiwa.store.keys import create_key, find_caller, revoke_key
from kaiwa.store.tables import SCHEMA
from kaiwa.worker import ORPHANED_AFTER

_ALPHABET = string.ascii_letters + string.digits
_KEY_START = "app-"
_KEY_LENGTH = 24
_SHOWN = 8


async def get_app(db: Database, ref: str) -> App:
    """The app of this id or name; raises `OperatorError` when it is not exactly one."""
    found = await find_app(db, ref)
    if found is None:
        raise OperatorError(f"There is no app {ref!r}; kaiwa app list shows the apps.")
    return found


async def apply_files(
    db: Database, files: dict[str, str], settings: Settings
) -> list[tuple[str, App, tuple[str, ...]]]:
    """Each file's name, its app and the reports about it; `files` holds texts by name.

    Raises `OperatorError`; then no file is applied whose neighbours cannot be read.
    """
    drafts = [(name, *read_dsl(text, name)) for name, text in files.items()]
    notes = [await _list_notes(db, draft.config, settings) for _, draft, _ in drafts]
    applied: list[tuple[str, App, tuple[str, ...]]] = []
    for (name, draft, reports), more in zip(drafts, notes, strict=True):
        app, _ = await apply_app(db, draft, new_id, now())
        applied.append((name, app, (*reports, *more)))
    return applied


async def _list_notes(db: Database, config: AppConfig, settings: Settings) -> list[str]:
    """About what the app asks for and this installation does not have."""
    notes = await _list_tool_notes(config.agent, settings)
    notes += await list_base_notes(db, config)
    if config.moderation or config.external_data_tools:
        notes += await list_guard_notes(settings, config)
    return notes


async def _list_tool_notes(agent: AgentConfig | None, settings: Settings) -> list[str]:
    if agent is None or not agent.tools:
        return []
    async with open_toolbox(settings) as toolbox:
        return await toolbox.list_notes(agent)


async def make_key(db: Database, app: App) -> str:
    """A new key of the app; nobody can ask for it again."""
    made = draw_secret(_KEY_START)
    await create_key(db, app.id, digest_of(made), made[:_SHOWN], new_id, now())
    return made


async def revoke(db: Database, ref: str) -> ApiKey:
    """Revoke the key of this id, of these first characters, or this very key.

    Raises `OperatorError` unless it is exactly one that works.
    """
    ref = ref.removesuffix("…")
    if ref.startswith(_KEY_START) and len(ref) > _SHOWN:
        caller = await find_caller(db, digest_of(ref))
        if caller is None:
            raise OperatorError("That is not a working key; kaiwa key list shows the keys.")
        ref = str(caller.key_id)
    return await revoke_key(db, ref, now())


async def each_file(db: Database, app_id: UUID | None) -> AsyncIterator[ListedFile]:
    """All files, or those of one app, oldest first; they are read as they are taken."""
    last_id = None
    while portion := await list_files(db, app_id, last_id=last_id):
        for found in portion:
            yield found
        last_id = portion[-1].file.id


async def sweep(db: Database, blobs: BlobStore, unused_after_days: float) -> tuple[Swept, Swept]:
    """Remove unused files, and what is in the store and in no row; how much that was.

    Raises `OperatorError`.
    """
    moment = now()
    try:
        orphans = await find_orphans(db, blobs, moment - ORPHANED_AFTER)
        unused = await sweep_unused(db, blobs, moment - timedelta(days=unused_after_days))
        await blobs.delete([*orphans])
        await blobs.tidy(moment - ORPHANED_AFTER)
    except (BlobsUnavailable, BlobsForbidden) as error:
        raise OperatorError(error.message) from error
    return unused, Swept(len(orphans), sum(orphans.values()))


async def bring_up(settings: Settings, *, check: bool) -> tuple[bool, str]:
    """Bring the database to the newest schema, or only `check` whether it has to be.

    Whether it is there now, and a sentence about it. Raises `OperatorError`.
    """
    before = await read_schema(settings)
    if before == SCHEMA:
        return True, f"The database is up to date: schema {SCHEMA}."
    if check:
        state = f"has the schema {before}" if before else "is not there yet"
        return False, f"The database {state}; kaiwa migrate would bring it to {SCHEMA}."
    await (await open_database(settings)).close()
    made = f"Brought the database from schema {before}" if before else "Made the database"
    return True, f"{made} {'to' if before else 'at schema'} {SCHEMA}."


async def check_up_to_date(settings: Settings) -> None:
    """Raises `OperatorError` unless there is a database at the newest schema."""
    found = await read_schema(settings)
    if found is None:
        raise OperatorError("There is no database yet, so there is nothing to back up.")
    if found != SCHEMA:
        raise OperatorError(
            f"The database has the schema {found}; back it up with the version of Kaiwa that wrote"
            " it, or run kaiwa migrate first."
        )


def read_text(file: Path) -> str:
    """The text in the file. Raises `OperatorError`."""
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise OperatorError(f"The file {file} is not UTF-8 text.") from error
    except OSError as error:
        raise OperatorError(f"The file {file} cannot be read: {error.strerror}.") from error


def draw_secret(start: str) -> str:
    """A key that nobody guesses."""
    return start + "".join(secrets.choice(_ALPHABET) for _ in range(_KEY_LENGTH))


def digest_of(key: str) -> bytes:
    """As it is kept."""
    return hashlib.sha256(key.encode()).digest()
