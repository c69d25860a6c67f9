"""Tokens and prices: the provider's own counts, exact decimals, `estimated` when it was silent."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from kaiwa.settings import PriceSetting
from tests.support import model_server as does
from tests.support.model_server import ModelServer
from tests.support.networked import WIRES, networked_app, serving_models
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

Networked = tuple[TestServer, ModelServer]
PRICES = {
    "dear": PriceSetting("2.50", "10", "EUR"),
    "tiny": PriceSetting("0.01", "0.02"),
    "free": PriceSetting("0", "0"),
}


@pytest.fixture(scope="module")
async def networked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Networked]:
    prices = {f"{wire}/{name}": price for wire in WIRES for name, price in PRICES.items()}
    async with serving_models(tmp_path_factory.mktemp("usage"), prices=prices) as found:
        yield found


async def usage_of(server: TestServer, provider: str, model: str, mode: str) -> dict[str, Any]:
    client = await server.client(networked_app(provider, model=model))
    if mode == "blocking":
        usage = (await client.ask("Hello")).body["metadata"]["usage"]
    else:
        usage = (await client.stream("Hello"))[-1].data["metadata"]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert Decimal(usage["total_price"]) == Decimal(usage["prompt_price"]) + Decimal(
        usage["completion_price"]
    )
    assert not any("E" in str(value) for key, value in usage.items() if "price" in key)
    assert usage["latency"] >= 0
    return usage


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("mode", ["blocking", "streaming"])
async def test_counts_are_the_providers_and_prices_are_exact(
    networked: Networked, provider: str, mode: str
) -> None:
    server, models = networked
    models.play(does.speak(usage=(1001, 333)))
    usage = await usage_of(server, provider, "dear", mode)
    del usage["latency"]
    assert usage == {
        "prompt_tokens": 1001,
        "prompt_unit_price": "2.50",
        "prompt_price_unit": "0.000001",
        "prompt_price": "0.0025025",
        "completion_tokens": 333,
        "completion_unit_price": "10",
        "completion_price_unit": "0.000001",
        "completion_price": "0.0033300",
        "total_tokens": 1334,
        "total_price": "0.0058325",
        "currency": "EUR",
    }


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("mode", ["blocking", "streaming"])
async def test_a_provider_that_is_silent_about_it_is_estimated(
    networked: Networked, provider: str, mode: str
) -> None:
    server, models = networked
    models.play(does.speak("Hello wide world", usage=None))
    usage = await usage_of(server, provider, "dear", mode)
    assert usage["estimated"] is True
    assert usage["prompt_tokens"] > 0
    assert 2 <= usage["completion_tokens"] <= 8
    assert Decimal(usage["completion_price"]) > 0


@pytest.mark.parametrize(
    ("model", "counts", "prices"),
    [
        ("tiny", (10, 5), ("0.0000001", "0.0000001", "0.0000002")),
        ("tiny", (4, 2), ("0.0000000", "0.0000000", "0.0000000")),
        ("free", (7, 3), ("0.0000000", "0.0000000", "0.0000000")),
        ("unknown-to-all", (7, 3), ("0.0", "0.0", "0.0")),
        ("dear", (10**9, 10**9), ("2500.0000000", "10000.0000000", "12500.0000000")),
    ],
)
async def test_prices_are_plain_decimals_however_small_or_large(
    networked: Networked, model: str, counts: tuple[int, int], prices: tuple[str, str, str]
) -> None:
    server, models = networked
    models.play(does.speak(usage=counts))
    usage = await usage_of(server, "openai", model, "streaming")
    found = (usage["prompt_price"], usage["completion_price"], usage["total_price"])
    assert found == prices


async def test_an_answer_cut_off_by_its_model_is_no_gift(networked: Networked) -> None:
    """A failed stream has no usage to show, but its conversation goes on counting."""
    server, models = networked
    models.play(does.reset_after("one", " two"), does.speak(usage=(20, 3)))
    client = await server.client(networked_app(model="dear"))
    failed = (await client.stream("Hello"))[-1]
    assert failed.event == "error"
    reply = await client.ask("Again", conversation_id=failed.data["conversation_id"])
    assert reply.body["metadata"]["usage"]["total_tokens"] == 23
