"""Bad days of agents: tools that hang, break, flood and talk nonsense; stops and failures."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from pytest_socket import socket_allow_hosts

from kaiwa.domain.message import JsonValue
from kaiwa.errors import KaiwaError, ToolFailed
from kaiwa.ports import ToolFile, ToolOutput
from tests.support.apps import Step, agent_file, calls, fails, says
from tests.support.client import Client, Frame, text_of
from tests.support.file_server import Site, say
from tests.support.odd_tools import serving_tools
from tests.support.server import TestServer, serving
from tests.support.talking import settled, stop, take

pytestmark = pytest.mark.anyio

THOUGHT = ("id", "position", "thought", "observation", "tool", "tool_labels", "tool_input")
CALCULATOR = "maths/eval_expression"
SUM = ("eval_expression", '{"expression": "6 * 7"}')
PAGE = "webscraper/webscraper"
WEB = "127.0.0.2"
HEARD: Step = {"text": "{observations}"}
ODD = "a\0b\ud800c"
"""What neither a database nor JSON can hold."""


@pytest.fixture(autouse=True)
def _all_of_loopback(_loopback_alone: None) -> None:  # pyright: ignore[reportUnusedFunction]
    socket_allow_hosts(["127.0.0.0/8", "::1"], allow_unix_socket=True)


@pytest.fixture
async def web(anyio_backend: str) -> AsyncIterator[Site]:
    async with Site(WEB) as opened:
        yield opened


async def agent(server: TestServer, *rounds: Any, **more: Any) -> Client:
    more.setdefault("tools", [CALCULATOR])
    return await server.client(agent_file(*rounds, **more))


async def agreed(client: Client, frames: list[Frame]) -> dict[str, Any]:
    """The message as it is listed, once it is what the stream has told."""
    [message] = await settled(client, frames[0].data["conversation_id"])
    told = {f.data["position"]: f.data for f in frames if f.event == "agent_thought"}
    listed = message["agent_thoughts"]
    assert [one["position"] for one in listed] == list(told)
    for one in listed:
        assert {name: one[name] for name in THOUGHT} == {
            name: told[one["position"]][name] for name in THOUGHT
        }
    if message["outcome"] == "normal":
        rounds = [one["thought"] for one in listed]
        assert message["answer"] == "\n".join(filter(None, rounds))
        assert text_of(frames) == "".join(rounds)
    return message


def observed(message: dict[str, Any], number: int = 0) -> dict[str, str]:
    return json.loads(message["agent_thoughts"][number]["observation"])


def usage(frames: list[Frame]) -> dict[str, Any]:
    return frames[-1].data["metadata"]["usage"]


def fetch(site: Site, path: str = "/") -> Step:
    return calls("webscraper", json.dumps({"url": site.url(path)}))


# Stop, leave, time


async def test_stop_ends_a_tool_at_once_and_keeps_what_was_thought(
    tmp_path: Path, web: Site
) -> None:
    web.pages["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nbegun"
    async with serving(
        tmp_path, fetch_networks=(f"{WEB}/32",), default_model="quoting/quoting"
    ) as server:
        client = await agent(server, [says("Let me look."), fetch(web)], HEARD, tools=[PAGE])
        async with client.streaming("Look") as stream:
            frames = await take(stream, 3)
            await web.asked.wait()
            await stop(client, frames[0])
            frames += await stream.rest()
        assert [frame.event for frame in frames[3:]] == ["message_end"]
        async with asyncio.timeout(5):
            await web.left.wait()
        message = await agreed(client, frames)
        assert (message["outcome"], message["answer"]) == ("stopped", "Let me look.")
        [thought] = message["agent_thoughts"]
        assert (thought["thought"], thought["tool"]) == ("Let me look.", "webscraper")
        assert thought["observation"] == ""
        assert usage(frames)["total_tokens"] > 0


async def test_a_tool_that_hangs_is_cut_off_and_the_model_goes_on(
    tmp_path: Path, web: Site
) -> None:
    web.pages["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nbegun"
    async with serving(
        tmp_path,
        fetch_networks=(f"{WEB}/32",),
        tool_timeout=0.2,
        default_model="quoting/quoting",
    ) as server:
        client = await agent(server, fetch(web), HEARD, tools=[PAGE])
        frames = await client.stream("Look")
        async with asyncio.timeout(5):
            await web.left.wait()
        message = await agreed(client, frames)
        said = "tool invoke error: it took longer than 0.2 seconds"
        assert observed(message) == {"webscraper": said}
        assert (message["outcome"], message["answer"]) == ("normal", said)


class Slow:
    """A tool that the test lets go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.ended = asyncio.Event()

    async def act(self, _: Mapping[str, JsonValue]) -> ToolOutput:
        self.begun.set()
        try:
            await self.go.wait()
            return ToolOutput("slowly")
        finally:
            self.ended.set()


