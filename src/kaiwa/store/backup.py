"""All rows in one archive that either engine reads.

A gzipped tar: `manifest.json`, then for each table a file of JSON lines, tables in the order of
their foreign keys. Ids are text, times microseconds since 1970, money text, bytes hexadecimal.
"""

import gzip
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import UUID

import msgspec
from anyio import CancelScope, to_thread
from msgspec import Struct
from sqlalchemy import Column, Connection, LargeBinary, Table, delete, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from kaiwa.domain.message import Outcome
from kaiwa.errors import OperatorError
from kaiwa.store.columns import ID, INPUTS, MICROS, MONEY, OUTCOME, from_micros, to_micros
from kaiwa.store.db import Database
from kaiwa.store.tables import SCHEMA, apps, conversations, metadata

_FORMAT = 1
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 100_000
_PORTION = 500
_CHUNK = 1 << 16

Counts = Mapping[str, int]
"""Rows by table."""


class Manifest(Struct, frozen=True):
    """What an archive says about itself."""

    format: int
    schema: str
    """The tables' revision."""
    kaiwa: str
    """The version that wrote it."""
    created_at: datetime


class _Form(NamedTuple):
    """How a column's values stand in the archive: written from Python, read back from JSON."""

    write: Callable[[Any], object]
    read: Callable[[Any], object]


class _Broken(Exception):
    """Why the file is no whole backup; the part of a sentence."""


def _same(*kinds: type) -> _Form:
    def read(value: object) -> object:
        if type(value) not in kinds:
            raise ValueError(value)
        return value

    return _Form(_as_it_is, read)


def _as_it_is(value: object) -> object:
    return value


def _read_micros(value: Any) -> datetime:
    return from_micros(int(value))


def _read_money(value: object) -> Decimal:
    return Decimal(str(value))


def _write_outcome(value: Outcome) -> str:
    return value.value


_FORMS: tuple[tuple[object, _Form], ...] = (
    (ID, _Form(str, UUID)),
    (MICROS, _Form(to_micros, _read_micros)),
    (MONEY, _Form(str, _read_money)),
    (INPUTS, _same(dict)),
    (OUTCOME, _Form(_write_outcome, Outcome)),
)
_PLAIN = {str: _same(str), bool: _same(bool), int: _same(int), float: _same(float, int)}


async def back_up(
    db: Database, file: Path, version: str, now: datetime, *, force: bool = False
) -> Counts:
    """Write all rows, as they are at one moment, into the new file `file`.

    It is there whole or not at all. Raises `OperatorError`, also when there is such a file already,
    unless `force` says to replace it.
    """
    manifest = Manifest(_FORMAT, SCHEMA, version, now)
    try:
        part, name = await to_thread.run_sync(_begin, file, force)
        try:
            counts = await db.snapshot(lambda connection: _write(connection, part, manifest, file))
            await to_thread.run_sync(_put_in_place, name, file, force)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(_clear_away, part, name)
    except OSError as error:
        raise OperatorError(f"The backup {file} cannot be written: {error.strerror}.") from error
    return counts


def check_archive(file: Path) -> Manifest:
    """Read all of the archive and tell what it says about itself.

    Raises `OperatorError` unless it is a whole backup that this version can restore.
    """
    manifest, rows = _read(file)
    for _ in rows:
        pass
    return manifest


async def restore(db: Database, file: Path, *, force: bool = False) -> Counts:
    """Put the archive's rows in the place of all rows, in one transaction.

    Raises `OperatorError` for a file that is no backup, and for a database that has apps or
    conversations, unless `force` is given. Then nothing has changed.
    """
    try:
        return await db.write(lambda connection: _replace(connection, file, force))
    except SQLAlchemyError as error:
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


def _write(connection: Connection, part: IO[bytes], manifest: Manifest, file: Path) -> Counts:
    """From the beginning each time: a unit may be run twice."""
    part.seek(0)
    part.truncate()
    counts: dict[str, int] = {}
    moment = manifest.created_at.timestamp()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=part, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        encoded = msgspec.json.format(msgspec.json.encode(manifest))
        _add(archive, _MANIFEST, BytesIO(encoded), len(encoded), moment)
        for table in metadata.sorted_tables:
            # A member's length stands before it, so its rows wait on the disk, not in memory.
            with tempfile.TemporaryFile(dir=file.absolute().parent) as spool:
                counts[table.name] = _dump(connection, table, spool)
                size = spool.tell()
                spool.seek(0)
                _add(archive, _member(table), spool, size, moment)
    part.flush()
    os.fsync(part.fileno())
    return counts


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int, moment: float) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(moment), 0o600
    archive.addfile(member, content)


