"""One server for all the tests that can share it; each test makes apps of its own on it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaiwa.settings import PriceSetting
from tests.support.server import TestServer, serving

TITLE_PROMPT = "Name a conversation by its first question."
SIDE_REPLIES: list[dict[str, Any]] = [
    # The model for titles and suggestions; a word in the question says how it behaves.
    {"when": "(side: fails)", "steps": [{"fail": {"kind": "server"}}]},
    {"when": "(side: babbles)", "steps": [{"text": "I would rather not {]."}]},
    {"when": "(side: titles)", "steps": [{"text": '{"l": "en", "i": "?", "title": "A title"}'}]},
    {
        "when": "(side: thinks)",
        "steps": [{"text": '<think>["wrong"], {"title": "wrong"}</think>'}],
    },
    {"when": TITLE_PROMPT, "steps": [{"text": "no title"}]},
]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestServer]:
    async with serving(
        tmp_path_factory.mktemp("contract"),
        providers={"scripted": {"kind": "scripted", "replies": SIDE_REPLIES}},
        default_model="scripted/side",
        prices={"scripted/script": PriceSetting("0.5", "1.5", "EUR")},
    ) as found:
        yield found
