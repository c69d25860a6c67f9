"""From the model an app names to the server that has it.

Servers come from the settings and from the environment variables that everybody has
(`OPENAI_API_KEY` …). `kaiwa/default` is the default model: the setting, else OpenAI when a key is
there, else a local Ollama that answers, else the built-in `quoting`.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

import msgspec

from kaiwa.domain.usage import Price
from kaiwa.errors import OperatorError, ProviderNotInitialized
from kaiwa.ports import ChatModel, ModelChoice
from kaiwa.providers.http import Operator, OutboundError
from kaiwa.providers.prices import find_context_size, find_price
from kaiwa.providers.registry import create_model

_DEFAULT_PROVIDER = "kaiwa"
_OPENAI_MODEL = "gpt-4o-mini"
_OLLAMA = "http://127.0.0.1:11434"
_COMPATIBLE = "openai_api_compatible"
_BUILT_IN = ("quoting", "scripted")
_PROBE_SECONDS = 0.5
_PROBE_AGAIN_SECONDS = 30
_MILLION = Decimal("0.000001")

Entry = Mapping[str, object]


class Catalog:
    """The model servers of this installation, opened when first used."""

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

        Raises `OperatorError` for an entry that is no server.
        """
        self._http = http
        self._entries = _entries(entries, environment)
        self._aliases = _aliases(self._entries)
        self._default_model = default_model
        self._prices = prices or {}
        self._context_sizes = context_sizes or {}
        self._openai_model = environment.get("OPENAI_MODEL", _OPENAI_MODEL)
        self._servers: dict[str, ChatModel] = {}
        self._choices: dict[tuple[str, str], ModelChoice] = {}
        self._ollama: tuple[float, str | None] | None = None

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
            return f"openai/{self._openai_model}"
        if found := await self._ollama_model():
            return f"ollama/{found}"
        return "quoting/quoting"

    def find_entry(self, provider: str) -> str | None:
        """The server's name in the settings; the last part of `a/b/c` counts."""
        name = provider.strip().rsplit("/", 1)[-1].lower()
        if name in self._entries or name == _DEFAULT_PROVIDER:
            return name
        return self._aliases.get(name)

    async def _make(self, entry: str, name: str) -> ModelChoice:
        full_name = f"{entry}/{name}"
        kind = _kind(entry, self._entries[entry])
        server = self._servers.get(entry)
        if server is None:
            options = {
                key: value
                for key, value in self._entries[entry].items()
                if key not in ("kind", "aliases")
            }
            server = await asyncio.to_thread(create_model, kind, options, self._http)
            self._servers[entry] = server
        price = self._prices.get(full_name)
        context_size = self._context_sizes.get(full_name)
        if kind not in _BUILT_IN:
            price = price or await asyncio.to_thread(find_price, entry, name)
            context_size = context_size or await asyncio.to_thread(find_context_size, entry, name)
        return ModelChoice(server, entry, name, context_size, price)

    async def _ollama_model(self) -> str | None:
        """The first model of a local Ollama; asked again after a while."""
        if "ollama" not in self._entries:
            return None
        now = time.monotonic()
        if self._ollama is None or now - self._ollama[0] > _PROBE_AGAIN_SECONDS:
            base_url = str(self._entries["ollama"]["base_url"])
            self._ollama = (now, await _first_model(self._http, base_url))
        return self._ollama[1]


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
    host = environment.get("OLLAMA_HOST") or _OLLAMA
    if "://" not in host:
        host = f"http://{host}"
    entries["ollama"] = {"kind": "openai", "base_url": f"{host.rstrip('/')}/v1"}
    for name, entry in given.items():
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


async def _first_model(http: Operator, base_url: str) -> str | None:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            body = await http.get(f"{base_url}/models", limit=1_000_000)
        models = msgspec.json.decode(body, type=_Models).data
    except (OutboundError, TimeoutError, msgspec.DecodeError):
        return None
    return models[0].id if models else None


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: list[_Model] = []


def price_per_million(prompt: str, completion: str, currency: str) -> Price:
    """A price given per million tokens, as decimal strings. Raises `ValueError`."""
    return Price(Decimal(prompt), Decimal(completion), _MILLION, currency)
