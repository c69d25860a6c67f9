"""Schemas of services as JSON schemas without references: every model understands those.

OpenAPI 3.0 has a dialect of its own (`nullable`, `exclusiveMinimum: true`), which is translated.
"""

import math
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import unquote

from kaiwa.domain.message import JsonValue

JsonObject = Mapping[str, object]

_MOST_NODES: Final = 3000
_DEEPEST: Final = 20
_MOST_HOPS: Final = 20
_DROPPED: Final = frozenset(
    {
        "$anchor", "$comment", "$defs", "$id", "$ref", "$schema", "deprecated", "discriminator",
        "example", "examples", "externalDocs", "nullable", "readOnly", "writeOnly", "xml",
    }
)  # fmt: skip
_SCHEMAS: Final = frozenset(
    {
        "additionalProperties", "allOf", "anyOf", "contains", "else", "if", "items", "not", "oneOf",
        "prefixItems", "propertyNames", "then",
    }
)  # fmt: skip
_NAMED_SCHEMAS: Final = frozenset({"dependentSchemas", "patternProperties", "properties"})


class Unusable(Exception):
    """A part of the document cannot be used; the message is the part of a sentence that tells."""


class References:
    """Follows the references within one document."""

    def __init__(self, document: JsonObject) -> None:
        self._document = document

    def follow(self, value: object) -> JsonObject:
        """The object that is meant. Raises `Unusable`."""
        for _ in range(_MOST_HOPS):
            found = as_object(value)
            reference = found.get("$ref")
            if not isinstance(reference, str):
                return found
            value = self.find(reference)
        raise Unusable("it refers in a circle")

    def find(self, reference: str) -> object:
        """What stands at `#/…`. Raises `Unusable`."""
        if not reference.startswith("#/"):
            raise Unusable(f"it refers to {reference}, which is not in the document")
        found: object = self._document
        for part in reference[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                found = _step(found, key)
            except (LookupError, ValueError) as error:
                raise Unusable(f"it refers to {reference}, which is not there") from error
        return found

    def read_schema(self, value: object) -> dict[str, JsonValue]:
        """For what is sent: without what may only be read.

        Where the schema contains itself, and where it is too large, it takes anything.
        """
        read = _Reading(self).read(value, (), 0)
        return read if isinstance(read, dict) else {}


class _Reading:
    """One schema, while it is read; counts, so that a small document cannot make a large one."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._left = _MOST_NODES

    def read(self, value: object, within: tuple[str, ...], depth: int) -> JsonValue:
        """`within`: the references it is reached by."""
        if isinstance(value, bool):
            return value
        schema = as_object(value)
        if self._is_over(depth):
            return {}
        reference = schema.get("$ref")
        result: dict[str, JsonValue] = {}
        if isinstance(reference, str):
            target = self._references.find(reference)
            if reference in within:
                kind = as_object(target).get("type")
                return {"type": kind} if isinstance(kind, str) else {}
            found = self.read(target, (*within, reference), depth + 1)
            result = found if isinstance(found, dict) else {}
        for key, item in schema.items():
            if key in _NAMED_SCHEMAS:
                result[key] = self._read_named(item, within, depth)
            elif key in _SCHEMAS:
                result[key] = self._read_some(item, within, depth)
            elif key not in _DROPPED and not key.startswith("x-"):
                result[key] = self._copy(item, depth)
        self._drop_unsendable(schema, result)
        _translate(schema, result)
        return result

    def _read_named(self, value: object, within: tuple[str, ...], depth: int) -> JsonValue:
        return {
            name: self.read(item, within, depth + 1)
            for name, item in as_object(value).items()
            if not self._is_read_only(item)
        }

    def _read_some(self, value: object, within: tuple[str, ...], depth: int) -> JsonValue:
        if isinstance(value, list):
            items = cast("list[object]", value)
            return [self.read(item, within, depth + 1) for item in items]
        return self.read(value, within, depth + 1)

    def _is_read_only(self, value: object) -> bool:
        if not isinstance(value, dict):
            return False
        return self._references.follow(cast(object, value)).get("readOnly") is True

    def _drop_unsendable(self, schema: JsonObject, result: dict[str, JsonValue]) -> None:
        required, properties = result.get("required"), schema.get("properties")
        if isinstance(required, list) and isinstance(properties, dict):
            named = as_object(cast(object, properties))
            kept = [name for name in required if not self._is_read_only(named.get(str(name)))]
            result["required"] = kept

    def _copy(self, value: object, depth: int) -> JsonValue:
        """As JSON: YAML knows dates and keys that are no text."""
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if self._is_over(depth):
            return None
        if isinstance(value, list):
            return [self._copy(item, depth + 1) for item in cast("list[object]", value)]
        if isinstance(value, dict):
            items = cast("dict[object, object]", value).items()
            return {str(key): self._copy(item, depth + 1) for key, item in items}
        return str(value)

    def _is_over(self, depth: int) -> bool:
        self._left -= 1
        return self._left < 0 or depth > _DEEPEST


def as_object(value: object) -> JsonObject:
    """Raises `Unusable`."""
    if not isinstance(value, dict):
        raise Unusable("it has something else where an object has to be")
    found = cast("dict[object, object]", value)
    if all(isinstance(key, str) for key in found):
        return cast(JsonObject, found)
    return {str(key): item for key, item in found.items()}


def _step(value: object, key: str) -> object:
    if isinstance(value, list):
        return cast("list[object]", value)[int(key)]
    try:
        return as_object(value)[key]
    except Unusable as error:
        raise LookupError(key) from error


def _translate(schema: JsonObject, result: dict[str, JsonValue]) -> None:
    if schema.get("nullable") is True:
        kind, choices = result.get("type"), result.get("enum")
        if isinstance(kind, str):
            result["type"] = [kind, "null"]
        if isinstance(choices, list) and None not in choices:
            result["enum"] = [*choices, None]
    for edge, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(flag := result.get(exclusive), bool):
            del result[exclusive]
            if flag and edge in result:
                result[exclusive] = result.pop(edge)
