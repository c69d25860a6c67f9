"""An agent thinks, calls tools and answers: on the stream, in the list, and as a whole."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.support.apps import agent_file, calls, fails, says
from tests.support.client import Client, Frame, text_of
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

COMMON = ["event", "conversation_id", "message_id", "created_at", "task_id"]
THOUGHT = ["id", "position", "thought", "observation", "tool", "tool_labels", "tool_input"]
CALCULATOR = "maths/eval_expression"
SUM = ("eval_expression", '{"expression": "6 * 7"}')
USAGE = {"usage": {"prompt": 10, "completion": 5}}


async def agent(server: TestServer, *rounds: Any, **more: Any) -> Client:
    more.setdefault("tools", [CALCULATOR])
    return await server.client(agent_file(*rounds, **more))


def events(frames: list[Frame]) -> list[str]:
    """Their names, repetitions once."""
    return [event for event, _ in groupby(frame.event for frame in frames)]


def thoughts(frames: list[Frame]) -> list[dict[str, Any]]:
    return [frame.data for frame in frames if frame.event == "agent_thought"]


async def kept(client: Client, frames: list[Frame]) -> dict[str, Any]:
    [message] = await client.messages(frames[0].data["conversation_id"])
    return message


async def test_an_agent_calls_a_tool_and_goes_on(server: TestServer) -> None:
    client = await agent(server, [says("Let me", " see. "), calls(*SUM)], says("It is", " 42."))
    frames = await client.stream("What is 6 times 7?")
    assert events(frames) == [
        "agent_thought",
        "agent_message",
        "agent_thought",
        "agent_message",
        "agent_thought",
        "message_end",
    ]
    begun, called, seen, again, last = thoughts(frames)
    assert list(begun) == [*COMMON, *THOUGHT, "message_files"]
    assert {one["id"] for one in (begun, called, seen)} == {begun["id"]}
    assert [one["position"] for one in (begun, called, seen, again, last)] == [1, 1, 1, 2, 2]
    empty: dict[str, Any] = {
        "thought": "",
        "tool": "",
        "tool_input": "",
        "observation": "",
        "tool_labels": {},
    }
    assert begun == begun | empty
    assert again == again | empty
    assert called["thought"] == "Let me see. "
    assert called["tool"] == "eval_expression"
    assert json.loads(called["tool_input"]) == {"eval_expression": {"expression": "6 * 7"}}
    assert called["observation"] == ""
    assert called["tool_labels"]["eval_expression"]["en_US"]
    assert json.loads(seen["observation"]) == {"eval_expression": "42"}
    assert last["thought"] == "It is 42."
    assert text_of(frames) == "Let me see. It is 42."
    message = await kept(client, frames)
    assert message["answer"] == "Let me see. \nIt is 42."
    assert message["status"] == "normal"


async def test_what_was_thought_is_listed_as_it_was_told(server: TestServer) -> None:
    client = await agent(server, calls(*SUM), says("42"))
    frames = await client.stream("6 * 7?")
    told = {one["position"]: one for one in thoughts(frames)}
    message = await kept(client, frames)
    listed = message["agent_thoughts"]
    assert [one["position"] for one in listed] == [1, 2]
    for one in listed:
        same = told[one["position"]]
        assert one == one | {name: same[name] for name in (*THOUGHT, "message_files")}
        assert (one["chain_id"], one["message_id"]) == (None, message["id"])
        assert one["files"] == one["message_files"] == []
        assert isinstance(one["created_at"], int)


async def test_usage_is_the_sum_of_the_rounds(server: TestServer) -> None:
    client = await agent(server, [calls(*SUM), USAGE], [says("42"), USAGE])
    usage = (await client.stream("6 * 7?"))[-1].data["metadata"]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (20, 10)
    assert usage["total_tokens"] == 30
    assert (usage["prompt_price"], usage["total_price"]) == ("0.0000100", "0.0000250")


async def test_calls_made_at_once_are_answered_in_order(server: TestServer) -> None:
    more = ("eval_expression", '{"expression": "1 + 1"}'), ("current_time", "{}")
    client = await agent(
        server,
        calls(*SUM, *more),
        {"text": "{observations}"},
        tools=[CALCULATOR, "time/current_time"],
    )
    frames = await client.stream("Both?")
    seen = thoughts(frames)[2]
    assert seen["tool"] == "eval_expression;eval_expression;current_time"
    given, came = json.loads(seen["tool_input"]), json.loads(seen["observation"])
    assert given["eval_expression"] == [{"expression": "6 * 7"}, {"expression": "1 + 1"}]
    assert (given["current_time"], came["eval_expression"]) == ({}, "42\n\n2")
    assert set(came) == {"eval_expression", "current_time"}
    first, second, *_ = text_of(frames).splitlines()
    assert (first, second) == ("42", "2")


@pytest.mark.parametrize(
    ("call", "observation"),
    [
        (("nothing", "{}"), "there is not a tool named nothing"),
        (("eval_expression", "{"), "tool invoke error: The arguments are not valid JSON"),
        (("eval_expression", "[]"), "tool invoke error: The arguments must be a JSON object."),
        (("eval_expression", "{}"), "tool invoke error: The arguments are wrong"),
        (("eval_expression", '{"expression": 7}'), "tool invoke error: The arguments are wrong"),
        (("eval_expression", '{"expression": "1 / 0"}'), "tool invoke error: "),
        (("eval_expression", '{"expression": "9**9**9**9"}'), "tool invoke error: "),
    ],
)
async def test_what_goes_wrong_in_a_call_is_told_to_the_model(
    server: TestServer, call: tuple[str, str], observation: str
) -> None:
    client = await agent(server, calls(*call), {"text": "Heard: {observations}"})
    frames = await client.stream("Go on")
    seen = json.loads(thoughts(frames)[2]["observation"])[call[0]]
    assert seen.startswith(observation)
    assert text_of(frames) == f"Heard: {seen}"
    assert frames[-1].event == "message_end"


async def test_a_model_that_calls_for_ever_has_to_answer(server: TestServer) -> None:
    rounds = [calls(*SUM)] * 2
    client = await agent(server, *rounds, {"text": "[{tools}]"}, agent_mode={"max_iteration": 2})
    frames = await client.stream("Again and again")
    assert text_of(frames) == "[]"
    assert [one["position"] for one in thoughts(frames)][-1] == 3
    stubborn = await agent(server, *[calls(*SUM)] * 9, agent_mode={"max_iteration": 1})
    frames = await stubborn.stream("Again and again")
    assert frames[-1].event == "message_end"
    assert (await kept(stubborn, frames))["agent_thoughts"][-1]["tool"] == ""


async def test_a_model_that_fails_in_a_later_round_leaves_what_was_thought(
    server: TestServer,
) -> None:
    client = await agent(server, [says("Hm. "), calls(*SUM)], fails())
    frames = await client.stream("6 * 7?")
    assert frames[-1].event == "error"
    message = await kept(client, frames)
    assert (message["status"], message["answer"]) == ("error", "Hm. ")
    assert json.loads(message["agent_thoughts"][0]["observation"]) == {"eval_expression": "42"}


async def test_an_agent_answers_as_a_whole_only_where_it_may(server: TestServer) -> None:
    client = await agent(server, says("Hi"))
    for mode in ({}, {"response_mode": "blocking"}):
        reply = await client.ask("Hello", **mode)
        assert (reply.status, reply.body["code"]) == (400, "invalid_param")
        assert reply.body["message"] == "Agent Chat App does not support blocking mode"
    client = await agent(server, calls(*SUM), says("42"), kaiwa={"blocking": True})
    reply = await client.ask("6 * 7?")
    assert (reply.status, reply.body["answer"], reply.body["mode"]) == (200, "42", "agent-chat")


async def test_an_agent_is_one_in_everything_it_says_of_itself(server: TestServer) -> None:
    client = await agent(server, says("Hi"))
    assert (await client.get("/info")).body["mode"] == "agent-chat"
    icons = (await client.get("/meta")).body["tool_icons"]
    assert set(icons["eval_expression"]) == {"background", "content"}


async def test_a_chat_app_with_an_agent_switched_on_is_an_agent(server: TestServer) -> None:
    file = agent_file(says("Hi")).replace("mode: agent-chat", "mode: chat")
    client = await server.client(file)
    assert events(await client.stream("Hello")) == [
        "agent_thought",
        "agent_message",
        "agent_thought",
        "message_end",
    ]


async def test_earlier_answers_are_told_again(server: TestServer) -> None:
    client = await agent(server, calls(*SUM), {"text": "{history} before"})
    [*_, end] = frames = await client.stream("6 * 7?")
    conversation = end.data["conversation_id"]
    assert text_of(frames) == "0 before"
    frames = await client.stream("And?", conversation_id=conversation)
    assert text_of(frames) == "1 before"


REACT = {
    "provider": "wordy",
    "name": "script",
    "completion_params": {
        "script": [
            {
                "when": "6 * 7",
                "steps": [
                    {"pieces": ["Thought: I have", " to calculate.\nAct", "ion:\n```json\n"]},
                    {"pieces": ['{"action": "eval_expression", "action_in', 'put": "6 * 7"}\n```']},
                    {"pieces": ["\nObservation: 41"]},
                ],
            },
            {
                "when": "Observation: 42",
                "steps": [
                    {"pieces": ["Thought: I know.\nAction:\n", '{"action": "Final Answer", ']},
                    {"pieces": ['"action_input": "It is ', '42."}']},
                ],
            },
        ]
    },
}


async def test_a_model_that_cannot_call_tools_calls_them_in_words(
    tmp_path: Path,
) -> None:
    wordy = {"wordy": {"kind": "scripted", "tools": False}}
    async with serving(tmp_path, providers=wordy) as server:
        client = await agent(server, model=REACT)
        frames = await client.stream("6 * 7?")
        assert events(frames) == [
            "agent_thought",
            "agent_message",
            "agent_thought",
            "agent_message",
            "agent_thought",
            "message_end",
        ]
        _, called, seen, _, last = thoughts(frames)
        assert called["thought"].strip() == "I have to calculate."
        assert json.loads(called["tool_input"]) == {"eval_expression": "6 * 7"}
        assert json.loads(seen["observation"]) == {"eval_expression": "42"}
        assert last["thought"].strip() == "I know."
        assert text_of(frames).endswith("It is 42.")
        assert "Action" not in text_of(frames)
        assert "41" not in text_of(frames)
        message = await kept(client, frames)
        assert message["answer"].endswith("It is 42.")
