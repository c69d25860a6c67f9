"""From an operation and a model's arguments to the request; nothing is sent here."""

from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote, urlencode

from msgspec import Struct, json

from kaiwa.domain.message import JsonValue
from kaiwa.errors import ToolFailed
from kaiwa.providers.tools.openapi_document import Body, Operation, Parameter

_SEPARATORS = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|"}

Pairs = Iterable[tuple[str, str]]


class Request(Struct, frozen=True):
    """What is to be sent, without the credentials."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes | None


def make_request(operation: Operation, arguments: Mapping[str, JsonValue]) -> Request:
    """Raises `ToolFailed` for an argument that its place cannot hold."""
    path = operation.path
    query: list[tuple[str, str]] = []
    headers = {"Accept": "application/json, text/*;q=0.9, */*;q=0.1"}
    for one in operation.parameters:
        value = arguments.get(one.key)
        if value is None:
            continue
        if one.place == "query":
            query += _query_pairs(one, value)
        elif one.place == "header":
            headers[one.name] = _header(one, value)
        else:
            path = path.replace(f"{{{one.name}}}", _segment(one, value))
    _check_path(path)
    body = None if operation.body is None else _write_body(operation.body, arguments)
    if body is not None and operation.body is not None:
        headers["Content-Type"] = operation.body.content_type
    return Request(operation.method, path, _encode(query), headers, body)


def _encode(pairs: Pairs) -> str:
    return urlencode(list(pairs), quote_via=quote, safe="")


def _segment(one: Parameter, value: JsonValue) -> str:
    text = _simple(one, value)
    if not text:
        raise ToolFailed(f"The argument {one.key} must not be empty.")
    return quote(text, safe="")


def _check_path(path: str) -> None:
    """An argument must not lead to another operation, or out of the service."""
    if "{" in path:
        raise ToolFailed("An argument that belongs into the path is missing.")
    if {".", ".."} & set(unquote(path).replace("\\", "/").split("/")):
        raise ToolFailed("An argument that belongs into the path must not hold . or .. as a part.")


def _header(one: Parameter, value: JsonValue) -> str:
    text = _simple(one, value)
    if not text.isprintable():
        raise ToolFailed(f"The argument {one.key} must be one line.")
    return text


def _simple(one: Parameter, value: JsonValue) -> str:
    """The style of paths and headers."""
    if one.as_json:
        return _text(value)
    if isinstance(value, list):
        return ",".join(map(_scalar, value))
    if isinstance(value, dict):
        between = "=" if one.explode else ","
        return ",".join(f"{name}{between}{_scalar(item)}" for name, item in value.items())
    return _scalar(value)


def _query_pairs(one: Parameter, value: JsonValue) -> Pairs:
    if one.as_json:
        return [(one.name, _text(value))]
    if isinstance(value, list):
        if one.explode:
            return [(one.name, _scalar(item)) for item in value]
        return [(one.name, _SEPARATORS.get(one.style, ",").join(map(_scalar, value)))]
    if isinstance(value, dict):
        if one.style == "deepObject":
            return [(f"{one.name}[{name}]", _scalar(item)) for name, item in value.items()]
        if one.explode:
            return [(name, _scalar(item)) for name, item in value.items()]
        flat = ",".join(f"{name},{_scalar(item)}" for name, item in value.items())
        return [(one.name, flat)]
    return [(one.name, _scalar(value))]


def _write_body(body: Body, arguments: Mapping[str, JsonValue]) -> bytes | None:
    """None when none of it was given and none is needed."""
    if body.fields is None:
        if body.key not in arguments and not body.required:
            return None
        return json.encode(arguments.get(body.key))
    given = {name: arguments[key] for key, name in body.fields.items() if key in arguments}
    if not given and not body.required:
        return None
    if not body.is_form:
        return json.encode(given)
    pairs: list[tuple[str, str]] = []
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, _scalar(item)) for item in values if item is not None]
    return _encode(pairs).encode()


def _scalar(value: JsonValue) -> str:
    return value if isinstance(value, str) else _text(value)


def _text(value: JsonValue) -> str:
    return json.encode(value).decode()
