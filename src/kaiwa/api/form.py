"""A form with a file: `multipart/form-data`, read while it comes, never whole in memory."""

from collections.abc import AsyncIterator, Callable
from typing import cast

from litestar.exceptions import InternalServerException
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,  # pyright: ignore[reportUnknownVariableType]
)

from kaiwa.api.body import user_or_default
from kaiwa.api.site import ApiRequest
from kaiwa.domain.disposition import read_names
from kaiwa.errors import BadRequest, BodyTooLarge, KaiwaError, TooManyFiles

_FIELD_LIMIT = 65_536
_PARTS = 20
_BESIDE = 1_000_000
"""Bytes of a form besides its file."""


def _read_type(header: str) -> tuple[str, str]:
    parse = cast("Callable[[str], tuple[str, dict[str, str]]]", parse_options_header)
    kind, options = parse(header)
    return kind, options.get("boundary", "")


def name_of(segment: MultipartSegment) -> str | None:
    """A part's name as a file; None when it is none."""
    extended, _ = read_names(dict(segment.headerlist).get("Content-Disposition", ""))
    return extended or segment.filename


class Form:
    """The parts of one form. Raises `BadRequest` for what is none, or ends in the middle."""

    def __init__(self, request: ApiRequest, largest: int, missing: type[KaiwaError]) -> None:
        """`largest`: bytes that its file may have, of whatever kind it is.

        Raises `missing` for another kind of body.
        """
        self._largest, self._most = largest, largest + _BESIDE
        self._missing = missing
        kind, boundary = _read_type(request.headers.get("content-type", ""))
        if kind != "multipart/form-data" or not boundary:
            raise missing
        self._length = int(request.headers.get("content-length", 0))
        try:
            self._parser = PushMultipartParser(boundary, max_segment_count=_PARTS)
        except MultipartError as error:
            raise BadRequest from error
        self._events = self._read(request.stream())
        self._fields: dict[str, str] = {}

    def check_length(self, over: Callable[[int, int], KaiwaError]) -> None:
        """Refuse it unread, if it says itself that it is too long: by `over(largest, length)`."""
        if self._length > self._most:
            raise over(self._largest, self._length)

    def user(self) -> str:
        """Once the whole form was read."""
        return user_or_default(self._fields)

    def field(self, name: str) -> str | None:
        """Likewise."""
        return self._fields.get(name)

    async def find_file(self) -> MultipartSegment:
        """The first part named `file`; fields before it are noted. Raises `missing`."""
        async for event in self._events:
            if isinstance(event, MultipartSegment):
                if event.name == "file" and name_of(event) is not None:
                    return event
                await self._note(event)
        raise self._missing

    async def read_file(self) -> AsyncIterator[bytes]:
        """Its pieces; then the fields behind it. Raises `TooManyFiles` for another file there."""
        async for event in self._events:
            if event is None:
                break
            assert isinstance(event, bytes | bytearray)
            yield bytes(event)
        async for event in self._events:
            if isinstance(event, MultipartSegment):
                await self._note(event)

    async def _note(self, segment: MultipartSegment) -> None:
        if name_of(segment) is not None:
            if segment.name != "file":  # of two named so, the first one counts
                raise TooManyFiles
            async for event in self._events:
                if event is None:
                    return
            return
        value = bytearray()
        async for event in self._events:
            if event is None:
                break
            assert isinstance(event, bytes | bytearray)
            value += event
            if len(value) > _FIELD_LIMIT:
                raise BadRequest(f"A field of the form is longer than {_FIELD_LIMIT} bytes.")
        self._fields.setdefault(segment.name or "", value.decode("utf-8", "replace"))

    async def _read(
        self, body: AsyncIterator[bytes]
    ) -> AsyncIterator[MultipartSegment | bytes | bytearray | None]:
        try:
            size = 0
            async for chunk in body:
                size += len(chunk)
                if size > self._most:
                    raise BodyTooLarge
                if chunk:
                    for event in self._parser.parse(chunk):
                        yield event
            self._parser.close()
        except MultipartError as error:
            raise BadRequest("The form is broken, or ends in the middle.") from error
        except InternalServerException as error:  # the client left in the middle of its request
            raise BadRequest from error
