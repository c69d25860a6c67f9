"""Whatever is sent, to whatever route: a clear answer in JSON, never a crash, never an inside."""

import re
from typing import Any
from uuid import uuid4

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaiwa.api.routes import ROUTES, Route
from tests.support.apps import app_file, says
from tests.support.client import Client, Reply
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

INSIDES = re.compile(r"Traceback|File \"|sqlalchemy|sqlite3|SELECT |/site-packages/|0x[0-9a-f]{8}")
WITH_KEY = [route for route in ROUTES if route.key]
MESSAGE = "whatever the question is"

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", " ", "\0", "\0x", "true", "1", str(uuid4()), "streaming", "blocking"])
    | st.sampled_from(["like", "{{x}}", "'; DROP TABLE messages; --", "../../etc/passwd", "\u202e"])
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
words = st.text(max_size=24) | st.sampled_from([str(uuid4()), "0", "null", "%00", "a/b", "…"])


def fields_of(route: Route) -> list[str]:
    body = list(route.body.__struct_fields__) if route.body else []
    return [*body, *(name.lstrip("*") for name in route.query), "user", "nonsense"]


def inputs_for(route: Route) -> "st.SearchStrategy[dict[str, Any]]":
    return st.dictionaries(st.sampled_from(fields_of(route)), values, max_size=6)


@pytest.fixture(scope="module")
async def client(server: TestServer) -> Client:
    form = [{"text-input": {"variable": "name", "label": "Name", "max_length": 5}}]
    return await server.client(
        app_file(says("Fine."), user_input_form=form, text_to_speech={"enabled": True})
    )


@pytest.fixture(scope="module")
async def librarian(server: TestServer) -> Client:
    return await server.knowledge_client()


def check(reply: Reply) -> None:
    """An answer that a client understands, and that tells nothing of our insides."""
    assert reply.status < 500, reply.body
    if isinstance(reply.body, bytes):
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith(("text/event-stream", "audio/wav"))
        return
    assert not INSIDES.search(str(reply.body)), reply.body
    if reply.status != 200:
        assert {"code", "message", "status"} <= set(reply.body), reply.body
        assert reply.body["status"] == reply.status
        assert re.fullmatch(r"[a-z_]+", reply.body["code"])


async def send(client: Client, route: Route, ids: list[str], given: dict[str, Any]) -> Reply:
    path = route.path.removeprefix("/v1")
    for name, text in zip(re.findall(r"{(\w+)}", path), ids, strict=False):
        path = path.replace(f"{{{name}}}", quote(text))
    if route.method == "GET":
        params = {name: str(value) for name, value in given.items() if value is not None}
        return await client.call("GET", path, params=params)
    return await client.call(route.method, path, json=given)


def quote(text: str) -> str:
    """A path segment, not yet escaped: the client does that; it must not be empty or leave."""
    return re.sub(r"[/?#\\]|^\.+$", "_", text) or "_"


@pytest.mark.parametrize("route", WITH_KEY, ids=lambda route: f"{route.method} {route.path}")
async def test_no_request_brings_out_more_than_a_plain_refusal(
    client: Client, librarian: Client, route: Route
) -> None:
    replies = 0
    caller = librarian if route.knowledge else client

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(ids=st.lists(words, min_size=3, max_size=3), body=inputs_for(route))
    def attempt(ids: list[str], body: dict[str, Any]) -> None:
        nonlocal replies
        check(anyio.from_thread.run(send, caller, route, ids, body))
        replies += 1

    await anyio.to_thread.run_sync(attempt)
    assert replies


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"0", b'"x"', b"\xff\xfe", b'{"user": "\\ud800"}', b"{}" * 2],
)
@pytest.mark.parametrize(
    "route", [r for r in WITH_KEY if r.method != "GET"], ids=lambda route: f"{route.path}"
)
async def test_a_body_that_is_no_object_is_refused(
    client: Client, librarian: Client, route: Route, raw: bytes
) -> None:
    if route.knowledge:
        client = librarian
    path = re.sub(r"{\w+}", str(uuid4()), route.path.removeprefix("/v1"))
    headers = {**client.headers, "Content-Type": "application/json"}
    reply = await client.call(route.method, path, data=raw, headers=headers)
    check(reply)
    assert reply.status in (400, 404), reply.body