@pytest.mark.parametrize("leaving", ["finish", "stop"])
async def test_a_client_that_leaves_while_a_tool_works(tmp_path: Path, leaving: str) -> None:
    slow = Slow()
    async with serving_tools(tmp_path, slow=slow.act) as server:
        client = await agent(
            server, calls("slow"), HEARD, tools=["odd/slow"], kaiwa={"leaving": leaving}
        )
        async with client.streaming("Go on"):
            await slow.begun.wait()
        if leaving == "finish":
            slow.go.set()
        [message] = await settled(client)
        async with asyncio.timeout(5):
            await slow.ended.wait()
        if leaving == "stop":
            assert (message["outcome"], message["answer"]) == ("stopped", "")
            assert message["agent_thoughts"][0]["tool"] == "slow"
        else:
            assert (message["outcome"], message["answer"]) == ("normal", "slowly")
            assert observed(message) == {"slow": "slowly"}


@pytest.mark.parametrize("said", [(), ("So",)])
async def test_stop_in_a_later_round_keeps_what_the_first_has_cost(
    server: TestServer, said: tuple[str, ...]
) -> None:
    counted = {"usage": {"prompt": 100, "completion": 50}}
    client = await agent(server, [calls(*SUM), counted], [says(*said), {"hang": True}])
    async with client.streaming("6 * 7?") as stream:
        frames = await take(stream, 5 if said else 3)
        await stop(client, frames[0])
        frames += await stream.rest()
    assert frames[-1].event == "message_end"
    spent = usage(frames)
    assert spent["prompt_tokens"] > 100
    assert spent["completion_tokens"] == 50 + len(said)
    assert spent["total_tokens"] == spent["prompt_tokens"] + spent["completion_tokens"]
    assert spent["estimated"] is True
    message = await agreed(client, frames)
    assert (message["outcome"], message["answer"]) == ("stopped", "".join(said))
    if said:
        assert message["agent_thoughts"][1]["thought"] == "So"
    assert observed(message) == {"eval_expression": "42"}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("late", [0.0, 0.3])
async def test_a_round_that_fails_before_its_first_word_is_in_no_view(
    tmp_path: Path, first: bool, late: float
) -> None:
    async with serving(
        tmp_path, checkpoint_interval=0.02, default_model="quoting/quoting"
    ) as server:
        failure = [{"silence": late}, fails()]
        client = await agent(server, *([failure] if first else [calls(*SUM), failure]))
        frames = await client.stream("6 * 7?")
        assert frames[-1].event == "error"
        message = await agreed(client, frames)
        assert message["outcome"] == "error"
        assert len(message["agent_thoughts"]) == (0 if first else 1)


# What tools do


class Oddity(Exception):
    pass


