"""Nobody gets at what is another user's, another app's, or not there: a matrix of the routes.

A route that takes an id of some kind and is not filled in here fails the first test.
"""

import re
from typing import Any
from uuid import uuid4

import pytest

from kaiwa.api.routes import ROUTES, Route
from tests.support.apps import agent_file, app_file, calls, says
from tests.support.attacks import TAKES_DOCUMENTS, upload_text
from tests.support.client import Client, Reply
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

# Every way an id can reach a route: in its path, its query, or its body.
IN_PATH = {"conversation_id": "conversation", "message_id": "message", "file_id": "file"}
IN_QUERY = {"conversation_id": "conversation", "last_id": "conversation", "first_id": "message"}
IN_BODY = {"conversation_id": "conversation", "message_id": "message"}
BODIES: dict[str, dict[str, Any]] = {
    "post_chat_message": {"query": "Mine?", "inputs": {}, "response_mode": "blocking"},
    "post_approval": {"decision": "approve"},
    "post_feedback": {"rating": "like"},
    "post_name": {"name": "Mine"},
}
# Ids that are no secret of anybody: a stop always succeeds, and stops only its own user's answer.
OPEN_IDS = {"task_id"}
SIGNED_IDS = {"name"}
"""Of links that are signed, and open to whoever holds them: test_uploads."""

WAITS_OR_TELLS: dict[str, Any] = {
    "provider": "scripted",
    "name": "script",
    "completion_params": {
        "script": [
            {
                "when": "Wait!",
                "after": 0,
                "steps": [calls("eval_expression", '{"expression": "6 * 7"}')],
            },
            {"steps": [says("A secret.")]},
        ]
    },
}
"""An agent that waits for a yes, when it is asked to."""

Spot = tuple[Route, str, str]


def spots() -> list[Spot]:
    """Each place of a route that takes an id: the route, where the id stands, its name."""
    found: list[Spot] = []
    for route in ROUTES:
        if route.knowledge:  # see test_isolation_knowledge.py
            continue
        found += [(route, "path", name) for name in re.findall(r"{(\w+)}", route.path)]
        names = [name.lstrip("*") for name in route.query]
        found += [(route, "query", name) for name in names if name.endswith("_id")]
        fields = route.body.__struct_fields__ if route.body else ()
        found += [(route, "body", name) for name in fields if name.endswith("_id")]
    return found


def name_of(spot: Spot) -> str:
    route, where, name = spot
    return f"{route.method} {route.path} {where}:{name}"


SPOTS = [spot for spot in spots() if spot[2] not in OPEN_IDS and spot[0].key]


class Owned:
    """A conversation and its message, and strangers who know their ids."""

    def __init__(self, owner: Client, other_app: Client, ids: dict[str, str]) -> None:
        self.owner = owner
        self.strangers = {"another user": owner.as_user("stranger"), "another app": other_app}
        self.ids = ids

    async def state(self) -> tuple[Any, Any]:
        conversations = await self.owner.get("/conversations")
        messages = await self.owner.messages(self.ids["conversation"])
        return conversations.body, messages


@pytest.fixture
async def owned(server: TestServer) -> Owned:
    features: dict[str, Any] = {
        "suggested_questions_after_answer": {"enabled": True},
        "file_upload": TAKES_DOCUMENTS,
        "text_to_speech": {"enabled": True},
    }
    owner = await server.client(
        agent_file(
            model=WAITS_OR_TELLS,
            tools=["maths/eval_expression"],
            kaiwa={"blocking": True, "approve": ["eval_expression"]},
            **features,
        )
    )
    other_app = await server.client(app_file(says("Nothing."), **features))
    reply = await owner.ask("What is it?", auto_generate_name=False)
    ids = {"conversation": reply.body["conversation_id"], "message": reply.body["message_id"]}
    ids["waiting"] = (await owner.ask("Wait!", auto_generate_name=False)).body["message_id"]
    return Owned(owner, other_app, ids | {"file": await upload_text(owner)})


