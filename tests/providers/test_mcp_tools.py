"""Tools of servers that speak the Model Context Protocol: real ones, and some that mean harm."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from pytest_socket import socket_allow_hosts

from kaiwa.errors import OperatorError, ToolFailed
from kaiwa.ports import ToolFile, ToolOutput
from kaiwa.providers.http import Operator
from kaiwa.providers.tools.mcp_options import McpOptions
from kaiwa.providers.tools.services import Services
from tests.support.file_server import Site, find_port, lead_on, say

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
ROUGH = ROOT / "tests" / "support" / "mcp_rough.py"
SECRET = "canary-72ab90-never-to-be-seen"
TRANSPORTS = ("stdio", "sse", "json")

Entry = dict[str, Any]


@contextmanager
def started(port: int, *more: str) -> Generator[subprocess.Popen[bytes]]:
    """The real server by HTTP, there when this begins."""
    command = [sys.executable, "-m", "tests.support.mcp_server", "http", str(port), *more]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        while b"Uvicorn running" not in process.stderr.readline():
            assert process.poll() is None
        yield process
        process.communicate()


@pytest.fixture(scope="module")
def urls() -> Generator[dict[str, str]]:
    """Two real servers by HTTP: one answers in streams, the other in JSON."""
    first, second = find_port("127.0.0.1"), find_port("127.0.0.1")
    with started(first), started(second, "json"):
        yield {
            "sse": f"http://127.0.0.1:{first}/mcp",
            "json": f"http://127.0.0.1:{second}/mcp",
        }


def stdio(**options: object) -> Entry:
    args = ["-m", "tests.support.mcp_server", "stdio"]
    env = {"PYTHONPATH": str(ROOT), "OWN_TOKEN": SECRET}
    return {"kind": "mcp", "command": sys.executable, "args": args, "env": env, **options}


def rough(mode: str, **options: object) -> Entry:
    return stdio(args=[str(ROUGH), mode], **options)


@pytest.fixture(params=TRANSPORTS)
def entry(request: pytest.FixtureRequest, urls: dict[str, str]) -> Entry:
    if request.param == "stdio":
        return stdio()
    return {"kind": "mcp", "url": urls[request.param], "bearer": SECRET}


@asynccontextmanager
async def opened(http: Operator, **entries: Entry) -> AsyncGenerator[Services]:
    async with Services(entries, http) as services:
        yield services


async def run(
    services: Services, tool: str, service: str = "own", /, **arguments: Any
) -> ToolOutput:
    found = await services.find_tool(service, tool)
    assert found is not None
    return await found.run(arguments)


async def call(services: Services, tool: str, service: str = "own", /, **arguments: Any) -> str:
    return (await run(services, tool, service, **arguments)).text


async def fail(services: Services, tool: str, service: str = "own", /, **arguments: Any) -> str:
    with pytest.raises(ToolFailed) as failure:
        await run(services, tool, service, **arguments)
    assert SECRET not in failure.value.message
    return failure.value.message


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def children_of(process: int) -> list[int]:
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


# Real servers


async def test_the_tools_of_a_server_are_listed(http: Operator, entry: Entry):
    async with opened(http, own=entry) as services:
        tools = {tool.spec.name: tool for tool in await services.tools_of("own")}
        assert [one.problem for one in await services.check()] == [None]
        assert await call(services, "odd_name_1") == "odd"
        assert await call(services, "odd_name_1_2") == "other"
        assert await services.find_tool("own", "odd name/1") is not None
    assert tools["add"].spec.description == "Add two numbers."
    assert tools["add"].labels == {"en_US": "Add up"}
    assert tools["add"].spec.parameters["required"] == ["a", "b"]
    grown = msgspec.json.encode(tools["grow"].spec.parameters)
    assert b"$" not in grown
    assert b"leaf" in grown


async def test_a_session_is_kept(http: Operator, entry: Entry):
    async with opened(http, own=entry) as services:
        assert await call(services, "add", a=1, b=2) == "3"
        process, number = (await call(services, "count")).split()
        assert await call(services, "count") == f"{process} {int(number) + 1}"
    if "command" in entry:
        assert not lives(int(process))


async def test_what_a_tool_gives_becomes_text_and_files(http: Operator, entry: Entry):
    async with opened(http, own=entry) as services:
        drawn = await run(services, "draw")
        assert drawn.files == (
            ToolFile("image-1.png", "image/png", b"\x89PNG"),
            ToolFile("audio-2.wav", "audio/wav", b"RIFF"),
        )
        assert drawn.text.splitlines() == [
            "Here:",
            "(The file image-1.png, image/png, which is shown to the user.)",
            "(The file audio-2.wav, audio/wav, which is shown to the user.)",
        ]
        attached = await run(services, "attach")
        assert attached.files == (ToolFile("report.pdf", "application/pdf", b"%"),)
        assert "that is broken" in attached.text
        assert 20_000 < len(attached.text) < 20_100
        grown = await call(services, "grow", root={"name": "a", "below": [{"name": "b"}]})
        assert msgspec.json.decode(grown)["below"][0]["name"] == "b"


async def test_a_failure_is_told_and_harms_nothing(http: Operator, entry: Entry):
    async with opened(http, own=entry) as services:
        assert (await fail(services, "fail")).startswith("I cannot: ")
        assert "a valid integer" in await fail(services, "add", a="one", b=2)
        assert await call(services, "add", a=1, b=2) == "3"


async def test_cancelled_and_late_calls_do_not_break_the_session(http: Operator, entry: Entry):
    async with opened(http, own=entry | {"timeout": 1}) as services:
        process = (await call(services, "count")).split()[0]
        with anyio.move_on_after(0.1) as scope:
            await call(services, "sleep", seconds=20)
        assert scope.cancelled_caught
        assert await fail(services, "sleep", seconds=20) == (
            "The service did not answer in 1 seconds."
        )
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(lambda: call(services, "sleep", seconds=20))
                tasks.cancel_scope.deadline = anyio.current_time() + 0.1
        assert (await call(services, "count")).split()[0] == process


async def test_calls_run_side_by_side(http: Operator, entry: Entry):
    async with opened(http, own=entry) as services:
        await services.tools_of("own")
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(lambda: call(services, "sleep", seconds=0.4))
        assert time.monotonic() - began < 1.9


async def test_credentials_are_never_seen(http: Operator, entry: Entry):
    async with opened(http, own=entry) as services:
        assert SECRET not in await call(services, "show_environment")
    bare = {name: value for name, value in entry.items() if name != "kind"}
    assert SECRET not in repr(msgspec.convert(bare, McpOptions))


async def test_a_child_sees_nothing_of_our_environment(
    http: Operator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    async with opened(http, own=stdio(env={"PYTHONPATH": str(ROOT)})) as services:
        assert "OPENAI_API_KEY" not in await call(services, "show_environment")


# Servers that end


async def test_a_child_that_dies_is_started_again(http: Operator):
    async with opened(http, own=stdio()) as services:
        first = (await call(services, "count")).split()[0]
        assert "The service has failed" in await fail(services, "die")
        second = (await call(services, "count")).split()[0]
        os.kill(int(second), 9)
        await anyio.sleep(0.2)
        third = (await call(services, "count")).split()[0]
    assert len({first, second, third}) == 3
    assert not lives(int(third))


async def test_a_server_that_was_started_again_is_met_anew(http: Operator):
    port = find_port("127.0.0.1")
    entry = {"kind": "mcp", "url": f"http://127.0.0.1:{port}/mcp"}
    async with opened(http, own=entry) as services:
        with started(port):
            tool = await services.find_tool("own", "count")
            assert tool is not None
            assert (await tool.run({})).text.endswith(" 1")
        with started(port):
            assert (await tool.run({})).text.endswith(" 1")
        with pytest.raises(ToolFailed, match="could not be reached"):
            await tool.run({})


async def test_an_end_in_the_middle_of_a_call_is_not_asked_again(http: Operator):
    async with opened(http, own=rough("dies")) as services:
        assert "The service has failed: Connection closed" in await fail(services, "tool0")


async def test_a_child_that_dies_before_its_own_is_started_again(http: Operator):
    async with opened(http, own=rough("orphans", timeout=0.5)) as services:
        tool = await services.find_tool("own", "tool0")
        assert tool is not None
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(ToolFailed, match="did not answer"):
                await tool.run({})
            assert time.monotonic() - began < 3


async def test_no_child_is_left_behind(http: Operator):
    async with opened(http, own=rough("stubborn")) as services:
        child = int((await call(services, "tool0")).split()[1])
        children = children_of(child)
        assert children
    async with asyncio.timeout(10):  # a process that was killed is gone when the kernel says so
        while any(lives(one) for one in [child, *children]):  # noqa: ASYNC110 – no event tells it
            await asyncio.sleep(0.01)


# Servers that mean harm


@pytest.mark.parametrize("mode", ["line", "notes", "noise"])
async def test_a_flood_ends_its_own_connection_alone(http: Operator, mode: str):
    async with opened(http, own=rough(mode, timeout=20), good=stdio()) as services:
        await services.tools_of("good")
        slowest = 0.0

        async def measure() -> None:
            nonlocal slowest
            while True:
                began = time.monotonic()
                assert await call(services, "add", "good", a=1, b=2) == "3"
                slowest = max(slowest, time.monotonic() - began)
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(measure)
            assert "The service has failed" in await fail(services, "tool0")
            tasks.cancel_scope.cancel()
        assert slowest < 5


async def test_a_deaf_server_is_left_and_its_place_is_taken(http: Operator):
    async with opened(http, own=rough("deaf", timeout=0.3)) as services:
        tool = await services.find_tool("own", "tool0")
        assert tool is not None
        with pytest.raises(ToolFailed, match=r"did not answer in 0\.3 seconds"):
            await tool.run({})
        began = time.monotonic()
        with pytest.raises(ToolFailed, match=r"did not answer in 0\.3 seconds"):
            await tool.run({})
        assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (rough("refuses"), "its last words: no module named ***"),
        (rough("mute", start_timeout=0.5), "it was not ready in 0.5 seconds"),
        (stdio(command="/no/such/command"), "its command cannot be started (No such file"),
        ({"kind": "mcp", "url": "http://127.0.0.1:9/mcp"}, "the server could not be reached"),
    ],
)
async def test_a_server_that_cannot_be_used_says_why(http: Operator, entry: Entry, reason: str):
    async with opened(http, own=entry) as services:
        with pytest.raises(ToolFailed) as failure:
            await services.tools_of("own")
        assert failure.value.message.startswith("The service own cannot be used: ")
        assert reason in failure.value.message
        (state,) = await services.check()
        assert reason in str(state.problem)
        assert SECRET not in str(state)


async def test_many_pages_are_read_and_endless_ones_are_left(http: Operator):
    pages, endless, lost = rough("pages"), rough("endless"), rough("lost")
    async with opened(http, pages=pages, endless=endless, lost=lost) as services:
        assert len(await services.tools_of("pages")) == 4
        assert len(await services.tools_of("endless")) == 50
        assert [tool.spec.name for tool in await services.tools_of("lost")] == ["tool0"]


async def test_an_answer_that_is_none_is_told(http: Operator):
    async with opened(http, own=rough("wrong")) as services:
        assert "The service has failed" in await fail(services, "tool0")


async def test_a_web_server_that_means_harm_is_told_and_left(http: Operator):
    socket_allow_hosts(["127.0.0.1", "127.0.0.2"], allow_unix_socket=True)
    port = find_port("127.0.0.1", "127.0.0.2")
    pages = {
        "/redirect": (lead_on(f"http://127.0.0.2:{port}/mcp", 307), "not followed"),
        "/binary": (say(b"\0\1", "Content-Type: image/png"), "image/png"),
        "/flood": (say(b"x" * 17_000_000, "Content-Type: application/json"), "JSON"),
        "/stream": (say(b"data: x\n" * 3_000_000, "Content-Type: text/event-stream"), "SSE"),
        "/gate": (say(b"who?", status=401), "HTTP 401"),
        "/hang": (b"HTTP/1.1 200 OK\r\n", "not ready in 1 seconds"),
    }
    async with Site("127.0.0.1", port) as site, Site("127.0.0.2", port) as other:
        entries: dict[str, Entry] = {}
        for path, (page, _) in pages.items():
            site.pages[path] = page.replace(
                b"Content-Length", b"Connection: close\r\nContent-Length"
            )
            url = f"http://127.0.0.1:{port}{path}"
            timeout = {"start_timeout": 1} if path == "/hang" else {}
            entries[path[1:]] = {"kind": "mcp", "url": url, "bearer": SECRET, **timeout}
        async with opened(http, **entries) as services:
            states = {state.name: state.problem for state in await services.check()}
        assert other.connections == 0
        assert SECRET in site.requests[-1].headers["authorization"]
    for path, (_, reason) in pages.items():
        assert reason in str(states[path[1:]]), path
    assert SECRET not in str(states)


# Settings


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, "needs a url or a command"),
        ({"url": "http://x", "command": "y"}, "needs a url or a command"),
        ({"url": "ftp://x"}, "The url"),
        ({"url": "http://me:pw@x"}, "The url"),
        ({"url": "http://x", "bearer": f"{SECRET}\n"}, "one line"),
        ({"command": "x", "args": "'"}, "The args"),
        ({"command": "x", "timeout": 0}, "timeouts"),
        ({"command": "x\0"}, "zero characters"),
        ({"command": "x", "colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_option_is_refused_at_the_start(http: Operator, options: Entry, fault: str):
    with pytest.raises(OperatorError) as error:
        async with opened(http, own={"kind": "mcp", **options}):
            pass
    assert str(error.value).startswith("In the setting tools.own: ")
    assert fault in str(error.value)
    assert SECRET not in str(error.value)


def test_arguments_in_one_text_are_split_as_a_shell_does():
    assert McpOptions(command="npx", args="-y 'a b'").words == ["npx", "-y", "a b"]


def test_the_library_is_loaded_only_when_it_is_needed():
    code = "import sys, kaiwa.app, kaiwa.providers.tools.services; print('mcp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_the_library_the_start_says_what_is_missing():
    code = """
import sys
sys.modules["mcp"] = None
import anyio
from kaiwa.providers.http import Operator
from kaiwa.providers.tools.services import Services

async def main():
    async with Services({"own": {"kind": "mcp", "url": "http://x"}}, Operator()):
        pass

anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "In the setting tools.own: the kind 'mcp' needs packages" in done.stderr
    assert "make install-mcp" in done.stderr
