"""What Anthropic's wire alone knows: its messages, parameters, blocks and counts."""

import json
from typing import Any

import msgspec
import pytest

from kaiwa.domain.events import UsageDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage, Role
from kaiwa.errors import CompletionFailed
from kaiwa.providers.http import Operator
from tests.providers.asking import CANARY, hear, network_model, question
from tests.support.model_server import ModelServer, raw

pytestmark = pytest.mark.anyio


def conversation(*turns: tuple[Role, str], **params: object) -> ModelRequest:
    return ModelRequest("claude", tuple(PromptMessage(*turn) for turn in turns), params)


async def sent(server: ModelServer, http: Operator, request: ModelRequest) -> dict[str, Any]:
    await hear(network_model("anthropic", server, http), request)
    return server.requests[-1].body


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


async def test_the_request_on_the_wire(server: ModelServer, http: Operator) -> None:
    request = msgspec.structs.replace(question(), user="u-1", stop=("END", " "))
    body = await sent(server, http, request)
    (arrived,) = server.requests
    assert arrived.path == "/v1/messages"
    assert arrived.headers["x-api-key"] == CANARY
    assert arrived.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in arrived.headers
    assert body == {
        "model": "model-1",
        "stream": True,
        "max_tokens": 4096,
        "system": "You help.",
        "messages": [{"role": "user", "content": "What is new?"}],
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
    }


async def test_a_base_url_may_end_in_its_version(server: ModelServer, http: Operator) -> None:
    model = network_model("anthropic", server, http, base_url=f"{server.url}/v1/")
    await hear(model)
    assert server.requests[0].path == "/v1/messages"


@pytest.mark.parametrize(
    ("turns", "system", "messages"),
    [
        (
            [("assistant", "old"), ("user", "a"), ("assistant", "b"), ("user", "c")],
            None,
            ["user: a", "assistant: b", "user: c"],
        ),
        (
            [("user", "a"), ("assistant", ""), ("user", "b"), ("user", "c")],
            None,
            ["user: a\n\nb\n\nc"],
        ),
        (
            [("system", "s"), ("user", "a"), ("system", "t")],
            "s\n\nt",
            ["user: a"],
        ),
        ([("system", "s")], None, ["user: s"]),
    ],
)
async def test_turns_alternate_and_begin_with_the_user(
    turns: list[tuple[Role, str]],
    system: str | None,
    messages: list[str],
    server: ModelServer,
    http: Operator,
) -> None:
    body = await sent(server, http, conversation(*turns))
    assert body.get("system") == system
    assert [f"{m['role']}: {m['content']}" for m in body["messages"]] == messages


async def test_parameters(server: ModelServer, http: Operator) -> None:
    turn: tuple[Role, str] = ("user", "a")
    body = await sent(server, http, conversation(turn, temperature=0, max_tokens=5, n=2))
    assert (body["temperature"], body["max_tokens"], "n" in body) == (0, 5, False)
    thinking = {"type": "enabled", "budget_tokens": 2000}
    body = await sent(server, http, conversation(turn, temperature=0.3, thinking=thinking))
    assert (body["thinking"], "temperature" in body) == (thinking, False)
    body = await sent(server, http, conversation(turn, thinking=True, thinking_budget=2000))
    assert body["thinking"] == thinking
    body = await sent(server, http, conversation(turn, thinking=False, thinking_budget=2000))
    assert "thinking" not in body


async def test_tool_calls_and_counts(server: ModelServer, http: Operator) -> None:
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 30,
        "output_tokens": 1,
    }

    def tool(index: int, name: str) -> bytes:
        block: dict[str, Any] = {"type": "tool_use", "id": f"id-{name}", "name": name, "input": {}}
        return event("content_block_start", index=index, content_block=block)

    def piece(index: int, **delta: str) -> bytes:
        return event("content_block_delta", index=index, delta=delta)

    server.play(
        raw(
            event("message_start", message={"usage": usage}),
            event("content_block_start", index=0, content_block={"type": "text", "text": "I "}),
            piece(0, type="text_delta", text="look"),
            tool(1, "f"),
            piece(1, type="input_json_delta", partial_json='{"a":'),
            piece(1, type="input_json_delta", partial_json="1}"),
            tool(2, "g"),
            piece(2, type="signature_delta", signature="x"),
            event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
            event("something_new", more=[None]),
            event("message_stop"),
        )
    )
    heard = await hear(network_model("anthropic", server, http))
    assert heard.text == "I look"
    assert heard.tool_calls == {0: ("id-f", "f", '{"a":1}'), 1: ("id-g", "g", "")}
    assert heard.usage == UsageDelta(60, 9)


async def test_an_overloaded_server_is_asked_again(server: ModelServer, http: Operator) -> None:
    overloaded = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    server.play(raw(overloaded))
    with pytest.raises(CompletionFailed, match=r"\[anthropic\] Server Unavailable Error, Overl"):
        await hear(network_model("anthropic", server, http))
    assert len(server.requests) == 3
