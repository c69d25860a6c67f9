"""Backups: all rows of one moment and the bytes of their files, into an archive and out of it."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from anyio import CancelScope, to_thread
from sqlalchemy import Connection, delete, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from kaiwa.errors import BlobsForbidden, BlobsUnavailable, BlobTooLarge, NotFound, OperatorError
from kaiwa.ports import BlobStore
from kaiwa.store.archive import (
    FORMAT,
    Blob,
    Counts,
    Item,
    Manifest,
    Writing,
    read_archive,
    read_piece,
)
from kaiwa.store.db import Database
from kaiwa.store.tables import SCHEMA, apps, conversations, knowledge_bases, metadata, segments

_BLOB_ERRORS = (BlobsUnavailable, BlobsForbidden, BlobTooLarge)


async def back_up(
    db: Database,
    blobs: BlobStore,
    file: Path,
    version: str,
    now: datetime,
    *,
    force: bool = False,
) -> Counts:
    """Write all rows, as they are at one moment, and their files into the new file `file`.

    It is there whole or not at all. Raises `OperatorError`, also when there is such a file already,
    unless `force` says to replace it.
    """
    try:
        part, name = await to_thread.run_sync(_begin, file, force)
        try:
            writing = Writing(part, name.parent, Manifest(FORMAT, SCHEMA, version, now))
            counts = await db.snapshot(writing.write_rows)
            await _write_files(writing, blobs)
            await to_thread.run_sync(_put_in_place, name, file, force)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(_clear_away, part, name)
    except OSError as error:
        raise OperatorError(f"The backup {file} cannot be written: {error.strerror}.") from error
    except _BLOB_ERRORS as error:
        raise OperatorError(f"The backup {file} was not written: {error.message}") from error
    return counts


def check_archive(file: Path) -> Manifest:
    """Read all of the archive and tell what it says about itself.

    Raises `OperatorError` unless it is a whole backup that this version can restore.
    """
    manifest, items = read_archive(file)
    for _ in items:
        pass
    return manifest


async def restore(db: Database, blobs: BlobStore, file: Path, *, force: bool = False) -> Counts:
    """Put the archive's files into the store, then its rows, in one transaction, for all rows.

    Raises `OperatorError` for a file that is no backup, and for a database that has apps,
    conversations or knowledge bases, unless `force` is given. Then nothing has changed.
    """
    if not force:
        await db.read(_check_empty)
    added: list[str] = []
    try:
        await _put_files(blobs, file, added)
        return await db.write(lambda connection: _replace(connection, file, force))
    except OperatorError:
        await _take_back(blobs, added)
        raise
    except _BLOB_ERRORS as error:
        await _take_back(blobs, added)
        raise OperatorError(
            f"The files of the backup {file} cannot be stored, nothing was changed: {error.message}"
        ) from error
    except SQLAlchemyError as error:
        await _take_back(blobs, added)
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise OperatorError(
            f"The backup {file} does not fit into the database: {reason}; nothing was changed."
        ) from error


def _begin(file: Path, force: bool) -> tuple[IO[bytes], Path]:
    """A file beside the one to be, which only its owner may read."""
    _check_free(file, force)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.absolute().parent)
    return os.fdopen(handle, "wb"), Path(name)


def _check_free(file: Path, force: bool) -> None:
    if file.is_dir():
        raise OperatorError(f"The backup {file} cannot be written: it is a folder.")
    if not force and file.exists():
        raise OperatorError(f"There is a file {file} already; --force replaces it.")


def _put_in_place(name: Path, file: Path, force: bool) -> None:
    _check_free(file, force)
    name.replace(file)
    folder = os.open(file.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _clear_away(part: IO[bytes], name: Path) -> None:
    with suppress(OSError):
        part.close()  # a unit that nobody waits for any more ends with it
    name.unlink(missing_ok=True)


async def _write_files(writing: Writing, blobs: BlobStore) -> None:
    try:
        for key in writing.keys:
            with await to_thread.run_sync(writing.spool) as spool:
                found = await _spool(blobs, key, spool)
                await to_thread.run_sync(writing.add_file, key, spool if found else None)
        await to_thread.run_sync(writing.finish)
    finally:
        writing.close()


async def _spool(blobs: BlobStore, key: str, spool: IO[bytes]) -> bool:
    """Whether it is there: it may have been purged since the rows were read."""
    try:
        async for piece in blobs.get(key):
            await to_thread.run_sync(spool.write, piece)
    except NotFound:
        return False
    return True


async def _put_files(blobs: BlobStore, file: Path, added: list[str]) -> None:
    """Read the archive to its end; `added` gets the keys of what was not in the store before."""
    _, items = await to_thread.run_sync(read_archive, file)
    while item := await to_thread.run_sync(_next, items):
        if isinstance(item, Blob) and not await _is_there(blobs, item.key, file):
            await blobs.put(item.key, _pieces(file, item))
            added.append(item.key)


def _next(items: Iterator[Item]) -> Item | None:
    return next(items, None)


async def _is_there(blobs: BlobStore, key: str, file: Path) -> bool:
    """Then it is the same: a key is never used twice."""
    try:
        async for _ in blobs.get(key, 0, 1):
            pass
    except NotFound:
        return False
    except ValueError as error:
        raise OperatorError(
            f"The file {file} is not a whole backup of Kaiwa: a file in it has a wrong name."
        ) from error
    return True


async def _pieces(file: Path, blob: Blob) -> AsyncIterator[bytes]:
    while piece := await to_thread.run_sync(read_piece, file, blob):
        yield piece


async def _take_back(blobs: BlobStore, keys: Sequence[str]) -> None:
    with CancelScope(shield=True), suppress(*_BLOB_ERRORS):
        await blobs.delete(keys)


def _check_empty(connection: Connection) -> None:
    if any(
        connection.execute(select(table.c.id).limit(1)).first()
        for table in (apps, conversations, knowledge_bases)
    ):
        raise OperatorError(
            "The database already has apps, conversations or knowledge bases; --force replaces"
            " everything in it."
        )


def _replace(connection: Connection, file: Path, force: bool) -> Counts:
    tables = metadata.sorted_tables
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in tables)
        connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
    if not force:
        _check_empty(connection)
    for table in reversed(tables):
        connection.execute(delete(table))
    counts = dict.fromkeys((table.name for table in tables), 0)
    _, items = read_archive(file)
    for item in items:
        if isinstance(item, Blob):  # the rest is files, and has been read
            break
        table, portion = item
        connection.execute(insert(table), portion)
        counts[table.name] += len(portion)
    if connection.dialect.name == "postgresql":
        _go_on_counting(connection)
    return counts


def _go_on_counting(connection: Connection) -> None:
    """The next segment's number is behind all that were restored; SQLite sees to it by itself."""
    counter = func.pg_get_serial_sequence(segments.name, segments.c.number.name)
    last = func.coalesce(func.max(segments.c.number), 0) + 1
    connection.execute(select(func.setval(counter, last, False)).select_from(segments))
