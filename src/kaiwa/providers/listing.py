"""Which models a server has, for a default model that nobody named."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

import msgspec

from kaiwa.providers.http import Operator, OutboundError

_SECONDS = 0.5
_AGAIN_SECONDS = 30
_LIMIT = 1_000_000
_EMBEDS = re.compile(r"embed|minilm|\bbge|rerank", re.IGNORECASE)
"""Names of models that cannot talk."""
_OLLAMA_PORT = "11434"
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class Listing:
    """One server's model to take by default."""

    def __init__(self, http: Operator, base_url: str, api_key: str = "") -> None:
        self._http = http
        self._url = f"{base_url.rstrip('/')}/models"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._lock = asyncio.Lock()
        self._asked_at: float | None = None
        self._found: str | None = None

    async def first(self, wanted: str = "") -> str | None:
        """`wanted` if the server has it, else its first that can talk; None if it never answered.

        It is asked again after a while; one found before stays while the server has it, or is
        too busy to say.
        """
        async with self._lock:
            now = time.monotonic()
            if self._asked_at is None or now - self._asked_at > _AGAIN_SECONDS:
                names = await self._list()
                self._asked_at = now
                if names and self._found not in names:
                    talking = [name for name in names if not _EMBEDS.search(name)]
                    self._found = wanted if wanted in names else next(iter(talking), None)
            return self._found

    async def _list(self) -> Sequence[str]:
        try:
            async with asyncio.timeout(_SECONDS):
                body = await self._http.get(self._url, _LIMIT, self._headers)
            return [model.id for model in msgspec.json.decode(body, type=_Models).data]
        except (OutboundError, TimeoutError, ValueError, RecursionError):
            return ()


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: list[_Model] = []


def ollama_address(environment: Mapping[str, str]) -> str:
    """Where Ollama listens, from OLLAMA_HOST as Ollama itself reads it.

    Source: https://github.com/ollama/ollama, envconfig/config.go.
    """
    scheme, found, rest = environment.get("OLLAMA_HOST", "").strip().strip("\"'").partition("://")
    if not found:
        scheme, rest = "http", scheme
    default = {"http": "80", "https": "443"}.get(scheme, "") if found else _OLLAMA_PORT
    address, _, path = rest.partition("/")
    match = re.fullmatch(r"(\[[^]]*\]|[^:]*):([^:]*)", address)
    name, port = match.groups() if match else (address, "")
    name = name.strip("[]")
    name = _EVERYWHERE.get(name, name)
    name = f"[{name}]" if ":" in name else name
    port = port if port.isascii() and port.isdigit() and int(port) < 65536 else default
    return f"{scheme}://{name}:{port}/{path}".rstrip("/")
