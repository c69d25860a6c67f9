"""What the model is asked: prompt, history, parameters; and what is asked again, and of whom."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support import model_server as does
from tests.support.apps import app_file
from tests.support.client import Client, text_of
from tests.support.model_server import ModelServer
from tests.support.networked import WIRES, networked_app, serving_models
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

Networked = tuple[TestServer, ModelServer]
FORM = [{"text-input": {"label": "City", "variable": "city"}}]
TOO_LONG = does.refuse(400, "prompt is too long: 9 tokens > 8 maximum")


@pytest.fixture(scope="module")
async def networked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Networked]:
    async with serving_models(
        tmp_path_factory.mktemp("prompts"), context_sizes={"openai/small": 200}
    ) as found:
        yield found


def roles(models: ModelServer) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in models.requests[-1].body["messages"]]


async def talk(client: Client, *queries: str, **body: Any) -> str:
    """The id of a new conversation in which these were asked and answered."""
    conversation_id = ""
    for query in queries:
        reply = await client.ask(query, conversation_id=conversation_id, **body)
        assert reply.status == 200, reply.body
        conversation_id = reply.body["conversation_id"]
    return conversation_id


async def test_a_simple_prompt_is_system_history_question(networked: Networked) -> None:
    server, models = networked
    models.play(does.speak("Good day"), does.speak("Fine"))
    app = networked_app(
        pre_prompt="You know {{city}} and {{what}}.",
        opening_statement="Welcome to {{city}}!",
        user_input_form=FORM,
    )
    client = await server.client(app)
    await talk(client, "Hello", "How is it?", inputs={"city": "{{query}} <|x|>東京"})
    assert roles(models) == [
        ("system", "You know {query} 東京 and {what}."),
        ("user", "Hello"),
        ("assistant", "Good day"),
        ("user", "How is it?"),
    ]


async def test_an_advanced_prompt_stands_before_the_history(networked: Networked) -> None:
    server, models = networked
    models.play(does.speak("Good day"))
    prompt = [
        {"role": "system", "text": "In {{city}}. {{#context#}}"},
        {"role": "user", "text": "An example"},
        {"role": "assistant", "text": "Its answer"},
        {"role": "system", "text": ""},
    ]
    app = networked_app(
        prompt_type="advanced", chat_prompt_config={"prompt": prompt}, user_input_form=FORM
    )
    await talk(await server.client(app), "Hello", "And?", inputs={"city": "Oslo"})
    assert roles(models) == [
        ("system", "In Oslo. "),
        ("user", "An example"),
        ("assistant", "Its answer"),
        ("user", "Hello"),
        ("assistant", "Good day"),
        ("user", "And?"),
    ]


async def test_a_completion_model_gets_one_text(networked: Networked) -> None:
    server, models = networked
    models.play(does.speak("Good day"))
    app = networked_app(mode="completion", pre_prompt="Be kind.", params={"stop": ["END"]})
    await talk(await server.client(app), "Hello", "And?")
    request = models.requests[-1]
    assert request.path == "/v1/completions"
    assert request.body["prompt"] == (
        "Be kind.\n\nHere is the chat histories between human and assistant, inside "
        "<histories></histories> XML tags.\n\n<histories>\nHuman: Hello\nAssistant: Good day\n"
        "</histories>\n\n\n\nHuman: And?\n\nAssistant: "
    )
    assert request.body["stop"] == ["END", "\nHuman:", "</histories>"]


async def test_parameters_stops_and_a_user_of_no_name_are_sent(networked: Networked) -> None:
    server, models = networked
    params = {"temperature": 0.3, "max_tokens": 100, "stop": ["END", "STOP"], "top_p": 0}
    client = await server.client(networked_app(params=params), user="ann@example.org")
    await talk(client, "Hello")
    await talk(client, "Hello")
    first, second = (request.body for request in models.requests[-2:])
    assert (first["temperature"], first["max_tokens"], first["top_p"]) == (0.3, 100, 0)
    assert first["stop"] == ["END", "STOP"]
    assert first["stream"] is True
    assert UUID(first["user"])
    assert "ann" not in str(first)
    assert first["user"] == second["user"]
    await talk(client.as_user("eve"), "Hello")
    assert models.requests[-1].body["user"] != first["user"]


async def test_max_tokens_are_lowered_to_what_the_prompt_leaves(networked: Networked) -> None:
    server, models = networked
    params = {"max_tokens": 150}
    client = await server.client(networked_app(model="small", params=params))
    long = "word " * 20
    models.play(does.speak(long))
    await talk(client, long, long, long)
    body = models.requests[-1].body
    assert 16 <= body["max_tokens"] <= 150
    assert roles(models)[-1] == ("user", long)


async def test_a_prompt_that_leaves_no_room_is_refused_without_asking(
    networked: Networked,
) -> None:
    server, models = networked
    asked = len(models.requests)
    client = await server.client(networked_app(model="small", params={"max_tokens": 150}))
    [error] = await client.stream("word " * 500)
    assert error.data["code"] == "completion_request_error"
    assert error.data["message"].startswith("Query or prefix prompt is too long")
    assert len(models.requests) == asked


@pytest.mark.parametrize("provider", WIRES)
async def test_a_prompt_found_too_long_is_asked_once_more_with_half_the_history(
    networked: Networked, provider: str
) -> None:
    server, models = networked
    models.play(does.speak("Good day"))
    client = await server.client(networked_app(provider))
    conversation_id = await talk(client, "one", "two", "three", "four")
    asked = len(models.requests)
    models.play(TOO_LONG, does.speak("Shorter"))
    frames = await client.stream("five", conversation_id=conversation_id)
    assert text_of(frames) == "Shorter"
    assert len(models.requests) - asked == 2
    assert [content for role, content in roles(models) if role == "user"] == [
        "three",
        "four",
        "five",
    ]
    models.play(TOO_LONG)
    frames = await client.stream("six", conversation_id=conversation_id)
    assert [frame.event for frame in frames] == ["error"]
    assert frames[0].data["code"] == "completion_request_error"
    assert len(models.requests) - asked == 4


async def test_a_pinned_model_that_vanished_gives_way_to_the_current_one(
    networked: Networked,
) -> None:
    server, models = networked
    models.play(does.speak("from the old one"))
    key = await server.make_key(
        await server.make_app(networked_app(model="old", name="Pinned", pre_prompt="Be old."))
    )
    client = server.client_of(key)
    conversation_id = await talk(client, "Hello")
    await server.make_app(networked_app(model="new", name="Pinned", pre_prompt="Be new."))
    await client.ask("Hello", conversation_id=conversation_id)
    assert models.requests[-1].body["model"] == "old"
    models.play(does.refuse(404, "no such model"), does.speak("from the new one"))
    reply = await client.ask("And now?", conversation_id=conversation_id)
    assert reply.body["answer"] == "from the new one"
    assert [request.body["model"] for request in models.requests[-2:]] == ["old", "new"]
    assert roles(models)[0] == ("system", "Be old.")
    usage = reply.body["metadata"]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 3)


async def test_a_provider_that_vanished_gives_way_to_the_current_one(tmp_path: Path) -> None:
    def app(provider: str) -> str:
        model: dict[str, Any] = {"provider": provider, "name": "m", "completion_params": {}}
        return app_file(name="Pinned", model=model)

    two: dict[str, Any] = {name: {"kind": "scripted"} for name in ("going", "staying")}
    settings: dict[str, Any] = {"default_model": "quoting/quoting"}
    async with serving(tmp_path, providers=two, **settings) as server:
        key = await server.make_key(await server.make_app(app("going")))
        conversation_id = await talk(server.client_of(key), "Hello")
    del two["going"]
    async with serving(tmp_path, providers=two, **settings) as server:
        client = server.client_of(key)
        reply = await client.ask("Hello", conversation_id=conversation_id)
        assert (reply.status, reply.body["code"]) == (400, "provider_not_initialize")
        await server.make_app(app("staying"))
        reply = await client.ask("Hello", conversation_id=conversation_id)
        assert reply.body["answer"] == "You said: Hello"
