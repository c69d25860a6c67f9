"""The column types every engine shares; how a value lies in the file or on the server.

Migrations use them too, so a type never changes the form it stores: a new form is a new type.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Dialect, LargeBinary, Numeric, Text, Uuid
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from kaiwa.domain.message import Inputs, Outcome

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware moment in UTC, so many microseconds after the beginning of 1970."""
    return _EPOCH + timedelta(microseconds=micros)


class _UuidBytes(TypeDecorator[UUID]):
    """16 bytes in network order, so that comparing bytes compares ids."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.bytes

    def process_result_value(self, value: Any | None, dialect: Dialect) -> UUID | None:
        return None if value is None else UUID(bytes=value)


class _DecimalText(TypeDecorator[Decimal]):
    """Digits as text: the engine's own number would be a float."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class _MicrosInteger(TypeDecorator[datetime]):
    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)


class _InputsText(TypeDecorator[Inputs]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Inputs | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Inputs | None:
        return None if value is None else json.loads(value)


class _OutcomeText(TypeDecorator[Outcome]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Outcome | None, dialect: Dialect) -> str | None:
        return None if value is None else value.value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Outcome | None:
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
