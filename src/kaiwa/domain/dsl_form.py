"""The `user_input_form` of an app's file."""

import re
from typing import Final, cast

from kaiwa.domain.app import FILE_KINDS, FieldKind, FormField
from kaiwa.domain.dsl_files import read_field_files
from kaiwa.domain.dsl_yaml import Block, Node
from kaiwa.domain.file import FileRules
from kaiwa.domain.inputs import number_from
from kaiwa.domain.message import JsonValue

RawField = dict[str, JsonValue]

_KINDS: Final[tuple[FieldKind, ...]] = (
    "text-input", "paragraph", "select", "number", "checkbox", "json_object", *FILE_KINDS,
    "external_data_tool",
)  # fmt: skip
_TEXTS = ("label", "variable", "description", "placeholder")
_OTHER_KEYS = (
    "hide", "description", "placeholder", "max_length", "options", "type", "config", "enabled",
    "icon", "icon_background", "json_schema", "required", "default", "label",
)  # fmt: skip
_VARIABLE = re.compile(r"(?!\d)[\w\U0001f300-\U0001f64f\U0001f680-\U0001f6ff]{1,100}")


def read_form(parent: Block) -> tuple[tuple[FormField, ...], tuple[RawField, ...]]:
    """The fields, and the form as clients are to read it."""
    fields: dict[str, FormField] = {}
    raw_form: list[RawField] = []
    for item in parent.items("user_input_form"):
        pairs = list(item.mapping().items())
        if len(pairs) != 1:
            raise item.fault("must have exactly one key, the kind of the field")
        kind, node = pairs[0]
        if kind not in _KINDS:
            raise node.fault(f"unknown kind of field; it can be {', '.join(_KINDS)}")
        field, raw = _read_field(kind, Block(node, parent.notes))
        if field.variable in fields:
            raise node.fault(f"the variable {field.variable!r} is there twice")
        fields[field.variable] = field
        raw_form.append({kind: raw})
    return tuple(fields.values()), tuple(raw_form)


def _read_field(kind: FieldKind, block: Block) -> tuple[FormField, RawField]:
    variable = block.need("variable")
    if not _VARIABLE.fullmatch(variable.text()):
        raise variable.fault(
            "must be letters, digits and underscores, at most 100, not beginning with a digit"
        )
    block.need("label").text()
    options = _options(block) if kind == "select" else ()
    default = block.find("default")
    if kind in FILE_KINDS and default and default.value:
        block.note("default", "a file cannot be one, only passed on to clients")
    field = FormField(
        kind=kind,
        variable=variable.text(),
        required=block.flag("required", default=False),
        default=_default(kind, default, options),
        max_length=_max_length(kind, block.find("max_length")),
        options=options,
        files=_files(kind, block),
    )
    for key in _OTHER_KEYS:
        block.find(key)
    block.note_rest("unknown, only passed on to clients")
    return field, _raw(kind, block.node)


def _options(block: Block) -> tuple[str, ...]:
    node = block.need("options")
    options = tuple(item.text() for item in node.items())
    if not options:
        raise node.fault("must have at least one option")
    if len(set(options)) < len(options):
        raise node.fault("has an option twice")
    return options


def _max_length(kind: FieldKind, node: Node | None) -> int | None:
    if node is None or node.value == "" or kind not in ("text-input", "paragraph"):
        return None
    return node.whole(1)


def _files(kind: FieldKind, block: Block) -> FileRules:
    if kind not in FILE_KINDS:
        return FileRules()
    most = block.find("max_length") if kind == "file-list" else None
    return read_field_files(block, most if most and most.value != "" else None)


def _default(kind: FieldKind, node: Node | None, options: tuple[str, ...]) -> JsonValue:
    if node is None or node.value == "" or kind in (*FILE_KINDS, "external_data_tool"):
        return None
    match kind:
        case "number":
            return _number(node)
        case "checkbox":
            return node.flag()
        case "json_object":
            node.mapping()
            return node.json()
        case "select":
            text = node.text()
            if text not in options:
                raise node.fault(f"must be one of the options; it is {text!r}")
            return text
        case _:
            return node.text()


def _number(node: Node) -> int | float:
    number = number_from(node.value)
    if number is None:
        raise node.fault("must be a number")
    return number


def _raw(kind: FieldKind, node: Node) -> RawField:
    """The field untouched, save that texts are text where YAML has read a number or a flag."""
    raw = cast("RawField", node.json())
    texts = _TEXTS if kind in ("number", "checkbox", "json_object") else (*_TEXTS, "default")
    for key, child in node.mapping().items():
        if key in texts and child.value is not None and not isinstance(child.value, list | dict):
            raw[key] = child.text()
        elif key == "options" and isinstance(child.value, list):
            raw[key] = [option.text() for option in child.value]
    return raw
