"""A server whose models are on the network, at a server of ours that does what a test says."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.apps import app_file
from tests.support.model_server import ModelServer
from tests.support.server import TestServer, serving

SECRET = "canary-8d1f60-never-to-be-seen"
WIRES = ("openai", "anthropic")


@asynccontextmanager
async def serving_models(
    folder: Path, **settings: Any
) -> AsyncGenerator[tuple[TestServer, ModelServer]]:
    """The providers `openai` and `anthropic`, each with a key, at one model server."""
    async with ModelServer() as models:
        shared = {"api_key": SECRET, "retry_wait": 0.01}
        providers = {
            "openai": {"kind": "openai", "base_url": models.openai_url, **shared},
            "anthropic": {"kind": "anthropic", "base_url": models.anthropic_url, **shared},
        }
        options: dict[str, Any] = {"default_model": "quoting/quoting", "providers": providers}
        async with serving(folder, **(options | settings)) as server:
            yield server, models


def networked_app(
    provider: str = "openai",
    *,
    model: str = "m",
    mode: str = "chat",
    params: dict[str, Any] | None = None,
    **config: Any,
) -> str:
    """An app that asks this provider's model; `config` as for `app_file`."""
    wanted = {
        "provider": provider,
        "name": model,
        "mode": mode,
        "completion_params": params or {},
    }
    return app_file(model=wanted, **config)
