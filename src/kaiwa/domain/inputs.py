"""What a person filled into an app's form, checked against it."""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from kaiwa.domain.app import FILE_KINDS, FormField
from kaiwa.domain.file_objects import read_file
from kaiwa.domain.message import Inputs, JsonValue
from kaiwa.domain.text import clean
from kaiwa.errors import InvalidParam

_LONGEST_NUMBER = 300
_LARGEST_INT = 10**_LONGEST_NUMBER
_DEEPEST = 100
_ABSENT_AS_NULL = ("checkbox", "json_object", *FILE_KINDS)


def new_inputs(form: Sequence[FormField], given: Mapping[str, object]) -> Inputs:
    """The inputs of a conversation's first turn, defaults filled in, undeclared ones dropped.

    Files in them are still as the client names them. Raises `InvalidParam` for the first one that
    breaks a rule.
    """
    return {
        field.variable: _checked(field, _clean(given.get(field.variable)))
        for field in form
        if field.kind != "external_data_tool"
    }


def follow_up_inputs(
    form: Sequence[FormField], given: Mapping[str, object], stored: Inputs
) -> tuple[Inputs, Inputs]:
    """The inputs of a later turn, and what the conversation keeps from now on.

    Each valid input replaces the stored one; a missing or invalid one leaves it.
    """
    kept = dict(stored)
    for field in form:
        value = _clean(given.get(field.variable))
        if field.kind == "external_data_tool" or _is_absent(field, value):
            continue
        try:
            kept[field.variable] = _checked(field, value)
        except InvalidParam:
            continue
    declared = {field.variable for field in form}
    return {name: value for name, value in kept.items() if name in declared}, kept


def number_from(value: object) -> int | float | None:
    """The finite number that the value is, or that its text says; else None."""
    if isinstance(value, str):
        if len(value) > _LONGEST_NUMBER:
            return None
        try:
            value = float(value) if "." in value else int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if abs(value) < _LARGEST_INT else None


def _is_absent(field: FormField, value: object) -> bool:
    if field.kind in ("checkbox", "json_object"):
        return value is None
    return not value


def _clean(value: object) -> object:
    return clean(value) if isinstance(value, str) else value


def _checked(field: FormField, value: object) -> JsonValue:
    if _is_absent(field, value):
        if field.required:
            raise InvalidParam(f"{field.variable} is required in input form")
        if field.default is not None:
            return field.default
        return None if field.kind in _ABSENT_AS_NULL else ""
    match field.kind:
        case "number":
            return _number(field, value)
        case "checkbox":
            return _checkbox(field, value)
        case "json_object":
            return _json_object(field, value)
        case "file":
            return _file(field, value)
        case "file-list":
            return _file_list(field, value)
        case "select":
            return _option(field, _string(field, value))
        case _:
            return _short_enough(field, _string(field, value))


def _string(field: FormField, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidParam(f"(type '{field.kind}') {field.variable} in input form must be a string")
    return value


def _option(field: FormField, value: str) -> str:
    if value not in field.options:
        raise InvalidParam(
            f"{field.variable} in input form must be one of the following: {list(field.options)}"
        )
    return value


def _short_enough(field: FormField, value: str) -> str:
    if field.max_length and len(value) > field.max_length:
        raise InvalidParam(
            f"{field.variable} in input form must be less than {field.max_length} characters"
        )
    return value


def _number(field: FormField, value: object) -> int | float:
    number = number_from(value)
    if number is None:
        raise InvalidParam(f"{field.variable} in input form must be a valid number")
    return number


def _checkbox(field: FormField, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidParam(f"{field.variable} in input form must be true or false")
    return value


def _file(field: FormField, value: object) -> JsonValue:
    if not isinstance(value, dict):
        raise InvalidParam(f"{field.variable} in input form must be a file")
    named = cast("dict[str, JsonValue]", value)
    read_file(named, field.files)
    return named


def _file_list(field: FormField, value: object) -> JsonValue:
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    if not all(isinstance(item, dict) for item in items):
        raise InvalidParam(f"{field.variable} in input form must be a list of files")
    if len(items) > field.files.most:
        raise InvalidParam(
            f"{field.variable} in input form must be less than {field.files.most} files"
        )
    return [_file(field, item) for item in items]


def _json_object(field: FormField, value: object) -> dict[str, JsonValue]:
    wrong = InvalidParam(f"{field.variable} in input form must be a JSON object")
    try:
        if isinstance(value, str):
            value = msgspec.json.decode(value)
        found = _as_json(value, _DEEPEST)
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(found, dict):
        raise wrong
    return found


def _as_json(value: object, depth: int) -> JsonValue:
    """A clean copy; raises `ValueError` for what JSON cannot say."""
    if depth == 0:
        raise ValueError("too deep")
    value = _clean(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_INT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list):
        return [_as_json(item, depth - 1) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value)
        return {str(_clean(name)): _as_json(item, depth - 1) for name, item in pairs.items()}
    raise ValueError("no JSON value")
