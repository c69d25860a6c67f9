"""Files on their way out: by signed links for browsers, by key for whoever holds it."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import UUID

from litestar import Response
from litestar.params import FromPath
from litestar.response import Stream

from kaiwa.api import wire
from kaiwa.api.auth import authorise
from kaiwa.api.body import path_uuid, read_flag, read_json, user_or_default
from kaiwa.api.site import ApiRequest, site_of
from kaiwa.domain.file import StoredFile
from kaiwa.errors import (
    FileMissing,
    Forbidden,
    InvalidParam,
    NotFound,
    UnsupportedEstimate,
    UnsupportedFileType,
    UnsupportedPreview,
)
from kaiwa.files.extract import is_readable
from kaiwa.files.kinds import Kind, is_inline_safe
from kaiwa.files.links import PARAMETERS, Use
from kaiwa.store.files import find_file, find_files

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_NO_SUCH = "File not found or signature is invalid"


async def get_preview(request: ApiRequest, file_id: FromPath[str]) -> Response[Any]:
    """A file of the end user's, to be looked at or, `as_attachment`, saved."""
    caller = await authorise(request, site_of(request).db)
    user = user_or_default(request.query_params)
    file = await _find_theirs(request, caller.app.id, user, file_id)
    if not is_inline_safe(file.mime_type) and not _as_attachment(request):
        raise UnsupportedPreview
    return await _send(request, file)


async def post_estimate(request: ApiRequest, file_id: FromPath[str]) -> Response[wire.Estimate]:
    """How long a document is: pages where it has any, characters, tokens as we estimate them."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    user = user_or_default(await read_json(request, optional=True))
    file = await _find_theirs(request, caller.app.id, user, file_id)
    kind = Kind(file.type, file.extension, file.mime_type)
    if not is_readable(kind):
        raise UnsupportedEstimate
    found = await site.extractor.extract(await site.blobs.read(file.key), kind)
    return Response(wire.Estimate(found.pages, found.characters, found.tokens))


async def get_image_preview(request: ApiRequest, file_id: FromPath[str]) -> Response[Any]:
    """A picture, by a signed link."""
    if not all(request.query_params.get(name) for name in PARAMETERS):
        return Response({"content": "Invalid request."}, status_code=400)
    return await _follow(request, "image-preview", file_id)


async def get_file_preview(request: ApiRequest, file_id: FromPath[str]) -> Response[Any]:
    """Any file, by a signed link."""
    return await _follow(request, "file-preview", file_id)


async def get_tool_file(request: ApiRequest, name: FromPath[str]) -> Response[Any]:
    """A file that a tool made, by a signed link."""
    query = request.query_params
    for parameter in PARAMETERS:
        if not query.get(parameter):
            raise InvalidParam(f"{parameter} is required", params=parameter)
    try:
        return await _follow(request, "file-preview", name.rpartition(".")[0] or name)
    except NotFound as error:
        file_id = name.rpartition(".")[0] or name
        if _holds(request, "file-preview", file_id):
            raise UnsupportedFileType from error
        raise Forbidden("Invalid request.") from error


async def _find_theirs(request: ApiRequest, app_id: UUID, user: str, name: str) -> StoredFile:
    file_id = path_uuid(name)
    found = await find_files(site_of(request).db, app_id, user, [file_id])
    if file_id not in found:
        raise FileMissing
    return found[file_id]


def _holds(request: ApiRequest, use: Use, name: str) -> bool:
    site = site_of(request)
    try:
        file_id = path_uuid(name)
    except NotFound:
        return False
    query = {key: str(value) for key, value in request.query_params.items()}
    return site.links.holds(use, file_id, query, site.context.clock().timestamp())


async def _follow(request: ApiRequest, use: Use, name: str) -> Response[Any]:
    if not _holds(request, use, name):
        raise NotFound(_NO_SUCH)
    file = await find_file(site_of(request).db, path_uuid(name))
    if file is None:
        raise NotFound(_NO_SUCH)
    return await _send(request, file)


async def _send(request: ApiRequest, file: StoredFile) -> Response[Any]:
    """Whole or in part; what a browser might run is only ever saved."""
    site = site_of(request)
    safe = is_inline_safe(file.mime_type)
    mime_type = file.mime_type if safe else "application/octet-stream"
    inline = safe and not _as_attachment(request)
    disposition = _dispose(file.name, inline=inline)
    if site.settings.presigned:
        seconds = site.links.seconds
        if link := await site.blobs.link(file.key, seconds, mime_type, disposition):
            return Response(b"", status_code=302, headers={"Location": link})
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=300",
        "Content-Disposition": disposition,
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    start, end, status = _find_range(request.headers.get("range", ""), file.size)
    if status == 416:
        headers = {"Content-Range": f"bytes */{file.size}"}
        return Response(b"", status_code=416, headers=headers)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    headers["Content-Length"] = str(end - start)
    pieces = await _begin(site.blobs.get(file.key, start, end))
    return Stream(pieces, status_code=status, media_type=mime_type, headers=headers)


async def _begin(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, its first piece already here, so that a store that fails keeps its status."""
    first = await anext(pieces, b"")

    async def all_of_them() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return all_of_them()


def _find_range(header: str, size: int) -> tuple[int, int, int]:
    """Where to begin, where to end, and the status; several ranges get the whole file."""
    found = _RANGE.fullmatch(header.strip())
    if not found or found.groups() == ("", ""):
        return 0, size, 200
    first, last = found.groups()
    if not first:  # so many at the end
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1 if last else size, size)
    if start >= end:
        return 0, 0, 416
    return start, end, 206


def _as_attachment(request: ApiRequest) -> bool:
    return bool(read_flag(request.query_params.get("as_attachment"), "as_attachment"))


def _dispose(name: str, *, inline: bool) -> str:
    """As RFC 6266 has it: a plain name for old browsers, the true one beside it."""
    plain = re.sub(r'[^ !#-\[\]-~]|[\\"%;]', "_", name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
