"""How model servers write their answers: OpenAI's two wires and Anthropic's."""

import json
from collections.abc import Sequence
from typing import Any, Literal

Wire = Literal["chat", "completions", "messages"]
Events = tuple[bytes, list[bytes], bytes]
"""The opening, one event for each token, and the closing."""


def error_body(wire: Wire, message: str, code: str | None, kind: str | None) -> bytes:
    """An error; `kind` is its `type`."""
    if wire == "messages":
        body = {"type": "error", "error": {"type": kind or "api_error", "message": message}}
    else:
        body = {"error": {"message": message, "type": kind, "code": code}}
    return json.dumps(body).encode()


def whole_body(wire: Wire, text: str, usage: tuple[int, int]) -> bytes:
    """An answer in one JSON document."""
    prompt, completion = usage
    if wire == "messages":
        body: dict[str, Any] = {
            "type": "message",
            "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": prompt, "output_tokens": completion},
        }
        return json.dumps(body).encode()
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if wire == "completions":
        choice["text"] = text
    else:
        choice["message"] = {"role": "assistant", "content": text}
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return json.dumps({"choices": [choice], "usage": counts}).encode()


def answer_events(
    wire: Wire,
    tokens: Sequence[str],
    reasoning: Sequence[str],
    usage: tuple[int, int] | None,
    finish: bool,
    done: bool,
) -> Events:
    """What a whole stream consists of; `finish` and `done` say which parts of the end it has."""
    if wire == "messages":
        return _messages_events(tokens, reasoning, usage, finish, done)
    return _openai_events(wire, tokens, reasoning, usage, finish, done)


def _openai_events(
    wire: Wire,
    tokens: Sequence[str],
    reasoning: Sequence[str],
    usage: tuple[int, int] | None,
    finish: bool,
    done: bool,
) -> Events:
    def event(*choices: dict[str, Any], **more: Any) -> bytes:
        document = {"id": "c1", "object": "chunk", "created": 1, "model": "m"}
        return _sse({**document, "choices": list(choices), **more})

    if wire == "completions":
        opening = b""
        events = [event({"index": 0, "text": token, "finish_reason": None}) for token in tokens]
        ending: dict[str, Any] = {"text": ""}
    else:
        opening = event({"index": 0, "delta": {"role": "assistant", "content": ""}})
        events = [event({"index": 0, "delta": {"reasoning_content": t}}) for t in reasoning]
        events += [event({"index": 0, "delta": {"content": token}}) for token in tokens]
        ending = {"delta": {}}
    closing = event({"index": 0, "finish_reason": "stop", **ending}) if finish else b""
    if usage:
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        closing += event(usage={**counts, "total_tokens": sum(usage)})
    return opening, events, closing + (b"data: [DONE]\n\n" if done else b"")


def _messages_events(
    tokens: Sequence[str],
    reasoning: Sequence[str],
    usage: tuple[int, int] | None,
    finish: bool,
    done: bool,
) -> Events:
    prompt, completion = usage or (0, 0)
    # A part of the prompt came from the cache, which this vendor counts apart.
    counts = {"input_tokens": prompt - 2, "cache_read_input_tokens": 2, "output_tokens": 1}
    message = {"id": "m1", "role": "assistant", "usage": counts if usage else None}
    opening = _typed("message_start", message=message) + _typed("ping")
    opening += _typed("content_block_start", index=0, content_block={"type": "text", "text": ""})

    def piece(**delta: str) -> bytes:
        return _typed("content_block_delta", index=0, delta=delta)

    events = [piece(type="thinking_delta", thinking=t) for t in reasoning]
    events += [piece(type="text_delta", text=token) for token in tokens]
    closing = b""
    if finish:
        counts = {"output_tokens": completion} if usage else None
        closing = _typed("content_block_stop", index=0)
        closing += _typed("message_delta", delta={"stop_reason": "end_turn"}, usage=counts)
    return opening, events, closing + (_typed("message_stop") if done else b"")


def _typed(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\n".encode() + _sse({"type": kind, **more})


def _sse(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"
