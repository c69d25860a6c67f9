"""Agents whose tools are the operator's own services: a real HTTP API, a real MCP server."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_agents import agent, thoughts
from tests.support.api_server import serving_api
from tests.support.apps import calls
from tests.support.client import text_of
from tests.support.server import serving

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def entry(kind: str, service: str, name: str, **parameters: Any) -> dict[str, Any]:
    """As exports have it."""
    return {
        "enabled": True,
        "provider_id": service,
        "provider_name": service,
        "provider_type": kind,
        "tool_name": name,
        "tool_label": name,
        "tool_parameters": parameters,
    }


async def test_an_agent_uses_an_api_and_an_mcp_server(tmp_path: Path) -> None:
    command = {
        "command": sys.executable,
        "args": ["-m", "tests.support.mcp_server", "stdio"],
        "env": {"PYTHONPATH": str(ROOT)},
    }
    async with serving_api() as api:
        tools = {
            "pets": {
                "kind": "openapi",
                "document": f"{api.url}/schema/openapi.json",
                "api_key": "k",
            },
            "sums": {"kind": "mcp", **command},
        }
        async with serving(tmp_path, tools=tools) as server:
            client = await agent(
                server,
                calls("pets_show_one", '{"name": "Rex"}', ("add", '{"a": 2, "b": 40}')),
                {"text": "{observations}"},
                tools=[entry("api", "pets", "pets_show_one"), entry("mcp", "sums", "add")],
            )
            frames = await client.stream("Both!")
            seen = json.loads(thoughts(frames)[2]["observation"])
            assert "Rex" in seen["pets_show_one"]
            assert "42" in seen["add"]
            assert "42" in text_of(frames)
            icons = (await client.get("/meta")).body["tool_icons"]
            assert set(icons) == {"pets_show_one", "add"}


async def test_a_service_that_is_not_there_leaves_its_tools_out(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        tools = [entry("api", "pets", "pets_show_one"), "maths/eval_expression"]
        client = await agent(server, {"text": "I have {tools}."}, tools=tools)
        assert text_of(await client.stream("What do you have?")) == "I have eval_expression."


async def test_what_the_app_sets_is_not_asked_of_its_model(tmp_path: Path) -> None:
    async with serving_api() as api:
        tools = {"pets": {"kind": "openapi", "document": f"{api.url}/schema/openapi.json"}}
        async with serving(tmp_path, tools=tools) as server:
            client = await agent(
                server,
                calls("listPets", '{"kind": ["cat"]}'),
                {"text": "{observations}"},
                tools=[entry("api", "pets", "listPets", limit=7)],
            )
            seen = json.loads(thoughts(await client.stream("List!"))[2]["observation"])
            assert json.loads(seen["listPets"])["limit"] == 7
            client = await agent(
                server,
                calls("listPets", '{"limit": 9}'),
                {"text": "{observations}"},
                tools=[entry("api", "pets", "listPets", limit="many")],
            )
            seen = json.loads(thoughts(await client.stream("List!"))[2]["observation"])
            assert seen["listPets"].startswith("tool invoke error: "), "what was set fits no schema"
