"""A model server on loopback and the door to it."""

from collections.abc import AsyncGenerator

import pytest

from kaiwa.providers.http import Operator
from kaiwa.providers.registry import create_model, list_kinds
from tests.support.model_server import ModelServer

# Loading a kind reads files; within a test it would block the loop.
for _kind in list_kinds():
    create_model(_kind, {}, Operator())


@pytest.fixture
async def server(anyio_backend: str) -> AsyncGenerator[ModelServer]:
    async with ModelServer() as opened:
        yield opened


@pytest.fixture
async def http(anyio_backend: str) -> AsyncGenerator[Operator]:
    door = Operator()
    yield door
    await door.close()
