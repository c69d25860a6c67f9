"""What models cost and how much they can read, from the data inside the genai-prices package.

Nothing is looked up on the network. The first call takes a while: call these off the event loop.
"""

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import import_module
from typing import Final, Protocol, cast

from kaiwa.domain.usage import Price

_PER_MILLION: Final = Decimal("0.000001")


class _ModelPrice(Protocol):
    input_mtok: object
    output_mtok: object


class _Model(Protocol):
    context_window: int | None

    def get_prices(self, request_timestamp: datetime) -> _ModelPrice: ...


class _Provider(Protocol):
    id: str

    def find_model(self, model_ref: str, *, all_providers: "list[_Provider]") -> _Model | None: ...


def find_price(provider: str, model: str) -> Price | None:
    """Today's price per million tokens; None when either name is not known.

    Where a price rises with the length of the prompt, it is that of a short one.
    """
    found = _find_model(provider, model)
    if found is None:
        return None
    prices = found.get_prices(datetime.now(UTC))
    prompt, completion = _read_price(prices.input_mtok), _read_price(prices.output_mtok)
    if prompt is None or completion is None:
        return None
    return Price(prompt, completion, _PER_MILLION)


def find_context_size(provider: str, model: str) -> int | None:
    """In tokens; None when it is not known."""
    found = _find_model(provider, model)
    return found.context_window if found else None


def _find_model(provider: str, model: str) -> _Model | None:
    """The provider must be named exactly: a name that only resembles one may cost otherwise."""
    providers = _providers()
    name = provider.lower()
    for found in providers:
        if found.id == name:
            return found.find_model(model, all_providers=providers)
    return None


@cache
def _providers() -> list[_Provider]:
    # Loaded when first needed, because it drags pydantic and an HTTP client in.
    data = import_module("genai_prices.data")
    return cast("list[_Provider]", data.providers)


def _read_price(price: object) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    return cast(Decimal | None, getattr(price, "base", None))
