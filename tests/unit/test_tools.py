"""What a model is told of a tool, and which of its arguments are let through."""

import json
import time
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from kaiwa.domain.tools import (
    LONGEST_ARGUMENTS,
    check_schema,
    describe_function,
    read_arguments,
    shape_arguments,
)
from kaiwa.errors import ToolFailed

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"enum": ["sun", "rain"]}},
    },
    "required": ["city"],
    "additionalProperties": False,
}


async def forecast(
    city: Annotated[str, Meta(description="Where.", max_length=80)],
    days: Annotated[int, Meta(ge=1)] = 3,
    unit: Literal["c", "f"] = "c",
) -> str:
    """Tell the weather
    of the next days.
    """
    return f"{city} {days} {unit}"


def ladder(rungs: int) -> dict[str, Any]:
    """A short schema that doubles with each rung when it is written out."""
    steps: dict[str, Any] = {
        f"a{i}": {
            "anyOf": [{"$ref": f"#/$defs/a{i + 1}"}, {"$ref": f"#/$defs/a{i + 1}", "minLength": 2}]
        }
        for i in range(rungs)
    }
    return {"$defs": steps | {f"a{rungs}": {"type": "string"}}, "$ref": "#/$defs/a0"}


def nest(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"allOf": [found]}
    return found


def refusal(schema: dict[str, Any], text: str) -> str:
    with pytest.raises(ToolFailed) as caught:
        read_arguments(schema, text)
    return caught.value.message


def test_a_signature_becomes_a_schema():
    spec = describe_function("weather", forecast, shape_arguments(forecast))
    assert spec.name == "weather"
    assert spec.description == "Tell the weather of the next days."
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where.", "maxLength": 80},
            "days": {"type": "integer", "minimum": 1, "default": 3},
            "unit": {"enum": ["c", "f"], "default": "c"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_what_is_set_already_is_not_told():
    spec = describe_function("weather", forecast, shape_arguments(forecast, {"city", "unit"}))
    assert spec.parameters["properties"] == {
        "days": {"type": "integer", "minimum": 1, "default": 3}
    }
    assert spec.parameters["required"] == []


def test_arguments_that_fit_are_let_through():
    assert read_arguments(SCHEMA, '{"city": "Kyoto", "days": 2, "tags": ["sun"]}') == {
        "city": "Kyoto",
        "days": 2,
        "tags": ["sun"],
    }


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_no_arguments_are_an_empty_object(text: str):
    assert read_arguments({"type": "object"}, text) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"city": "Ky', "The arguments are not valid JSON: Input data was truncated."),
        ('{"city": NaN}', "The arguments are not valid JSON"),
        ("[" * 100_000, "The arguments are not valid JSON"),
        ('["Kyoto"]', "The arguments must be a JSON object."),
        ("7", "The arguments must be a JSON object."),
        ("{}", 'The arguments are wrong: "city" is a required property.'),
        ('{"city": 7}', 'The arguments are wrong: city: 7 is not of type "string".'),
        ('{"city": "a", "days": 0}', "days: 0 is less than the minimum of 1."),
        ('{"city": "a", "tags": ["sun", "snow"]}', 'tags.1: "snow" is not one of'),
        ('{"city": "a", "town": "b"}', "'town' was unexpected"),
        (json.dumps({"city": "a" * LONGEST_ARGUMENTS}), "longer than 100000 characters"),
    ],
)
def test_a_model_is_told_what_is_wrong(text: str, sentence: str):
    assert sentence in refusal(SCHEMA, text)


def test_a_fault_is_told_in_bounded_words():
    assert len(refusal(SCHEMA, json.dumps({"city": ["x" * 50_000]}))) < 500


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://json-schema.org/draft-07/schema#",
         "properties": {"a": {"type": "null"}}},
        {"$id": "https://tools.example/a.json", "properties": {"a": {"$ref": "#/$defs/b~1c"}},
         "$defs": {"b/c": {"type": "null"}}},
        {"properties": {"a": {"$ref": "#/anyOf/0"}}, "anyOf": [{"type": "object"}]},
    ],
)  # fmt: skip
def test_schemas_of_others_are_followed_within_themselves(schema: dict[str, Any]):
    check_schema(schema)
    assert refusal(schema, '{"a": 1}').startswith("The arguments are wrong: a: ")


def test_a_schema_may_hold_itself():
    tree: dict[str, Any] = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "additionalProperties": False,
    }
    check_schema(tree)
    assert read_arguments(tree, '{"children": [{"children": []}]}')
    assert "do not fit the schema" in refusal(tree, '{"children": [{"x": 1}]}')


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "which is not in it"),
        ({"$ref": "file:///etc/passwd"}, "which is not in it"),
        ({"$ref": "#/$defs/none"}, "which is not in it"),
        ({"properties": {"a": {"$id": "https://b.example"}}}, "by name"),
        ({"type": "strin"}, "its schema is not valid"),
        ({"$schema": "https://unknown.example/"}, "its schema is not valid"),
        ({"properties": {"a": {"pattern": "("}}}, "its schema is not valid"),
        (ladder(40), "its schema is too large"),
        ({"enum": list(range(50_000))}, "its schema is too large"),
        (nest(3000), "nested too deeply"),
    ],
    ids=range(10),
)
def test_a_schema_that_cannot_be_used_is_known_at_once(schema: dict[str, Any], reason: str):
    began = time.process_time()
    with pytest.raises(ValueError, match=reason):
        check_schema(schema)
    assert refusal(schema, "{}").startswith("The arguments cannot be checked: its schema ")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(?=a)(a+)+$", r"^(?:(a+)\1*)+$", "(x+x+)+y"])
def test_no_pattern_takes_long(pattern: str):
    began = time.process_time()
    refusal({"properties": {"a": {"pattern": pattern}}}, json.dumps({"a": "a" * 90_000 + "b"}))
    assert time.process_time() - began < 3


def test_no_schema_takes_long():
    fan: dict[str, Any] = {
        "anyOf": [
            {"properties": {"a": {"$ref": "#"}}, "required": [name]} for name in ("b", "c", "d")
        ]
    }
    began = time.process_time()
    refusal(fan, '{"a":' * 400 + "1" + "}" * 400)
    refusal(ladder(8), "{}")
    items = {"properties": {"a": {"items": {"$ref": "#/$defs/a0"}}}, "$defs": ladder(8)["$defs"]}
    assert "too long" in refusal(items, json.dumps({"a": [1] * 30_000}))
    assert time.process_time() - began < 2
