"""What OpenAI's wire alone knows: parameters, its dialects, its error codes."""

import json
import threading
from base64 import b64encode
from typing import Any

import msgspec
import pytest

from kaiwa.domain.events import Delta, ReasoningDelta, TextDelta, ToolCallDelta, UsageDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage, ToolCall
from kaiwa.errors import (
    CompletionFailed,
    KaiwaError,
    ModelNotSupported,
    OperatorError,
    PromptTooLong,
    ProviderQuotaExceeded,
    ToolsNotSupported,
)
from kaiwa.ports import Sight
from kaiwa.providers import streaming
from kaiwa.providers.http import Operator
from kaiwa.providers.models.openai import OpenAIOptions, OpenAIWire
from kaiwa.providers.options import make_interpreter
from kaiwa.providers.registry import create_model
from tests.providers.asking import (
    CANARY,
    called,
    equipped,
    hear,
    network_model,
    observed,
    pictured,
    question,
)
from tests.support.model_server import Behaviour, ModelServer, fail_within, raw, refuse, speak

pytestmark = pytest.mark.anyio


async def sent(server: ModelServer, http: Operator, request: ModelRequest) -> dict[str, Any]:
    """The body our server got for this request."""
    await hear(network_model("openai", server, http), request)
    return server.requests[-1].body


async def test_the_request_on_the_wire(server: ModelServer, http: Operator) -> None:
    options = {"organization": "org-1", "project": "p-1", "headers": {"X-Title": "Kaiwa"}}
    await hear(network_model("openai", server, http, **options))
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "model-1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": "What is new?"},
        ],
    }
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert request.headers["openai-organization"] == "org-1"
    assert request.headers["openai-project"] == "p-1"
    assert request.headers["x-title"] == "Kaiwa"
    assert request.headers["accept-encoding"] == "identity"
    assert "cookie" not in request.headers


async def test_parameters_pass_but_ours_and_empty_ones_do_not(
    server: ModelServer, http: Operator
) -> None:
    request = question(
        temperature=0,
        top_p=0.5,
        max_tokens=100,
        presence_penalty=None,
        stop=[],
        seed="",
        script=[],
        stream=False,
        model="another",
        unheard_of=1,
    )
    body = await sent(server, http, msgspec.structs.replace(request, user="u-1", stop=("END",)))
    names = body.keys() - {"model", "stream", "stream_options", "messages"}
    assert {name: body[name] for name in names} == {
        "temperature": 0,
        "top_p": 0.5,
        "max_tokens": 100,
        "unheard_of": 1,
        "stop": ["END"],
        "user": "u-1",
    }


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "max_tokens"),
        ("o1-mini", "max_completion_tokens"),
        ("o3", "max_completion_tokens"),
        ("o4-mini", "max_completion_tokens"),
        ("gpt-5-nano", "max_completion_tokens"),
        ("olmo-2", "max_tokens"),
    ],
)
async def test_reasoning_models_name_their_limit_otherwise(
    model: str, name: str, server: ModelServer, http: Operator
) -> None:
    request = msgspec.structs.replace(question(max_tokens=9), model=model)
    body = await sent(server, http, request)
    assert {key: body[key] for key in body if "tokens" in key} == {name: 9}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"response_format": "json_object"}, {"type": "json_object"}),
        ({"response_format": {"type": "text"}}, {"type": "text"}),
        (
            {"response_format": "json_schema", "json_schema": '{"name": "a"}'},
            {"type": "json_schema", "json_schema": {"name": "a"}},
        ),
    ],
)
async def test_the_format_is_written_as_the_api_wants_it(
    params: dict[str, Any], expected: object, server: ModelServer, http: Operator
) -> None:
    body = await sent(server, http, question(**params))
    assert body["response_format"] == expected


async def test_a_schema_that_is_no_json_is_named(server: ModelServer, http: Operator) -> None:
    request = question(response_format="json_schema", json_schema="{oops")
    with pytest.raises(CompletionFailed, match=r"\[openai\] Bad Request Error, .*json_schema"):
        await sent(server, http, request)
    assert server.requests == []


