"""What a conversation keeps from its first turn, and what is the app's current one."""

from typing import Any

import pytest

from tests.support.apps import app_file
from tests.support.client import Client
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

FORM: list[dict[str, Any]] = [
    {"text-input": {"label": "Name", "variable": "name", "required": True, "max_length": 9}},
    {
        "select": {
            "label": "Tier",
            "variable": "tier",
            "options": ["gold", "base"],
            "default": "base",
        }
    },
    {"number": {"label": "Age", "variable": "age"}},
]
ANN = {"name": "Ann", "tier": "base", "age": ""}


def model(text: str, name: str = "script", provider: str = "scripted") -> dict[str, Any]:
    params = {"script": [{"steps": [{"text": text}]}]}
    return {"provider": provider, "name": name, "completion_params": params}


def formal(**config: Any) -> str:
    defaults: dict[str, Any] = {
        "model": model("{system}"),
        "pre_prompt": "{{name}}, {{tier}}, {{age}}, {{else}}",
        "user_input_form": FORM,
        "opening_statement": "Hello {{name}} ({{tier}}{{age}}), {{else}} <|x|>",
    }
    return app_file(**defaults | config)


async def only_conversation(client: Client) -> dict[str, Any]:
    [conversation] = (await client.get("/conversations")).body["data"]
    return conversation


@pytest.mark.parametrize(
    ("inputs", "introduction"),
    [
        ({"name": "Ann"}, "Hello Ann (base), {else} "),
        ({"name": "安", "tier": "gold", "age": 7}, "Hello 安 (gold7), {else} "),
        ({"name": "{{tier}}"}, "Hello {tier} (base), {else} "),
    ],
)
async def test_the_introduction_is_rendered_with_the_first_inputs(
    server: TestServer, inputs: dict[str, Any], introduction: str
) -> None:
    client = await server.client(formal())
    reply = await client.ask("Hi", inputs=inputs)
    assert (await only_conversation(client))["introduction"] == introduction
    parameters = (await client.get("/parameters")).body
    assert parameters["opening_statement"] == "Hello {{name}} ({{tier}}{{age}}), {{else}} <|x|>"
    again = {"inputs": {"name": "Bob"}, "conversation_id": reply.body["conversation_id"]}
    await client.ask("Hi", **again)
    assert (await only_conversation(client))["introduction"] == introduction


@pytest.mark.parametrize(
    ("inputs", "kept"),
    [
        ({}, ANN),
        (None, ANN),
        ({"name": "Bob"}, {**ANN, "name": "Bob"}),
        ({"name": "far too long", "tier": "gold"}, {**ANN, "tier": "gold"}),
        ({"name": "", "tier": "silver", "age": "x"}, ANN),
        ({"age": "3.5", "stray": 1}, {**ANN, "age": 3.5}),
    ],
)
async def test_a_later_turn_takes_the_inputs_that_are_valid(
    server: TestServer, inputs: dict[str, Any] | None, kept: dict[str, Any]
) -> None:
    client = await server.client(formal())
    first = (await client.ask("Hi", inputs={"name": "Ann"})).body
    second = await client.ask("Hi", inputs=inputs, conversation_id=first["conversation_id"])
    assert second.status == 200
    assert second.body["answer"] == f"{kept['name']}, {kept['tier']}, {kept['age']}, {{else}}"
    third = (await client.ask("Hi", conversation_id=first["conversation_id"])).body
    assert third["answer"] == second.body["answer"]
    assert (await only_conversation(client))["inputs"] == kept
    messages = await client.messages(first["conversation_id"])
    assert [message["inputs"] for message in messages] == [ANN, kept, kept]


async def test_an_old_conversation_keeps_its_prompt_model_and_form(server: TestServer) -> None:
    client = await server.client(formal(name="Pinned", pre_prompt="Old {{name}}"))
    old = (await client.ask("Hi", inputs={"name": "Ann"})).body
    await server.make_app(
        formal(
            name="Pinned",
            model=model("New: {system}", "priceless"),
            pre_prompt="New",
            user_input_form=[{"number": {"label": "N", "variable": "n", "required": True}}],
            opening_statement="Changed",
        )
    )
    again = (await client.ask("Hi", conversation_id=old["conversation_id"])).body
    assert (old["answer"], again["answer"]) == ("Old Ann", "Old Ann")
    assert again["metadata"]["usage"]["currency"] == "EUR"
    assert (await only_conversation(client))["introduction"].startswith("Hello Ann")
    reply = await client.ask("Hi")
    assert reply.body["message"] == "n is required in input form"
    reply = await client.ask("Hi", inputs={"n": 1})
    assert reply.body["answer"] == "New: New"
    parameters = (await client.get("/parameters")).body
    assert parameters["opening_statement"] == "Changed"
    assert list(parameters["user_input_form"][0]) == ["number"]


async def test_switches_are_always_the_current_ones(server: TestServer) -> None:
    file: dict[str, Any] = {"name": "Switched", "model": model("<think>hm</think>Yes")}
    client = await server.client(app_file(**file))
    old = (await client.ask("Hi")).body
    assert old["answer"] == "<think>hm</think>Yes"
    suggested = f"/messages/{old['id']}/suggested"
    assert (await client.get(suggested)).status == 400
    await server.make_app(
        app_file(
            **file,
            suggested_questions_after_answer={"enabled": True},
            kaiwa={"reasoning": "hide", "blocking": False},
        )
    )
    assert (await client.get(suggested)).status == 200
    in_it = {"conversation_id": old["conversation_id"]}
    assert (await client.ask("Hi", **in_it)).status == 400
    said, _ = await client.stream("Hi", **in_it)
    assert said.data["answer"] == "Yes"
    await server.make_app(app_file(**file, kaiwa={"api_enabled": False}))
    assert (await client.ask("Hi", **in_it)).status == 403


async def test_a_model_that_is_gone_gives_way_to_the_current_one(server: TestServer) -> None:
    gone = {
        "provider": "scripted",
        "name": "script",
        "completion_params": {
            "script": [
                {"when": "more", "steps": [{"fail": {"kind": "unknown_model"}}]},
                {"steps": [{"text": "Old"}]},
            ]
        },
    }
    client = await server.client(app_file(name="Replaced", model=gone, pre_prompt="Old prompt"))
    old = (await client.ask("Hi")).body
    in_it = {"conversation_id": old["conversation_id"]}
    assert (await client.ask("more", **in_it)).body["code"] == "model_currently_not_support"
    await server.make_app(app_file(name="Replaced", model=model("New: {system}")))
    assert (await client.ask("more", **in_it)).body["answer"] == "New: Old prompt"
    assert [frame.event for frame in await client.stream("more", **in_it)][-1] == "message_end"
