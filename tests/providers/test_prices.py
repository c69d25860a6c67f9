"""Prices and context sizes come from the package's data, and are never guessed."""

from decimal import Decimal

import pytest

from kaiwa.domain.usage import Price
from kaiwa.providers.prices import find_context_size, find_price


def test_a_known_model_has_its_price_per_million_tokens() -> None:
    price = find_price("openai", "gpt-4o-mini")
    assert price == Price(Decimal("0.15"), Decimal("0.6"), Decimal("0.000001"), "USD")
    assert find_price("OpenAI", "gpt-4o-mini-2024-07-18") == price
    assert find_context_size("openai", "gpt-4o-mini") == 128_000


def test_a_price_that_rises_with_the_prompt_is_that_of_a_short_one() -> None:
    price = find_price("anthropic", "claude-sonnet-4-5")
    assert price == Price(Decimal("3"), Decimal("15"), Decimal("0.000001"), "USD")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-999"),
        ("openai", "gpt-4o-mini-but-ours"),
        ("openai", ""),
        ("my-openai", "gpt-4o-mini"),
        ("quoting", "quoting"),
        ("", "gpt-4o-mini"),
    ],
)
def test_an_unknown_model_has_neither(provider: str, model: str) -> None:
    assert find_price(provider, model) is None
    assert find_context_size(provider, model) is None


def test_a_model_without_answers_has_no_price() -> None:
    assert find_price("openai", "text-embedding-3-small") is None
