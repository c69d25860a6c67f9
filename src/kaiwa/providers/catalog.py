"""From the model an app names to the server that has it.

Servers come from the settings and from the environment variables that everybody has
(`OPENAI_API_KEY` …). `kaiwa/default` is the default model: the setting, else OpenAI when a key is
there, else a local Ollama that answers, else the built-in `quoting`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

from msgspec import Struct

from kaiwa.domain.usage import Price
from kaiwa.errors import OperatorError, ProviderNotInitialized
from kaiwa.ports import ChatModel, ModelChoice
from kaiwa.providers.http import Operator
from kaiwa.providers.listing import Listing, ollama_address
from kaiwa.providers.prices import find_context_size, find_price
from kaiwa.providers.probe import can_probe, probe
from kaiwa.providers.registry import create_model

_DEFAULT_PROVIDER = "kaiwa"
_OPENAI_MODEL = "gpt-4o-mini"
_COMPATIBLE = "openai_api_compatible"
_BUILT_IN = ("quoting", "scripted")
_OURS = ("kind", "aliases")
"""Options that are for us, not for the server."""
_MILLION = Decimal("0.000001")

Entry = Mapping[str, object]


class ServerState(Struct, frozen=True):
    """How a model server was found."""

    name: str
    kind: str
    state: str
    """`built in`, `reachable`, `not reachable` or `not checked`."""
    problem: str | None
    """Why it is not reachable."""
    needed: bool
    """Somebody set it up."""


class Catalog:
    """The model servers of this installation."""

    def __init__(
        self,
        http: Operator,
        entries: Mapping[str, Entry],
        environment: Mapping[str, str],
        default_model: str = "",
        prices: Mapping[str, Price] | None = None,
        context_sizes: Mapping[str, int] | None = None,
    ) -> None:
        """`entries` are the settings' servers; `prices` and `context_sizes` go by provider/model.

        Raises `OperatorError` for an entry that is no server, and for a default model without one.
        """
        self._http = http
        self._given = {name.lower() for name in entries}
        self._entries = _entries(entries, environment)
        self._aliases = _aliases(self._entries)
        self._default_model = default_model
        if default_model:
            self._check_default()
        self._prices = prices or {}
        self._context_sizes = context_sizes or {}
        self._openai_model = environment.get("OPENAI_MODEL", "")
        self._servers: dict[str, ChatModel] = {}
        self._choices: dict[tuple[str, str], ModelChoice] = {}
        self._listings: dict[str, Listing] = {}

    def _check_default(self) -> None:
        provider, _, _ = self._default_model.partition("/")
        entry = self.find_entry(provider)
        if entry is None or entry == _DEFAULT_PROVIDER:
            known = ", ".join(self._entries)
            raise OperatorError(
                f"The setting default_model names {provider!r}, which is no model server that is"
                f" set up; there are: {known}."
            )

    async def open_servers(self) -> None:
        """Open every server that was set up, so that a mistake in its options shows at once.

        Raises `OperatorError`.
        """
        await asyncio.to_thread(lambda: [self._open(entry) for entry in self._entries])

    def _open(self, entry: str) -> ChatModel:
        """Reads files: not for the event loop."""
        server = self._servers.get(entry)
        if server is None:
            kind = _kind(entry, self._entries[entry])
            try:
                server = create_model(kind, self._options(entry), self._http)
            except OperatorError as error:
                raise OperatorError(f"In the setting providers.{entry}: {error}") from error
            self._servers[entry] = server
        return server

    def _options(self, entry: str) -> dict[str, object]:
        given = self._entries[entry].items()
        return {"name": entry} | {key: value for key, value in given if key not in _OURS}

    def find_options(self, provider: str, kind: str) -> dict[str, object] | None:
        """What is set up for a server of this kind; None when there is no such server."""
        entry = self.find_entry(provider)
        if entry not in self._entries or _kind(entry, self._entries[entry]) != kind:
            return None
        return self._options(entry)

    async def check_servers(self) -> list[ServerState]:
        """Asks each server for a sign of life."""
        return await asyncio.gather(*map(self._check_server, self._entries))

    async def _check_server(self, entry: str) -> ServerState:
        options = self._entries[entry]
        kind = _kind(entry, options)
        needed = entry != "ollama" or entry in self._given
        if kind in _BUILT_IN:
            return ServerState(entry, kind, "built in", None, needed)
        if not can_probe(kind):
            return ServerState(entry, kind, "not checked", None, needed)
        problem = await probe(self._http, kind, options)
        state = "not reachable" if problem else "reachable"
        return ServerState(entry, kind, state, problem, needed)

    async def choose(self, provider: str, name: str) -> ModelChoice:
        """The model `name` of `provider`, as an app's file spells them.

        Raises `ProviderNotInitialized` for a provider that is not set up.
        """
        entry = self.find_entry(provider)
        if entry == _DEFAULT_PROVIDER:
            return await self.choose_default()
        if entry is None:
            raise ProviderNotInitialized(f"Model {name} credentials is not initialized.")
        choice = self._choices.get((entry, name))
        if choice is None:
            choice = self._choices[entry, name] = await self._make(entry, name)
        return choice

    async def choose_default(self) -> ModelChoice:
        """The default model; there always is one."""
        provider, _, name = (await self.default_name()).partition("/")
        return await self.choose(provider, name)

    async def default_name(self) -> str:
        """`provider/model` of the default model."""
        if self._default_model:
            return self._default_model
        if "openai" in self._entries:
            return f"openai/{await self._openai_default()}"
        if found := await self._listing("ollama").first():
            return f"ollama/{found}"
        return "quoting/quoting"

    async def _openai_default(self) -> str:
        """OPENAI_MODEL; else what the server at OPENAI_BASE_URL has, for it may be any."""
        if self._openai_model or not self._entries["openai"].get("base_url"):
            return self._openai_model or _OPENAI_MODEL
        return await self._listing("openai").first(_OPENAI_MODEL) or _OPENAI_MODEL

    def _listing(self, entry: str) -> Listing:
        listing = self._listings.get(entry)
        if listing is None:
            options = self._entries[entry]
            base_url, api_key = str(options.get("base_url", "")), str(options.get("api_key", ""))
            listing = self._listings[entry] = Listing(self._http, base_url, api_key)
        return listing

    def find_entry(self, provider: str) -> str | None:
        """The server's name in the settings; the last part of `a/b/c` counts."""
        name = provider.strip().rsplit("/", 1)[-1].lower()
        if name in self._entries or name == _DEFAULT_PROVIDER:
            return name
        return self._aliases.get(name)

    async def _make(self, entry: str, name: str) -> ModelChoice:
        full_name = f"{entry}/{name}"
        server = self._servers.get(entry) or await asyncio.to_thread(self._open, entry)
        kind = _kind(entry, self._entries[entry])
        price = self._prices.get(full_name)
        context_size = self._context_sizes.get(full_name)
        if kind not in _BUILT_IN:
            price = price or await asyncio.to_thread(find_price, entry, name)
            context_size = context_size or await asyncio.to_thread(find_context_size, entry, name)
        return ModelChoice(server, entry, name, context_size, price)


