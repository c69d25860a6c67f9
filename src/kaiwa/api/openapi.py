"""The OpenAPI 3.1 document of the route table."""

import re
from typing import cast

import msgspec
from litestar import MediaType, Response
from litestar.handlers import HTTPRouteHandler

from kaiwa import __version__
from kaiwa.api import wire
from kaiwa.api.routes import ROUTES, Route
from kaiwa.api.speech import MIME_TYPES
from kaiwa.errors import (
    BadRequest,
    Forbidden,
    KaiwaError,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
)

Json = dict[str, object]
_REF = "#/components/schemas/{name}"
_STREAM = (
    "Server-sent events: each `data:` line holds one JSON object whose `event` is `message` (a "
    "piece of the answer), `message_end` or `error`; `event: ping` lines keep the connection alive."
)


_TAGS = ("chat-messages", "messages", "conversations", "files", "datasets")
_BYTES = "The file, of its own type; by `Range` a part of it, with the status 206."
_SOUND = "The sound, sent while it is made: its length is not known before its end."
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def _upload(field: str) -> Json:
    form: Json = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary"},
            field: {"type": "string"},
        },
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


def openapi_document() -> Json:
    """The whole document, ready for JSON."""
    types: list[type[msgspec.Struct]] = [wire.ErrorBody]
    for route in ROUTES:
        types += [route.answer, *([route.body] if route.body else [])]
    types = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kaiwa",
            "version": __version__,
            "description": "The Chat App API. A key of the app goes into the `Authorization` "
            "header; make one with `kaiwa key create APP`. What lies below `/v1/datasets` wants a "
            "key for knowledge.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def handler() -> HTTPRouteHandler:
    """Serves the document at `/openapi.json`."""
    document = msgspec.json.encode(openapi_document())

    async def get_openapi() -> Response[bytes]:
        return Response(document, media_type=MediaType.JSON)

    return HTTPRouteHandler("/openapi.json", http_method="GET", include_in_schema=False)(
        get_openapi
    )


def _operation(route: Route, schemas: dict[type[msgspec.Struct], Json]) -> Json:
    operation: Json = {
        "operationId": getattr(route.handler, "__name__", route.path),
        "summary": _first_line(route.handler.__doc__),
        "tags": [_tag(route)],
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
        "security": [{"key": []}] if route.key else [],
    }
    if route.upload:
        operation["requestBody"] = _upload(route.form_field)
    if route.body:
        kinds = ("application/json", *(_FORMS if route.forms else ()))
        operation["requestBody"] = {
            "required": route.body_required,
            "content": {kind: {"schema": schemas[route.body]} for kind in kinds},
        }
    return operation


def _parameters(route: Route) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in cast("list[str]", re.findall(r"{(\w+)}", route.path))
    ]
    for name, meaning in route.query.items():
        found.append(
            {
                "name": name.lstrip("*"),
                "in": "query",
                "required": name.startswith("*"),
                "description": meaning,
                "schema": {"type": "integer" if name in ("limit", "page") else "string"},
            }
        )
    return found


def _responses(route: Route, schemas: dict[type[msgspec.Struct], Json]) -> Json:
    content: Json = {"application/json": {"schema": schemas[route.answer]}}
    if route.streams:
        # Of no type: some readers apply it to the whole stream, others to each event.
        content["text/event-stream"] = {"schema": {"description": _STREAM}}
    if route.sends_file:
        content = {"application/octet-stream": {"schema": {"description": _BYTES}}}
    description = _first_line(route.answer.__doc__)
    if route.sends_sound:
        description = "The sound; `null` when there is nothing to be said."
        content = {kind: {"schema": {"description": _SOUND}} for kind in MIME_TYPES.values()}
        content["application/json"] = {"schema": {"type": "null"}}
    said: Json = {"description": description}
    if route.status != 204:
        said["content"] = content
    responses: Json = {str(route.status): said}
    by_status: dict[int, list[type[KaiwaError]]] = {}
    for error in _errors(route):
        by_status.setdefault(error.status, []).append(error)
    for status, errors in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "\n".join(
                f"- `{error.code}`: {_first_line(error.__doc__)}" for error in errors
            ),
            "content": {"application/json": {"schema": schemas[wire.ErrorBody]}},
        }
    return responses


def _errors(route: Route) -> list[type[KaiwaError]]:
    errors = list(route.raises)
    if route.key:
        errors += [Unauthorized, TooManyRequests]
    if route.key and not route.knowledge:
        errors.append(Forbidden)
    if route.body:
        errors += [BadRequest, UnsupportedMediaType]
    return list(dict.fromkeys([*errors, KaiwaError]))


def _tag(route: Route) -> str:
    if not route.key:
        return "server"
    noun = route.path.split("/")[2]
    return noun if noun in _TAGS else "app"


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]
