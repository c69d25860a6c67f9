"""What a client sent → checked values; the contract's messages for what is wrong.

Lenient where clients that exist need it: unknown keys, nulls, numbers for strings. Nothing here
knows what the values are for.
"""

import re
from collections.abc import Mapping
from typing import cast
from uuid import UUID

import msgspec
from litestar.exceptions import InternalServerException

from kaiwa.api.site import ApiRequest
from kaiwa.domain.file import FileRules, GivenFile
from kaiwa.domain.file_objects import read_file
from kaiwa.domain.message import Inputs, JsonValue
from kaiwa.domain.text import as_text
from kaiwa.errors import BadRequest, InvalidJson, InvalidParam, NotFound, UnsupportedMediaType

DEFAULT_USER = "DEFAULT-USER"
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LARGEST_PAGE = 100
_LONGEST_USER = 512
"""Characters; PostgreSQL's indexes take 2,704 bytes."""

Body = dict[str, JsonValue]


async def read_json(request: ApiRequest, *, optional: bool = False) -> Body:
    """The JSON object in the request's body; `optional`: no body at all is an empty object."""
    try:
        raw = await request.body()
    except InternalServerException as error:  # the client left in the middle of its request
        raise BadRequest from error
    if optional and not raw:
        return {}
    if not _JSON_TYPE.match(request.headers.get("content-type", "")):
        raise UnsupportedMediaType
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson from error
    if not isinstance(body, dict):
        raise InvalidParam("The JSON body must be an object.")
    return cast(Body, body)


def required_user(values: Mapping[str, JsonValue]) -> str:
    """The end user's name; any falsy value counts as absent."""
    if not (user := _user(values)):
        raise InvalidParam("Arg user must be provided.")
    return user


def user_or_default(values: Mapping[str, JsonValue]) -> str:
    """The end user's name, or that of the shared one."""
    return _user(values) or DEFAULT_USER


def _user(values: Mapping[str, JsonValue]) -> str:
    user = values.get("user")
    name = as_text(user) if user else ""
    if len(name) > _LONGEST_USER:
        raise InvalidParam(f"user is longer than {_LONGEST_USER} characters", params="user")
    return name


def read_query(body: Body) -> str:
    if "query" not in body:
        raise InvalidParam("Missing required parameter in the JSON body", params="query")
    query = body["query"]
    return "" if query is None else as_text(query)


def read_inputs(body: Body) -> Inputs:
    """An object, or what Python's `dict` makes one of; absent, null and empty are `{}`."""
    given = body.get("inputs")
    if isinstance(given, dict):
        return given
    if given is None:
        return {}
    try:
        pairs = dict(cast("list[tuple[str, JsonValue]]", given))
    except (TypeError, ValueError) as error:
        raise InvalidParam(str(error), params="inputs") from error
    return {str(name): value for name, value in pairs.items()}


def read_files(body: Body, rules: FileRules) -> tuple[GivenFile, ...]:
    """The files that come with a question; passed over in an app that takes none."""
    given = body.get("files")
    if isinstance(given, int | float):
        raise InvalidParam(f"'{type(given).__name__}' object is not iterable", params="files")
    if not given or not rules.enabled:
        return ()
    files = tuple([read_file(one, rules) for one in given])
    if len(files) > rules.most:
        kind = "image files" if all(one.type == "image" for one in files) else "files"
        raise InvalidParam(f"Number of {kind} exceeds the maximum limit {rules.most}")
    return files


def read_choice(value: JsonValue, choices: tuple[str, ...], name: str) -> str:
    """Raises `InvalidParam` "x is not a valid choice"."""
    if value not in choices:
        raise InvalidParam(f"{as_text(value)} is not a valid choice", params=name)
    return str(value)


def read_uuid(value: JsonValue, name: str) -> UUID | None:
    """A UUID in any spelling; None for null, empty and blank."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidParam(
            f"'{type(value).__name__}' object has no attribute 'replace'", params=name
        )
    if not value.strip():
        return None
    try:
        return UUID(value.strip())
    except ValueError as error:
        raise InvalidParam(f"{value} is not a valid uuid.", params=name) from error


def path_uuid(value: str) -> UUID:
    """The UUID in a path, which must be dashed; anything else is a page that does not exist."""
    if not _UUID.fullmatch(value):
        raise NotFound
    return UUID(value)


def read_limit(value: str | None) -> int:
    """Rows of a page: 20 unless told, at most 100."""
    if value is None or value == "":
        return 20
    try:
        limit = int(value)
    except ValueError as error:
        raise InvalidParam(f"{value} is not a valid integer", params="limit") from error
    if limit < 1:
        raise InvalidParam(
            f"Invalid argument: {limit}. argument must be within the range 1 - {_LARGEST_PAGE}",
            params="limit",
        )
    return min(limit, _LARGEST_PAGE)


def read_flag(value: str | None, name: str) -> bool | None:
    """`true` or `false` in a query string, in any of the usual spellings; None when absent."""
    if value is None or value == "":
        return None
    match value.lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
        case _:
            raise InvalidParam(f"{value} is not a valid boolean", params=name)
