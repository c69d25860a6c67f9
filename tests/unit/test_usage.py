"""Exact prices and sums."""

from decimal import Decimal

import pytest

from kaiwa.domain.usage import Price, Round, Usage, plain

_PRICE = Price(Decimal("0.15"), Decimal("0.60"), Decimal("0.000001"))
_OTHER = Price(Decimal("3"), Decimal("15"), Decimal("0.000001"), "EUR")


def _round(prompt: int, completion: int, price: Price | None, estimated: bool = False) -> Round:
    return Round("p", "m", prompt, completion, price, estimated, 0.5)


@pytest.mark.parametrize(
    ("tokens", "unit", "expected"),
    [
        (1033, "0.001", "0.0010330"),
        (1, "0.00005", "0.0000001"),
        (1, "0.00004", "0.0000000"),
        (3, "0.00005", "0.0000002"),
        (0, "5", "0.0000000"),
        (1, "0.001", "0.0000010"),
    ],
)
def test_a_price_is_rounded_half_up_to_seven_places(tokens: int, unit: str, expected: str):
    price = Price(Decimal(unit), Decimal(unit), Decimal("0.001"))
    assert plain(_round(tokens, 0, price).prompt_price) == expected
    assert plain(_round(0, tokens, price).completion_price) == expected


def test_usage_adds_up_over_its_rounds():
    usage = Usage((_round(1000, 200, _PRICE), _round(7, 3, _OTHER, estimated=True)))
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1007, 203, 1210)
    assert usage.prompt_price == Decimal("0.0001500") + Decimal("0.0000210")
    assert usage.completion_price == Decimal("0.0001200") + Decimal("0.0000450")
    assert usage.total_price == usage.prompt_price + usage.completion_price
    assert plain(usage.total_price) == "0.0003360"
    assert usage.price is _OTHER
    assert usage.estimated
    assert usage.latency == 1.0


def test_a_model_without_a_price_costs_nothing_that_we_know():
    usage = Usage((_round(10, 5, None),))
    assert usage.price is None
    assert usage.total_price == 0
    assert not usage.estimated


def test_no_rounds_are_no_usage():
    usage = Usage()
    assert (usage.total_tokens, usage.total_price, usage.latency) == (0, 0, 0)
    assert usage.price is None


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (None, "0.0"),
        (Decimal("0E-7"), "0.0000000"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("5E-7"), "0.0000005"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.15"), "0.15"),
        (Decimal("0.000001"), "0.000001"),
    ],
)
def test_prices_are_never_written_with_an_exponent(price: Decimal | None, text: str):
    assert plain(price) == text
