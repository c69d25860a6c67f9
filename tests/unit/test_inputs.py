"""The form's rules, with the messages clients know."""

import math
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kaiwa.domain.app import FILE_KINDS, FieldKind, FormField
from kaiwa.domain.file import FileRules
from kaiwa.domain.inputs import follow_up_inputs, new_inputs
from kaiwa.domain.message import Inputs, JsonValue
from kaiwa.errors import InvalidParam

_NAME = FormField("text-input", "name", required=True, max_length=5)
_NOTE = FormField("paragraph", "note", default="none", max_length=5)
_TIER = FormField("select", "tier", options=("gold", "it's"))
_COUNT = FormField("number", "count", default=7)
_GIFT = FormField("checkbox", "gift", required=True)
_DATA = FormField("json_object", "data")
_TOOL = FormField("external_data_tool", "tool", required=True)
_PHOTO = FormField("file", "photo", files=FileRules(True, ("image",)))
_PAPERS = FormField("file-list", "papers", files=FileRules(True, ("document",), most=2))
_FORM = (_NAME, _NOTE, _TIER, _COUNT)

_IMAGE: JsonValue = {
    "type": "image", "transfer_method": "local_file", "upload_file_id": str(UUID(int=1))
}  # fmt: skip
_PAPER: JsonValue = {"type": "document", "transfer_method": "remote_url", "url": "http://a.example"}

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("field", "given_value", "expected"),
    [
        (_NAME, "Ann", "Ann"),
        (_NAME, "12345", "12345"),
        (_NAME, "A\0nn", "Ann"),
        (_NOTE, None, "none"),
        (_NOTE, "", "none"),
        (_NOTE, "\0", "none"),
        (_NOTE, 0, "none"),
        (_TIER, "it's", "it's"),
        (_TIER, None, ""),
        (_COUNT, 3, 3),
        (_COUNT, 2.5, 2.5),
        (_COUNT, "3", 3),
        (_COUNT, "-3", -3),
        (_COUNT, "2.50", 2.5),
        (_COUNT, "0", 0),
        (_COUNT, 0, 7),
        (_COUNT, "", 7),
        (FormField("number", "count"), None, ""),
        (_GIFT, False, False),
        (_GIFT, True, True),
        (_DATA, {"a": [1, None, {"b\0": "c\0"}]}, {"a": [1, None, {"b": "c"}]}),
        (_DATA, {}, {}),
        (_DATA, '{"a": 1}', {"a": 1}),
        (_DATA, None, None),
        (FormField("json_object", "data", default={"x": 1}), None, {"x": 1}),
        (FormField("checkbox", "gift", default=True), None, True),
        (_PHOTO, _IMAGE, _IMAGE),
        (_PHOTO, {}, None),
        (_PHOTO, "", None),
        (_PAPERS, [_PAPER, _PAPER], [_PAPER, _PAPER]),
        (_PAPERS, [], None),
        (FormField("checkbox", "gift", default=True), False, False),
    ],
)
def test_a_valid_value_is_kept(field: FormField, given_value: object, expected: JsonValue):
    found = new_inputs([field], {field.variable: given_value})[field.variable]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("field", "given_value", "message"),
    [
        (_NAME, None, "name is required in input form"),
        (_NAME, "", "name is required in input form"),
        (_NAME, 0, "name is required in input form"),
        (_NAME, False, "name is required in input form"),
        (_NAME, "\0", "name is required in input form"),
        (_NAME, 5, "(type 'text-input') name in input form must be a string"),
        (_NAME, ["x"], "(type 'text-input') name in input form must be a string"),
        (_NAME, "123456", "name in input form must be less than 5 characters"),
        (_NOTE, {"a": 1}, "(type 'paragraph') note in input form must be a string"),
        (_NOTE, "123456", "note in input form must be less than 5 characters"),
        (_TIER, 1, "(type 'select') tier in input form must be a string"),
        (
            _TIER,
            "iron",
            "tier in input form must be one of the following: ['gold', \"it's\"]",
        ),
        (_COUNT, "three", "count in input form must be a valid number"),
        (_COUNT, "1e5", "count in input form must be a valid number"),
        (_COUNT, "nan", "count in input form must be a valid number"),
        (_COUNT, "1.0e999", "count in input form must be a valid number"),
        (_COUNT, "9" * 5000, "count in input form must be a valid number"),
        (_COUNT, 10**300, "count in input form must be a valid number"),
        (_COUNT, math.inf, "count in input form must be a valid number"),
        (_COUNT, math.nan, "count in input form must be a valid number"),
        (_COUNT, True, "count in input form must be a valid number"),
        (_COUNT, [1], "count in input form must be a valid number"),
        (_GIFT, None, "gift is required in input form"),
        (_GIFT, "yes", "gift in input form must be true or false"),
        (_PHOTO, "x", "photo in input form must be a file"),
        (_PHOTO, [_IMAGE], "photo in input form must be a file"),
        (_PHOTO, _PAPER, "Files of type document are not taken by this app"),
        (_PHOTO, {"type": "image"}, "Missing file transfer method"),
        (replace(_PHOTO, required=True), {}, "photo is required in input form"),
        (_PAPERS, _PAPER, "papers in input form must be a list of files"),
        (_PAPERS, [_PAPER, None], "papers in input form must be a list of files"),
        (_PAPERS, [_PAPER] * 3, "papers in input form must be less than 2 files"),
        (_PAPERS, [_PAPER, {"a": 1}], "Missing file type"),
        (replace(_PAPERS, required=True), [], "papers is required in input form"),
        (_DATA, [1], "data in input form must be a JSON object"),
        (_DATA, "{", "data in input form must be a JSON object"),
        (_DATA, "", "data in input form must be a JSON object"),
        (_DATA, {"a": math.nan}, "data in input form must be a JSON object"),
        (_DATA, {"a": object()}, "data in input form must be a JSON object"),
    ],
)
def test_a_wrong_value_is_refused_in_known_words(
    field: FormField, given_value: object, message: str
):
    with pytest.raises(InvalidParam) as refusal:
        new_inputs([field], {field.variable: given_value})
    assert refusal.value.message == message


