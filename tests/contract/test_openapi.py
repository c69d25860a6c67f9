"""The OpenAPI document: valid by the rules of 3.1 that can be broken here, and true."""

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from kaiwa.api.routes import ROUTES, Route
from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
TYPES = {"string", "integer", "number", "boolean", "object", "array", "null"}
OPERATION = {
    "operationId",
    "summary",
    "description",
    "tags",
    "parameters",
    "requestBody",
    "responses",
    "security",
}


@pytest.fixture
async def client(server: TestServer) -> Client:
    client = await server.client(app_file(says("Fine.")))
    client.base = server.url
    return client


@pytest.fixture
async def document(client: Client) -> Json:
    reply = await client.call("GET", "/openapi.json", headers={})
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    return reply.body


def objects_in(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        found = cast("Json", value)
        yield found
        yield from objects_in(list(found.values()))
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from objects_in(each)


def resolve(document: Json, ref: str) -> Json:
    found: Any = document
    assert ref.startswith("#/")
    for part in ref[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def operation_of(document: Json, route: Route) -> Json:
    return document["paths"][route.path][route.method.lower()]


async def test_the_document_is_openapi_3_1(document: Json) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert {"title", "version"} <= set(document["info"])
    assert document["servers"]
    names = [operation["operationId"] for operation in map_operations(document)]
    assert len(names) == len(set(names)) == len(ROUTES)


def map_operations(document: Json) -> list[Json]:
    return [operation for item in document["paths"].values() for operation in item.values()]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_is_in_it(document: Json, route: Route) -> None:
    operation = operation_of(document, route)
    assert set(operation) <= OPERATION
    assert operation["summary"]
    places = {(each["in"], each["name"]) for each in operation["parameters"]}
    assert len(places) == len(operation["parameters"])
    in_path = {name for place, name in places if place == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", route.path))
    for parameter in operation["parameters"]:
        assert parameter["schema"]["type"] in TYPES
        assert parameter["in"] in ("path", "query")
        assert parameter["required"] or parameter["in"] == "query"
    assert bool(operation["security"]) == route.key
    for status, response in operation["responses"].items():
        assert re.fullmatch(r"[1-5]\d\d", status)
        assert response["description"]
        if status == "204":
            assert "content" not in response
            continue
        file = route.sends_file and status == "200"
        assert ("application/octet-stream" if file else "application/json") in response["content"]
    if route.key:
        assert {"401", "429"} <= set(operation["responses"])
        assert route.knowledge or "403" in operation["responses"]


async def test_every_reference_leads_somewhere(document: Json) -> None:
    refs = [each["$ref"] for each in objects_in(document) if "$ref" in each]
    assert refs
    for ref in refs:
        schema = resolve(document, ref)
        assert schema["type"] == "object"
        assert schema.get("required", []) == [
            name for name in schema.get("required", []) if name in schema["properties"]
        ]


async def test_every_security_scheme_is_declared(document: Json) -> None:
    declared = set(document["components"]["securitySchemes"])
    for operation in map_operations(document):
        assert {name for one in operation["security"] for name in one} <= declared


def check(document: Json, schema: Json, value: Any) -> None:
    """The value is what the schema says; for the keywords that our schemas use."""
    if "$ref" in schema:
        return check(document, resolve(document, schema["$ref"]), value)
    if "anyOf" in schema:
        kinds = {"object": dict, "null": type(None), "string": str}
        options = [resolve(document, o["$ref"]) if "$ref" in o else o for o in schema["anyOf"]]
        assert any(isinstance(value, kinds[option["type"]]) for option in options)
        return None
    if "enum" in schema:
        assert value in schema["enum"]
    if schema.get("type") == "object" and "properties" in schema:
        assert set(schema.get("required", [])) <= set(value) <= set(schema["properties"])
        for name, each in value.items():
            check(document, schema["properties"][name], each)
    elif schema.get("type") == "array":
        for each in value:
            check(document, schema.get("items", {}), each)
    elif "type" in schema:
        kinds = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}
        assert isinstance(value, kinds.get(schema["type"], dict))
    return None


async def test_answers_are_as_it_describes_them(document: Json, client: Client) -> None:
    client.base += "/v1"
    asked = (await client.ask("Hello")).body
    in_it = {"conversation_id": asked["conversation_id"]}
    path = f"/v1/conversations/{asked['conversation_id']}"
    bodies = {
        ("POST", "/v1/chat-messages"): asked,
        ("GET", "/v1/messages"): (await client.get("/messages", **in_it)).body,
        ("GET", "/v1/conversations"): (await client.get("/conversations")).body,
        ("GET", "/v1/parameters"): (await client.get("/parameters")).body,
        ("GET", "/v1/meta"): (await client.get("/meta")).body,
        ("GET", "/v1/info"): (await client.get("/info")).body,
        ("GET", "/v1/site"): (await client.get("/site")).body,
    }
    client.base = client.base.removesuffix("/v1")
    renamed = await client.post(f"{path}/name", name="x")
    bodies["POST", "/v1/conversations/{conversation_id}/name"] = renamed.body
    for route in ROUTES:
        if (body := bodies.get((route.method, route.path))) is not None:
            answer = operation_of(document, route)["responses"]["200"]
            check(document, answer["content"]["application/json"]["schema"], body)
    refusal = operation_of(document, ROUTES[0])["responses"]["401"]
    reply = await client.call("GET", "/v1/info", headers={})
    check(document, refusal["content"]["application/json"]["schema"], reply.body)
