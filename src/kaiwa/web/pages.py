"""The browser pages and the files they need, all read once at start.

The pages are clients of the API: what they show beyond the version, they fetch. Nothing from a
request is written into one, and a file is found by its name in a fixed list, never by a path.
"""

import hashlib
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from kaiwa import __version__

PageRequest = Request[object, object, State]

_STATIC = {
    "kaiwa.css": "text/css",
    "home.js": "text/javascript",
    "docs.js": "text/javascript",
    "kaiwa.svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # kept, but asked for again: a new version shows at once
}


@dataclass(frozen=True, slots=True)
class Served:
    """One answer, ready to be sent."""

    content: bytes
    media_type: str
    etag: str


def handlers() -> list[HTTPRouteHandler]:
    """`/`, `/docs` and `/static/<name>`, for GET and HEAD."""
    home = _page("home.html")
    docs = _page("docs.html")
    static = {name: _static(name, media_type) for name, media_type in _STATIC.items()}

    async def get_home(request: PageRequest) -> Response[bytes]:
        return _answer(request, home)

    async def get_docs(request: PageRequest) -> Response[bytes]:
        return _answer(request, docs)

    async def get_static(request: PageRequest, name: FromPath[str]) -> Response[bytes]:
        if name not in static:
            raise NotFoundException
        return _answer(request, static[name])

    urls = {"/": get_home, "/docs": get_docs, "/static/{name:str}": get_static}
    return [
        HTTPRouteHandler(
            path, http_method=["GET", "HEAD"], status_code=200, include_in_schema=False
        )(handler)
        for path, handler in urls.items()
    ]


def _answer(request: PageRequest, served: Served) -> Response[bytes]:
    known = served.etag in request.headers.get("if-none-match", "")
    return Response(
        b"" if known else served.content,
        status_code=304 if known else 200,
        headers={**_HEADERS, "ETag": served.etag},
        media_type=served.media_type,
    )


def _page(name: str) -> Served:
    template = Template(_read(name).decode())
    text = template.substitute(version=escape(__version__))
    return _served(text.encode(), "text/html")


def _static(name: str, media_type: str) -> Served:
    return _served(_read("static", name), media_type)


def _served(content: bytes, media_type: str) -> Served:
    return Served(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _read(*path: str) -> bytes:
    return files("kaiwa.web").joinpath(*path).read_bytes()