async def call(client: Client, spot: Spot, given: dict[str, str]) -> Reply:
    """Call the route with `given` ids by kind; the rest is as a friend would send it."""
    route, where, name = spot
    path = route.path.removeprefix("/v1")
    handler = getattr(route.handler, "__name__", "")
    for part in re.findall(r"{(\w+)}", path):
        kind = "waiting" if handler == "post_approval" else IN_PATH[part]
        path = path.replace(f"{{{part}}}", given[kind])
    params = {"user": client.user}
    body = dict(BODIES.get(handler, {}))
    if where == "query":
        params[name] = given[IN_QUERY[name]]
    elif where == "body":
        body[name] = given[IN_BODY[name]]
    if "*conversation_id" in route.query:
        params["conversation_id"] = given["conversation"]
    if route.method == "GET":
        return await client.call("GET", path, params=params)
    return await client.call(route.method, path, json={"user": client.user, **body})


def test_every_id_of_every_route_is_filled_in() -> None:
    known = {
        "path": {*IN_PATH, *OPEN_IDS, *SIGNED_IDS},
        "query": set(IN_QUERY),
        "body": set(IN_BODY),
    }
    missing = [name_of(spot) for spot in spots() if spot[2] not in known[spot[1]]]
    assert missing == [], "say in this file what kind of id it is"
    assert len(SPOTS) >= 10


@pytest.mark.parametrize("spot", SPOTS, ids=name_of)
async def test_the_owner_gets_through(owned: Owned, spot: Spot) -> None:
    reply = await call(owned.owner, spot, owned.ids)
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("who", ["another user", "another app"])
@pytest.mark.parametrize("spot", SPOTS, ids=name_of)
async def test_a_stranger_finds_nothing_and_changes_nothing(
    owned: Owned, spot: Spot, who: str
) -> None:
    before = await owned.state()
    reply = await call(owned.strangers[who], spot, owned.ids)
    assert reply.status == 404, reply.body
    file = spot[2] == "file_id"
    assert reply.body["code"] == ("file_not_found" if file else "not_found")
    assert "secret" not in str(reply.body)
    assert await owned.state() == before


@pytest.mark.parametrize("spot", SPOTS, ids=name_of)
async def test_an_id_that_never_was_is_not_found_in_the_same_words(
    owned: Owned, spot: Spot
) -> None:
    unknown = {kind: str(uuid4()) for kind in owned.ids}
    reply = await call(owned.owner, spot, unknown)
    theirs = await call(owned.strangers["another user"], spot, owned.ids)
    assert reply.status == 404
    assert reply.body == theirs.body, "a stranger must not learn that the id exists"


@pytest.mark.parametrize("who", ["another user", "another app"])
async def test_lists_hold_only_ones_own(owned: Owned, who: str) -> None:
    stranger = owned.strangers[who]
    reply = await stranger.get("/conversations")
    assert reply.body["data"] == []


@pytest.mark.parametrize("where", ["first_id", "last_id"])
async def test_a_cursor_of_ones_own_leads_nowhere_else(owned: Owned, where: str) -> None:
    """A stranger's cursor in one's own list is as unknown as one that never was."""
    stranger = owned.strangers["another user"]
    own = await stranger.ask("Mine.", auto_generate_name=False)
    if where == "first_id":
        reply = await stranger.get(
            "/messages",
            conversation_id=own.body["conversation_id"],
            first_id=owned.ids["message"],
        )
    else:
        reply = await stranger.get("/conversations", last_id=owned.ids["conversation"])
    assert reply.status == 404


async def test_a_key_of_one_app_shows_nothing_of_another(owned: Owned, server: TestServer) -> None:
    for path in ("/parameters", "/info", "/site", "/meta"):
        ours = await owned.owner.get(path)
        theirs = await owned.strangers["another app"].get(path)
        assert (ours.status, theirs.status) == (200, 200)
    assert (await owned.owner.get("/info")).body != (
        await owned.strangers["another app"].get("/info")
    ).body
