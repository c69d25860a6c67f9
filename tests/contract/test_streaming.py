"""A streamed answer, byte by byte."""

from json import dumps
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.apps import Step, app_file, fails, says
from tests.support.client import Client, Frame, text_of
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

COMMON = ["event", "conversation_id", "message_id", "created_at", "task_id"]
TEXT = [*COMMON, "id", "answer", "from_variable_selector"]
END = [*COMMON, "id", "metadata", "files"]
ERROR = [*COMMON, "code", "status", "message"]
PING = b"event: ping\n\n"
USAGE: dict[str, Any] = {"usage": {"prompt": 12, "completion": 3}}
GONE = {"leaving": "stop"}
"""For apps whose model would go on for ever."""


async def stream_of(server: TestServer, *steps: Step, **config: Any) -> list[Frame]:
    client = await server.client(app_file(*steps, **config))
    return await client.stream("Hello")


async def test_a_stream_is_this_byte_by_byte(server: TestServer) -> None:
    client = await server.client(app_file(says("Good", ' "day"\n'), USAGE))
    raw = b"".join(await client.raw_stream("Hello"))
    [conversation] = (await client.get("/conversations")).body["data"]
    [message] = await client.messages(conversation["id"])
    frames = [Frame(part.decode()) for part in raw.split(b"\n\n")[:-1]]
    task_id = frames[0].data["task_id"]
    latency = frames[-1].data["metadata"]["usage"]["latency"]
    common = (
        f'"conversation_id": "{conversation["id"]}", "message_id": "{message["id"]}", '
        f'"created_at": {message["created_at"]}, "task_id": "{task_id}", "id": "{message["id"]}"'
    )
    end = '"from_variable_selector": null}\n\n'
    usage = (
        '{"prompt_tokens": 12, "prompt_unit_price": "0.5", "prompt_price_unit": "0.000001", '
        '"prompt_price": "0.0000060", "completion_tokens": 3, "completion_unit_price": "1.5", '
        '"completion_price_unit": "0.000001", "completion_price": "0.0000045", '
        f'"total_tokens": 15, "total_price": "0.0000105", "currency": "EUR", "latency": {latency}}}'
    )
    assert raw.decode() == (
        f'data: {{"event": "message", {common}, "answer": "Good", {end}'
        f'data: {{"event": "message", {common}, "answer": " \\"day\\"\\n", {end}'
        f'data: {{"event": "message_end", {common}, "metadata": {{"usage": {usage}, '
        '"retriever_resources": [], "annotation_reply": null}, "files": null}\n\n'
    )


async def test_a_stream_has_the_headers_that_keep_it_flowing(server: TestServer) -> None:
    client = await server.client(app_file(says("Good")))
    async with client.streaming("Hello") as stream:
        headers = stream.response.headers
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert headers["Cache-Control"] == "no-cache"
        assert headers["X-Accel-Buffering"] == "no"
        assert headers["Transfer-Encoding"] == "chunked"
        assert "Content-Encoding" not in headers
        assert headers["X-Version"]
        assert headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("steps", "keys"),
    [
        ([says("a", "b")], [TEXT, TEXT, END]),
        ([says("a"), fails()], [TEXT, ERROR]),
        ([fails()], [ERROR]),
        ([{"reasoning": "hm"}, says("a")], [TEXT, TEXT, END]),
    ],
)
async def test_every_frame_has_its_keys_in_order_and_the_same_ids(
    server: TestServer, steps: list[Step], keys: list[list[str]]
) -> None:
    frames = await stream_of(server, *steps)
    assert [list(frame.data) for frame in frames] == keys
    assert len({tuple(frame.data[key] for key in COMMON[1:]) for frame in frames}) == 1
    for frame in frames:
        assert isinstance(frame.data["created_at"], int)
        assert frame.data.get("id", frame.data["message_id"]) == frame.data["message_id"]
        assert frame.data.get("answer") != ""


async def test_every_delta_is_a_frame_and_one_read_is_one_write(server: TestServer) -> None:
    pieces = ["one", " two", " ", "three", "3", "3", "."]
    client = await server.client(app_file(says(*pieces, burst=3)))
    written = await client.raw_stream("Hello")
    frames = [[Frame(raw) for raw in one.decode().split("\n\n")[:-1]] for one in written]
    assert [[frame.data.get("answer") for frame in one] for one in frames] == [
        ["one", " two", " "],
        ["three", "3", "3"],
        ["."],
        [None],
    ]


PIECES = [
    ["é", "日本語", "😀", "👩‍👩‍👧", "e\u0301"],
    ["a\u2028b", "c\u2029d", "e\u0085f", "\ufeff"],
    ["\r\n", "\n\n", "\r", "data: x\n\n", "event: ping\n\n"],
    ['"', "\\", "\\u0041", "\t", "\x07", "\x7f", "</script>"],
    ["  lead", "trail  ", "{{name}}", "{x}", "<|im_end|>", "[DONE]"],
]


