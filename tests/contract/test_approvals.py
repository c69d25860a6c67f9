"""Calls that need the end user's yes: the turn ends, and goes on as they decide."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.apps import agent_file, calls, says
from tests.support.client import Client, Frame, Stream, text_of
from tests.support.model_server import refuse, speak
from tests.support.moderating import SORRY, events, moderated, shown
from tests.support.networked import serving_models
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

CALCULATOR, CLOCK = "maths/eval_expression", "time/current_time"
SUM = ("eval_expression", '{"expression": "6 * 7"}')
ASKS: dict[str, Any] = {"kaiwa": {"approve": ["eval_expression"]}, "tools": [CALCULATOR, CLOCK]}
USAGE = {"usage": {"prompt": 10, "completion": 5}}
ROUNDS = ([says("Hm. "), calls(*SUM), USAGE], [{"text": "Heard: {observations}"}, USAGE])


@asynccontextmanager
async def deciding(client: Client, message_id: str, decision: str) -> AsyncGenerator[Stream]:
    async with client.session.post(
        f"{client.base}/messages/{message_id}/approvals",
        json={"user": client.user, "decision": decision},
        headers=client.headers,
    ) as response:
        assert response.status == 200, await response.text()
        yield Stream(response)


async def decide(client: Client, message_id: str, decision: str = "approve") -> list[Frame]:
    async with deciding(client, message_id, decision) as stream:
        return await stream.rest()


async def refused(client: Client, message_id: str, **body: Any) -> tuple[int, str, str]:
    reply = await client.post(f"/messages/{message_id}/approvals", **body)
    return reply.status, reply.body["code"], reply.body["message"]


async def ask(client: Client, conversation_id: str = "") -> list[Frame]:
    return await client.stream("6 * 7?", conversation_id=conversation_id)


async def kept(client: Client, frames: list[Frame]) -> dict[str, Any]:
    return (await client.messages(frames[0].data["conversation_id"]))[-1]


async def test_a_call_that_needs_a_yes_ends_the_turn(server: TestServer) -> None:
    client = await server.client(agent_file(*ROUNDS, **ASKS))
    frames = await ask(client)
    assert [frame.event for frame in frames][-2:] == ["agent_thought", "message_end"]
    waiting = frames[-2].data
    assert (waiting["tool"], waiting["observation"]) == ("eval_expression", "")
    message = await kept(client, frames)
    assert (message["status"], message["outcome"], message["answer"]) == ("normal",) * 2 + ("Hm. ",)
    [thought] = message["agent_thoughts"]
    assert json.loads(thought["tool_input"]) == {"eval_expression": {"expression": "6 * 7"}}
    assert thought["observation"] == ""


async def test_an_approved_call_runs_and_the_answer_goes_on(server: TestServer) -> None:
    client = await server.client(agent_file(*ROUNDS, **ASKS))
    first = await ask(client)
    message_id = first[-1].data["message_id"]
    frames = await decide(client, message_id)
    assert [frame.event for frame in frames] == [
        "agent_thought",
        "agent_thought",
        *["agent_message"] * 2,
        "agent_thought",
        "message_end",
    ]
    assert {frame.data["message_id"] for frame in frames} == {message_id}
    assert frames[0].data["task_id"] != first[0].data["task_id"]
    assert json.loads(frames[0].data["observation"]) == {"eval_expression": "42"}
    assert frames[0].data["id"] == first[0].data["id"]
    assert text_of(frames) == "Heard: 42"
    message = await kept(client, frames)
    assert message["answer"] == "Hm. \nHeard: 42"
    assert [one["position"] for one in message["agent_thoughts"]] == [1, 2]
    usage = frames[-1].data["metadata"]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (20, 10)


async def test_a_declined_call_does_not_run(server: TestServer) -> None:
    both = calls(*SUM, ("current_time", '{"timezone": "UTC"}'))
    client = await server.client(agent_file(both, {"text": "{observations}"}, **ASKS))
    message_id = (await ask(client))[-1].data["message_id"]
    frames = await decide(client, message_id, "decline")
    told, time = text_of(frames).splitlines()[:2]
    assert told == "the user has declined this call"
    assert "20" in time


async def test_it_can_be_decided_once_and_by_its_end_user(server: TestServer) -> None:
    client = await server.client(agent_file(*ROUNDS, **ASKS))
    message_id = (await ask(client))[-1].data["message_id"]
    bob = client.as_user("bob")
    assert (await refused(bob, message_id, decision="approve"))[:2] == (404, "not_found")
    for wrong in ({}, {"decision": "yes"}, {"decision": None}):
        assert (await refused(client, message_id, **wrong))[:2] == (400, "invalid_param")
    await decide(client, message_id)
    status, code, sentence = await refused(client, message_id, decision="approve")
    assert (status, code) == (400, "invalid_param")
    assert sentence == "Nothing in this message waits for an approval."


async def test_of_several_decisions_at_once_one_counts(server: TestServer) -> None:
    client = await server.client(agent_file(*ROUNDS, **ASKS))
    message_id = (await ask(client))[-1].data["message_id"]
    statuses: list[int] = []

    async def post() -> None:
        async with client.session.post(
            f"{client.base}/messages/{message_id}/approvals",
            json={"user": client.user, "decision": "approve"},
            headers=client.headers,
        ) as response:
            body = await response.read()
            statuses.append(200 if b"message_end" in body else 400)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(post)
    assert sorted(statuses) == [200, 400, 400, 400, 400]
    [message] = await client.messages((await client.get("/conversations")).body["data"][0]["id"])
    assert message["answer"] == "Hm. \nHeard: 42"


async def test_a_conversation_that_has_gone_on_cannot_go_back(server: TestServer) -> None:
    client = await server.client(agent_file(*ROUNDS, **ASKS))
    first = (await ask(client))[-1].data
    await ask(client, first["conversation_id"])
    status, code, sentence = await refused(client, first["message_id"], decision="approve")
    assert (status, code) == (400, "invalid_param")
    assert "has gone on" in sentence


async def test_a_call_waits_over_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        client = await server.client(agent_file(*ROUNDS, **ASKS))
        message_id = (await ask(client))[-1].data["message_id"]
        key = client.key
    async with serving(tmp_path) as server:
        frames = await decide(server.client_of(key), message_id)
        assert text_of(frames) == "Heard: 42"


async def test_a_model_that_turns_out_to_call_in_words_is_told_in_words(tmp_path: Path) -> None:
    refusal = refuse(400, "m does not support tools")
    action = 'Action: {"action": "eval_expression", "action_input": {"expression": "6 * 7"}}'
    async with serving_models(tmp_path) as (server, models):
        models.play(refusal, speak(action), speak("Final Answer: It is 42."))
        model = {"provider": "openai", "name": "m"}
        client = await server.client(agent_file(model=model, **ASKS))
        first = await client.stream("6 * 7?", auto_generate_name=False)
        frames = await decide(client, first[-1].data["message_id"])
        assert text_of(frames).strip() == "It is 42."
        told = models.requests[-1].body["messages"]
        assert {message["role"] for message in told} == {"system", "user", "assistant"}
        assert "Observation: 42" in told[-1]["content"]


async def test_what_is_said_after_a_yes_is_moderated_too(server: TestServer) -> None:
    guard = moderated(sides=("outputs",))
    rounds = ([says("Hm. "), calls(*SUM)], says("The sec", "ret is 42."))
    client = await server.client(agent_file(*rounds, sensitive_word_avoidance=guard, **ASKS))
    first = await ask(client)
    assert text_of(first) == "Hm. "
    frames = await decide(client, first[-1].data["message_id"])
    assert "secret" not in "".join(frame.raw for frame in frames)
    assert events(frames).count("message_replace") == 1
    assert frames[-1].event == "message_end"
    message = await kept(client, first)
    assert message["answer"] == shown(frames) == SORRY