def test_the_first_failure_wins_in_the_order_of_the_form():
    with pytest.raises(InvalidParam, match="name is required"):
        new_inputs(_FORM, {"count": "x", "tier": "x"})


def test_a_deep_object_is_refused():
    deep: dict[str, object] = {}
    for _ in range(500):
        deep = {"a": deep}
    with pytest.raises(InvalidParam, match="must be a JSON object"):
        new_inputs([_DATA], {"data": deep})


def test_undeclared_inputs_are_dropped_and_tools_are_never_read():
    found = new_inputs((_NAME, _TOOL), {"name": "Ann", "extra": 1, "tool": "x"})
    assert found == {"name": "Ann"}


def test_a_form_without_fields_takes_nothing():
    assert new_inputs((), {"a": 1}) == {}


def test_a_later_turn_replaces_valid_inputs_and_leaves_the_rest():
    stored: Inputs = {"name": "Ann", "note": "old", "tier": "gold", "count": 1, "gone": "x"}
    used, kept = follow_up_inputs(
        _FORM, {"name": "Bo", "note": "too long", "count": "5", "extra": 1}, stored
    )
    assert used == {"name": "Bo", "note": "old", "tier": "gold", "count": 5}
    assert kept == {**used, "gone": "x"}
    assert stored["name"] == "Ann"


@pytest.mark.parametrize("nothing", [None, "", 0, "\0", []])
def test_a_later_turn_without_a_value_leaves_the_stored_one(nothing: object):
    assert follow_up_inputs((_NAME,), {"name": nothing}, {"name": "Ann"})[0] == {"name": "Ann"}


def test_a_later_turn_without_a_file_of_the_form_leaves_the_stored_one():
    stored: Inputs = {"photo": _IMAGE, "papers": [_PAPER]}
    given = {"photo": _PAPER, "papers": [_PAPER] * 3}
    assert follow_up_inputs((_PHOTO, _PAPERS), given, stored) == (stored, stored)
    assert follow_up_inputs((_PHOTO, _PAPERS), {}, stored) == (stored, stored)


def test_a_later_turn_may_untick_a_checkbox():
    assert follow_up_inputs((_GIFT,), {"gift": False}, {"gift": True})[1] == {"gift": False}


@given(
    st.sampled_from(
        ["text-input", "paragraph", "select", "number", "checkbox", "json_object", *FILE_KINDS]
    ),
    _ANYTHING,
    st.booleans(),
)
def test_whatever_is_given_is_refused_or_survives_json(
    kind: FieldKind, value: object, required: bool
):
    field = FormField(kind, "v", required=required, options=("a", "b"))
    used, _ = follow_up_inputs((field,), {"v": value}, {"v": "stored"})
    assert set(used) == {"v"}
    try:
        found = new_inputs((field,), {"v": value})
    except InvalidParam:
        assert used == {"v": "stored"}
    else:
        assert msgspec.json.decode(msgspec.json.encode(found)) == found
