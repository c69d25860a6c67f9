"""From a name in the settings, or of a base, to the model that embeds or ranks.

`hashed` and `onnx` are kinds of our own, files in `embeddings/` that are loaded when first used;
any other name is that of a model server.
"""

from typing import Final

import anyio
import anyio.to_thread

from kaiwa.errors import OperatorError, ProviderNotInitialized
from kaiwa.ports import Embedder, Reranker
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.embeddings.openai import OpenAIEmbedder
from kaiwa.providers.http import Operator
from kaiwa.providers.openai_server import OpenAIServer
from kaiwa.providers.registry import load_embedder
from kaiwa.providers.rerank.jina import JinaReranker

HASHED: Final = "hashed"
DEFAULT: Final = "default"
_OURS: Final = (HASHED, "onnx")


def split_model(name: str) -> tuple[str, str]:
    """Provider and model of the setting `embedding_model`; both are empty when it is."""
    if name == HASHED:
        return HASHED, HASHED
    provider, _, model = name.partition("/")
    return provider, model


class Comparers:
    """The models of this installation that embed and rank; each is opened once."""

    def __init__(self, catalog: Catalog, http: Operator, rerank_model: str = "") -> None:
        """`rerank_model` is the `provider/model` that `default` stands for."""
        self._catalog = catalog
        self._http = http
        self._rerank_model = rerank_model
        self._embedders: dict[tuple[str, str], Embedder] = {}
        self._rerankers: dict[str, Reranker] = {}
        self._opening = anyio.Lock()

    async def embedder(self, provider: str, model: str) -> Embedder:
        """Raises `ProviderNotInitialized`, with a sentence that says what is missing."""
        found = self._embedders.get((provider, model))
        if found is None:
            async with self._opening:
                found = self._embedders.get((provider, model))
                if found is None:
                    found = await self._open_embedder(provider, model)
                    self._embedders[provider, model] = found
        return found

    async def _open_embedder(self, provider: str, model: str) -> Embedder:
        if provider not in _OURS:
            return OpenAIEmbedder(self._find_server(provider, "embedding"), model)
        try:
            return await anyio.to_thread.run_sync(lambda: load_embedder(provider)(model))
        except OperatorError as error:
            raise ProviderNotInitialized(str(error)) from error

    async def reranker(self, full_name: str) -> Reranker:
        """Of `provider/model`, or `default`. Raises `ProviderNotInitialized`."""
        if full_name == DEFAULT:
            full_name = self._rerank_model
        found = self._rerankers.get(full_name)
        if found is None:
            provider, _, model = full_name.partition("/")
            found = JinaReranker(self._find_server(provider, "rerank"), model)
            self._rerankers[full_name] = found
        return found

    def _find_server(self, provider: str, what: str) -> OpenAIServer:
        options = self._catalog.find_options(provider, "openai")
        if options is None:
            raise ProviderNotInitialized(
                f"The {what} model's provider {provider!r} is no model server of the kind openai"
                " that is set up."
            )
        return OpenAIServer(options, self._http)
