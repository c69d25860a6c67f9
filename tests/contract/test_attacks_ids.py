"""Hostile ids in every path and query: a clear no, and nobody else's things in another spelling."""

import re
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from kaiwa.api.routes import ROUTES, Route
from tests.support.attacks import Fortress, check_answer, send
from tests.support.knowledge import make_workspace

pytestmark = pytest.mark.anyio

HOSTILE = {
    "an SQL fragment": "' OR '1'='1",
    "another statement": "1'; DROP TABLE messages; --",
    "a union": "' UNION SELECT digest FROM api_keys --",
    "a sleep": "1;SELECT pg_sleep(10)--",
    "a wildcard": "%",
    "a parent folder": "../../../../etc/passwd",
    "an escaped parent": "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "a NUL": "\0",
    "a NUL at the end": f"{uuid4()}\0",
    "a new line": "\r\nSet-Cookie: a=b",
    "very long": "a" * 10_000,
    "very long digits": "9" * 5000,
    "digits that are not ASCII": "".join(chr(0x660 + int(d, 16) % 10) for d in uuid4().hex),
    "full-width letters": "\uff41\uff42\uff43",
    "in braces": f"{{{uuid4()}}}",
    "a URN": f"urn:uuid:{uuid4()}",
    "without dashes": uuid4().hex,
    "one digit short": str(uuid4())[:-1],
    "with blanks": f" {uuid4()} ",
    "a number": "-1",
    "a float": "1e309",
    "an array": "[]",
    "an object": '{"$ne": null}',
    "a template": "{{7*7}}",
    "a format": "{0.__class__}",
    "right to left": "\u202eabc",
    "half a character": b"\xed\xa0\x80".decode("latin-1"),
    "an emoji": "👩‍👩‍👧",
    "nothing but dots": "...",
    "a slash": "a/b",
    "a backslash": "a\\b",
    "a script": "<script>alert(1)</script>",
}
IN_PATH = [route for route in ROUTES if "{" in route.path and route.key]
IN_QUERY = [(route, name.lstrip("*")) for route in ROUTES for name in route.query if route.key]
UUIDS = ("conversation_id", "first_id", "last_id")


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


BODY = {"user": "eve", "name": "x", "rating": "like", "decision": "approve"}
"""For any route."""


def fill(route: Route, value: str) -> str:
    """The route's path with the value in it, escaped as a client would."""
    return re.sub(r"{\w+}", lambda _: quote(value, safe=""), route.path.removeprefix("/v1"))


@pytest.mark.parametrize("route", IN_PATH, ids=name_of)
async def test_a_hostile_id_in_a_path_is_not_found(fort: Fortress, route: Route) -> None:
    body = None if route.method == "GET" else BODY
    for what, value in HOSTILE.items():
        path = f"{fill(route, value)}?user=eve"
        reply = await send(fort.client_for(route), route.method, path, json=body)
        check_answer(reply, value)
        stops = route.path.endswith("/stop")  # it succeeds whether or not there is such a task
        assert reply.status in ((200, 404) if stops else (404,)), (what, reply.body)


@pytest.mark.parametrize(
    ("route", "name"), IN_QUERY, ids=lambda part: part if isinstance(part, str) else name_of(part)
)
async def test_a_hostile_query_parameter_does_no_harm(
    fort: Fortress, route: Route, name: str
) -> None:
    for what, value in HOSTILE.items():
        if len(value) > 9000 and name == "user":
            continue  # see test_attacks_values.py
        path = fort.path_of(route).removeprefix("/v1")
        others = "" if name == "user" else "&user=eve"
        query = f"{name}={quote(value, safe='')}{others}"
        reply = await send(fort.client_for(route), "GET", f"{path}?{query}")
        check_answer(reply, value)
        if name in UUIDS:
            assert reply.status in (400, 404), (what, reply.body)
        elif name == "user":
            assert reply.status in (200, 400, 404), (what, reply.body)
            assert fort.ids["conversation_id"] not in str(reply.body)


def spellings(given: str) -> list[str]:
    """Ways to write a UUID that some reader takes."""
    uuid = UUID(given)
    return [
        str(uuid).upper(),
        uuid.hex,
        f"{{{uuid}}}",
        f"urn:uuid:{uuid}",
        f" {uuid} ",
        f"{uuid}\0",
        str(uuid.int),
    ]


@pytest.mark.parametrize("route", [r for r in IN_PATH if "task_id" not in r.path], ids=name_of)
async def test_no_spelling_of_an_id_opens_it_to_a_stranger(fort: Fortress, route: Route) -> None:
    """`fort` sees in the end that nothing has changed."""
    stranger = fort.owner.as_user("eve")
    if route.knowledge:
        stranger = await fort.server.knowledge_client(await make_workspace(fort.server))
    kind = re.findall(r"{(\w+)}", route.path)[0]
    body = None if route.method == "GET" else BODY
    for spelling in spellings(fort.ids[kind]):
        path = f"{fill(route, spelling)}?user=eve"
        reply = await send(stranger, route.method, path, json=body)
        check_answer(reply)
        assert reply.status == 404, spelling


@pytest.mark.parametrize("name", ["conversation_id", "last_id", "first_id"])
async def test_no_spelling_of_an_id_in_a_query_opens_it_to_a_stranger(
    fort: Fortress, name: str
) -> None:
    stranger = fort.owner.as_user("eve")
    asked = (await stranger.ask("Mine?", auto_generate_name=False)).body
    own = asked["conversation_id"]
    for spelling in spellings(fort.ids["message_id" if name == "first_id" else "conversation_id"]):
        where = "/conversations" if name == "last_id" else "/messages"
        within = f"conversation_id={own}&" if name == "first_id" else ""
        query = f"user=eve&{within}{name}={quote(spelling, safe='')}"
        reply = await send(stranger, "GET", f"{where}?{query}")
        check_answer(reply)
        assert reply.status in (400, 404), spelling
        if name == "conversation_id":
            reply = await stranger.ask("Mine?", conversation_id=spelling)
            check_answer(reply)
            assert reply.status in (400, 404), spelling
