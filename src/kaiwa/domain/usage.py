"""Token counts and exact prices of a turn, round by round."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from msgspec import Struct

_SEVEN_PLACES = Decimal("0.0000001")


class Price(Struct, frozen=True):
    """What a model costs: tokens × `prompt` (or `completion`) × `unit`."""

    prompt: Decimal
    completion: Decimal
    unit: Decimal
    currency: str = "USD"


class Round(Struct, frozen=True):
    """One call of a model."""

    provider: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    price: Price | None
    """None when the price is not known; it is never guessed."""
    estimated: bool
    """The provider reported nothing, so the counts are ours."""
    latency: float
    """Seconds from the request to the end of the answer."""

    @property
    def prompt_price(self) -> Decimal:
        """Rounded half up to seven places."""
        return _cost(self.prompt_tokens, self.price and self.price.prompt, self.price)

    @property
    def completion_price(self) -> Decimal:
        """Rounded half up to seven places."""
        return _cost(self.completion_tokens, self.price and self.price.completion, self.price)


class Usage(Struct, frozen=True):
    """The sum of a turn's rounds; no rounds for an answer that called no model."""

    rounds: tuple[Round, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        return sum(r.prompt_tokens for r in self.rounds)

    @property
    def completion_tokens(self) -> int:
        return sum(r.completion_tokens for r in self.rounds)

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def prompt_price(self) -> Decimal:
        return _total([r.prompt_price for r in self.rounds])

    @property
    def completion_price(self) -> Decimal:
        return _total([r.completion_price for r in self.rounds])

    @property
    def total_price(self) -> Decimal:
        return self.prompt_price + self.completion_price

    @property
    def price(self) -> Price | None:
        """The price list of the last round that has one."""
        return next((r.price for r in reversed(self.rounds) if r.price), None)

    @property
    def estimated(self) -> bool:
        return any(r.estimated for r in self.rounds)

    @property
    def latency(self) -> float:
        return sum(r.latency for r in self.rounds)


def _cost(tokens: int, unit_price: Decimal | None, price: Price | None) -> Decimal:
    if unit_price is None or price is None:
        return Decimal(0)
    return (tokens * unit_price * price.unit).quantize(_SEVEN_PLACES, ROUND_HALF_UP)


def _total(prices: Sequence[Decimal]) -> Decimal:
    return sum(prices, Decimal(0))


def plain(price: Decimal | None) -> str:
    """In plain notation, never with an exponent; `0.0` when there is no price."""
    return "0.0" if price is None else format(price, "f")
