"""Files on their way out: by signed links for browsers, by key for whoever holds it."""

from typing import cast
from uuid import UUID

from litestar import Response
from litestar.params import FromPath
from litestar.types import ASGIApp

from kaiwa.api import wire
from kaiwa.api.auth import authorise
from kaiwa.api.body import path_uuid, read_flag, read_json, user_or_default
from kaiwa.api.serving import serve_file
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
from kaiwa.store.documents import find_document_file
from kaiwa.store.files import find_file, find_files

_NO_SUCH = "File not found or signature is invalid"


async def get_preview(request: ApiRequest, file_id: FromPath[str]) -> ASGIApp:
    """A file of the end user's, to be looked at or, `as_attachment`, saved."""
    caller = await authorise(request, site_of(request).db)
    user = user_or_default(request.query_params)
    file = await _find_theirs(request, caller.app.id, user, file_id)
    if not is_inline_safe(file.mime_type) and not _as_attachment(request):
        raise UnsupportedPreview
    return await serve_file(request, file, attachment=_as_attachment(request))


async def post_estimate(request: ApiRequest, file_id: FromPath[str]) -> Response[wire.Estimate]:
    """How long a document is: pages where it has any, characters, tokens as we estimate them."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    user = user_or_default(await read_json(request, optional=True))
    file = await _find_theirs(request, caller.app.id, user, file_id)
    if not is_readable(Kind(file.type, file.extension, file.mime_type)):
        raise UnsupportedEstimate
    found = await site.extractor.read(file, site.blobs)
    return Response(wire.Estimate(found.pages, found.characters, found.tokens))


async def get_image_preview(request: ApiRequest, file_id: FromPath[str]) -> ASGIApp:
    """A picture, by a signed link."""
    if not all(request.query_params.get(name) for name in PARAMETERS):
        return cast(ASGIApp, Response({"content": "Invalid request."}, status_code=400))
    return await _follow(request, "image-preview", file_id)


async def get_file_preview(request: ApiRequest, file_id: FromPath[str]) -> ASGIApp:
    """Any file, by a signed link."""
    return await _follow(request, "file-preview", file_id)


async def get_tool_file(request: ApiRequest, name: FromPath[str]) -> ASGIApp:
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


async def _follow(request: ApiRequest, use: Use, name: str) -> ASGIApp:
    if not _holds(request, use, name):
        raise NotFound(_NO_SUCH)
    db, file_id = site_of(request).db, path_uuid(name)
    file = await find_file(db, file_id) or await find_document_file(db, file_id)
    if file is None or (use == "image-preview" and file.type != "image"):
        raise NotFound(_NO_SUCH)
    return await serve_file(request, file, attachment=_as_attachment(request))


def _as_attachment(request: ApiRequest) -> bool:
    return bool(read_flag(request.query_params.get("as_attachment"), "as_attachment"))
