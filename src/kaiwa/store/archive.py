"""The archive that either engine reads: its members, one after another, written and read.

A gzipped tar: `manifest.json`, then for each table a file of JSON lines, tables in the order of
their foreign keys, then the bytes of each file. Ids are text, times microseconds since 1970, money
text, bytes hexadecimal.
"""

import gzip
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Column, Connection, LargeBinary, Table, select

from kaiwa.domain.message import Outcome
from kaiwa.errors import OperatorError
from kaiwa.store.columns import ID, INPUTS, MICROS, MONEY, OUTCOME, from_micros, to_micros
from kaiwa.store.tables import SCHEMA, documents, metadata, upload_files

FORMAT = 1
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 100_000
_PORTION = 500
_CHUNK = 1 << 18
_FILES = "files/"
_GONE = "gone/"
"""Before the key of a file whose bytes were not there any more; the member is empty."""

_KEYED = (upload_files, documents)
"""Tables whose rows name bytes in the blob store."""

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


class Writing:
    """An archive on its way into `part`; rows first, then the files they name."""

    def __init__(self, part: IO[bytes], folder: Path, manifest: Manifest) -> None:
        """`folder` has room for what a member waits in until its length is known."""
        self.keys: list[str] = []
        """Of the files, in the order they have to be added in."""
        self._part = part
        self._folder = folder
        self._manifest = manifest
        self._packed: gzip.GzipFile | None = None
        self._archive: tarfile.TarFile | None = None

    def write_rows(self, connection: Connection) -> Counts:
        """All rows, from the beginning each time: a unit may be run twice."""
        self._open()
        counts: dict[str, int] = {}
        try:
            encoded = msgspec.json.format(msgspec.json.encode(self._manifest))
            self._add(_MANIFEST, BytesIO(encoded), len(encoded))
            for table in metadata.sorted_tables:
                with self.spool() as spool:
                    counts[table.name] = self._dump(connection, table, spool)
                    self._add_spooled(_member(table), spool)
        except BaseException:
            self.close()
            raise
        return counts

    def spool(self) -> IO[bytes]:
        """Where a member waits: its length stands before it, and not all fits into memory."""
        return tempfile.TemporaryFile(dir=self._folder)

    def add_file(self, key: str, spool: IO[bytes] | None) -> None:
        """The bytes of the file; None when they are not there any more."""
        if spool:
            self._add_spooled(_FILES + key, spool)
        else:
            self._add(_GONE + key, BytesIO(), 0)

    def finish(self) -> None:
        """Write its end, to the disk."""
        archive, packed = self._archive, self._packed
        assert archive
        assert packed
        archive.close()
        packed.close()
        self._part.flush()
        os.fsync(self._part.fileno())

    def close(self) -> None:
        """Without an end, unless there is one; `part` stays open, or may be closed already."""
        for one in (self._archive, self._packed):
            with suppress(OSError, ValueError):
                if one:
                    one.close()

    def _open(self) -> None:
        self.close()
        self.keys = []
        self._part.seek(0)
        self._part.truncate()
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._part, compresslevel=6)
        self._packed = packed
        self._archive = tarfile.open(  # noqa: SIM115 (closed by `finish` or `close`)
            fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT
        )

    def _dump(self, connection: Connection, table: Table, spool: IO[bytes]) -> int:
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
            if table in _KEYED:
                self.keys.append(row.key)
        return count

    def _add_spooled(self, name: str, spool: IO[bytes]) -> None:
        size = spool.tell()
        spool.seek(0)
        self._add(name, spool, size)

    def _add(self, name: str, content: IO[bytes], size: int) -> None:
        assert self._archive
        member = tarfile.TarInfo(name)
        moment = self._manifest.created_at.timestamp()
        member.size, member.mtime, member.mode = size, int(moment), 0o600
        self._archive.addfile(member, content)


class Blob(NamedTuple):
    """A file in the archive; its bytes can be read until the next item is asked for."""

    key: str
    content: IO[bytes]


Rows = tuple[Table, list[dict[str, object]]]
Item = Rows | Blob


def read_archive(file: Path) -> tuple[Manifest, Iterator[Item]]:
    """The manifest, then rows in portions and files; to the very end, where the checksum stands.

    Both raise `OperatorError` for what is no whole backup that this version can restore.
    """
    members = _read_members(file)
    with explained(file):
        manifest = next(members)
    assert isinstance(manifest, Manifest)
    _check(manifest, file)
    return manifest, _read_items(file, members)


def _read_items(file: Path, members: Iterator[Manifest | Item]) -> Iterator[Item]:
    with explained(file):
        for item in members:
            assert not isinstance(item, Manifest)
            yield item


def read_piece(file: Path, blob: Blob) -> bytes:
    """The next bytes of the blob; empty at its end. Raises `OperatorError`."""
    with explained(file):
        return blob.content.read(_CHUNK)


@contextmanager
def explained(file: Path) -> Generator[None]:
    """What goes wrong with reading is said in one sentence."""
    try:
        yield
    except _Broken as error:
        raise OperatorError(f"The file {file} is not a whole backup of Kaiwa: {error}.") from error
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        reason = "it is damaged, was cut off, or is something else"
        raise OperatorError(f"The file {file} is not a whole backup of Kaiwa: {reason}.") from error
    except OSError as error:
        raise OperatorError(f"The backup {file} cannot be read: {error.strerror}.") from error


def _read_members(file: Path) -> Iterator[Manifest | Item]:
    with gzip.open(file, "rb") as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
        yield _read_manifest(_next(archive, _MANIFEST))
        keys: list[str] = []
        for table in metadata.sorted_tables:
            for item in _read_rows(table, _next(archive, _member(table))):
                if table in _KEYED:
                    keys += [str(row["key"]) for row in item[1]]
                yield item
        for key in keys:
            if blob := _read_blob(archive, key):
                yield blob
        if archive.next() is not None:
            raise _Broken("it holds more than it should")
        while packed.read(_CHUNK):
            pass


def _read_blob(archive: tarfile.TarFile, key: str) -> Blob | None:
    member = archive.next()
    if member and (member.name, member.size) == (_GONE + key, 0):
        return None
    return Blob(key, _open(archive, member, _FILES + key))


def _next(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    return _open(archive, archive.next(), name)


def _open(archive: tarfile.TarFile, member: tarfile.TarInfo | None, name: str) -> IO[bytes]:
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
    if manifest.format == FORMAT and manifest.schema == SCHEMA:
        return
    if manifest.format > FORMAT or manifest.schema > SCHEMA:
        hint = "is from a newer Kaiwa; restore it with that version or a later one"
    else:
        hint = (
            "is from an older Kaiwa; restore it with that version, and then run kaiwa migrate with"
            " this one"
        )
    raise OperatorError(
        f"The backup {file} (Kaiwa {manifest.kaiwa}, schema {manifest.schema}) {hint}."
    )


def _read_rows(table: Table, content: IO[bytes]) -> Iterator[Rows]:
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
