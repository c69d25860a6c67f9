"""Tools made of an API's OpenAPI document, against a real API and servers that mean harm."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from pytest_socket import socket_allow_hosts

from kaiwa.errors import OperatorError, ToolFailed
from kaiwa.ports import Tool
from kaiwa.providers.http import Operator
from kaiwa.providers.tools.openapi import OpenApiOptions
from kaiwa.providers.tools.services import Services
from tests.support.api_server import Api, serving_api
from tests.support.file_server import Site, find_port, lead_on, say

pytestmark = pytest.mark.anyio

SECRET = "canary-41c7/0+never"


@pytest.fixture
async def api(anyio_backend: str) -> AsyncGenerator[Api]:
    async with serving_api() as opened:
        yield opened


@asynccontextmanager
async def opened(http: Operator, document: object, **options: object) -> AsyncGenerator[Services]:
    entry = {"kind": "openapi", "document": str(document), **options}
    async with Services({"Own": entry}, http) as services:
        yield services


async def call(services: Services, tool: str, **arguments: Any) -> str:
    found = await services.find_tool("own", tool)
    assert found is not None
    return (await found.run(arguments)).text


async def fail(services: Services, tool: str, **arguments: Any) -> str:
    with pytest.raises(ToolFailed) as failure:
        await call(services, tool, **arguments)
    return failure.value.message


def written(folder: Path, paths: Mapping[str, object], **more: object) -> Path:
    """A document as YAML."""
    file = folder / "api.yml"
    found = {"openapi": "3.0.3", "info": {"title": "T", "version": "1"}, "paths": paths, **more}
    file.write_text(yaml.safe_dump(found), "utf-8")
    return file


def operation(*parameters: object, **more: object) -> dict[str, object]:
    return {"operationId": "ask", "parameters": list(parameters), "responses": {}, **more}


async def only_tool(services: Services) -> Tool:
    (tool,) = await services.tools_of("OWN")
    return tool


def once(page: bytes) -> bytes:
    """A page of a server that answers once on each connection."""
    return page.replace(b"Content-Length", b"Connection: close\r\nContent-Length")


# A real API


async def test_each_operation_of_a_real_document_is_a_tool(http: Operator, api: Api):
    async with opened(http, f"{api.url}/schema/openapi.json") as services:
        tools = {tool.spec.name: tool for tool in await services.tools_of("own")}
    assert {"listPets", "pets_show_one", "savePet", "removePet", "addNote"} < tools.keys()
    listing = tools["listPets"]
    assert listing.spec.description == "List pets"
    assert listing.labels == {"en_US": "List pets"}
    properties: Any = listing.spec.parameters["properties"]
    assert properties["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}
    assert "Only these" in str(properties["kind"])
    assert "X-Trace" in properties
    saving: Any = tools["savePet"].spec.parameters
    assert saving["required"] == ["name", "body"]
    assert saving["properties"]["body"]["properties"]["kind"]["enum"] == ["cat", "dog"]
    assert "$ref" not in str(saving)


async def test_parameters_are_put_where_they_belong(http: Operator, api: Api):
    async with opened(http, f"{api.url}/schema/openapi.json") as services:
        found = await call(services, "listPets", kind=["cat", "dog"], **{"X-Trace": "t 1"})
        assert msgspec.json.decode(found) == {"kinds": ["cat", "dog"], "limit": 10, "trace": "t 1"}
        assert api.requests[-1:] == [("GET", "/pets?kind=cat&kind=dog")]
        assert "a b%é&=" in await call(services, "pets.show/one", name="a b%é&=")
        pet = {"name": "Tom", "kind": "cat", "owner": {"name": "Ada", "friends": [{"name": "B"}]}}
        saved = msgspec.json.decode(await call(services, "savePet", name="Tom", body=pet))
        assert saved["owner"]["friends"] == [{"name": "B", "friends": []}]
        noted = await call(services, "addNote", text="a&b=c d", tags=["1", "2"])
        assert msgspec.json.decode(noted) == {"text": "a&b=c d", "tags": ["1", "2"]}
        assert await call(services, "removePet", name="Tom") == (
            "The service answered with HTTP 204 and nothing more."
        )


@pytest.mark.parametrize("value", ["..", ".", "../admin", "a/../../b", "..\\x", ""])
async def test_an_argument_leads_to_no_other_path(http: Operator, api: Api, value: str):
    async with opened(http, f"{api.url}/schema/openapi.json") as services:
        assert "must not" in await fail(services, "removePet", name=value)
    assert not any(method == "DELETE" for method, _ in api.requests)


async def test_what_the_service_refuses_is_told(http: Operator, api: Api):
    async with opened(http, f"{api.url}/schema/openapi.json") as services:
        said = await fail(services, "pets.show/one", name="ghost")
    assert said.startswith("The service answered with HTTP 404: ")
    assert "no pet ghost" in said


async def test_what_is_no_text_is_refused_and_what_is_long_is_cut(http: Operator, api: Api):
    async with opened(http, f"{api.url}/schema/openapi.json") as services:
        assert await fail(services, "picture") == (
            "The service answered with image/png, which is not text."
        )
        assert 20_000 < len(await call(services, "novel")) < 20_100


async def test_a_service_that_hangs_is_left_and_a_cancelled_call_harms_none(
    http: Operator, api: Api
):
    async with opened(http, f"{api.url}/schema/openapi.json", timeout=1) as services:
        assert await fail(services, "asleep") == "The service did not answer in 1 seconds."
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await call(services, "asleep")
        assert "Tom" in await call(services, "pets.show/one", name="Tom")


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"api_key": SECRET}, ("x-api-key", SECRET)),
        ({"api_key": SECRET, "api_key_header": "X-Own"}, ("x-own", SECRET)),
        ({"bearer": SECRET}, ("authorization", f"Bearer {SECRET}")),
        ({"basic": f"ada:{SECRET}"}, ("authorization", "Basic YWRhOmNhbmFyeS00MWM3LzArbmV2ZXI=")),
        ({"headers": {"X-Trace": SECRET}}, ("x-trace", SECRET)),
    ],
)
async def test_credentials_are_sent_and_never_seen(
    http: Operator, api: Api, options: dict[str, object], header: tuple[str, str]
):
    async with opened(http, f"{api.url}/schema/openapi.json", **options) as services:
        seen = await call(services, "echo") + await fail(services, "pets.show/one", name="ghost")
        seen += str([tool.spec for tool in await services.tools_of("own")])
    assert api.headers[-1][header[0]] == header[1]
    assert SECRET not in seen
    assert header[1] not in seen
    properties = msgspec.convert({"document": "d", **options}, OpenApiOptions)
    assert SECRET not in repr(properties)


async def test_a_key_in_the_query_is_sent_and_never_seen(http: Operator, api: Api):
    document = f"{api.url}/schema/openapi.json"
    async with opened(http, document, api_key=SECRET, api_key_query="key") as services:
        assert "%2F" not in await call(services, "echo")
    assert api.requests[-1:] == [("GET", "/echo?key=canary-41c7%2F0%2Bnever")]


async def test_a_parameter_that_carries_credentials_is_no_argument(http: Operator, api: Api):
    document = f"{api.url}/schema/openapi.json"
    async with opened(http, document, headers={"x-trace": "of the operator"}) as services:
        tool = await services.find_tool("own", "listPets")
        assert tool is not None
        assert "X-Trace" not in str(tool.spec.parameters)
        await call(services, "listPets")
    assert api.headers[-1]["x-trace"] == "of the operator"


# Where requests go


async def test_redirects_lead_to_the_same_server_alone(http: Operator, tmp_path: Path):
    socket_allow_hosts(["127.0.0.1", "127.0.0.2"], allow_unix_socket=True)
    port = find_port("127.0.0.1", "127.0.0.2")
    document = written(tmp_path, {"/a": {"get": operation()}})
    async with Site("127.0.0.1", port) as own, Site("127.0.0.2", port) as other:
        url = f"http://127.0.0.1:{port}"
        async with opened(http, document, base_url=url, bearer=SECRET) as services:
            own.pages["/a"] = once(lead_on("/b"))
            own.pages["/b"] = once(say(b"here", "Content-Type: text/plain"))
            assert await call(services, "ask") == "here"
            own.pages["/a"] = once(lead_on(other.url("/secrets?of=it"), 307))
            assert await fail(services, "ask") == (
                "The service leads on to another server (127.0.0.2): not followed."
            )
            own.pages["/a"] = once(lead_on("/a"))
            assert "more than 3 times" in await fail(services, "ask")
            own.pages["/a"] = once(lead_on("http://[oops"))
            assert "no valid address" in await fail(services, "ask")
        assert other.connections == 0


async def test_a_service_that_breaks_off_or_is_not_there_is_told(http: Operator, tmp_path: Path):
    document = written(tmp_path, {"/a": {"get": operation()}})
    async with (
        Site("127.0.0.1") as site,
        opened(http, document, base_url=site.url("")) as services,
    ):
        site.pages["/a"] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"
        site.breaks.add("/a")
        assert "closed the connection" in await fail(services, "ask")
        site.pages["/a"] = b"what?"
        assert "did not answer in HTTP" in await fail(services, "ask")
        site.pages["/a"] = once(say(b"\0\1\2" * 9, "Content-Type: text/plain"))
        assert "not text" in await fail(services, "ask")
        assert [one.problem for one in await services.check()] == [None]
    async with opened(http, document, base_url=site.url("")) as services:
        assert "could not be reached" in await fail(services, "ask")
        (state,) = await services.check()
        assert (state.name, state.kind) == ("own", "openapi")
        assert "could not be reached" in str(state.problem)


async def test_a_document_that_is_away_at_the_start_is_read_later(http: Operator):
    async with Site("127.0.0.1") as site:
        site.pages["/d"] = once(say(b"", status=404))
        async with opened(http, site.url("/d")) as services:
            with pytest.raises(ToolFailed, match="HTTP 404"):
                await services.tools_of("own")
            (state,) = await services.check()
            assert state.problem is not None
            content = msgspec.json.encode({"openapi": "3.1.0", "paths": {"/a": {"get": {}}}})
            site.pages["/d"] = once(say(content))
            site.pages["/a"] = once(say(b"{}", "Content-Type: application/json"))
            assert (await only_tool(services)).spec.name == "get_a"
            assert await call(services, "get_a") == "{}"


# Documents


async def test_parameters_of_all_styles(http: Operator, tmp_path: Path):
    def query(name: str, **more: object) -> dict[str, object]:
        return {"name": name, "in": "query", "schema": {}, **more}

    asked = operation(
        {"name": "ids", "in": "path", "required": True, "schema": {"type": "array"}},
        query("comma", explode=False),
        query("pipe", explode=False, style="pipeDelimited"),
        query("deep", style="deepObject"),
        query("free"),
        query("json", content={"application/json": {"schema": {"type": "object"}}}),
        query("flag[x]"),
        {"name": "ids", "in": "query", "schema": {"type": "integer"}},
        {"name": "Accept", "in": "header", "schema": {"type": "string"}},
        {"name": "c", "in": "cookie", "schema": {"type": "string"}},
    )
    document = written(tmp_path, {"/x/{ids}": {"get": asked}})
    async with Site("127.0.0.1") as site:
        async with opened(http, document, base_url=site.url("/v1/")) as services:
            tool = await only_tool(services)
            properties: Any = tool.spec.parameters["properties"]
            assert list(properties) == [
                "ids", "comma", "pipe", "deep", "free", "json", "flag_x", "query_ids",
            ]  # fmt: skip
            await fail(
                services,
                "ask",
                ids=["a", "b/c"],
                comma=[1, 2],
                pipe=["x", "y"],
                deep={"a": "b"},
                free={"k": True},
                json={"n": [1]},
                flag_x=False,
                query_ids=7,
            )
        (visit,) = site.requests
    path, _, rest = visit.path.partition("?")
    assert path == "/v1/x/a%2Cb%2Fc" or path == "/v1/x/a,b%2Fc"
    assert "deep[a]=b" in rest.replace("%5B", "[").replace("%5D", "]")
    for part in ("comma=1,2", "pipe=x|y", "k=true", "ids=7"):
        assert part in rest.replace("%2C", ",").replace("%7C", "|")


async def test_schemas_are_translated_and_bounded(http: Operator, tmp_path: Path):
    node = {
        "type": "object",
        "required": ["id", "next"],
        "properties": {
            "id": {"type": "string", "readOnly": True},
            "next": {"$ref": "#/components/schemas/Node"},
            "size": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "nullable": True},
            "day": {"type": "string", "enum": ["a"], "nullable": True, "example": "2024-01-01"},
        },
    }
    schemas: dict[str, object] = {"Node": node, "L0": {"type": "string"}}
    for level in range(1, 30):
        twice = {"$ref": f"#/components/schemas/L{level - 1}"}
        schemas[f"L{level}"] = {"type": "object", "properties": {"a": twice, "b": twice}}
    body = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}},
    }
    bomb = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/L29"}}}}
    document = written(
        tmp_path,
        {
            "/n": {"post": operation(requestBody=body)},
            "/b": {"post": {"operationId": "bomb", "requestBody": bomb}},
        },
        servers=[{"url": "{scheme}://127.0.0.1:1/x", "variables": {"scheme": {"default": "http"}}}],
        components={"schemas": schemas},
    )
    async with opened(http, document) as services:
        tool = await services.find_tool("own", "ask")
        other = await services.find_tool("own", "bomb")
        assert tool is not None
        assert other is not None
        assert tool.spec.parameters == {
            "type": "object",
            "properties": {
                "next": {"type": "object"},
                "size": {"type": ["integer", "null"], "exclusiveMinimum": 0},
                "day": {"type": ["string", "null"], "enum": ["a", None]},
            },
            "required": ["next"],
        }
        assert len(msgspec.json.encode(other.spec.parameters)) < 200_000


async def test_names_are_legal_and_differ(http: Operator, tmp_path: Path):
    paths: dict[str, Any] = {
        "/a b/é": {"get": {"description": "word " * 900}},
        "/z1": {"get": {"operationId": "x" * 90}, "post": {"operationId": "x" * 80}},
        "/z2": {"get": {"operationId": "find one!"}, "post": {"operationId": "find/one"}},
    }
    async with opened(http, written(tmp_path, paths), base_url="http://127.0.0.1:1") as services:
        tools = await services.tools_of("own")
        names = [tool.spec.name for tool in tools]
        assert len(tools[0].spec.description) == 1024
        assert names == ["get_a_b", "x" * 64, f"{'x' * 62}_2", "find_one", "find_one_2"]
        assert await services.find_tool("own", "find one!") is not None
        assert await services.find_tool("own", "nothing") is None
        with pytest.raises(ToolFailed, match="not set up"):
            await services.tools_of("other")


async def test_what_cannot_be_used_is_left_out(
    http: Operator, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    upload: dict[str, Any] = {"required": True, "content": {"multipart/form-data": {"schema": {}}}}
    paths: dict[str, Any] = {
        "/ok": {"get": operation()},
        "/upload": {"post": {"requestBody": upload}},
        "/{x}": {"get": {}},
        "/far": {"get": {"parameters": [{"$ref": "other.yml#/a"}]}},
        "/lost": {"get": {"parameters": [{"$ref": "#/components/parameters/a"}]}},
        "/odd": {"get": {"parameters": ["what"]}},
    }
    async with opened(http, written(tmp_path, paths), base_url="http://127.0.0.1:1") as services:
        assert (await only_tool(services)).spec.name == "ask"
    for reason in (
        "POST /upload: its body is neither JSON nor a form",
        "GET /{x}: it does not describe all parameters of its path",
        "GET /far: it refers to other.yml#/a, which is not in the document",
        "GET /lost: it refers to #/components/parameters/a, which is not there",
        "GET /odd: it has something else where an object has to be",
    ):
        assert reason in caplog.text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "something else where an object has to be"),
        ("[1]", "something else where an object has to be"),
        ("{'a: b", "neither JSON nor YAML"),
        ("a: &a [*a]\nopenapi: 3.0.0\npaths: {}", "no operation that can be used"),
        ("swagger: '2.0'", "Swagger 2.0"),
        ("openapi: 4.0.0", "OpenAPI 3.0 or 3.1"),
        ("openapi: 3.0.0\npaths: 1", "something else where an object has to be"),
        ("openapi: 3.0.0\npaths: {/a: {get: {requestBody: {$ref: '#/x'}}}}", "GET /a: it refers"),
        ("openapi: 3.0.0\npaths: {/a: {get: {}}}", "set base_url"),
        ("openapi: 3.0.0\nservers: [{url: 'ftp://x'}]\npaths: {/a: {get: {}}}", "set base_url"),
    ],
)
async def test_a_bad_document_is_named_with_its_fault(
    http: Operator, tmp_path: Path, text: str, fault: str
):
    file = tmp_path / "bad.yml"
    file.write_text(text, "utf-8")
    with pytest.raises(OperatorError) as error:
        async with opened(http, file):
            pass
    assert str(error.value).startswith("In the setting tools.own: The OpenAPI document ")
    assert str(file) in str(error.value)
    assert fault in str(error.value)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, "`document`"),
        ({"document": "d", "colour": 1}, "`colour`"),
        ({"document": "no-such-file.yml"}, "No such file"),
        ({"document": "d", "base_url": "ftp://x"}, "base_url"),
        ({"document": "d", "bearer": f"{SECRET}\n"}, "one line"),
        ({"document": "d", "timeout": 0}, "timeout"),
    ],
)
async def test_a_wrong_option_is_refused_at_the_start(
    http: Operator, options: dict[str, object], fault: str
):
    with pytest.raises(OperatorError) as error:
        async with Services({"own": {"kind": "openapi", **options}}, http):
            pass
    assert str(error.value).startswith("In the setting tools.own: ")
    assert fault in str(error.value)
    assert SECRET not in str(error.value)


async def test_a_key_nobody_has_a_place_for_is_refused(http: Operator, tmp_path: Path):
    document = written(tmp_path, {"/a": {"get": operation()}})
    with pytest.raises(OperatorError, match="api_key_header or api_key_query"):
        async with opened(http, document, base_url="http://127.0.0.1:1", api_key=SECRET):
            pass


def test_a_service_of_no_kind_is_refused():
    for entry in ({}, {"kind": "soap"}):
        with pytest.raises(OperatorError, match=r"tools\.own\.kind must be mcp or openapi"):
            Services({"own": entry}, Operator())
