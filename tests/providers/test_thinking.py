"""Thoughts that led to calls: handed back to the servers that want them, and to them alone."""

import json
from typing import Any

import msgspec
import pytest

from kaiwa.domain.prompt import ModelRequest, ToolCall
from kaiwa.errors import ToolsNotSupported
from kaiwa.providers.http import Operator
from kaiwa.providers.thinking import Thinking
from tests.providers.asking import called, equipped, hear, network_model, observed, pictured
from tests.support.model_server import ModelServer, raw, refuse, speak

pytestmark = pytest.mark.anyio

CLOCK = ToolCall("c1", "clock", "{}")
ROUND = (called(CLOCK), observed("c1", "12:00"))


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


def piece(index: int, **delta: Any) -> bytes:
    return event("content_block_delta", index=index, delta=delta)


def call(**more: Any) -> dict[str, Any]:
    return {"index": 0, "id": "c1", "function": {"name": "clock", "arguments": "{}"}, **more}


async def asked_on(
    kind: str, server: ModelServer, http: Operator, *answer: bytes, **params: object
) -> dict[str, Any]:
    """The body of the second round, after this answer to the first."""
    server.play(raw(*answer), speak("Noon."))
    model = network_model(kind, server, http)

    def within(request: ModelRequest) -> ModelRequest:
        return msgspec.structs.replace(request, params=params)

    await hear(model, within(equipped()))
    await hear(model, within(equipped(*ROUND)))
    return server.requests[-1].body


async def test_openai_servers_get_the_reasoning_back_that_led_to_a_call(
    server: ModelServer, http: Operator
) -> None:
    body = await asked_on(
        "openai",
        server,
        http,
        chunk(reasoning_content="The clock"),
        chunk(reasoning_content=" knows."),
        chunk(tool_calls=[call()]),
        chunk("tool_calls"),
        b"data: [DONE]\n\n",
    )
    assert body["messages"][2]["reasoning_content"] == "The clock knows."
    assert "extra_content" not in body["messages"][2]["tool_calls"][0]


@pytest.mark.parametrize("said", [{"reasoning": "Hm."}, {"content": "Hm."}])
async def test_other_servers_get_no_key_that_they_did_not_send(
    server: ModelServer, http: Operator, said: dict[str, str]
) -> None:
    body = await asked_on(
        "openai", server, http, chunk(**said), chunk(tool_calls=[call()]), chunk("tool_calls")
    )
    assert body["messages"][2].keys() == {"role", "content", "tool_calls"}


async def test_what_gemini_says_beside_a_call_goes_back_with_it(
    server: ModelServer, http: Operator
) -> None:
    beside = {"google": {"thought_signature": "c2ln"}}
    body = await asked_on(
        "openai", server, http, chunk(tool_calls=[call(extra_content=beside)]), chunk("tool_calls")
    )
    assert body["messages"][2]["tool_calls"][0]["extra_content"] == beside


async def test_anthropic_gets_its_thoughts_back_and_goes_on_thinking(
    server: ModelServer, http: Operator
) -> None:
    use: dict[str, Any] = {"type": "tool_use", "id": "c1", "name": "clock", "input": {}}
    thinking = {"type": "enabled", "budget_tokens": 2000}
    answer = (
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        piece(0, type="thinking_delta", thinking="The clock"),
        piece(0, type="thinking_delta", thinking=" knows."),
        piece(0, type="signature_delta", signature="c2ln"),
        event(
            "content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "x"}
        ),
        event("content_block_start", index=2, content_block=use),
        event("message_delta", delta={"stop_reason": "tool_use"}),
        event("message_stop"),
    )
    body = await asked_on("anthropic", server, http, *answer, thinking=thinking)
    assert body["thinking"] == thinking
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "The clock knows.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "x"},
        use,
    ]
    body = await asked_on("anthropic", server, http, *answer)
    assert "thinking" not in body
    assert body["messages"][1]["content"] == [use], "without thinking its thoughts are not told"


def test_what_is_too_long_or_has_no_name_is_not_kept():
    thinking = Thinking()
    thinking.keep("", "a")
    thinking.keep("c1", "x" * 1_000_001)
    assert thinking.find((ToolCall("", "clock", "{}"),)) is None
    assert thinking.find((CLOCK,)) is None
    assert thinking.find(()) is None
    for number in range(100):
        thinking.keep(f"c{number}", "x" * 900_000)
    assert thinking.find((CLOCK,)) is None, "the oldest goes when there is too much"
    assert thinking.find((ToolCall("c99", "clock", "{}"),))


async def test_a_model_that_cannot_call_tools_is_not_asked_to_again(
    server: ModelServer, http: Operator
) -> None:
    server.play(refuse(400, "this model does not support tools"), speak("Hello"))
    model = network_model("openai", server, http)
    for _ in range(2):
        with pytest.raises(ToolsNotSupported, match="model-1 cannot call tools"):
            await hear(model, equipped())
    assert len(server.requests) == 1
    assert (await hear(model, equipped(tools=()))).text == "Hello"
    assert (await hear(model, pictured())).text == "Hello"
    other = msgspec.structs.replace(equipped(), model="model-2")
    assert (await hear(model, other)).text == "Hello"