FAULTS: list[BaseException] = [
    Oddity("what is this?"),
    TimeoutError("too late"),
    asyncio.CancelledError("somebody else's"),
    ExceptionGroup("many", [Oddity(), ValueError()]),
    RecursionError(),
    StopAsyncIteration(),
    KaiwaError("ours"),
    ToolFailed(ODD),
    ToolFailed("x" * 1_000_000),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_whatever_a_tool_raises_is_told_to_the_model(
    tmp_path: Path, fault: BaseException
) -> None:
    async def breaks(_: Mapping[str, JsonValue]) -> ToolOutput:
        await anyio.lowlevel.checkpoint()
        raise fault

    async def works(_: Mapping[str, JsonValue]) -> ToolOutput:
        await anyio.sleep(0.02)
        return ToolOutput("well")

    async with serving_tools(tmp_path, breaks=breaks, works=works) as server:
        both = calls("breaks", "{}", ("works", "{}"))
        client = await agent(server, both, HEARD, tools=["odd/breaks", "odd/works"])
        frames = await client.stream("Go on")
        assert frames[-1].event == "message_end"
        message = await agreed(client, frames)
        found = observed(message)
        assert found["works"] == "well"
        assert found["breaks"].startswith("tool invoke error: ")
        assert len(found["breaks"]) <= 20_000
        assert "what is this" not in found["breaks"]
        assert message["answer"] == f"{found['breaks']}\nwell"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("x" * 1_000_000, "x" * 20_000),
        ("字" * 1_000_000, "字" * 20_000),
        (ODD, "ab?c"),
        ("", ""),
        ("data: {}\n\nevent: message_end\n\n", "data: {}\n\nevent: message_end\n\n"),
    ],
    ids=["long", "wide", "odd", "empty", "frames"],
)
async def test_what_a_tool_says_is_cut_and_can_be_kept(
    tmp_path: Path, output: str, told: str
) -> None:
    async def act(_: Mapping[str, JsonValue]) -> ToolOutput:
        return ToolOutput(output)

    async with serving_tools(tmp_path, say=act) as server:
        client = await agent(server, calls("say"), HEARD, tools=["odd/say"])
        frames = await client.stream("Go on")
        message = await agreed(client, frames)
        assert observed(message) == {"say": told}
        assert message["answer"] == told


async def test_files_with_odd_names_and_too_many_of_them(tmp_path: Path) -> None:
    async def act(_: Mapping[str, JsonValue]) -> ToolOutput:
        names = [f"{ODD}/../{ODD}.txt", "", "x" * 1000, *["a.txt"] * 20]
        files = [ToolFile(name, ODD, b"text") for name in names]
        return ToolOutput("made", tuple(files))

    async with serving_tools(tmp_path, make=act) as server:
        client = await agent(server, calls("make"), HEARD, tools=["odd/make"])
        frames = await client.stream("Go on")
        assert frames[-1].event == "message_end"
        message = await agreed(client, frames)
        assert message["outcome"] == "normal"
        told = observed(message)["make"]
        assert len(message["message_files"]) + told.count("could not be kept") == 10
        assert len(message["message_files"]) >= 8


async def test_a_page_whose_server_talks_nonsense(tmp_path: Path, web: Site) -> None:
    web.pages["/"] = say(b"?", "Content-Type: image/").replace(b"image/", b"image/\xff\xfe")
    web.pages["/text"] = say(b"a\0b \xff", "Content-Type: text/plain")
    async with serving(
        tmp_path, fetch_networks=(f"{WEB}/32",), default_model="quoting/quoting"
    ) as server:
        client = await agent(server, fetch(web), fetch(web, "/text"), HEARD, tools=[PAGE])
        frames = await client.stream("Look")
        assert frames[-1].event == "message_end"
        message = await agreed(client, frames)
        assert observed(message)["webscraper"].startswith("tool invoke error: There is no text")
        assert observed(message, 1)["webscraper"].startswith("ab ")


# What models do


async def test_arguments_come_in_many_pieces(server: TestServer) -> None:
    name, arguments = SUM
    pieces: list[dict[str, Any]] = [{"index": 0, "name": name, "arguments": ""}]
    pieces += [{"index": 0, "id": "", "arguments": letter} for letter in arguments]
    client = await agent(server, [says("Hm."), {"tool_calls": pieces, "burst": 1}], HEARD)
    frames = await client.stream("6 * 7?")
    message = await agreed(client, frames)
    assert message["answer"] == "Hm.\n42"


async def test_a_model_that_speaks_while_it_calls(server: TestServer) -> None:
    call: Step = {"tool_calls": [{"name": SUM[0], "arguments": SUM[1][:9]}]}
    rest: Step = {"tool_calls": [{"index": 0, "id": "", "arguments": SUM[1][9:]}]}
    client = await agent(server, [says("I "), call, says("will ", "see."), rest], HEARD)
    frames = await client.stream("6 * 7?")
    message = await agreed(client, frames)
    assert message["answer"] == "I will see.\n42"


