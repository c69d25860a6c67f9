"""The column types every engine shares; how a value lies in the file or on the server.

Migrations use them too, so a type never changes the form it stores: a new form is a new type.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    LargeBinary,
    Numeric,
    Text,
    Uuid,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from kaiwa.domain.message import Inputs, Outcome

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware moment in UTC, so many microseconds after the beginning of 1970."""
    return _EPOCH + timedelta(microseconds=micros)


class _Stored(TypeDecorator[T]):
    """Values that one call makes of ours, and one makes ours again.

    SQLAlchemy's own way (`process_bind_param`) takes up to four, for every value of every row.
    """

    @staticmethod
    def store(value: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def restore(value: Any) -> Any:
        raise NotImplementedError

    def bind_processor(self, dialect: Dialect) -> Any:
        return self.store

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return self.restore


class _UuidBytes(_Stored[UUID]):
    """16 bytes in network order, so that comparing bytes compares ids."""

    impl = LargeBinary
    cache_ok = True

    @staticmethod
    def store(value: UUID | None) -> bytes | None:
        return None if value is None else value.int.to_bytes(16)

    @staticmethod
    def restore(value: bytes | None) -> UUID | None:
        return None if value is None else UUID(int=int.from_bytes(value))


class _DecimalText(_Stored[Decimal]):
    """Digits as text: the engine's own number would be a float."""

    impl = Text
    cache_ok = True

    @staticmethod
    def store(value: Decimal | None) -> str | None:
        return None if value is None else str(value)

    @staticmethod
    def restore(value: str | None) -> Decimal | None:
        return None if value is None else Decimal(value)


class _MicrosInteger(_Stored[datetime]):
    impl = BigInteger
    cache_ok = True

    @staticmethod
    def store(value: datetime | None) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    @staticmethod
    def restore(value: int | None) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class _InputsText(_Stored[Inputs]):
    impl = Text
    cache_ok = True

    @staticmethod
    def store(value: Inputs | None) -> str | None:
        if not value:  # as most are
            return None if value is None else "{}"
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def restore(value: str | None) -> Inputs | None:
        return None if value is None else json.loads(value)


class _OutcomeText(_Stored[Outcome]):
    impl = Text
    cache_ok = True

    @staticmethod
    def store(value: Outcome | None) -> str | None:
        return None if value is None else value.value

    @staticmethod
    def restore(value: str | None) -> Outcome | None:
        return None if value is None else Outcome(value)


ID = Uuid().with_variant(_UuidBytes(), "sqlite")
"""A `UUID`: the engine's own type, or 16 bytes."""

MICROS = _MicrosInteger()
"""An aware `datetime`, read back in UTC: microseconds since 1970."""

MONEY = Numeric(asdecimal=True).with_variant(_DecimalText(), "sqlite")
"""An exact `Decimal`; not for sums or comparisons in SQL."""

INPUTS = _InputsText()
"""JSON as text, integers of any size; NaN and infinities are refused with `ValueError`."""

OUTCOME = _OutcomeText()
"""An `Outcome` by its value."""


class database_time(FunctionElement[int]):
    """The engine's own clock in microseconds since 1970, for what several machines compare."""

    type = BigInteger()
    inherit_cache = True


@compiles(database_time, "sqlite")
def _by_sqlite(element: object, compiler: object, **options: object) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"


@compiles(database_time, "postgresql")
def _by_postgresql(element: object, compiler: object, **options: object) -> str:
    return "CAST(extract(epoch FROM now()) * 1000000 AS BIGINT)"


class Among(ColumnElement[bool]):
    """Whether a column's number is among those bound as `write_numbers` writes them.

    Unlike `in_` it is one and the same statement for any count of them.
    """

    inherit_cache = True

    def __init__(self, number: ColumnElement[int], numbers: BindParameter[str]) -> None:
        self.number = number
        self.numbers = numbers


def write_numbers(numbers: Sequence[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


@compiles(Among, "sqlite")
def _among_by_sqlite(element: Among, compiler: SQLCompiler, **options: Any) -> str:
    number = compiler.process(element.number, **options)
    return f"{number} IN (SELECT value FROM json_each({compiler.process(element.numbers)}))"


@compiles(Among, "postgresql")
def _among_by_postgresql(element: Among, compiler: SQLCompiler, **options: Any) -> str:
    number, numbers = compiler.process(element.number, **options), compiler.process(element.numbers)
    return f"{number} = ANY(CAST(translate({numbers}, '[]', '{{}}') AS BIGINT[]))"