@pytest.mark.parametrize("pieces", PIECES, ids=["letters", "breaks", "sse", "json", "markup"])
async def test_text_arrives_as_the_model_wrote_it(server: TestServer, pieces: list[str]) -> None:
    client = await server.client(app_file(says(*pieces)))
    raw = b"".join(await client.raw_stream("Hello"))
    assert raw.isascii()
    assert b"\r" not in raw
    lines = raw.split(b"\n")
    assert all(line.startswith(b'data: {"event": "message') for line in lines[:-1:2])
    assert set(lines[1::2]) == {b""}
    frames = [Frame(part.decode()) for part in raw.split(b"\n\n")[:-1]]
    assert [frame.data["answer"] for frame in frames[:-1]] == pieces
    assert raw.startswith(b"data: " + dumps(frames[0].data).encode())


@pytest.mark.parametrize("steps", [[says("a", "b")], [{"usage": {}}], [{"reasoning": "hm"}]])
async def test_a_stream_ends_with_one_message_end(server: TestServer, steps: list[Step]) -> None:
    frames = await stream_of(server, *steps)
    assert [frame.event for frame in frames].count("message_end") == 1
    assert frames[-1].event == "message_end"
    metadata = frames[-1].data["metadata"]
    assert list(metadata) == ["usage", "retriever_resources", "annotation_reply"]
    assert metadata["usage"]["total_tokens"] == sum(
        metadata["usage"][f"{kind}_tokens"] for kind in ("prompt", "completion")
    )


async def test_counts_of_our_own_are_marked(server: TestServer) -> None:
    [*_, counted] = await stream_of(server, says("a"), USAGE)
    [*_, guessed] = await stream_of(server, says("a"))
    assert "estimated" not in counted.data["metadata"]["usage"]
    assert guessed.data["metadata"]["usage"]["estimated"] is True


@pytest.mark.parametrize("steps", [[], [says("Well")]], ids=["before the first token", "after"])
async def test_silence_is_filled_with_bare_pings(tmp_path: Path, steps: list[Step]) -> None:
    async with serving(tmp_path, ping_interval=0.02) as server:
        client = await server.client(app_file(*steps, {"hang": True}, kaiwa=GONE))
        raw = b""
        with anyio.fail_after(10):
            async with client.streaming("Hello") as stream:
                async for piece in stream.response.content.iter_any():
                    raw += piece
                    if raw.count(PING) >= 3:
                        break
    assert raw.endswith(PING * 3)
    assert raw.count(b"data: ") == len(steps)
    parts = [part + b"\n\n" for part in raw.split(b"\n\n")[:-1]]
    assert all(part == PING or part.startswith(b"data: ") for part in parts)


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("rate_limit", "completion_request_error", 400),
        ("server", "completion_request_error", 400),
        ("connection", "completion_request_error", 400),
        ("auth", "completion_request_error", 400),
        ("too_long", "completion_request_error", 400),
        ("quota", "provider_quota_exceeded", 400),
        ("unknown_model", "model_currently_not_support", 400),
        ("not_initialized", "provider_not_initialize", 400),
    ],
)
async def test_a_failing_model_ends_the_stream_with_one_error(
    server: TestServer, kind: str, code: str, status: int
) -> None:
    client = await server.client(app_file(says("So far"), fails(kind)))
    said, error = await client.stream("Hello")
    assert said.data["answer"] == "So far"
    assert (error.event, error.data["code"], error.data["status"]) == ("error", code, status)
    [message] = await client.messages(said.data["conversation_id"])
    assert (message["status"], message["outcome"]) == ("error", "error")
    assert (message["answer"], message["error"]) == ("So far", error.data["message"])
    reply = await client.ask("Hello")
    wanted = {"code": code, "message": error.data["message"], "status": status}
    assert (reply.status, reply.body) == (status, wanted)


@pytest.mark.parametrize(
    ("mode", "steps", "answer"),
    [
        ("answer", [{"reasoning": "hm"}, says("Yes")], "<think>\nhm\n</think>\n\nYes"),
        ("answer", [{"reasoning": "hm"}], "<think>\nhm\n</think>"),
        ("answer", [says("<think>hm", "</think>Yes")], "<think>hm</think>Yes"),
        ("hide", [{"reasoning": "hm"}, says("Yes")], "Yes"),
        ("hide", [{"reasoning": "hm"}], ""),
        ("hide", [says(" <thi", "nk>hm</th", "ink>\n", "\nYes", " <think>")], "Yes <think>"),
        ("hide", [says("<th", "ere")], "<there"),
    ],
)
async def test_reasoning_is_shown_or_hidden_as_the_app_says(
    server: TestServer, mode: str, steps: list[Step], answer: str
) -> None:
    frames = await stream_of(server, *steps, kaiwa={"reasoning": mode})
    assert text_of(frames) == answer
    assert [frame.event for frame in frames[-1:]] == ["message_end"]


async def test_the_first_frame_is_enough_to_find_and_stop_the_answer(server: TestServer) -> None:
    client: Client = await server.client(app_file(says("Well"), {"hang": True}))
    async with client.streaming("Hello") as stream:
        frames = stream.frames()
        first = (await anext(frames)).data
        [message] = await client.messages(first["conversation_id"])
        assert (message["id"], message["created_at"]) == (first["id"], first["created_at"])
        assert (message["status"], message["error"]) == ("normal", None)
        stopped = await client.post(f"/chat-messages/{first['task_id']}/stop")
        assert (stopped.status, stopped.body) == (200, {"result": "success"})
        assert [frame.event async for frame in frames] == ["message_end"]
