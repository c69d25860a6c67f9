"""Every way a request can be wrong: the status, the shape and the words of the refusal."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kaiwa.app import now
from kaiwa.store.apps import delete_app
from tests.support.apps import app_file, says
from tests.support.client import Client, Reply
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

NO_HEADER = "Authorization header must be provided and start with 'Bearer'"
NO_BEARER = "Authorization scheme must be 'Bearer'"
NO_KEY = "Access token is invalid"
JSON = {"Content-Type": "application/json"}
UNKNOWN = "0f5c7f2e-0000-4000-8000-000000000000"
NESTED = b'{"user": "u", "query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(says("Fine.")))


def refused(reply: Reply, status: int, code: str, message: str, params: str | None = None) -> None:
    """The reply is exactly this error, and carries what every reply carries."""
    wanted: dict[str, Any] = {"code": code, "message": message, "status": status}
    if params:
        wanted["params"] = params
    assert (reply.status, reply.body) == (status, wanted)
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, NO_HEADER),
        ("", NO_HEADER),
        ("app-123", NO_HEADER),
        ("Bearer", NO_HEADER),
        ("Token abc", NO_BEARER),
        ("Basic YTpi", NO_BEARER),
        ("Bearer app-000000000000000000000000", NO_KEY),
        ("Bearer \xe9\xff", NO_KEY),
        (f"Bearer {'x' * 5000}", NO_KEY),
    ],
)
@pytest.mark.parametrize("path", ["/parameters", "/messages?conversation_id=abc"])
async def test_a_request_without_a_good_key_is_told_why(
    client: Client, header: str | None, message: str, path: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    reply = await client.call("GET", path, headers=headers)
    refused(reply, 401, "unauthorized", message)
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}", "Bearer   {}"])
async def test_the_scheme_is_read_in_any_case(client: Client, header: str) -> None:
    headers = {"Authorization": header.format(client.key)}
    assert (await client.call("GET", "/info", headers=headers)).status == 200


async def test_an_app_with_its_api_off_is_forbidden(server: TestServer) -> None:
    client = await server.client(app_file(kaiwa={"api_enabled": False}))
    reply = await client.post("/chat-messages")
    refused(reply, 403, "forbidden", "The app's API service has been disabled.")


async def test_a_deleted_app_is_forbidden(server: TestServer) -> None:
    app = await server.make_app(app_file())
    client = server.client_of(await server.make_key(app))
    await delete_app(server.house.context.db, app.id, now())
    refused(await client.get("/info"), 403, "forbidden", "The app no longer exists.")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/../etc/passwd"),
        ("GET", "/messages/abc/suggested?user=u"),
        ("GET", f"/messages/{UNKNOWN.replace('-', '')}/suggested?user=u"),
        ("GET", "/messages/%00/suggested?user=u"),
        ("GET", "/messages/%FF'%22;--/suggested?user=u"),
        ("DELETE", "/conversations/1"),
        ("PATCH", "/conversations/null/pin"),
        ("POST", "/chat-messages/a%2Fb/stop"),
    ],
)
async def test_a_page_that_does_not_exist_is_a_json_404(
    client: Client, method: str, path: str
) -> None:
    reply = await client.call(method, path)
    refused(reply, 404, "not_found", "The requested URL was not found on the server.")


async def test_an_id_in_the_path_is_read_in_upper_case(client: Client) -> None:
    asked = (await client.ask("Hello")).body
    path = f"/messages/{asked['id'].upper()}/feedbacks"
    assert (await client.post(path, rating="like")).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/parameters"), ("GET", "/chat-messages"), ("PUT", f"/conversations/{UNKNOWN}")],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    client: Client, method: str, path: str
) -> None:
    reply = await client.call(method, path)
    message = "The method is not allowed for the requested URL."
    refused(reply, 405, "method_not_allowed", message)
    allowed = reply.headers["Allow"].split(", ")
    assert allowed
    assert method not in allowed


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "json"])
async def test_a_body_that_is_not_called_json_is_a_415(client: Client, kind: str | None) -> None:
    headers = {**client.headers, "Content-Type": kind or ""}
    reply = await client.call("POST", "/chat-messages", data=b"{}", headers=headers)
    message = (
        "Did not attempt to load JSON data because the request Content-Type was not "
        "'application/json'."
    )
    refused(reply, 415, "unsupported_media_type", message)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.api+json"])
async def test_other_json_types_are_fine(client: Client, kind: str) -> None:
    headers = {**client.headers, "Content-Type": kind}
    body = b'{"user": "u", "query": "Hello"}'
    assert (await client.call("POST", "/chat-messages", data=body, headers=headers)).status == 200


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b'{"user": "u",}', b"{'user': 'u'}", b"\xff\xfe", b"NaN", NESTED],
    ids=["empty", "cut", "comma", "quotes", "bytes", "nan", "deep"],
)
async def test_a_body_that_is_no_json_is_a_400(client: Client, raw: bytes) -> None:
    headers = {**client.headers, **JSON}
    reply = await client.call("POST", "/chat-messages", data=raw, headers=headers)
    message = "Invalid JSON payload received or JSON payload is empty."
    refused(reply, 400, "bad_request", message)


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"null", b"3", b"true"])
async def test_a_body_that_is_no_object_is_a_400(client: Client, raw: bytes) -> None:
    headers = {**client.headers, **JSON}
    reply = await client.call("POST", "/chat-messages", data=raw, headers=headers)
    refused(reply, 400, "invalid_param", "The JSON body must be an object.")


async def test_a_huge_body_is_a_413(tmp_path: Path) -> None:
    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1000

    async with serving(tmp_path, body_limit=2000) as server:
        client = await server.client(app_file())
        headers = {**client.headers, **JSON}
        for data in (b"x" * 3000, in_pieces()):
            reply = await client.call("POST", "/chat-messages", data=data, headers=headers)
            message = "The data value transmitted exceeds the capacity limit."
            refused(reply, 413, "request_entity_too_large", message)
        assert (await client.ask("Hello")).status == 200


QUERY_MISSING = "Missing required parameter in the query string"


@pytest.mark.parametrize(
    ("path", "message", "params"),
    [
        ("/messages", QUERY_MISSING, "conversation_id"),
        ("/messages?conversation_id=abc", "abc is not a valid uuid.", "conversation_id"),
        (f"/messages?conversation_id={UNKNOWN}&first_id=1", "1 is not a valid uuid.", "first_id"),
        ("/messages?conversation_id=&limit=x", "x is not a valid integer", "limit"),
        ("/conversations?limit=1.5", "1.5 is not a valid integer", "limit"),
        ("/conversations?last_id=abc", "abc is not a valid uuid.", "last_id"),
        ("/conversations?sort_by=zzz", "zzz is not a valid choice", "sort_by"),
        ("/conversations?pinned=perhaps", "perhaps is not a valid boolean", "pinned"),
        (f"/messages/{UNKNOWN}/suggested", "Arg user must be provided.", None),
        (f"/messages/{UNKNOWN}/suggested?user=", "Arg user must be provided.", None),
    ],
)
async def test_a_wrong_query_parameter_is_named(
    client: Client, path: str, message: str, params: str | None
) -> None:
    refused(await client.call("GET", path), 400, "invalid_param", message, params)


@pytest.mark.parametrize("limit", [0, -1])
@pytest.mark.parametrize("path", ["/conversations", "/messages"])
async def test_a_page_of_no_rows_is_refused(client: Client, path: str, limit: int) -> None:
    reply = await client.get(path, conversation_id="", limit=limit)
    message = f"Invalid argument: {limit}. argument must be within the range 1 - 100"
    refused(reply, 400, "invalid_param", message, "limit")


@pytest.mark.parametrize(
    ("body", "message", "params"),
    [
        ({"rating": "foo"}, "foo is not a valid choice", "rating"),
        ({"rating": ""}, " is not a valid choice", "rating"),
        ({"rating": True}, "True is not a valid choice", "rating"),
        ({"rating": "like", "user": None}, "Arg user must be provided.", None),
    ],
)
async def test_a_wrong_rating_is_refused(
    client: Client, body: dict[str, Any], message: str, params: str | None
) -> None:
    asked = (await client.ask("Hello")).body
    reply = await client.post(f"/messages/{asked['id']}/feedbacks", **body)
    refused(reply, 400, "invalid_param", message, params)


async def test_what_existing_clients_send_too_much_is_fine(client: Client) -> None:
    extra: dict[str, Any] = {
        "files": None,
        "conversation_id": None,
        "inputs": None,
        "model_config": {},
        "x": [1],
    }
    reply = await client.ask("Hello", **{**extra, "retriever_from": "dev", "trace_id": "t"})
    assert reply.status == 200
    conversation_id = reply.body["conversation_id"]
    path = f"/messages?user={client.user}&user=other&conversation_id={conversation_id}"
    reply = await client.call("GET", f"{path}&first_id=&limit=&x=1", json={"user": "another"})
    assert len(reply.body["data"]) == 1
    reply = await client.call("GET", "/conversations?user=&last_id=&limit=&sort_by=&pinned=")
    assert (reply.status, reply.body["data"]) == (200, [])
    reply = await client.call(
        "POST", "/chat-messages?user=other", json={"user": client.user, "query": "Once more"}
    )
    assert reply.status == 200
    assert len((await client.get("/conversations")).body["data"]) == 2
