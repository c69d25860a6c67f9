"""A small form without files, in either of the ways forms are sent."""

from collections.abc import Callable
from typing import Final, cast
from urllib.parse import parse_qsl

from litestar.exceptions import InternalServerException
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,  # pyright: ignore[reportUnknownVariableType]
)

from kaiwa.api.body import Body, read_json
from kaiwa.api.site import ApiRequest
from kaiwa.errors import BadRequest

_FIELDS: Final = 50


async def read_fields(request: ApiRequest) -> Body:
    """The fields of a form, or the JSON object that other clients send.

    Raises what `read_json` raises, and `BadRequest` for a form that is broken.
    """
    parse = cast("Callable[[str], tuple[str, dict[str, str]]]", parse_options_header)
    kind, options = parse(request.headers.get("content-type", ""))
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return await read_json(request)
    try:
        raw = await request.body()
    except InternalServerException as error:  # the client left in the middle of its request
        raise BadRequest from error
    try:
        if kind == "multipart/form-data":
            return _read_parts(raw, options.get("boundary", ""))
        pairs = parse_qsl(raw.decode("utf-8", "replace"), True, max_num_fields=_FIELDS)
    except (MultipartError, ValueError) as error:
        raise BadRequest("The form is broken, or ends in the middle.") from error
    return cast(Body, dict(reversed(pairs)))  # of two named so, the first one counts


def _read_parts(raw: bytes, boundary: str) -> Body:
    fields: dict[str, bytes] = {}
    name, value = "", bytearray()
    with PushMultipartParser(boundary, max_segment_count=_FIELDS) as parser:
        for event in parser.parse(raw):
            if isinstance(event, MultipartSegment):
                name = event.name or ""
            elif event is None:
                fields.setdefault(name, bytes(value))
                value.clear()
            else:
                value += event
    return {name: value.decode("utf-8", "replace") for name, value in fields.items()}
