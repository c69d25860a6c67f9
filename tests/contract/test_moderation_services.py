"""Services that know what must not be said: what they find, and what happens when they are away."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from kaiwa.domain.text import say
from tests.support.apps import agent_file, app_file, calls, says
from tests.support.client import Client, Frame
from tests.support.guard_server import (
    Asked,
    Behaviour,
    GuardServer,
    Reply,
    dies,
    flags,
    hangs,
)
from tests.support.guard_server import says as answers
from tests.support.moderating import NO, SORRY, events, moderated, shown, views
from tests.support.server import TestServer, serving
from tests.support.talking import scripted_app, settled, stop, take

pytestmark = pytest.mark.anyio

SECRET = "canary-77aa01-never-to-be-seen"
SERVICES = ("api", "openai_moderation")
LONG = "and so on " * 40
DOWN = "What was said cannot be checked at the moment. Please try again later."
FAULTS: dict[str, Behaviour] = {
    "refuses": answers(401),
    "breaks": answers(500),
    "dies": dies,
    "hangs": hangs,
    "answers no JSON": answers(b"{"),
    "answers no object": answers(b"[1]"),
    "answers nonsense": answers(flagged="perhaps", results=[{}]),
    "answers nothing": answers(results=[]),
    "answers too much": answers(b" " * 1_100_000 + b"{}"),
    "answers too deeply": answers(b"[" * 100_000),
}


@pytest.fixture(scope="module")
async def guards() -> AsyncGenerator[GuardServer]:
    async with GuardServer() as found:
        yield found


@pytest.fixture(scope="module")
async def server(
    engine: str, guards: GuardServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[TestServer]:
    """With an extension that exported apps call by an id, and OpenAI."""
    async with serving(
        tmp_path_factory.mktemp("guarded"),
        extensions={
            "Ward": {"endpoint": guards.extension_url, "api_key": SECRET, "aliases": ["0-1-2"]}
        },
        providers={"openai": {"kind": "openai", "base_url": guards.openai_url, "api_key": SECRET}},
        default_model="scripted/side",
        moderation_timeout=0.5,
    ) as found:
        yield found


def guarded_app(*steps: Any, kind: str = "api", **more: Any) -> str:
    guarded = more.pop("guarded", None) or moderated(kind)
    return app_file(*steps, sensitive_word_avoidance=guarded, **more)


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_flagged_question_gets_the_apps_preset(
    server: TestServer, guards: GuardServer, kind: str
) -> None:
    guards.play(flags("bomb"))
    client = await server.client(guarded_app(says("Fine."), kind=kind))
    frames, _ = await views(client, "a bomb")
    assert events(frames) == ["message", "message_end"]
    assert shown(frames) == NO
    assert frames[-1].data["metadata"]["usage"]["total_tokens"] == 0
    assert (await client.ask("a flower")).body["answer"] == "Fine."
    assert guards.asked[0].headers["authorization"] == f"Bearer {SECRET}"


async def test_an_extension_is_asked_as_the_protocol_says(
    server: TestServer, guards: GuardServer
) -> None:
    guards.play(flags())
    form = [{"paragraph": {"variable": "about", "label": "A"}}]
    app = await server.make_app(guarded_app(says("Fine."), user_input_form=form))
    client = server.client_of(await server.make_key(app))
    await client.ask("Hello", inputs={"about": "me"})
    asked = [(one.point, one.params) for one in guards.asked]
    inputs = {"app_id": str(app.id), "inputs": {"about": "me"}, "query": "Hello"}
    assert asked == [
        ("app.moderation.input", inputs),
        ("app.moderation.output", {"app_id": str(app.id), "text": "Fine."}),
    ]


async def test_an_extension_is_found_by_its_alias(server: TestServer, guards: GuardServer) -> None:
    guards.play(flags("bomb"))
    guarded = moderated("api")
    guarded["config"]["api_based_extension_id"] = "0-1-2"
    client = await server.client(guarded_app(says("Fine."), guarded=guarded))
    assert (await client.ask("a bomb")).body["answer"] == NO


@pytest.mark.parametrize(
    ("preset", "ours", "shown_then"),
    [("Not here.", True, "Not here."), ("", True, NO), ("", False, say("refused", "en"))],
)
async def test_the_services_preset_comes_before_the_apps_and_ours_is_the_last(
    server: TestServer, guards: GuardServer, preset: str, ours: bool, shown_then: str
) -> None:
    guards.play(flags("bomb", action="direct_output", preset_response=preset))
    client = await server.client(guarded_app(guarded=moderated("api", presets=ours)))
    assert (await client.ask("a bomb")).body["answer"] == shown_then


async def test_an_overridden_question_goes_to_the_model_and_what_was_sent_is_kept(
    server: TestServer, guards: GuardServer
) -> None:
    async def hide(asked: Asked) -> Reply:
        if asked.point == "app.moderation.output":
            return {"flagged": False}
        changed = {"name": "[name]", "unknown": "x"}
        return {"flagged": True, "action": "overridden", "inputs": changed, "query": "I am [name]"}

    guards.play(hide)
    form = [{"text-input": {"variable": "name", "label": "Name"}}]
    client = await server.client(
        guarded_app({"text": "{prompt}"}, pre_prompt="{{name}} asks.", user_input_form=form)
    )
    frames, message = await views(client, "I am Ann", inputs={"name": "Ann"})
    assert "[name] asks." in shown(frames)
    assert "I am [name]" in shown(frames)
    assert "Ann" not in shown(frames)
    assert (message["query"], message["inputs"]) == ("I am Ann", {"name": "Ann"})


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_flagged_answer_is_taken_back_while_it_is_said(
    server: TestServer, guards: GuardServer, kind: str
) -> None:
    guards.play(flags("bomb"))
    client = await server.client(
        guarded_app(says(text=f"A bomb. {LONG}"), {"hang": True}, kind=kind)
    )
    frames, _ = await views(client, "Hello")
    assert events(frames)[0] == "message"
    assert events(frames)[-2:] == ["message_replace", "message_end"]
    assert shown(frames) == SORRY
    assert frames[-1].data["metadata"]["usage"]["completion_tokens"] > 50


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_short_answer_is_checked_before_its_end(
    server: TestServer, guards: GuardServer, kind: str
) -> None:
    guards.play(flags("bomb"))
    client = await server.client(guarded_app(says("A ", "bomb"), kind=kind))
    frames, _ = await views(client, "Hello")
    assert events(frames) == ["message", "message", "message_replace", "message_end"]
    assert shown(frames) == SORRY


@pytest.mark.parametrize("kind", SERVICES)
async def test_an_answer_in_which_nothing_is_found_is_as_without_a_service(
    server: TestServer, guards: GuardServer, kind: str
) -> None:
    guards.play(flags("bomb"))
    client = await server.client(guarded_app(says(text=LONG), kind=kind))
    frames, _ = await views(client, "Hello")
    assert set(events(frames)) == {"message", "message_end"}
    assert shown(frames) == LONG


async def mask(asked: Asked) -> Reply:
    """As a service that hides a name."""
    if "text" not in asked.params or "Ann" not in asked.params["text"]:
        return {"flagged": False}
    text = asked.params["text"].replace("Ann", "***")
    return {"flagged": True, "action": "overridden", "text": text}


async def test_a_corrected_answer_goes_on(server: TestServer, guards: GuardServer) -> None:
    guards.play(mask)
    client = await server.client(
        guarded_app(says(text=f"Ann, {LONG}"), {"silence": 0.1}, says("and Ann", "!"))
    )
    frames, _ = await views(client, "Hello")
    assert shown(frames) == f"***, {LONG}and ***!"
    assert events(frames).count("message_replace") == 2
    assert events(frames)[-3:] == ["message", "message_replace", "message_end"]


async def test_a_corrected_round_of_an_agent_shows_no_thought_of_it(
    server: TestServer, guards: GuardServer
) -> None:
    guards.play(mask)
    client = await server.client(
        agent_file(
            [says(text=f"Ann, {LONG}"), {"silence": 0.2}, calls("current_time")],
            [says("Done.")],
            tools=["time/current_time"],
            sensitive_word_avoidance=moderated("api"),
        )
    )
    frames = await client.stream("Hello")
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert message["answer"] == f"***, {LONG}\nDone."
    assert shown(frames) == f"***, {LONG}Done."
    assert {one["thought"] for one in message["agent_thoughts"]} == {""}
    assert message["agent_thoughts"][0]["observation"] != ""


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_question_that_cannot_be_checked_is_not_answered(
    server: TestServer, guards: GuardServer, kind: str, fault: str
) -> None:
    guards.play(FAULTS[fault])
    client = await server.client(guarded_app(says("Fine."), kind=kind))
    frames = await client.stream("Hello")
    assert events(frames) == ["error"]
    error = frames[0].data
    assert (error["code"], error["status"]) == ("completion_request_error", 400)
    assert error["message"] == DOWN
    [message] = await client.messages(error["conversation_id"])
    assert (message["status"], message["answer"], message["error"]) == ("error", "", DOWN)


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("fault", ["breaks", "hangs", "dies"])
async def test_an_answer_that_cannot_be_checked_is_not_left_there(
    server: TestServer, guards: GuardServer, kind: str, fault: str
) -> None:
    guards.play(FAULTS[fault])
    client = await server.client(
        guarded_app(says("Fine."), guarded=moderated(kind, sides=("outputs",)))
    )
    frames, _ = await views(client, "Hello")
    assert events(frames) == ["message", "message_replace", "message_end"]
    assert shown(frames) == SORRY


@pytest.mark.parametrize("kind", SERVICES)
async def test_an_open_app_goes_on_unchecked(
    server: TestServer, guards: GuardServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    guards.play(answers(500))
    client = await server.client(
        guarded_app(says(text=LONG), kind=kind, kaiwa={"moderation_down": "open"})
    )
    frames, message = await views(client, "Hello")
    assert shown(frames) == LONG
    assert f"message {message['id']} goes on unchecked" in caplog.text


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_service_that_is_not_set_up_is_like_one_that_is_down(
    tmp_path: Path, kind: str
) -> None:
    async with serving(tmp_path) as bare:
        client = await bare.client(guarded_app(says("Fine."), kind=kind))
        reply = await client.ask("Hello")
        assert (reply.status, reply.body["message"]) == (400, DOWN)
        open_ = await bare.client(
            guarded_app(says("Fine."), kind=kind, kaiwa={"moderation_down": "open"})
        )
        assert (await open_.ask("Hello")).body["answer"] == "Fine."


async def test_the_text_waits_for_no_slow_service(tmp_path: Path) -> None:
    may_answer = asyncio.Event()

    async def slow(asked: Asked) -> Reply:
        if "text" in asked.params:
            await may_answer.wait()
        return {"flagged": False}

    async with GuardServer() as guards:
        guards.play(slow)
        entry = {"endpoint": guards.extension_url}
        async with serving(tmp_path, extensions={"ward": entry}) as server:
            client = await server.client(guarded_app(says(LONG, LONG, LONG)))
            async with client.streaming("Hello") as stream:
                frames = await take(stream, 3)
                assert shown(frames) == LONG * 3
                may_answer.set()
                frames += await stream.rest()
            assert events(frames)[3:] == ["message_end"]


async def test_a_stopped_answer_is_checked_to_its_end(
    server: TestServer, guards: GuardServer
) -> None:
    guards.play(flags("bomb"))
    client = await server.client(guarded_app(says("a ", "bomb"), {"hang": True}))
    async with client.streaming("Hello") as stream:
        frames = await take(stream, 2)
        await stop(client, frames[0])
        frames += await stream.rest()
    assert events(frames)[2:] == ["message_replace", "message_end"]
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert (message["answer"], message["outcome"]) == (SORRY, "stopped")


async def test_an_answer_that_nobody_hears_any_more_is_checked_too(
    server: TestServer, guards: GuardServer
) -> None:
    guards.play(flags("bomb"))
    client = await server.client(guarded_app(says("a "), {"silence": 0.1}, says("bomb")))
    async with client.streaming("Hello") as stream:
        [frame] = await take(stream, 1)
    [message] = await settled(client, frame.data["conversation_id"])
    assert (message["answer"], message["outcome"]) == (SORRY, "normal")


async def test_a_question_can_be_stopped_while_it_is_checked(
    server: TestServer, guards: GuardServer
) -> None:
    guards.play(hangs)
    client = await server.client(guarded_app(says("Fine.")))
    task_id = ""
    async with client.streaming("Hello") as stream:
        task_id = stream.response.headers["x-task-id"]
        await client.post(f"/chat-messages/{task_id}/stop")
        frames = await stream.rest()
    assert events(frames) == ["message_end"]


async def test_no_key_is_in_any_answer_or_log(
    server: TestServer, guards: GuardServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for kind in SERVICES:
        client: Client = await server.client(guarded_app(says("Fine."), kind=kind))
        for behaviour in FAULTS.values():
            guards.play(behaviour)
            frames: list[Frame] = await client.stream("Hello")
            assert SECRET not in "".join(frame.raw for frame in frames)
        reply = await client.get("/parameters")
        assert SECRET not in str(reply.body)
    assert SECRET not in caplog.text


async def test_many_answers_are_checked_at_once(server: TestServer, guards: GuardServer) -> None:
    guards.play(flags("bomb"))
    client = await server.client(
        scripted_app(
            {"when": "bad", "steps": [says(text=f"bomb {LONG}", pace=0.001)]},
            {"steps": [says(text=LONG, pace=0.001)]},
            sensitive_word_avoidance=moderated("api"),
        )
    )
    found: dict[int, str] = {}

    async def ask(number: int) -> None:
        frames = await client.stream("bad" if number % 2 else "good")
        found[number] = shown(frames)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(ask, number)
    assert found == {number: SORRY if number % 2 else LONG for number in range(10)}
