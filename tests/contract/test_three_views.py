"""The stream folded, the blocking reply and the messages listed later say the same."""

from typing import Any

import pytest

from tests.support.apps import Step, app_file, fails, says
from tests.support.client import Client, Frame, text_of
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

HIDE = {"reasoning": "hide"}
THOUGHT: Step = {"reasoning": "Let me think about it."}

SCENARIOS: dict[str, tuple[list[Step], dict[str, Any]]] = {
    "plain": ([says("Good", " day", ".")], {}),
    "bursts": ([says("a", "b", "c", "d", "e", burst=4)], {}),
    "unicode": ([says("日本", "👩‍👩‍👧", "e\u0301", "\u2028", "\ufeff", "\x07")], {}),
    "whitespace": ([says("  \n", "text", "\n\n ", "\t")], {}),
    "braces": ([says("{{x}}", " {y} ", "<|im_end|>", "[DONE]")], {}),
    "newlines": ([says("a\r\nb", "\rc", "\n\ndata: {}\n\n")], {}),
    "empty": ([{"usage": {"prompt": 3}}], {}),
    "blank": ([says(" ")], {}),
    "long": ([{"repeat": {"text": "and so on ", "times": 3000}, "burst": 500}], {}),
    "reasoning kept": ([THOUGHT, says("Yes", ".")], {}),
    "reasoning kept alone": ([THOUGHT], {}),
    "reasoning kept in tags": ([says("<think>hm", "</think>", "Yes")], {}),
    "reasoning hidden": ([THOUGHT, says("Yes", ".")], HIDE),
    "reasoning hidden alone": ([THOUGHT], HIDE),
    "reasoning hidden in tags": ([says("<th", "ink>hm</thi", "nk>\n", "Yes")], HIDE),
    "reasoning hidden, never closed": ([says("<think>hm", " hm")], HIDE),
    "failure": ([fails()], {}),
    "failure late": ([says("So", " far"), fails("rate_limit")], {}),
    "failure in reasoning": ([THOUGHT, fails()], {}),
    "failure in hidden reasoning": ([says("<think>hm"), fails()], HIDE),
    "counted": ([says("a"), {"usage": {"prompt": 7, "completion": 1}}], {}),
}


async def fold(client: Client, **body: Any) -> dict[str, Any]:
    """A streamed answer as a client shows it."""
    return folded(await client.stream("Hello {{you}}", **body))


def folded(frames: list[Frame]) -> dict[str, Any]:
    last = frames[-1].data
    view: dict[str, Any] = {
        "answer": text_of(frames),
        "conversation_id": last["conversation_id"],
        "id": last["message_id"],
        "created_at": last["created_at"],
    }
    if last["event"] == "error":
        return view | {"error": (last["code"], last["message"], last["status"])}
    return view | {"usage": usage_of(last)}


def usage_of(body: dict[str, Any]) -> dict[str, Any]:
    """All but how long it took."""
    return {k: v for k, v in body["metadata"]["usage"].items() if k != "latency"}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_three_views_agree(server: TestServer, name: str) -> None:
    steps, kaiwa = SCENARIOS[name]
    client = await server.client(app_file(*steps, kaiwa=kaiwa))
    streamed = await fold(client)
    [listed] = await client.messages(streamed["conversation_id"])
    for key in ("answer", "id", "conversation_id", "created_at"):
        assert listed[key] == streamed[key]
    reply = await client.as_user("another").ask("Hello {{you}}")
    blocked = reply.body
    if "error" in streamed:
        assert (blocked["code"], blocked["message"], reply.status) == streamed["error"]
        assert (listed["status"], listed["outcome"]) == ("error", "error")
        assert listed["error"] == blocked["message"]
        [conversation] = (await client.as_user("another").get("/conversations")).body["data"]
        [kept] = await client.as_user("another").messages(conversation["id"])
    else:
        assert (listed["status"], listed["outcome"], listed["error"]) == ("normal", "normal", None)
        assert blocked["answer"] == streamed["answer"]
        assert usage_of(blocked) == streamed["usage"]
        [kept] = await client.as_user("another").messages(blocked["conversation_id"])
    own = ("id", "conversation_id", "created_at")
    assert {k: v for k, v in kept.items() if k not in own} == {
        k: v for k, v in listed.items() if k not in own
    }


async def test_the_views_of_a_stopped_answer_agree(server: TestServer) -> None:
    client = await server.client(app_file(says("So", " far "), {"hang": True}))
    frames: list[Frame] = []
    async with client.streaming("Hello") as stream:
        async for frame in stream.frames():
            frames.append(frame)
            if text_of(frames) == "So far ":
                await client.post(f"/chat-messages/{frame.data['task_id']}/stop")
    streamed = folded(frames)
    assert "error" not in streamed
    [listed] = await client.messages(streamed["conversation_id"])
    assert (listed["answer"], listed["id"]) == (streamed["answer"], streamed["id"])
    assert (listed["status"], listed["outcome"], listed["error"]) == ("normal", "stopped", None)


async def test_a_second_turn_sees_what_was_shown_of_the_first(server: TestServer) -> None:
    model = {
        "provider": "scripted",
        "name": "script",
        "completion_params": {"script": [{"steps": [{"text": "{prompt}"}]}]},
    }
    client = await server.client(app_file(model=model, pre_prompt="Be brief."))
    first = (await client.ask("one {{x}}")).body
    second = await fold(client, conversation_id=first["conversation_id"])
    listed = await client.messages(first["conversation_id"])
    assert [message["answer"] for message in listed] == [first["answer"], second["answer"]]
    assert [message["parent_message_id"] for message in listed] == [
        "00000000-0000-0000-0000-000000000000",
        first["id"],
    ]
    assert first["answer"].count('"role":') == 2
    assert second["answer"].count('"role":') == 4
    assert second["answer"].endswith('{"role":"user","text":"Hello {{you}}"}]')
