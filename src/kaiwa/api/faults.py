"""The one place where an error becomes an answer. No stack, no SQL, no secret leaves the server."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from litestar import MediaType, Request, Response
from litestar.datastructures import State
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)

from kaiwa.api import wire
from kaiwa.errors import BadRequest, BodyTooLarge, KaiwaError, MethodNotAllowed, NotFound

logger = logging.getLogger(__name__)

AnyRequest = Request[object, object, State]
Handler = Callable[[Any, Any], Response[bytes]]


def refuse(_: AnyRequest, error: Exception) -> Response[bytes]:
    """A deliberate error, or the framework's own, as the contract shows it."""
    if isinstance(error, KaiwaError):
        return _answer(error)
    if isinstance(error, NotFoundException):
        return _answer(NotFound())
    if isinstance(error, MethodNotAllowedException):
        return _answer(MethodNotAllowed(), {"Allow": (error.headers or {}).get("allow", "")})
    if isinstance(error, HTTPException) and error.status_code == 413:
        return _answer(BodyTooLarge())
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _answer(BadRequest())
    return crash(_, error)


def crash(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Anything unforeseen: logged here, a plain sentence outside."""
    request_id = request.scope["state"].get("request_id", "?")
    path = request.scope["raw_path"].decode()  # escaped as it came: it cannot forge a line
    logger.error("%s %s failed (%s)", request.method, path, request_id, exc_info=error)
    return _answer(KaiwaError())


def _answer(error: KaiwaError, more: Mapping[str, str] | None = None) -> Response[bytes]:
    headers = dict(more or {})
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="api"'
    return Response(
        msgspec.json.encode(wire.error_body(error)),
        status_code=error.status,
        headers=headers,
        media_type=MediaType.JSON,
    )


def handlers() -> dict[int | type[Exception], Handler]:
    """For the web framework."""
    return {KaiwaError: refuse, HTTPException: refuse, Exception: crash}
