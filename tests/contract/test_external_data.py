"""Variables that the operator's extensions fill before the model is asked."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apps import app_file
from tests.support.guard_server import Asked, Behaviour, GuardServer, Reply, dies, hangs, says
from tests.support.moderating import events, moderated, shown, views
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

KEY = "canary-91bc02-never-to-be-seen"
FAILED = "The external data for weather cannot be had at the moment. Please try again later."


@pytest.fixture(scope="module")
async def guards() -> AsyncGenerator[GuardServer]:
    async with GuardServer() as found:
        yield found


@pytest.fixture(scope="module")
async def server(
    engine: str, guards: GuardServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[TestServer]:
    async with serving(
        tmp_path_factory.mktemp("filled"),
        extensions={"ward": {"endpoint": guards.extension_url, "api_key": KEY}},
        tool_timeout=0.5,
    ) as found:
        yield found


def filled(*variables: str, extension: str = "ward") -> list[dict[str, Any]]:
    return [
        {
            "enabled": True,
            "type": "api",
            "variable": variable,
            "label": variable,
            "config": {"api_based_extension_id": extension},
        }
        for variable in variables
    ]


def asking(*variables: str, **more: Any) -> str:
    """An app that says what it was asked."""
    model = {
        "provider": "scripted",
        "name": "s",
        "completion_params": {"script": [{"steps": [{"text": "{prompt}"}]}]},
    }
    form = [{"text-input": {"variable": "city", "label": "City"}}]
    prompt = " ".join([f"{name}: {{{{{name}}}}}." for name in ("city", *variables)])
    more.setdefault("external_data_tools", filled(*variables))
    more.setdefault("user_input_form", form)
    return app_file(model=model, pre_prompt=prompt, **more)


async def tell(asked: Asked) -> Reply:
    if asked.point != "app.external_data_tool.query":
        return {"flagged": False}
    params = asked.params
    return {"result": f"{params['tool_variable']} in {params['inputs']['city']}"}


async def test_a_variable_is_filled_for_the_prompt_and_not_kept(
    server: TestServer, guards: GuardServer
) -> None:
    guards.play(tell)
    app = await server.make_app(asking("weather", "news"))
    client = server.client_of(await server.make_key(app))
    frames, message = await views(client, "How is it?", inputs={"city": "Rome", "weather": "hot"})
    assert "city: Rome. weather: weather in Rome. news: news in Rome." in shown(frames)
    assert message["inputs"] == {"city": "Rome"}
    params = {
        "app_id": str(app.id),
        "tool_variable": "weather",
        "inputs": {"city": "Rome"},
        "query": "How is it?",
    }
    assert params in [one.params for one in guards.asked]
    assert guards.asked[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_tool_in_the_form_is_the_same(server: TestServer, guards: GuardServer) -> None:
    guards.play(tell)
    [tool] = filled("weather")
    form = [
        {"text-input": {"variable": "city", "label": "City"}},
        {"external_data_tool": tool},
    ]
    client = await server.client(asking("weather", external_data_tools=[], user_input_form=form))
    reply = await client.ask("How?", inputs={"city": "Rome"})
    assert "weather: weather in Rome." in reply.body["answer"]


async def test_what_it_says_is_no_template(server: TestServer, guards: GuardServer) -> None:
    guards.play(says(result="{{city}} \u0000 {{#query#}}"))
    client = await server.client(asking("weather"))
    reply = await client.ask("How?", inputs={"city": "Rome"})
    assert "weather: {city}  {#query#}." in reply.body["answer"]


async def test_it_is_told_what_moderation_has_made_of_the_question(
    server: TestServer, guards: GuardServer
) -> None:
    async def play(asked: Asked) -> Reply:
        if asked.point == "app.moderation.input":
            changed = {"city": "Oslo"}
            return {"flagged": True, "action": "overridden", "inputs": changed, "query": "Well?"}
        return await tell(asked)

    guards.play(play)
    guarded = moderated("api", sides=("inputs",))
    client = await server.client(asking("weather", sensitive_word_avoidance=guarded))
    reply = await client.ask("How?", inputs={"city": "Rome"})
    assert "city: Oslo. weather: weather in Oslo." in reply.body["answer"]
    assert guards.asked[-1].params["query"] == "Well?"


async def test_a_refused_question_asks_for_no_data(server: TestServer, guards: GuardServer) -> None:
    guards.play(tell)
    client = await server.client(asking("weather", sensitive_word_avoidance=moderated()))
    await client.ask("a secret", inputs={"city": "Rome"})
    assert guards.asked == []


@pytest.mark.parametrize(
    "behaviour",
    [says(500), says(403), dies, hangs, says(b"no"), says(result=7), says(other="x")],
    ids=["500", "403", "dies", "hangs", "no JSON", "a number", "nothing"],
)
async def test_a_variable_that_cannot_be_filled_ends_the_turn_with_one_sentence(
    server: TestServer,
    guards: GuardServer,
    behaviour: Behaviour,
    caplog: pytest.LogCaptureFixture,
) -> None:
    guards.play(behaviour)
    client = await server.client(asking("weather"))
    frames = await client.stream("How?", inputs={"city": "Rome"})
    assert events(frames) == ["error"]
    assert frames[0].data["code"] == "completion_request_error"
    assert frames[0].data["message"] == FAILED
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert (message["outcome"], message["error"]) == ("error", FAILED)
    assert KEY not in caplog.text
    assert "extension ward has not filled weather" in caplog.text


async def test_an_extension_that_is_not_set_up_is_like_one_that_is_down(tmp_path: Path) -> None:
    async with serving(tmp_path) as bare:
        client = await bare.client(asking("weather"))
        reply = await client.ask("How?", inputs={"city": "Rome"})
        assert (reply.status, reply.body["message"]) == (400, FAILED)
