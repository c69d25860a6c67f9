"""One server for all the tests that can share it; each test makes apps of its own on it."""

from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from kaiwa.settings import PriceSetting
from tests.support.attacks import Fortress, fortress
from tests.support.postgres import Postgres
from tests.support.server import DATABASES, TestServer, serving

QUESTIONS = '["Who?", "そして？", " And then? "]'

# The model for titles and suggestions: a word in the question says how it behaves.
SIDE: dict[str, list[dict[str, Any]]] = {
    "fails": [{"fail": {"kind": "server"}}],
    "babbles": [{"text": "I would rather not {]."}],
    "array": [{"text": QUESTIONS}],
    "thinks first": [{"text": f'<think>["wrong"]</think>{QUESTIONS}'}],
    "wraps it": [{"text": f"Of course:\n```json\n{QUESTIONS}\n```"}],
    "empty array": [{"text": "[]"}],
    "objects": [{"text": '[{"question": "Who?"}, 7, null, " "]'}],
    "title": [{"text": '{"a": "en", "b": "greet", "c": " Saying  hello 👋 "}'}],
    "late title": [
        {"silence": 0.1},
        {"text": '{"language": "en", "intention": "?", "title": "Late"}'},
    ],
    "title after thought": [{"text": '<think>{"title": "wrong"}</think>{"title": "Deep"}'}],
    "thought apart": [{"reasoning": '{"title": "wrong"}'}, {"text": '{"title": "Clear"}'}],
    "long title": [{"text": f'{{"title": "{"x" * 90}"}}'}],
    "no title": [{"text": '{"title": ""}'}],
    "number": [{"text": '{"title": 7}'}],
    "list": [{"text": '["a", "b", "c"]'}],
}
REPLIES = [
    *({"when": f"(side: {name})", "steps": steps} for name, steps in SIDE.items()),
    {"when": "Name a conversation by its first question.", "steps": [{"text": "-"}]},
]


@pytest.fixture(scope="package", params=["sqlite", "postgres"], autouse=True)
def engine(request: pytest.FixtureRequest) -> Generator[str]:
    """Every test of the contract runs on every engine, whichever way it starts its server."""
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        template: str = request.getfixturevalue("migrated_postgres")
        DATABASES.create = lambda: postgres.create(template)
    yield request.param
    DATABASES.create = None


@pytest.fixture(scope="package")  # longer, and its event loop would be in other tests' way
async def server(
    engine: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[TestServer]:
    async with serving(
        tmp_path_factory.mktemp("contract"),
        providers={"scripted": {"kind": "scripted", "replies": REPLIES}},
        default_model="scripted/side",
        prices={"scripted/script": PriceSetting("0.5", "1.5", "EUR")},
    ) as found:
        yield found


@pytest.fixture(autouse=True)
def _never_blocks(request: pytest.FixtureRequest) -> Generator[None]:
    """What blocks the event loop fails the test; a server that starts may still read files."""
    if "server" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("server")
    with blockbuster_ctx("kaiwa"):
        yield


@pytest.fixture(scope="module")
async def fort(engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fortress]:
    """To be attacked: a server with a secret, whose other users must not notice."""
    async with fortress(tmp_path_factory.mktemp("fort")) as found:
        yield found
