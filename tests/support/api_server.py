"""A real HTTP API for tests, which describes itself in an OpenAPI document of its own.

async with serving_api(SECRET) as api:
    api.url, api.requests[-1]
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import anyio
import uvicorn
from litestar import Litestar, Request, Response, delete, get, post, put
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import Body, FromPath, HeaderParameter, JSONBody, QueryParameter
from msgspec import Struct

from kaiwa.serve import Server, open_socket

Asked = Request[Any, Any, Any]


class Kind(StrEnum):
    """Of pets."""

    CAT = "cat"
    DOG = "dog"


class Owner(Struct):
    """Whose pet it is."""

    name: str
    friends: list["Owner"] = []


class Pet(Struct):
    """A pet."""

    name: str
    kind: Kind
    age: int = 0
    owner: Owner | None = None


class Note(Struct):
    """A form."""

    text: str
    tags: list[str] = []


@dataclass
class Api:
    """The API while it is served, and what it was asked."""

    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Method, and path with its query as they came."""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


@get("/pets", operation_id="listPets", summary="List pets", sync_to_thread=False)
def list_pets(
    kind: Annotated[list[Kind] | None, QueryParameter(description="Only these")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 10,
    trace: Annotated[str | None, HeaderParameter(name="X-Trace")] = None,
) -> dict[str, object]:
    return {"kinds": kind, "limit": limit, "trace": trace}


@get("/pets/{name:str}", operation_id="pets.show/one", sync_to_thread=False)
def show_pet(request: Asked, name: FromPath[str]) -> dict[str, str]:
    if name == "ghost":
        raise NotFoundException(f"no pet {name}, {request.headers.get('x-api-key')}")
    return {"name": name}


@put("/pets/{name:str}", operation_id="savePet", sync_to_thread=False)
def save_pet(name: FromPath[str], data: JSONBody[Pet]) -> Pet:
    return data


@post("/notes", operation_id="addNote", sync_to_thread=False)
def add_note(
    data: Annotated[Note, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Note:
    return data


@delete("/pets/{name:str}", operation_id="removePet", sync_to_thread=False)
def remove_pet(name: FromPath[str]) -> None: ...


@get("/echo", operation_id="echo", sync_to_thread=False)
def echo(request: Asked) -> dict[str, str]:
    return dict(request.headers) | {"url": str(request.url)}


@get("/picture", operation_id="picture", sync_to_thread=False)
def picture() -> Response[bytes]:
    return Response(b"\x89PNG\r\n\x1a\n\0\0", media_type="image/png")


@get("/novel", operation_id="novel", sync_to_thread=False)
def novel() -> Response[str]:
    return Response("long " * 1_000_000, media_type="text/plain")


@get("/asleep", operation_id="asleep")
async def asleep() -> str:
    await anyio.sleep(30)
    return ""


HANDLERS = [
    list_pets, show_pet, save_pet, add_note, remove_pet, echo, picture, novel, asleep,
]  # fmt: skip


@asynccontextmanager
async def serving_api() -> AsyncGenerator[Api]:
    """Serve it until the block ends; its document is at `/schema/openapi.json`."""
    api = Api()
    key = SecurityScheme(type="apiKey", name="X-Api-Key", security_scheme_in="header")
    described = OpenAPIConfig("Pets", "1", components=Components(security_schemes={"key": key}))

    def note(request: Asked) -> None:
        raw, query = request.scope["raw_path"].decode(), request.scope["query_string"].decode()
        api.requests.append((request.method, f"{raw}?{query}" if query else raw))
        api.headers.append(dict(request.headers))

    app = Litestar(HANDLERS, before_request=note, openapi_config=described, logging_config=None)
    listening = anyio.Event()
    with closing(open_socket("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
        server = Server(config, listening.set)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            await listening.wait()
            api.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield api
            server.force_exit = True
            server.should_exit = True
