"""What Anthropic's wire alone knows: its messages, parameters, blocks and counts."""

import json
from typing import Any

import msgspec
import pytest

from kaiwa.domain.events import UsageDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage, Role, ToolCall
from kaiwa.errors import CompletionFailed
from kaiwa.providers.http import Operator
from tests.providers.asking import CANARY, called, equipped, hear, network_model, observed, question
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


async def test_tools_and_what_came_of_them_on_the_wire(server: ModelServer, http: Operator) -> None:
    first = called(ToolCall("c1", "clock", ""), ToolCall("c2", "sum", '{"a": 1}'))
    request = equipped(
        first,
        observed("c1", "12:00"),
        observed("c2", " "),
        PromptMessage("user", "Go on."),
        called(ToolCall("c3", "sum", '{"a":'), text="Once more."),
        observed("c3", "no JSON"),
    )
    body = await sent(server, http, request)
    assert body["tools"][0] == {
        "name": "clock",
        "description": "Tells the time.",
        "input_schema": {"type": "object", "properties": {}},
    }
    assert "tool_choice" not in body

    def use(id: str, name: str, input: dict[str, Any]) -> dict[str, Any]:
        return {"type": "tool_use", "id": id, "name": name, "input": input}

    assert body["messages"] == [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": [use("c1", "clock", {}), use("c2", "sum", {"a": 1})]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "12:00"},
                {"type": "tool_result", "tool_use_id": "c2"},
                {"type": "text", "text": "Go on."},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Once more."},
                use("c3", "sum", {"INVALID_JSON": '{"a":'}),
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c3", "content": "no JSON"}],
        },
    ]


async def test_tools_called_earlier_are_named_when_there_are_to_be_no_more(
    server: ModelServer, http: Operator
) -> None:
    clock = ToolCall("c1", "clock", "{}")
    body = await sent(server, http, equipped(called(clock), observed("c1", "12:00"), tools=()))
    assert body["tools"] == [{"name": "clock", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


async def test_it_does_not_think_right_after_a_call(server: ModelServer, http: Operator) -> None:
    round = (called(ToolCall("c1", "clock", "{}")), observed("c1", "12:00"))
    later = (*round, PromptMessage("assistant", "Noon."), PromptMessage("user", "Sure?"))
    thinks: list[bool] = []
    for since in ((), round, later):
        request = msgspec.structs.replace(equipped(*since), params={"thinking": True})
        thinks.append("thinking" in await sent(server, http, request))
    assert thinks == [True, False, True]


async def test_calls_in_an_answer_that_is_no_stream(server: ModelServer, http: Operator) -> None:
    content: list[dict[str, Any]] = [
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "2", "name": "f", "input": {}},
    ]
    body = {"type": "message", "content": content, "stop_reason": "tool_use"}
    server.play(raw(json.dumps(body).encode(), content_type="application/json"))
    heard = await hear(network_model("anthropic", server, http), equipped())
    assert heard.text == "I look"
    calls = {i: (id, f, json.loads(text or "{}")) for i, (id, f, text) in heard.tool_calls.items()}
    assert calls == {0: ("1", "f", {"a": 1}), 1: ("2", "f", {})}


async def test_what_the_server_itself_calls_is_no_call(server: ModelServer, http: Operator) -> None:
    block: dict[str, Any] = {
        "type": "server_tool_use",
        "id": "s",
        "name": "web_search",
        "input": {},
    }
    delta = {"type": "input_json_delta", "partial_json": '{"query": 1}'}
    server.play(
        raw(
            event("content_block_start", index=0, content_block=block),
            event("content_block_delta", index=0, delta=delta),
            event("content_block_start", index=1, content_block={"type": "text", "text": "Found"}),
            event("message_stop"),
        )
    )
    heard = await hear(network_model("anthropic", server, http), equipped())
    assert (heard.text, heard.tool_calls) == ("Found", {})


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
