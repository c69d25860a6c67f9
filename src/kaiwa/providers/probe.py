"""Whether a server is there: one short look at what costs it nothing."""

import asyncio
from collections.abc import Mapping
from typing import cast

from kaiwa.providers.http import Operator, OutboundError

_SECONDS = 2.0
_LIMIT = 100_000
_ADDRESSES = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com/v1"}
_NO_LIST = ("HTTP 404", "HTTP 405")
"""Answers of a server that is there and has no list of its models."""


async def probe(http: Operator, kind: str, options: Mapping[str, object]) -> str | None:
    """None when the server answers, else why not; for the kinds `can_probe` names."""
    base_url = str(options.get("base_url") or _ADDRESSES[kind]).rstrip("/")
    if kind == "anthropic":
        base_url = f"{base_url.removesuffix('/v1')}/v1"
    return await look(http, f"{base_url}/models", _headers(kind, options), _NO_LIST)


async def look(
    http: Operator, url: str, headers: Mapping[str, str], fine: tuple[str, ...]
) -> str | None:
    """None when the server answers well or with one of `fine`, as `HTTP 404`; else why not."""
    try:
        async with asyncio.timeout(_SECONDS):
            await http.get(url, _LIMIT, headers)
    except TimeoutError:
        return f"the server did not answer in {_SECONDS:g} seconds"
    except OutboundError as error:
        return None if str(error).endswith(fine) else str(error)
    return None


def can_probe(kind: str) -> bool:
    """Whether it is known how servers of this kind list their models."""
    return kind in _ADDRESSES


def _headers(kind: str, options: Mapping[str, object]) -> dict[str, str]:
    key = str(options.get("api_key") or "")
    headers: dict[str, str] = {}
    if kind == "anthropic":
        headers = {"anthropic-version": "2023-06-01"} | ({"x-api-key": key} if key else {})
    elif key:
        headers = {"Authorization": f"Bearer {key}"}
    given = options.get("headers")
    if isinstance(given, Mapping):
        items = cast("Mapping[object, object]", given).items()
        headers |= {str(name): str(value) for name, value in items}
    return headers
