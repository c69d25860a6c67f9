"""What a model is told of a tool, and whether what it asks of one can be done.

Schemas may come from anybody: nothing they refer to is fetched, and those that would take long to
check are refused.
"""

import inspect
import re
from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from typing import Final, cast
from urllib.parse import unquote

import jsonschema_rs
import msgspec
from msgspec import Struct

from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import ToolSpec
from kaiwa.domain.text import shorten
from kaiwa.errors import ToolFailed

LONGEST_NAME: Final = 64
LONGEST_ARGUMENTS: Final = 100_000
"""Characters."""
_HEAVIEST: Final = 20_000
_HEAVIEST_EXPLAINED: Final = 5_000
"""A hundred milliseconds: to explain costs a thousand times as much as to check."""
_MOST_WORK: Final = 100_000_000
"""Weight times characters: about a second at the very worst."""
_PATTERNS: Final = jsonschema_rs.FancyRegexOptions(backtrack_limit=1_000)
_MISLEADING: Final = ("$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$id")
"""What makes a schema refer to parts of itself by names, which the weighing does not know."""
_FAULT_LENGTH: Final = 400
_REMEMBERED: Final = 128
"""Schemas."""


def legal_name(text: str) -> str:
    """The text in letters, digits, `_` and `-`, at most 64, as every model takes; never empty."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:LONGEST_NAME] or "unnamed"


def shape_arguments(function: Callable[..., object], without: Container[str] = ()) -> type[Struct]:
    """The function's parameters as a struct that takes no others; each has to be annotated.

    `Annotated[…, Meta(description=…)]` tells the model what one is for.
    """
    fields: list[tuple[str, type] | tuple[str, type, object]] = []
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if name in without:
            continue
        needed = parameter.default is inspect.Parameter.empty
        kind = cast("type", parameter.annotation)
        fields.append((name, kind) if needed else (name, kind, parameter.default))
    return msgspec.defstruct(
        "Arguments", fields, frozen=True, kw_only=True, forbid_unknown_fields=True
    )


def describe_function(name: str, function: Callable[..., object], shape: type[Struct]) -> ToolSpec:
    """What a model is told: the function's docstring, and `shape` as a JSON schema."""
    _, found = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    schema = cast("dict[str, JsonValue]", found[shape.__name__])
    del schema["title"]
    return ToolSpec(name, " ".join((inspect.getdoc(function) or "").split()), schema)


def check_schema(schema: Mapping[str, JsonValue]) -> None:
    """Raises `ValueError`, with a part of a sentence, when `read_arguments` could not use it."""
    _compile(schema)


def read_arguments(schema: Mapping[str, JsonValue], text: str) -> dict[str, JsonValue]:
    """What the model wrote, when it fits the schema. Raises `ToolFailed`, for the model."""
    if len(text) > LONGEST_ARGUMENTS:
        raise ToolFailed(f"The arguments are longer than {LONGEST_ARGUMENTS} characters.")
    try:
        found: object = msgspec.json.decode(text) if text.strip() else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise ToolFailed(f"The arguments are not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ToolFailed("The arguments must be a JSON object.")
    arguments = cast("dict[str, JsonValue]", found)
    try:
        fault = _find_fault(schema, arguments, len(text))
    except ValueError as error:
        raise ToolFailed(f"The arguments cannot be checked: {error}.") from error
    if fault:
        raise ToolFailed(f"The arguments are wrong: {fault}.")
    return arguments


def _find_fault(
    schema: Mapping[str, JsonValue], arguments: dict[str, JsonValue], length: int
) -> str:
    """Part of a sentence; empty when there is none. Raises `ValueError`."""
    validator, weighing = _compile(schema)
    if weighing.weight * length > _MOST_WORK:
        raise ValueError("they are too long for a tool with such a large schema")
    if validator.is_valid(arguments):
        return ""
    if weighing.recursive or weighing.weight > _HEAVIEST_EXPLAINED:
        return "they do not fit the schema of the tool"
    try:
        validator.validate(arguments)
    except jsonschema_rs.ValidationError as error:
        place = ".".join(map(str, error.instance_path))
        return shorten(f"{place}: {error.message}" if place else error.message, _FAULT_LENGTH)
    return "they do not fit the schema of the tool"


def _compile(schema: Mapping[str, JsonValue]) -> "tuple[jsonschema_rs.Validator, _Weighing]":
    try:
        return _compile_text(msgspec.json.encode(schema))
    except RecursionError as error:
        raise ValueError("its schema is nested too deeply") from error


@lru_cache(_REMEMBERED)
def _compile_text(text: bytes) -> "tuple[jsonschema_rs.Validator, _Weighing]":
    """Remembered: it takes five times as long as a check, and milliseconds for a large schema."""
    schema: dict[str, JsonValue] = msgspec.json.decode(text)
    weighing = _Weighing(schema)
    try:
        validator = jsonschema_rs.validator_for(schema, offline=True, pattern_options=_PATTERNS)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        message = getattr(error, "message", str(error))
        raise ValueError(shorten(f"its schema is not valid: {message}", _FAULT_LENGTH)) from error
    return validator, weighing


class _Weighing:
    """How large a schema is, with what it refers to written out each time."""

    def __init__(self, root: Mapping[str, JsonValue]) -> None:
        """Raises `ValueError` when that is too large, or cannot be known."""
        self.recursive = False
        self._root = root
        self._steps = 0
        self._known: dict[str, int | None] = {}
        try:
            self.weight = self._weigh({name: root[name] for name in root if name != "$id"})
        except RecursionError as error:
            raise ValueError("its schema is nested too deeply") from error

    def _weigh(self, node: JsonValue) -> int:
        self._steps += 1
        weight = 1
        if isinstance(node, list):
            weight += sum([self._weigh(each) for each in cast("list[JsonValue]", node)])
        elif isinstance(node, dict):
            named = cast("dict[str, JsonValue]", node)
            if any(isinstance(named.get(name), str) for name in _MISLEADING):
                raise ValueError("its schema refers to parts of itself by name")
            weight += sum([self._weigh(each) for each in named.values()])
            if isinstance(reference := named.get("$ref"), str):
                weight += self._follow(reference)
        if max(weight, self._steps) > _HEAVIEST:
            raise ValueError("its schema is too large")
        return weight

    def _follow(self, reference: str) -> int:
        if reference not in self._known:
            self._known[reference] = None
            self._known[reference] = self._weigh(self._find(reference))
        weight = self._known[reference]
        if weight is None:
            self.recursive = True
        return weight or 1

    def _find(self, reference: str) -> JsonValue:
        outside = ValueError(f"its schema refers to {shorten(reference, 100)}, which is not in it")
        start, *steps = unquote(reference).split("/")
        node: JsonValue = dict(self._root)
        if start != "#":
            raise outside
        for step in steps:
            step = step.replace("~1", "/").replace("~0", "~")
            try:
                if isinstance(node, list):
                    node = cast("list[JsonValue]", node)[int(step)]
                else:
                    node = cast("dict[str, JsonValue]", node)[step]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise outside from error
        return node
