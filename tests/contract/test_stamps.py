"""The values of an app's parameters, what every reply is stamped with, and who may call."""

from pathlib import Path
from typing import Any

import pytest

from kaiwa import __version__
from kaiwa.api.routes import ROUTES, Route
from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

FORM: list[dict[str, Any]] = [
    {
        "text-input": {
            "label": "a",
            "variable": "a",
            "required": True,
            "max_length": 48,
            "default": "",
        }
    },
    {"select": {"label": "b", "variable": "b", "options": ["x", "y"], "default": "x"}},
    {"number": {"label": "c", "variable": "c", "required": False}},
]
PARAMETERS: dict[str, Any] = {
    "opening_statement": "nice to meet {{a}}",
    "suggested_questions": ["Why?", "何？"],
    "suggested_questions_after_answer": {"enabled": True},
    "speech_to_text": {"enabled": False},
    "text_to_speech": {"enabled": False, "voice": "", "language": "", "autoPlay": "disabled"},
    "retriever_resource": {"enabled": True},
    "annotation_reply": {"enabled": False},
    "more_like_this": {"enabled": True},
    "user_input_form": FORM,
    "sensitive_word_avoidance": {"enabled": False, "type": "", "configs": []},
    "file_upload": {
        "image": {
            "enabled": False,
            "number_limits": 3,
            "detail": "high",
            "transfer_methods": ["remote_url", "local_file"],
        },
        "enabled": False,
        "allowed_file_types": ["image"],
        "allowed_file_extensions": [],
        "allowed_file_upload_methods": ["remote_url", "local_file"],
        "number_limits": 3,
    },
    "system_parameters": {
        "image_file_size_limit": 10,
        "video_file_size_limit": 100,
        "audio_file_size_limit": 50,
        "file_size_limit": 15,
        "workflow_file_upload_limit": 10,
    },
    "introduction": "nice to meet {{a}}",
}
HERE, THERE = "https://chat.example.com", "https://evil.example.com"


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(says("Fine.")))


async def test_parameters_have_these_keys_in_this_order(server: TestServer) -> None:
    client = await server.client(
        app_file(
            opening_statement="nice to meet {{a}}",
            suggested_questions=["Why?", "何？"],
            suggested_questions_after_answer={"enabled": True},
            more_like_this={"enabled": True},
            user_input_form=FORM,
            sensitive_word_avoidance={"enabled": False, "config": {"keywords": "canary"}},
        )
    )
    reply = await client.call("GET", "/parameters")
    assert (reply.status, reply.body) == (200, PARAMETERS)
    assert list(reply.body) == list(PARAMETERS)


async def test_a_server_that_is_stopping_is_not_ready(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        client = await server.client(app_file())
        server.house.context.running.draining = True
        client.base = server.url
        reply = await client.call("GET", "/readyz")
        assert (reply.status, reply.body["code"]) == (503, "service_unavailable")
        assert int(reply.headers["Retry-After"]) > 0
        assert (await client.call("GET", "/healthz")).status == 200


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_reply_is_stamped_and_sets_no_cookie(
    server: TestServer, client: Client, route: Route
) -> None:
    client.base = server.url
    for headers in (client.headers, {}):
        reply = await client.call(route.method, route.path, headers=headers)
        stamps = {name.lower(): value for name, value in reply.headers.items()}
        assert stamps["x-version"] == __version__
        assert len(stamps["x-request-id"]) == 32
        assert stamps["x-content-type-options"] == "nosniff"
        assert stamps["content-type"] == "application/json"
        assert "set-cookie" not in stamps


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,x-app-code",
    }


async def test_a_preflight_knows_the_servers_origins(tmp_path: Path) -> None:
    async with serving(tmp_path, origins=(HERE,)) as server:
        client = await server.client(app_file())
        for origin, allowed in ((HERE, HERE), (THERE, None)):
            reply = await client.call("OPTIONS", "/info", headers=preflight(origin, "GET"))
            assert reply.headers.get("Access-Control-Allow-Origin") == allowed
            headers = {**client.headers, "Origin": origin}
            reply = await client.call("GET", "/info", headers=headers)
            assert reply.headers.get("Access-Control-Allow-Origin") == allowed


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        ([HERE], HERE, 200),
        ([HERE], None, 200),
        ([HERE], THERE, 403),
        ([HERE], "null", 403),
        ([HERE], f"{HERE}.evil.com", 403),
        (["*"], THERE, 200),
        ([], THERE, 200),
    ],
)
async def test_an_origin_is_compared_whole(
    server: TestServer, origins: list[str], origin: str | None, status: int
) -> None:
    client = await server.client(app_file(says("Fine."), kaiwa={"origins": origins}))
    headers = client.headers | ({"Origin": origin} if origin else {})
    assert (await client.call("GET", "/info", headers=headers)).status == status
    body = {"user": "u", "query": "Hello", "response_mode": "streaming"}
    reply = await client.call("POST", "/chat-messages", json=body, headers=headers)
    assert reply.status == status
    if status == 403:
        assert reply.body["code"] == "forbidden"
        assert reply.headers["Content-Type"] == "application/json"