async def test_more_calls_at_once_than_are_run(server: TestServer) -> None:
    many = [("eval_expression", f'{{"expression": "{number} + 0"}}') for number in range(70)]
    client = await agent(server, calls(*many[0], *many[1:]), HEARD)
    frames = await client.stream("All of them")
    message = await agreed(client, frames)
    assert message["agent_thoughts"][0]["tool"].split(";") == ["eval_expression"] * 64
    assert message["answer"].split() == [str(number) for number in range(64)]


@pytest.mark.parametrize("size", [90_000, 150_000, 250_000])
async def test_arguments_of_any_size(server: TestServer, size: int) -> None:
    arguments = json.dumps({"expression": "1" * size})
    client = await agent(server, calls("eval_expression", arguments), says("Well."))
    frames = await client.stream("A large one")
    message = await agreed(client, frames)
    assert message["answer"] == "Well."
    assert observed(message)["eval_expression"].startswith("tool invoke error: The ")
    assert len(message["agent_thoughts"][0]["tool_input"]) < 200_100


@pytest.mark.parametrize(
    "call",
    [
        ("eval_expression", ODD),
        ("eval_expression", '{"expression": "\0"}'),
        ("eval_expression", '{"expression": "\ud800"}'),
        ("eval_expression", '{"expression": "\\u0000"}'),
        ("eval_expression", '{"expression": "\\ud800"}'),
        ("eval_expression", '{"\\u0000": 1}'),
        ("eval_expression", "[" * 100_000),
        ("eval_expression", '{"a":' * 50_000),
        (ODD, "{}"),
        ("", "{}"),
        ("x" * 100_000, "{}"),
    ],
    ids=range(11),
)
async def test_calls_that_make_no_sense_break_nothing(
    server: TestServer, call: tuple[str, str]
) -> None:
    client = await agent(server, calls(*call), HEARD)
    frames = await client.stream("Go on")
    assert frames[-1].event == "message_end"
    message = await agreed(client, frames)
    assert message["outcome"] == "normal"
    [told] = observed(message).values()
    assert told.startswith(("tool invoke error: The ", "there is not a tool named"))


@pytest.mark.parametrize("reasoning", ["answer", "hide"])
@pytest.mark.parametrize("words", [False, True])
async def test_words_that_cannot_be_kept_are_left_out(
    tmp_path: Path, reasoning: str, words: bool
) -> None:
    providers = {"odd": {"kind": "scripted", "tools": not words}}
    async with serving(tmp_path, providers=providers, default_model="quoting/quoting") as server:
        script = [{"steps": [{"reasoning": ODD}, says("Thought: ", ODD, "\n", ODD)]}]
        model = {"provider": "odd", "name": "m", "completion_params": {"script": script}}
        client = await agent(server, model=model, kaiwa={"reasoning": reasoning})
        frames = await client.stream("Go on")
        assert frames[-1].event == "message_end"
        [message] = await settled(client, frames[0].data["conversation_id"])
        assert message["outcome"] == "normal"
        assert "ab?c" in message["answer"]
        assert "ab?c" in message["agent_thoughts"][0]["thought"]


async def test_an_empty_answer_after_tools(server: TestServer) -> None:
    for silent in ({"usage": {"prompt": 1}}, says(" ")):
        client = await agent(server, [says("Hm."), calls(*SUM)], silent)
        frames = await client.stream("6 * 7?")
        assert frames[-1].event == "message_end"
        message = await agreed(client, frames)
        assert message["answer"].strip() == "Hm."
        assert len(message["agent_thoughts"]) == 2


async def test_usage_is_the_sum_also_where_the_provider_is_silent(server: TestServer) -> None:
    counted = {"usage": {"prompt": 100, "completion": 50}}
    client = await agent(server, [calls(*SUM), counted], [says("four"), calls(*SUM)], says("42"))
    frames = await client.stream("6 * 7?")
    spent = usage(frames)
    assert spent["estimated"] is True
    assert spent["total_tokens"] == spent["prompt_tokens"] + spent["completion_tokens"]
    alone = await agent(server, [says("four"), calls(*SUM)], says("42"))
    guessed = usage(await alone.stream("6 * 7?"))
    assert spent["completion_tokens"] == 50 + guessed["completion_tokens"]
    assert guessed["completion_tokens"] > 2  # what it called was written by it too
    assert spent["prompt_tokens"] > 100 + guessed["prompt_tokens"]  # told of one round more
