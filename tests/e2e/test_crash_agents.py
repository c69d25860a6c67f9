"""R1 and R3 for agents: a server that is killed between rounds has kept what was thought."""

import json
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientError, ClientSession

from tests.e2e.process import Process, make_key, serving
from tests.support.apps import agent_file, calls, says
from tests.support.client import Client

AGENT = agent_file(
    [says("Let me see."), calls("eval_expression", '{"expression": "6 * 7"}')],
    {"hang": True},
    tools=["maths/eval_expression"],
)
PATIENCE = 20


async def wait_for(client: Client, wanted: str, name: str) -> dict[str, Any]:
    """The one message of the user, once its `name` holds the text."""
    with anyio.fail_after(PATIENCE):
        while True:
            found = (await client.get("/conversations")).body["data"]
            for message in await client.messages(found[0]["id"]) if found else []:
                if wanted in json.dumps(message[name]):
                    return message
            await anyio.sleep(0.05)


async def ask_until_kept(process: Process, key: str) -> dict[str, Any]:
    """What is on disk of a turn whose second round has begun; then the server is killed."""
    found: list[dict[str, Any]] = []
    async with ClientSession() as session, anyio.create_task_group() as tasks:
        client = Client(session, f"{process.url}/v1", key, "ann")

        async def listen() -> None:
            with pytest.raises((ClientError, ConnectionError)):
                await client.stream("6 * 7?")

        tasks.start_soon(listen)
        found.append(await wait_for(client, "42", "agent_thoughts"))
        process.popen.kill()
    return found[0]


async def find_closed(process: Process, key: str) -> dict[str, Any]:
    async with ClientSession() as session:
        client = Client(session, f"{process.url}/v1", key, "ann")
        return await wait_for(client, "interrupted", "outcome")


def test_a_server_killed_between_rounds_has_kept_what_was_thought(
    tmp_path: Path, database_url: str
) -> None:
    key = make_key(tmp_path, AGENT, database_url)
    settings = {"database_url": database_url, "abandoned_after": 1}
    with serving(tmp_path, **settings) as process:
        before = anyio.run(ask_until_kept, process, key)
        assert process.wait() == -signal.SIGKILL
    with serving(tmp_path, **settings) as process:
        after = anyio.run(find_closed, process, key)
        assert process.stop() == 0
    assert (before["outcome"], after["outcome"]) == ("running", "interrupted")
    assert after["answer"] == before["answer"] == "Let me see."
    assert after["agent_thoughts"] == before["agent_thoughts"]
    [thought] = after["agent_thoughts"]
    assert json.loads(thought["observation"]) == {"eval_expression": "42"}
