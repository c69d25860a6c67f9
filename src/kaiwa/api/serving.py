"""The bytes of a file as an HTTP answer: whole or in part, as fast as the client takes them.

What a browser might run is never shown in place.
"""

import logging
import re
from collections.abc import AsyncIterator
from typing import Final, cast
from urllib.parse import quote

import anyio
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from kaiwa.api.site import ApiRequest, site_of
from kaiwa.domain.file import StoredFile
from kaiwa.errors import KaiwaError
from kaiwa.files.kinds import is_inline_safe

logger = logging.getLogger(__name__)

_SLICE: Final = 65_536
"""Bytes of one write, which a client has to take in time."""
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def serve_file(request: ApiRequest, file: StoredFile, *, attachment: bool) -> ASGIApp:
    """The file, or the part of it that is asked for. Raises what the blob store raises."""
    site = site_of(request)
    safe = is_inline_safe(file.mime_type)
    mime_type = file.mime_type if safe else "application/octet-stream"
    disposition = _dispose(file.name, inline=safe and not attachment)
    if site.settings.presigned:
        seconds = site.links.seconds
        if link := await site.blobs.link(file.key, seconds, mime_type, disposition):
            return _whole(302, {"Location": link})
    version = file.key.rpartition("/")[2]  # bytes never change: others have another key
    etag = f'"{version}"'
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=300",
        "Content-Disposition": disposition,
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Type": mime_type,
        "ETag": etag,
    }
    if etag in request.headers.get("if-none-match", ""):
        return _whole(304, headers)
    given = request.headers.get("range", "")
    if request.headers.get("if-range", etag) != etag:
        given = ""
    span = _find_span(given, file.size)
    if span is None:
        return _whole(416, {"Content-Range": f"bytes */{file.size}"})
    start, end = span
    partial = end - start < file.size
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    headers["Content-Length"] = str(end - start)
    pieces = site.blobs.get(file.key, start, end)
    first = await anext(pieces, b"")  # what is wrong with the store shows in time to be told
    return _Stream(206 if partial else 200, headers, first, pieces, site.settings.patience)


def _find_span(given: str, size: int) -> tuple[int, int] | None:
    """From where up to where a `Range` asks; all, when it is none that we honour.

    None when there are no such bytes.
    """
    found = _RANGE.fullmatch(given.strip().lower())
    if not found or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if first and last and int(last) < int(first):
        return 0, size
    if not first:  # so many at the end
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1 if last else size, size)
    return (start, end) if start < end else None


def _dispose(name: str, *, inline: bool) -> str:
    """As RFC 6266 has it: a plain name for old browsers, the true one beside it."""
    plain = re.sub(r'[^ !#-\[\]-~]|[\\"%;]', "_", name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _whole(status: int, headers: dict[str, str]) -> ASGIApp:
    return cast(ASGIApp, Response(b"", status_code=status, headers=headers))


class _Stream:
    """Sends a file to one client; ends when it leaves, or takes nothing for too long."""

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        first: bytes,
        rest: AsyncIterator[bytes],
        patience: float,
    ) -> None:
        """`patience`: seconds for each write."""
        self._status = status
        self._headers = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
        self._first = first
        self._rest = rest
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notice_leaving, receive, tasks.cancel_scope)
            try:
                await self._send_all(send)
            except (OSError, TimeoutError):
                logger.info("a client did not take the rest of a file")
            except KaiwaError as error:
                logger.warning("the rest of a file cannot be sent: %s", error.message)
            tasks.cancel_scope.cancel()

    async def _send_all(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self._status, "headers": self._headers}
        )
        await self._send_piece(send, self._first)
        async for piece in self._rest:
            await self._send_piece(send, piece)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_piece(self, send: Send, piece: bytes) -> None:
        for start in range(0, len(piece), _SLICE):
            body = piece[start : start + _SLICE]
            with anyio.fail_after(self._patience):
                await send({"type": "http.response.body", "body": body, "more_body": True})


async def notice_leaving(receive: Receive, sending: anyio.CancelScope) -> None:
    """Cancels the sending when the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    sending.cancel()
