"""What an agent's tools make is kept, shown at once, listed, and told to the model in words."""

import json
from base64 import b64encode
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.contract.test_agents import agent, events, kept, thoughts
from tests.contract.test_uploads import get, picture
from tests.support.apps import calls
from tests.support.client import Client, text_of
from tests.support.model_server import Behaviour, ModelServer, raw
from tests.support.server import serving

pytestmark = pytest.mark.anyio

DRAW = ("draw_picture", '{"prompt": "A cat."}')


def drawing(data: bytes) -> Behaviour:
    answer = {"data": [{"b64_json": b64encode(data).decode()}]}
    return raw(json.dumps(answer).encode(), content_type="application/json")


@pytest.fixture
async def drawer() -> AsyncGenerator[ModelServer]:
    async with ModelServer() as found:
        yield found


@pytest.fixture
async def client(drawer: ModelServer, tmp_path: Path) -> AsyncGenerator[Client]:
    draws = {"kind": "openai", "base_url": drawer.openai_url, "api_key": "k"}
    async with serving(tmp_path, providers={"draws": draws}, image_model="draws/any") as server:
        yield await agent(
            server, calls(*DRAW), {"text": "{observations}"}, tools=["kaiwa/draw_picture"]
        )


async def test_a_picture_that_a_tool_has_made_is_shown_and_kept(
    drawer: ModelServer, client: Client
) -> None:
    drawer.play(drawing(picture()))
    frames = await client.stream("Draw!")
    names = "agent_thought", "message_file", "agent_thought", "agent_message"
    assert [name for name in events(frames) if name in names][:2] == list(names[:2])
    [shown] = [frame.data for frame in frames if frame.event == "message_file"]
    assert (shown["type"], shown["belongs_to"]) == ("image", "assistant")
    assert "/files/tools/" in shown["url"]
    assert (await get(shown["url"]))[:2] == (200, picture())
    assert thoughts(frames)[2]["message_files"] == [shown["id"]]
    assert "already shown" in text_of(frames)
    message = await kept(client, frames)
    [file] = message["message_files"]
    assert (file["id"], file["transfer_method"]) == (shown["id"], "tool_file")
    assert (await get(file["url"]))[:2] == (200, picture())
    assert message["agent_thoughts"][0]["message_files"] == [file["id"]]


async def test_a_file_that_cannot_be_kept_is_told_to_the_model(
    drawer: ModelServer, client: Client
) -> None:
    drawer.play(drawing(picture()[:60]))
    frames = await client.stream("Draw!")
    assert "message_file" not in events(frames)
    assert "could not be kept" in text_of(frames)
    assert (await kept(client, frames))["message_files"] == []
