"""Files as JSON objects: as clients name them, and as inputs keep them.

What inputs keep is also a way to name the file, so clients may send back what they have read.
"""

from collections.abc import Iterable, Mapping
from typing import cast
from uuid import UUID

import msgspec
from msgspec import Struct

from kaiwa.domain.file import (
    FILE_TYPES,
    FileRules,
    FileType,
    GivenFile,
    MessageFile,
    TransferMethod,
)
from kaiwa.domain.message import Inputs, JsonValue
from kaiwa.domain.text import as_text
from kaiwa.errors import InvalidParam


class _Kept(Struct, frozen=True, forbid_unknown_fields=True):
    """A file in inputs."""

    type: FileType
    transfer_method: TransferMethod
    upload_file_id: UUID
    related_id: UUID
    """The same, under the name it has in Dify's inputs."""
    filename: str
    extension: str
    mime_type: str
    size: int
    url: str | None = None
    """Made anew for whoever reads it."""


def read_file(given: JsonValue, rules: FileRules) -> GivenFile:
    """Raises `InvalidParam`."""
    if not isinstance(given, dict):
        raise InvalidParam("Invalid file format, must be dict")
    kind = _read_member(given.get("type"), FILE_TYPES, "file type")
    methods = ("local_file", "remote_url")
    method = _read_member(given.get("transfer_method"), methods, "file transfer method")
    if kind not in rules.types and "custom" not in rules.types:
        raise InvalidParam(f"Files of type {kind} are not taken by this app")
    if method not in rules.methods:
        raise InvalidParam(f"Invalid transfer method: {method}")
    kind, named = cast(FileType, kind), given.get("upload_file_id")
    if method == "local_file":
        return GivenFile(kind, "local_file", file_id=_read_upload(named))
    if named:  # it was fetched before
        return GivenFile(kind, "remote_url", file_id=_read_upload(named))
    return GivenFile(kind, "remote_url", url=_read_url(given.get("url")))


def _read_member(value: JsonValue, members: tuple[str, ...], name: str) -> str:
    if not value:
        raise InvalidParam(f"Missing {name}")
    if value not in members:
        raise InvalidParam(f"No matching enum found for value '{as_text(value)}'")
    return str(value)


def _read_url(url: JsonValue) -> str:
    if not url:
        raise InvalidParam("Missing file url")
    if not isinstance(url, str) or not url.lower().startswith("http"):
        raise InvalidParam("Invalid file url")
    return url


def _read_upload(named: JsonValue) -> UUID:
    if not named:
        raise InvalidParam("Missing file upload_file_id")
    try:
        return UUID(as_text(named))
    except ValueError as error:
        raise InvalidParam("Invalid upload file") from error


def keep_file(one: MessageFile) -> JsonValue:
    """The object that stands for the file in inputs."""
    file = one.file
    kept = _Kept(
        type=file.type,
        transfer_method=one.method,
        upload_file_id=file.id,
        related_id=file.id,
        filename=file.name,
        extension=file.extension,
        mime_type=file.mime_type,
        size=file.size,
    )
    return cast(JsonValue, msgspec.to_builtins(kept))


def kept_ids(inputs: Iterable[Inputs]) -> list[UUID]:
    """Of the files in these inputs, or of what looks like them: whose they are is to be asked."""
    return [
        kept.upload_file_id
        for each in inputs
        for value in each.values()
        for one in (value if isinstance(value, list) else [value])
        if (kept := _find_kept(one))
    ]


def with_links(inputs: Inputs, links: Mapping[UUID, str]) -> Inputs:
    """The inputs as clients read them; `links` by the ids of files."""
    if not links:
        return inputs
    return {name: _with_link(value, links) for name, value in inputs.items()}


def _with_link(value: JsonValue, links: Mapping[UUID, str]) -> JsonValue:
    if isinstance(value, list):
        return [_with_link(one, links) for one in value]
    kept = _find_kept(value)
    if kept is None or kept.upload_file_id not in links:
        return value
    return {**cast(Inputs, value), "url": links[kept.upload_file_id]}


def _find_kept(value: JsonValue) -> _Kept | None:
    if not isinstance(value, dict):
        return None
    try:
        return msgspec.convert(value, _Kept)
    except msgspec.ValidationError:
        return None