def _entries(given: Mapping[str, Entry], environment: Mapping[str, str]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {kind: {"kind": kind} for kind in _BUILT_IN}
    for kind, prefix in (("openai", "OPENAI"), ("anthropic", "ANTHROPIC")):
        options = {
            option: value
            for option in ("api_key", "base_url")
            if (value := environment.get(f"{prefix}_{option.upper()}"))
        }
        if options:
            entries[kind] = {"kind": kind, **options}
    entries["ollama"] = {"kind": "openai", "base_url": f"{ollama_address(environment)}/v1"}
    for name, entry in given.items():
        if name.lower() == _DEFAULT_PROVIDER or "/" in name:
            raise OperatorError(f"A model server cannot be called {name}; give it another name.")
        entries[name.lower()] = {**entries.get(name.lower(), {}), **entry}
        _kind(name, entries[name.lower()])
    return entries


def _kind(name: str, entry: Entry) -> str:
    kind = entry.get("kind")
    if not isinstance(kind, str):
        raise OperatorError(f"The setting providers.{name} needs a kind.")
    return kind


def _aliases(entries: Mapping[str, Entry]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    if "openai" in entries:
        aliases[_COMPATIBLE] = "openai"
    for name, entry in entries.items():
        found = entry.get("aliases", ())
        if isinstance(found, str):
            found = found.split(",")
        if not isinstance(found, Sequence):
            raise OperatorError(f"The setting providers.{name}.aliases must be a list of names.")
        for alias in cast("Sequence[object]", found):
            aliases[str(alias).strip().lower()] = name
    return aliases


def price_per_million(prompt: str, completion: str, currency: str) -> Price:
    """A price given per million tokens, as decimal strings. Raises `ValueError`."""
    try:
        prices = Decimal(prompt), Decimal(completion)
    except ArithmeticError as error:
        raise ValueError("not a decimal number") from error
    if not all(price.is_finite() and price >= 0 for price in prices):
        raise ValueError("not a price")
    return Price(*prices, _MILLION, currency)
