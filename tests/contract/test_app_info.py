"""What a client may know of the app and of the server, and what browsers are allowed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kaiwa import __version__
from kaiwa.api.routes import ROUTES
from tests.support.apps import app_file, says
from tests.support.client import Client, Reply
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

FORM: list[dict[str, Any]] = [
    {"text-input": {"label": "Name", "variable": "name", "required": False, "max_length": 48}},
    {"select": {"label": "Tier", "variable": "tier", "options": ["gold", "basic"]}},
]
PARAMETERS = [
    "opening_statement",
    "suggested_questions",
    "suggested_questions_after_answer",
    "speech_to_text",
    "text_to_speech",
    "retriever_resource",
    "annotation_reply",
    "more_like_this",
    "user_input_form",
    "sensitive_word_avoidance",
    "file_upload",
    "system_parameters",
    "introduction",
]
PAGE = "https://chat.example.com"


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(
        app_file(
            says("Fine."),
            name="Order helper",
            user_input_form=FORM,
            opening_statement="Hello {{name}}!",
            suggested_questions=["Where is it?"],
            suggested_questions_after_answer={"enabled": True},
            sensitive_word_avoidance={
                "enabled": True,
                "type": "keywords",
                "config": {
                    "keywords": "hush",
                    "inputs_config": {"enabled": True, "preset_response": "No."},
                },
            },
            speech_to_text={"enabled": True},
            text_to_speech={"enabled": True, "voice": "alloy", "language": "en-US"},
        )
    )


async def test_parameters_have_every_key_in_the_documented_order(client: Client) -> None:
    body = (await client.get("/parameters")).body
    assert list(body) == PARAMETERS
    assert body["opening_statement"] == body["introduction"] == "Hello {{name}}!"
    assert body["suggested_questions"] == ["Where is it?"]
    assert body["suggested_questions_after_answer"] == {"enabled": True}
    assert body["user_input_form"] == FORM
    assert body["speech_to_text"] == {"enabled": True}
    assert body["text_to_speech"] == {
        "enabled": True,
        "voice": "alloy",
        "language": "en-US",
        "autoPlay": "disabled",
    }
    assert body["sensitive_word_avoidance"]["enabled"] is True
    assert body["file_upload"]["image"] == {
        "enabled": False,
        "number_limits": 3,
        "detail": "high",
        "transfer_methods": ["remote_url", "local_file"],
    }
    assert body["system_parameters"] == {
        "image_file_size_limit": 10,
        "video_file_size_limit": 100,
        "audio_file_size_limit": 50,
        "file_size_limit": 15,
        "workflow_file_upload_limit": 10,
    }
    assert "hush" not in str(body), "the words that moderation looks for are nobody's business"


async def test_a_bare_app_has_no_null_where_a_client_calls_a_method(server: TestServer) -> None:
    client = await server.client(app_file())
    body = (await client.get("/parameters")).body
    assert list(body) == PARAMETERS
    assert body["opening_statement"] == body["introduction"] == ""
    assert None not in body.values()


async def test_the_app_tells_its_name_mode_and_looks(client: Client) -> None:
    info = (await client.get("/info")).body
    assert info == {
        "name": "Order helper",
        "description": "",
        "tags": [],
        "mode": "chat",
        "author_name": "",
    }
    assert (await client.get("/meta")).body == {"tool_icons": {}}
    site = (await client.get("/site")).body
    assert site["title"] == "Order helper"
    assert site["show_workflow_steps"] is False


async def test_the_index_and_the_health_pages_want_no_key(client: Client) -> None:
    welcome = await client.call("GET", "/", headers={})
    assert welcome.status == 200
    assert welcome.body["api_version"] == "v1"
    assert welcome.body["server_version"] == __version__
    assert "welcome" in welcome.body
    for path in ("/../healthz", "/../readyz"):
        reply = await client.call("GET", path, headers={})
        assert (reply.status, reply.body) == (200, {"status": "ok"})


async def test_every_answer_carries_the_version_and_an_id_and_no_cookie(client: Client) -> None:
    seen: set[str] = set()
    for path in ("/parameters", "/", "/nowhere", "/../healthz", "/../openapi.json", "/../"):
        reply = await client.call("GET", path)
        headers = {name.lower(): value for name, value in reply.headers.items()}
        assert headers["x-version"] == __version__
        assert headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in headers
        seen.add(headers["x-request-id"])
    assert len(seen) == 6


def header(reply: Reply, name: str) -> str | None:
    return {key.lower(): value for key, value in reply.headers.items()}.get(name)


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            if name == "$ref":
                yield inner
            yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:  # pyright: ignore[reportUnknownVariableType]
            yield from refs(inner)


async def test_the_openapi_document_describes_every_route(client: Client) -> None:
    reply = await client.call("GET", "/../openapi.json", headers={})
    document = reply.body
    assert document["openapi"].startswith("3.1")
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert operation["summary"], route.path
        named = {p["name"] for p in operation["parameters"]}
        assert set(re.findall(r"{(\w+)}", route.path)) <= named
        assert {name.lstrip("*") for name in route.query} <= named
        assert ("requestBody" in operation) == bool(route.body or route.upload)
        answer = operation["responses"][f"{route.status}"]
        assert ("text/event-stream" in answer.get("content", {})) == route.streams
        assert ("401" in operation["responses"]) == route.key
    found = list(refs(document))
    assert found
    for ref in found:
        assert ref.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    ids = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert len(ids) == len(set(ids))


async def test_a_page_of_any_origin_may_call_with_a_key(client: Client) -> None:
    preflight = await client.call(
        "OPTIONS",
        "/chat-messages",
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert preflight.status == 204
    assert header(preflight, "access-control-allow-origin") == "*"
    allowed = (header(preflight, "access-control-allow-headers") or "").lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    for method in ("GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"):
        assert method in (header(preflight, "access-control-allow-methods") or "")
    headers = {**client.headers, "Origin": PAGE}
    for path, status in (("/parameters", 200), ("/nowhere", 404)):
        reply = await client.call("GET", path, headers=headers)
        assert reply.status == status
        assert header(reply, "access-control-allow-origin") == "*"


async def test_a_stream_too_may_be_read_by_a_page(client: Client) -> None:
    async with client.session.post(
        client.base + "/chat-messages",
        json={"query": "Hi", "user": "u", "inputs": {}, "response_mode": "streaming"},
        headers={**client.headers, "Origin": PAGE},
    ) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert b"message_end" in await response.read()


async def test_the_servers_origins_are_a_setting(tmp_path: Path) -> None:
    async with serving(tmp_path, origins=(PAGE,)) as server:
        client = await server.client(app_file())
        for origin, allowed in ((PAGE, PAGE), ("https://evil.example", None)):
            headers = {**client.headers, "Origin": origin}
            reply = await client.call("GET", "/parameters", headers=headers)
            assert header(reply, "access-control-allow-origin") == allowed


async def test_an_app_may_name_its_own_origins(server: TestServer) -> None:
    client = await server.client(app_file(says("Fine."), kaiwa={"origins": [PAGE]}))
    theirs = {**client.headers, "Origin": PAGE}
    assert (await client.call("GET", "/parameters", headers=theirs)).status == 200
    assert (await client.get("/parameters")).status == 200, "no browser, no origin"
    evil = {**client.headers, "Origin": "https://evil.example"}
    question: dict[str, Any] = {"query": "Hi", "user": "u", "inputs": {}}
    reply = await client.call("POST", "/chat-messages", headers=evil, json=question)
    assert (reply.status, reply.body["code"]) == (403, "forbidden")
    assert (await client.as_user("u").get("/conversations")).body["data"] == []