async def test_a_completion_sends_one_text(server: ModelServer, http: Operator) -> None:
    request = ModelRequest("m", (PromptMessage("user", "Once upon"),), {}, completion=True)
    heard = await hear(network_model("openai", server, http), request)
    assert heard.text == "Hello world"
    assert heard.usage == UsageDelta(7, 3)
    assert server.requests[0].path == "/v1/completions"
    assert server.requests[0].body["prompt"] == "Once upon"
    assert "messages" not in server.requests[0].body


async def test_a_server_that_refuses_stream_options_is_remembered(
    server: ModelServer, http: Operator
) -> None:
    server.play(refuse(400, "Unrecognized request argument: stream_options"), speak())
    model = network_model("openai", server, http, retry_wait=60)
    assert (await hear(model)).text == "Hello world"
    assert (await hear(model)).text == "Hello world"
    asked = ["stream_options" in request.body for request in server.requests]
    assert asked == [True, False, False]


def chunk(delta: dict[str, Any] | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta}] if delta is not None else []
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([chunk({"reasoning": "hm"}), chunk({"content": "a"})], [ReasoningDelta("hm"), "a"]),
        (
            [chunk({"reasoning_content": "hm", "content": "a"})],
            [ReasoningDelta("hm"), "a"],
        ),
        ([chunk({"refusal": "I cannot", "content": None})], ["I cannot"]),
        ([chunk({"content": ""}), chunk({"role": "assistant", "content": "a"})], ["a"]),
        (
            [chunk({"content": "a"}, usage=None, error=None, x_vendor={"y": [1]})],
            ["a"],
        ),
        (
            [chunk(usage={"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": None})],
            [UsageDelta(4, 2)],
        ),
        ([b": keep-alive\n\n", chunk({"content": "a"}), b": keep-alive\n\n"], ["a"]),
    ],
)
async def test_the_dialects_of_compatible_servers(
    chunks: list[bytes], expected: list[Delta | str], server: ModelServer, http: Operator
) -> None:
    server.play(raw(*chunks, b"data: [DONE]\n\n"))
    heard = await hear(network_model("openai", server, http))
    said = [TextDelta(item) if isinstance(item, str) else item for item in expected]
    assert heard.deltas == said


async def test_tools_and_what_came_of_them_on_the_wire(server: ModelServer, http: Operator) -> None:
    first = ToolCall("c1", "clock", "")
    request = equipped(
        called(first, ToolCall("c2", "sum", '{"a": 1}')),
        observed("c1", "12:00"),
        observed("c2", ""),
        called(ToolCall("c3", "sum", '{"a":'), text="Once more."),
        observed("c3", "no JSON"),
    )
    body = await sent(server, http, request)
    assert body["tools"][0] == {
        "type": "function",
        "function": {
            "name": "clock",
            "description": "Tells the time.",
            "parameters": {"type": "object", "properties": {}},
        },
    }

    def call(id: str, name: str, arguments: str) -> dict[str, Any]:
        return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}

    assert body["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("c1", "clock", "{}"), call("c2", "sum", '{"a": 1}')],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {
            "role": "assistant",
            "content": "Once more.",
            "tool_calls": [call("c3", "sum", r'{"INVALID_JSON":"{\"a\":"}')],
        },
        {"role": "tool", "tool_call_id": "c3", "content": "no JSON"},
    ]


async def test_what_is_refused_beside_no_tools_is_sent_only_with_some(
    server: ModelServer, http: Operator
) -> None:
    params: dict[str, Any] = {"tools": [1], "tool_choice": "auto", "parallel_tool_calls": False}
    body = await sent(server, http, msgspec.structs.replace(equipped(), params=params))
    assert (len(body["tools"]), body["tool_choice"]) == (2, "auto")
    assert body["parallel_tool_calls"] is False
    body = await sent(server, http, question(**params))
    assert params.keys() & body.keys() == set()


