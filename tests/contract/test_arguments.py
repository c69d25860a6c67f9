"""The fields of a question, one rule each: its own, and those of the app's form."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

FORM: list[dict[str, Any]] = [
    {"text-input": {"label": "Name", "variable": "name", "required": True, "max_length": 5}},
    {
        "select": {
            "label": "Tier",
            "variable": "tier",
            "options": ["gold", "b'c"],
            "default": "gold",
        }
    },
    {"number": {"label": "Age", "variable": "age"}},
    {"paragraph": {"label": "More", "variable": "more", "max_length": 8}},
]
ONE_OF = "tier in input form must be one of the following: ['gold', \"b'c\"]"
NO_PAIRS = "dictionary update sequence element #0 has length 1; 2 is required"


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(says("Fine.")))


@pytest.fixture
async def formal(server: TestServer) -> Client:
    return await server.client(app_file(says("Fine."), user_input_form=FORM))


def without(*names: str, **changed: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"user": "u", "query": "Hello", "inputs": {}, **changed}
    return {name: value for name, value in body.items() if name not in names}


@pytest.mark.parametrize(
    ("body", "message", "params"),
    [
        ({}, "Arg user must be provided.", None),
        (without("user"), "Arg user must be provided.", None),
        (without(user=""), "Arg user must be provided.", None),
        (without(user=None), "Arg user must be provided.", None),
        (without(user=0), "Arg user must be provided.", None),
        (without(user=False), "Arg user must be provided.", None),
        (without(user="\0"), "Arg user must be provided.", None),
        (without("query"), "Missing required parameter in the JSON body", "query"),
        (without(query=""), "query is required", None),
        (without(query=None), "query is required", None),
        (without(query="\0"), "query is required", None),
        (without(inputs="abc"), NO_PAIRS, "inputs"),
        (without(inputs=7), "'int' object is not iterable", "inputs"),
        (without(inputs=[["a"]]), NO_PAIRS, "inputs"),
        (without(files=7), "'int' object is not iterable", "files"),
        (without(files=True), "'bool' object is not iterable", "files"),
        (without(response_mode="x"), "x is not a valid choice", "response_mode"),
        (without(response_mode=None), "None is not a valid choice", "response_mode"),
        (
            without(response_mode=["blocking"]),
            "['blocking'] is not a valid choice",
            "response_mode",
        ),
        (without(conversation_id="abc"), "abc is not a valid uuid.", "conversation_id"),
        (
            without(conversation_id=5),
            "'int' object has no attribute 'replace'",
            "conversation_id",
        ),
        # The first field in this order is the one that is told.
        ({"inputs": 7, "response_mode": "x"}, "Arg user must be provided.", None),
        ({"user": "u", "inputs": 7, "files": 7}, "'int' object is not iterable", "inputs"),
        ({"user": "u", "files": 7}, "Missing required parameter in the JSON body", "query"),
        (
            without(files=7, response_mode="x"),
            "'int' object is not iterable",
            "files",
        ),
        (
            without(query="", response_mode="x", conversation_id="abc"),
            "x is not a valid choice",
            "response_mode",
        ),
        (without(query="", conversation_id=str(uuid4())), "query is required", None),
    ],
)
async def test_a_wrong_field_is_named(
    client: Client, body: dict[str, Any], message: str, params: str | None
) -> None:
    wanted: dict[str, Any] = {"code": "invalid_param", "message": message, "status": 400}
    if params:
        wanted["params"] = params
    reply = await client.call("POST", "/chat-messages", json=body)
    assert (reply.status, reply.body) == (400, wanted)
    streamed = {"response_mode": "streaming", **body}
    reply = await client.call("POST", "/chat-messages", json=streamed)
    assert (reply.status, reply.body) == (400, wanted)
    assert (await client.as_user("u").get("/conversations")).body["data"] == []


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (without("inputs"), "Hello"),
        (without(inputs=None), "Hello"),
        (without(inputs=[]), "Hello"),
        (without(inputs=[["a", 1]]), "Hello"),
        (without(query=42), "42"),
        (without(query=0), "0"),
        (without(query={"a": 1}), "{'a': 1}"),
        (without(query="a\0b"), "ab"),
        (without(query="  \n"), "  \n"),
        (without(files=[]), "Hello"),
        (without(files="abc"), "Hello"),
        (without(conversation_id=""), "Hello"),
        (without(conversation_id=" "), "Hello"),
        (without(auto_generate_name="no"), "Hello"),
    ],
)
async def test_what_can_be_read_somehow_is_taken(
    client: Client, body: dict[str, Any], query: str
) -> None:
    reply = await client.call("POST", "/chat-messages", json=body)
    assert reply.status == 200, reply.body
    stored = await client.as_user("u").messages(reply.body["conversation_id"])
    assert [message["query"] for message in stored] == [query]


async def test_a_user_that_is_no_text_is_written_as_one(client: Client) -> None:
    reply = await client.call("POST", "/chat-messages", json=without(user=42))
    assert len(await client.as_user("42").messages(reply.body["conversation_id"])) == 1


async def test_a_conversation_id_is_read_in_any_spelling(client: Client) -> None:
    first = (await client.ask("Hello")).body["conversation_id"]
    for spelling in (first.upper(), first.replace("-", "")):
        reply = await client.ask("Again", conversation_id=spelling)
        assert reply.body["conversation_id"] == first


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "name is required in input form"),
        ({"name": None}, "name is required in input form"),
        ({"name": ""}, "name is required in input form"),
        ({"name": 0}, "name is required in input form"),
        ({"name": "\0"}, "name is required in input form"),
        ({"name": 5}, "(type 'text-input') name in input form must be a string"),
        ({"name": ["a"]}, "(type 'text-input') name in input form must be a string"),
        ({"name": "abcdef"}, "name in input form must be less than 5 characters"),
        ({"name": "Ann", "tier": "silver"}, ONE_OF),
        ({"name": "Ann", "tier": 1}, "(type 'select') tier in input form must be a string"),
        ({"name": "Ann", "age": "abc"}, "age in input form must be a valid number"),
        ({"name": "Ann", "age": "1e999"}, "age in input form must be a valid number"),
        ({"name": "Ann", "more": "123456789"}, "more in input form must be less than 8 characters"),
        ({"tier": "silver", "age": "abc"}, "name is required in input form"),
    ],
)
async def test_the_first_input_against_the_form_is_named(
    formal: Client, inputs: dict[str, Any], message: str
) -> None:
    for mode in ("blocking", "streaming"):
        reply = await formal.ask("Hello", inputs=inputs, response_mode=mode)
        wanted = {"code": "invalid_param", "message": message, "status": 400}
        assert (reply.status, reply.body) == (400, wanted)


@pytest.mark.parametrize(
    ("inputs", "kept"),
    [
        ({"name": "Ann"}, {"name": "Ann", "tier": "gold", "age": "", "more": ""}),
        ({"name": "abcde", "age": 3}, {"name": "abcde", "tier": "gold", "age": 3, "more": ""}),
        ({"name": "日本語です", "age": "1.5"}, {"name": "日本語です", "age": 1.5}),
        ({"name": "a\0b", "age": "7", "tier": "b'c"}, {"name": "ab", "age": 7, "tier": "b'c"}),
        ({"name": "Ann", "age": 0, "stray": {"x": []}}, {"name": "Ann", "age": ""}),
    ],
)
async def test_inputs_are_kept_as_the_form_reads_them(
    formal: Client, inputs: dict[str, Any], kept: dict[str, Any]
) -> None:
    reply = await formal.ask("Hello", inputs=inputs)
    [message] = await formal.messages(reply.body["conversation_id"])
    [conversation] = (await formal.get("/conversations")).body["data"]
    assert message["inputs"] == conversation["inputs"]
    assert set(message["inputs"]) == {"name", "tier", "age", "more"}
    assert {name: message["inputs"][name] for name in kept} == kept