def _dump(connection: Connection, table: Table, spool: IO[bytes]) -> int:
    forms = [(column.name, _form(column)) for column in table.columns]
    rows = select(table).order_by(*table.primary_key).execution_options(yield_per=_PORTION)
    count = 0
    for row in connection.execute(rows):
        line = {
            name: None if value is None else form.write(value)
            for (name, form), value in zip(forms, row, strict=True)
        }
        spool.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        count += 1
    return count


def _replace(connection: Connection, file: Path, force: bool) -> Counts:
    tables = metadata.sorted_tables
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in tables)
        connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
    if not force and any(
        connection.execute(select(table.c.id).limit(1)).first() for table in (apps, conversations)
    ):
        raise OperatorError(
            "The database already has apps or conversations; --force replaces everything in it."
        )
    for table in reversed(tables):
        connection.execute(delete(table))
    counts = dict.fromkeys((table.name for table in tables), 0)
    _, rows = _read(file)
    for table, portion in rows:
        connection.execute(insert(table), portion)
        counts[table.name] += len(portion)
    return counts


Rows = Iterator[tuple[Table, list[dict[str, object]]]]


def _read(file: Path) -> tuple[Manifest, Rows]:
    """The manifest, and the rows in portions; to the very end, where the checksum stands."""
    read = _plainly(file, _read_members(file))
    manifest = next(read)
    assert isinstance(manifest, Manifest)
    _check(manifest, file)
    return manifest, (item for item in read if not isinstance(item, Manifest))


Item = Manifest | tuple[Table, list[dict[str, object]]]


def _plainly(file: Path, items: Iterator[Item]) -> Iterator[Item]:
    """The same; what goes wrong is said in one sentence."""
    try:
        yield from items
    except _Broken as error:
        raise OperatorError(f"The file {file} is not a whole backup of Kaiwa: {error}.") from error
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        reason = "it is damaged, was cut off, or is something else"
        raise OperatorError(f"The file {file} is not a whole backup of Kaiwa: {reason}.") from error
    except OSError as error:
        raise OperatorError(f"The backup {file} cannot be read: {error.strerror}.") from error


def _read_members(file: Path) -> Iterator[Item]:
    with gzip.open(file, "rb") as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
        yield _read_manifest(_next(archive, _MANIFEST))
        for table in metadata.sorted_tables:
            yield from _read_rows(table, _next(archive, _member(table)))
        if archive.next() is not None:
            raise _Broken("it holds more than it should")
        while packed.read(_CHUNK):
            pass


def _next(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.next()
    content = archive.extractfile(member) if member and member.isreg() else None
    if member is None or member.name != name or content is None:
        raise _Broken(f"{name} is not in its place")
    return content


def _read_manifest(content: IO[bytes]) -> Manifest:
    try:
        return msgspec.json.decode(content.read(_MANIFEST_LIMIT), type=Manifest)
    except (ValueError, RecursionError) as error:
        raise _Broken(f"its {_MANIFEST} cannot be understood") from error


def _check(manifest: Manifest, file: Path) -> None:
    if manifest.format == _FORMAT and manifest.schema == SCHEMA:
        return
    if manifest.format > _FORMAT or manifest.schema > SCHEMA:
        hint = "is from a newer Kaiwa; restore it with that version or a later one"
    else:
        hint = (
            "is from an older Kaiwa; restore it with that version, and then run kaiwa migrate with"
            " this one"
        )
    raise OperatorError(
        f"The backup {file} (Kaiwa {manifest.kaiwa}, schema {manifest.schema}) {hint}."
    )


def _read_rows(table: Table, content: IO[bytes]) -> Iterator[Item]:
    forms = {column.name: (_form(column), column.nullable) for column in table.columns}
    number = 0
    while lines := list(islice(content, _PORTION)):
        portion: list[dict[str, object]] = []
        for line in lines:
            number += 1
            try:
                portion.append(_read_row(forms, line))
            except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
                place = f"line {number} of {_member(table)}"
                raise _Broken(f"{place} cannot be understood") from error
            except RecursionError as error:
                raise _Broken(f"line {number} of {_member(table)} is too deep") from error
        yield table, portion


def _read_row(forms: Mapping[str, tuple[_Form, bool | None]], line: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(line)
    if found.keys() != forms.keys():
        raise ValueError(line)
    row: dict[str, object] = {}
    for name, (form, nullable) in forms.items():
        value = found[name]
        if value is None and not nullable:
            raise ValueError(name)
        row[name] = None if value is None else form.read(value)
    return row


def _form(column: Column[Any]) -> _Form:
    for kind, form in _FORMS:
        if column.type is kind:
            return form
    if isinstance(column.type, LargeBinary):
        return _Form(bytes.hex, bytes.fromhex)
    return _PLAIN[column.type.python_type]


def _member(table: Table) -> str:
    return f"{table.name}.jsonl"
