"""What to ask next."""

from uuid import uuid4

import pytest

from tests.support.apps import app_file, says
from tests.support.client import Client, Reply
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

ON = {"enabled": True}
PREPARED = ["What is it?", "How much?", "Why?", "When?"]


async def suggested(client: Client, question: str = "Hello") -> Reply:
    asked = await client.ask(question, auto_generate_name=False)
    return await client.get(f"/messages/{asked.body['id']}/suggested")


@pytest.mark.parametrize("side", ["array", "thinks first", "wraps it"])
async def test_the_model_proposes_questions(server: TestServer, side: str) -> None:
    file = app_file(says("Fine."), suggested_questions_after_answer=ON)
    reply = await suggested(await server.client(file), f"(side: {side})")
    assert reply.status == 200
    assert list(reply.body) == ["result", "data"]
    assert reply.body == {"result": "success", "data": ["Who?", "そして？", "And then?"]}


@pytest.mark.parametrize("side", ["fails", "babbles", "empty array", "objects"])
async def test_a_model_that_proposes_nothing_leaves_the_prepared_questions(
    server: TestServer, side: str
) -> None:
    file = app_file(
        says("Fine."), suggested_questions_after_answer=ON, suggested_questions=PREPARED
    )
    client = await server.client(file)
    assert (await suggested(client, f"(side: {side})")).body["data"] == PREPARED[:3]
    asked = await client.ask("Why?", auto_generate_name=False)
    in_it = asked.body["conversation_id"]
    asked = await client.ask(f"(side: {side})", conversation_id=in_it)
    reply = await client.get(f"/messages/{asked.body['id']}/suggested")
    assert reply.body["data"] == ["What is it?", "How much?", "When?"]


async def test_without_prepared_questions_the_list_is_empty(server: TestServer) -> None:
    client = await server.client(app_file(says("Fine."), suggested_questions_after_answer=ON))
    reply = await suggested(client, "(side: fails)")
    assert (reply.status, reply.body) == (200, {"result": "success", "data": []})


async def test_suggestions_can_be_off(server: TestServer) -> None:
    reply = await suggested(await server.client(app_file()))
    wanted = {"code": "bad_request", "message": "Suggested Questions Is Disabled.", "status": 400}
    assert (reply.status, reply.body) == (400, wanted)


async def test_suggestions_are_of_a_message_that_is_there(server: TestServer) -> None:
    for file in (app_file(), app_file(suggested_questions_after_answer=ON)):
        client = await server.client(file)
        reply = await client.get(f"/messages/{uuid4()}/suggested")
        wanted = {"code": "not_found", "message": "Message Not Exists.", "status": 404}
        assert (reply.status, reply.body) == (404, wanted)


async def test_suggestions_need_a_user(server: TestServer) -> None:
    client = await server.client(app_file(suggested_questions_after_answer=ON))
    asked = (await client.ask("Hello")).body
    reply = await client.call("GET", f"/messages/{asked['id']}/suggested")
    wanted = {"code": "invalid_param", "message": "Arg user must be provided.", "status": 400}
    assert (reply.status, reply.body) == (400, wanted)
