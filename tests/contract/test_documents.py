"""The requests that the API's own documents print, sent as they stand there."""

from typing import Any

import pytest

from tests.support.apps import app_file, says
from tests.support.client import Client, text_of
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

PICTURE = {
    "type": "image",
    "transfer_method": "remote_url",
    "url": "https://cloud.dify.ai/logo/logo-site.png",
}
QUESTION = "What are the specs of the iPhone 13 Pro Max?"


@pytest.fixture
async def client(server: TestServer) -> Client:
    features: dict[str, Any] = {
        "suggested_questions": ["a", "b", "c"],
        "suggested_questions_after_answer": {"enabled": True},
        "user_input_form": [
            {"text-input": {"label": "a", "variable": "name", "required": True, "max_length": 48}}
        ],
    }
    return await server.client(
        app_file(says(" I", "'m", " glad", " to", " meet", " you"), **features)
    )


async def test_a_streamed_question_with_a_picture_the_app_does_not_take(client: Client) -> None:
    frames = await client.stream(
        QUESTION, inputs={"name": "dify"}, conversation_id="", files=[PICTURE]
    )
    assert text_of(frames) == " I'm glad to meet you"
    assert frames[-1].event == "message_end"


async def test_a_conversation_goes_on_by_its_id(client: Client) -> None:
    first = await client.ask(QUESTION, inputs={"name": "dify"}, response_mode="blocking")
    again = await client.ask(
        QUESTION,
        inputs={"name": "dify"},
        response_mode="blocking",
        conversation_id=first.body["conversation_id"],
        files=[PICTURE],
    )
    assert again.status == 200
    assert again.body["conversation_id"] == first.body["conversation_id"]


async def test_the_other_examples_in_order(client: Client) -> None:
    asked = await client.ask(QUESTION, inputs={"name": "dify"})
    message_id, conversation_id = asked.body["message_id"], asked.body["conversation_id"]

    stopped = await client.call(
        "POST", "/chat-messages/900bbd43-dc0b/stop", json={"user": "abc-123"}
    )
    assert (stopped.status, stopped.body) == (200, {"result": "success"})

    rated = await client.call(
        "POST", f"/messages/{message_id}/feedbacks", json={"rating": "like", "user": "abc-123"}
    )
    assert (rated.status, rated.body) == (200, {"result": "success"})

    headers = {**client.headers, "Content-Type": "application/json"}
    suggested = await client.call(
        "GET", f"/messages/{message_id}/suggested?user=abc-123", headers=headers
    )
    assert suggested.status == 200
    assert suggested.body["result"] == "success"

    listed = await client.call("GET", f"/messages?user=abc-123&conversation_id={conversation_id}")
    (message,) = listed.body["data"]
    assert message["query"] == QUESTION
    assert message["feedback"] == {"rating": "like"}
    assert message["inputs"] == {"name": "dify"}

    nothing = await client.call("GET", "/messages?user=abc-123&conversation_id=")
    assert (nothing.status, nothing.body["data"]) == (200, [])

    conversations = await client.call("GET", "/conversations?user=abc-123&last_id=&limit=20")
    assert [found["id"] for found in conversations.body["data"]] == [conversation_id]

    named = await client.call(
        "POST", f"/conversations/{conversation_id}/name", json={"name": "", "user": "abc-123"}
    )
    assert named.status == 200
    assert named.body["result"] == "success"

    parameters = await client.call("GET", "/parameters?user=abc-123")
    assert parameters.body["user_input_form"][0]["text-input"]["variable"] == "name"
    meta = await client.call("GET", "/meta?user=abc-123")
    assert meta.body == {"tool_icons": {}}

    deleted = await client.call(
        "DELETE",
        f"/conversations/{conversation_id}",
        json={"user": "abc-123"},
        headers={**client.headers, "Accept": "application/json"},
    )
    assert (deleted.status, deleted.body) == (200, {"result": "success"})