async def test_the_older_completions_know_no_tools(server: ModelServer, http: Operator) -> None:
    with pytest.raises(ToolsNotSupported):
        await sent(server, http, msgspec.structs.replace(equipped(), completion=True))
    assert server.requests == []


def piece(
    name: str | None = None, arguments: Any = None, *, id: str | None = None, index: int | None = 0
) -> dict[str, Any]:
    """A piece of a call."""
    return {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}


def finish(reason: str) -> bytes:
    choice: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


F, G = ("f", '{"a":1}'), ("g", '{"b":2}')
CALLS: dict[str, tuple[list[list[dict[str, Any]]], list[tuple[str, str, str]]]] = {
    "OpenAI's own": (
        [
            [piece("f", "", id="1")],
            [piece(arguments='{"a":')],
            [piece(arguments="1}")],
            [piece("g", "", id="2", index=1)],
            [piece(arguments='{"b":2}', index=1)],
        ],
        [("1", *F), ("2", *G)],
    ),
    "in turns": (
        [
            [piece("f", '{"a"', id="1"), piece("g", '{"b"', id="2", index=1)],
            [piece(arguments=":1}"), piece(arguments=":2}", index=1)],
        ],
        [("1", *F), ("2", *G)],
    ),
    "whole, without index or id": (
        [[piece(*F, index=None), piece(*F, index=None), piece(*G, index=None)]],
        [("", *F), ("", *F), ("", *G)],
    ),
    "whole, one in a chunk, without index or id": (
        [[piece(*F, index=None)], [piece(*F, index=None)], [piece("h", index=None)]],
        [("", *F), ("", *F), ("", "h", "")],
    ),
    "in pieces, without index": (
        [
            [piece("f", "", id="1", index=None)],
            [piece(arguments='{"a":', index=None)],
            [piece(arguments="1}", index=None)],
            [piece(*G, id="2", index=None)],
        ],
        [("1", *F), ("2", *G)],
    ),
    "the index is always 0": (
        [[piece(*F, id="1")], [piece(*F, id="2")], [piece(*G, id="3")]],
        [("1", *F), ("2", *F), ("3", *G)],
    ),
    "the index is always 0, without ids": (
        [[piece(*F, id=""), piece(*F, id="")], [piece(*G, id="")]],
        [("", *F), ("", *F), ("", *G)],
    ),
    "name and id in every piece": (
        [[piece("f", '{"a":', id="1")], [piece("f", "1}", id="1")], [piece("f", "", id="1")]],
        [("1", *F)],
    ),
    "the name in every piece": (
        [[piece("f", "")], [piece("f", '{"a":')], [piece("f", "1}")], [piece("f", "")]],
        [("", *F)],
    ),
    "another id in every piece": (
        [[piece("f", "", id="1")], [piece(None, '{"a":', id="2")], [piece(None, "1}", id="3")]],
        [("1", *F)],
    ),
    "the arguments as an object": ([[piece("f", {"a": 1})]], [("", *F)]),
    "without arguments": ([[piece("f", id="1")]], [("1", "f", "")]),
}


@pytest.mark.parametrize("manner", CALLS)
async def test_calls_are_told_apart_however_they_come(
    manner: str, server: ModelServer, http: Operator
) -> None:
    chunks, expected = CALLS[manner]
    said = [chunk({"role": "assistant", "content": None, "tool_calls": calls}) for calls in chunks]
    server.play(raw(*said, finish("tool_calls"), b"data: [DONE]\n\n"))
    heard = await hear(network_model("openai", server, http), equipped())
    assert heard.tool_calls == dict(enumerate(expected))
    assert heard.text == ""


async def test_a_stream_that_ends_with_calls_is_complete(
    server: ModelServer, http: Operator
) -> None:
    server.play(raw(chunk({"content": "Hm", "tool_calls": [piece(*F)]}), finish("tool_calls")))
    heard = await hear(network_model("openai", server, http), equipped())
    assert heard.deltas == [TextDelta("Hm"), ToolCallDelta(0, "", *F)]


