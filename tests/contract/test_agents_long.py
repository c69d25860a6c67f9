"""Agents whose rounds grow too long for their model, and names that a model has made up."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_agents import agent
from tests.support import model_server as does
from tests.support.api_server import serving_api
from tests.support.client import Client, text_of
from tests.support.model_server import Behaviour, ModelServer
from tests.support.networked import serving_models
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

TOO_LONG = does.refuse(400, "prompt is too long: 9 tokens > 8 maximum")
Networked = tuple[TestServer, ModelServer]
MODEL: dict[str, Any] = {"provider": "openai", "name": "m", "completion_params": {}}


@pytest.fixture
async def networked(tmp_path: Path) -> AsyncGenerator[Networked]:
    async with serving_api() as api:
        tools = {"pets": {"kind": "openapi", "document": f"{api.url}/schema/openapi.json"}}
        async with serving_models(tmp_path, tools=tools) as both:
            yield both


def calling(name: str, **arguments: str) -> Behaviour:
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"index": 0, "id": "c1", "function": function}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}
    return does.raw(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")


async def note_taker(networked: Networked) -> tuple[Client, ModelServer]:
    server, models = networked
    note: dict[str, Any] = {
        "enabled": True,
        "provider_name": "pets",
        "provider_type": "api",
        "tool_name": "addNote",
        "tool_parameters": {},
    }
    return await agent(server, model=MODEL, tools=[note]), models


def results(models: ModelServer) -> list[str]:
    messages: list[dict[str, Any]] = models.requests[-1].body["messages"]
    return [message["content"] for message in messages if message["role"] == "tool"]


async def test_results_too_long_for_the_model_are_told_shorter(networked: Networked) -> None:
    client, models = await note_taker(networked)
    note = calling("addNote", text="x" * 8_000)
    models.play(note, TOO_LONG, TOO_LONG, does.speak("Noted"))
    frames = await client.stream("Note it")
    assert text_of(frames) == "Noted"
    assert frames[-1].event == "message_end"
    [told] = results(models)
    assert 1_900 < len(told) < 2_200
    assert told.endswith("… (shortened)")
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert len(message["agent_thoughts"][0]["observation"]) > 8_000, "what is shown stays whole"


async def test_what_cannot_get_any_shorter_ends_the_turn(networked: Networked) -> None:
    client, models = await note_taker(networked)
    models.play(calling("addNote", text="short"), TOO_LONG)
    frames = await client.stream("Note it")
    assert frames[-1].event == "error"
    assert frames[-1].data["message"].startswith("Query or prefix prompt is too long")
    assert len(models.requests) == 2
    models.play(calling("addNote", text="x" * 16_000), TOO_LONG)
    frames = await client.stream("Note it")
    assert frames[-1].event == "error"
    assert len(models.requests) == 7, "it is not asked for ever"


async def test_a_made_up_name_is_told_back_as_servers_take_it(networked: Networked) -> None:
    client, models = await note_taker(networked)
    models.play(calling("my tool/№1!", text="a"), does.speak("Sorry"))
    frames = await client.stream("Note it")
    assert text_of(frames) == "Sorry"
    messages = models.requests[-1].body["messages"]
    names = [c["function"]["name"] for m in messages for c in m.get("tool_calls", ())]
    assert names == ["my_tool_1"]
    assert results(models) == ["there is not a tool named my tool/№1!"]
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert message["agent_thoughts"][0]["tool"] == "my tool/№1!"
