"""Statements compiled once and run on the driver itself: what is asked again and again.

Through Core a statement costs four times as much, and more where the process has just slept, for
code that has not just run is slow (docs/performance.md). What is seldom asked takes Core.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from msgspec import Struct
from sqlalchemy import ClauseElement, Connection, Dialect
from sqlalchemy.engine.interfaces import DBAPIModule
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Row = tuple[Any, ...]
Bound = Mapping[str, Any]
_Convert = Callable[[Any], Any]


class _Cursor(Protocol):
    """What both drivers have."""

    description: Sequence[Sequence[Any]] | None
    rowcount: int

    def execute(self, sql: str, values: Any, /) -> object: ...
    def executemany(self, sql: str, values: Any, /) -> object: ...
    def fetchall(self) -> list[Row]: ...
    def __iter__(self) -> Iterator[Row]: ...
    def close(self) -> None: ...


class _Value(Struct, frozen=True):
    """One bound value: taken from what the caller binds, or the statement's own."""

    name: str
    convert: _Convert | None
    own: bool
    value: Any


class _Form:
    """The statement in the words of one engine."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, bound: Bound) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(bound))
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self._positional = compiled.positional
        names = compiled.positiontup if compiled.positional else list(compiled.bind_names.values())
        self._values = [_value(compiled, dialect, name, bound) for name in names or ()]
        self._dialect = dialect
        columns = getattr(statement, "exported_columns", ())
        self._types: list[TypeEngine[Any]] = [column.type for column in columns]
        self._converts: list[tuple[int, _Convert]] | None = None

    def bind(self, bound: Bound) -> Any:
        """What the driver takes beside `sql`."""
        values = [
            value.value
            if value.own
            else value.convert(bound[value.name])
            if value.convert
            else bound[value.name]
            for value in self._values
        ]
        if self._positional:
            return values
        return dict(zip([value.name for value in self._values], values, strict=True))

    def read(self, cursor: _Cursor, rows: list[Row]) -> list[Row]:
        """The rows as values of the columns' types."""
        converts = self._find_converts(cursor)
        if not converts:
            return rows
        return [_convert(row, converts) for row in rows]

    def read_each(self, cursor: _Cursor) -> Iterator[Row]:
        converts = self._find_converts(cursor)
        return (_convert(row, converts) for row in cursor)

    def _find_converts(self, cursor: _Cursor) -> list[tuple[int, _Convert]]:
        if self._converts is None:
            self._converts = []
            for number, (kind, column) in enumerate(
                zip(self._types, cursor.description or (), strict=True)
            ):
                convert = kind.dialect_impl(self._dialect).result_processor(
                    self._dialect, column[1]
                )
                if convert:
                    self._converts.append((number, convert))
        return self._converts


def _convert(row: Row, converts: list[tuple[int, _Convert]]) -> Row:
    values = list(row)
    for number, convert in converts:
        values[number] = convert(values[number])
    return tuple(values)


def _value(compiled: SQLCompiler, dialect: Dialect, name: str, bound: Bound) -> _Value:
    bind = compiled.binds[name]
    convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if name in bound:
        return _Value(name, convert, own=False, value=None)
    value = bind.effective_value
    return _Value(name, None, own=True, value=convert(value) if convert else value)


class Prepared:
    """A Core statement that is run again and again, always with values of the same names."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._forms: dict[str, _Form] = {}

    def rows(self, conn: Connection, bound: Bound) -> list[Row]:
        """All rows it finds, or returns of those it changes."""
        form = self._form(conn, bound)
        cursor = _open(conn)
        try:
            cursor.execute(form.sql, form.bind(bound))
            return form.read(cursor, cursor.fetchall())
        except conn.dialect.loaded_dbapi.Error as error:
            raise _explain(conn, form.sql, error) from error

    def row(self, conn: Connection, bound: Bound) -> Row | None:
        """The only row there can be."""
        found = self.rows(conn, bound)
        return found[0] if found else None

    def value(self, conn: Connection, bound: Bound) -> Any | None:
        """The first column of the only row there can be."""
        found = self.rows(conn, bound)
        return found[0][0] if found else None

    def each(self, conn: Connection, bound: Bound) -> Generator[Row]:
        """The rows as they are asked for; what is not asked for need not be loaded."""
        form = self._form(conn, bound)
        cursor = _open(conn)
        try:
            cursor.execute(form.sql, form.bind(bound))
            yield from form.read_each(cursor)
        except conn.dialect.loaded_dbapi.Error as error:
            raise _explain(conn, form.sql, error) from error
        finally:
            cursor.close()

    def run(self, conn: Connection, bound: Bound) -> int:
        """How many rows it changed."""
        form = self._form(conn, bound)
        cursor = _open(conn)
        try:
            cursor.execute(form.sql, form.bind(bound))
        except conn.dialect.loaded_dbapi.Error as error:
            raise _explain(conn, form.sql, error) from error
        return cursor.rowcount

    def run_all(self, conn: Connection, all_bound: Sequence[Bound]) -> None:
        """Once for each; nothing when there are none."""
        if not all_bound:
            return
        form = self._form(conn, all_bound[0])
        cursor = _open(conn)
        try:
            cursor.executemany(form.sql, [form.bind(bound) for bound in all_bound])
        except conn.dialect.loaded_dbapi.Error as error:
            raise _explain(conn, form.sql, error) from error

    def _form(self, conn: Connection, bound: Bound) -> _Form:
        dialect = conn.dialect
        form = self._forms.get(dialect.name)
        if form is None:
            form = self._forms[dialect.name] = _Form(self._statement, dialect, bound)
        return form


def _open(conn: Connection) -> _Cursor:
    driver: Any = conn.connection.dbapi_connection
    return driver.cursor()


def _explain(conn: Connection, sql: str, error: DBAPIModule.Error) -> Exception:
    """What Core would raise, so that an engine need not know how a unit was run."""
    dialect = conn.dialect
    ended = dialect.is_disconnect(error, conn.connection.dbapi_connection, None)
    explained = DBAPIError.instance(
        sql,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=ended,
        dialect=dialect,
    )
    if ended:
        conn.invalidate(error)
    return cast("Exception", explained)