async def test_the_one_call_of_older_servers(server: ModelServer, http: Operator) -> None:
    names = [chunk({"function_call": {"name": "f"}}), chunk({"function_call": {"arguments": "{}"}})]
    server.play(raw(*names, finish("function_call")))
    heard = await hear(network_model("openai", server, http), equipped())
    assert heard.deltas == [ToolCallDelta(0, "", "f", ""), ToolCallDelta(0, "", "", "{}")]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {"content": "Hm", "tool_calls": [piece("f", id="1", index=None), piece("f", "{")]},
            {0: ("1", "f", ""), 1: ("", "f", "{")},
        ),
        (
            {"content": "Hm", "function_call": {"name": "f", "arguments": "{}"}},
            {0: ("", "f", "{}")},
        ),
    ],
)
async def test_calls_in_an_answer_that_is_no_stream(
    said: dict[str, Any], expected: object, server: ModelServer, http: Operator
) -> None:
    body = json.dumps({"choices": [{"message": said, "finish_reason": "tool_calls"}]})
    server.play(raw(body.encode(), content_type="application/json"))
    heard = await hear(network_model("openai", server, http), equipped())
    assert (heard.text, heard.tool_calls) == ("Hm", expected)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (refuse(429, code="insufficient_quota"), ProviderQuotaExceeded),
        (refuse(400, code="context_length_exceeded"), PromptTooLong),
        (refuse(403, code="model_not_found"), ModelNotSupported),
        (refuse(400, "'user' string too long"), CompletionFailed),
        (fail_within(code="context_length_exceeded"), PromptTooLong),
        (raw(b'{"detail": "Not Found"}', status=404), ModelNotSupported),
        (raw(b'{"error": "model \'x\' not found"}', status=404), ModelNotSupported),
        (raw(b'{"object": "error", "message": "no", "code": 40303}', status=400), CompletionFailed),
        (raw(b'[{"error": {"code": 400, "message": "no"}}]', status=400), CompletionFailed),
        (raw(b"\xff not json", status=400), CompletionFailed),
        (raw(status=400), CompletionFailed),
        (
            raw(b'{"error": {"message": "no", "code": 402}}', content_type="application/json"),
            ProviderQuotaExceeded,
        ),
    ],
)
async def test_error_codes_and_shapes(
    behaviour: Behaviour, error: type[KaiwaError], server: ModelServer, http: Operator
) -> None:
    server.play(behaviour)
    with pytest.raises(KaiwaError) as caught:
        await hear(network_model("openai", server, http))
    assert type(caught.value) is error
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"api_key": 1}, "api_key"),
        ({"base_url": "localhost:8000"}, "must look like https://api.openai.com/v1"),
        ({"base_url": "http://me:secret@host/v1"}, "hold no name, password or query"),
        ({"base_url": "http://[::bad/v1"}, "must look like"),
        ({"api_key": "sk-1\nX: y"}, "one line"),
        ({"headers": {"X": "a\r\nb"}}, "one line"),
        ({"headers": "X: y"}, "headers"),
    ],
)
async def test_wrong_options_are_one_sentence(
    options: dict[str, object], sentence: str, http: Operator
) -> None:
    with pytest.raises(OperatorError) as caught:
        create_model("openai", options, http)
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


class Watched(OpenAIWire):
    """Notes in which thread it writes."""

    threads: list[int]

    def write(self, request: ModelRequest) -> streaming.Call:
        self.threads.append(threading.get_ident())
        return super().write(request)


async def test_large_pictures_are_written_beside_the_loop(
    server: ModelServer, http: Operator
) -> None:
    options = OpenAIOptions()
    wire = Watched(options, server.openai_url)
    wire.threads = []
    interpreter = make_interpreter("openai", options)
    model = streaming.ModelServer(wire, http, interpreter, 0.001, Sight(), None)
    for size in (1_000, 1_000_000):
        await hear(model, pictured(bytes(size)))
        url = server.requests[-1].body["messages"][0]["content"][1]["image_url"]["url"]
        assert url == f"data:image/png;base64,{b64encode(bytes(size)).decode()}"
    small, large = wire.threads
    assert small == threading.get_ident() != large
