"""Any server with the `POST …/rerank` that Jina and Cohere have, vLLM and others too."""

from collections.abc import Sequence
from math import exp, isfinite
from typing import Final

import anyio
import msgspec
from msgspec import Struct

from kaiwa.errors import CompletionFailed
from kaiwa.providers.openai_server import OpenAIServer
from kaiwa.providers.retrying import ask_again

_PATH: Final = "/rerank"
_LARGEST: Final = 16 << 20
"""Bytes of an answer."""


class _Result(Struct, frozen=True):
    index: int
    relevance_score: float


class _Answer(Struct, frozen=True):
    results: list[_Result]


_DECODER: Final = msgspec.json.Decoder(_Answer)


class JinaReranker:
    """A model that ranks, on its server."""

    def __init__(
        self, server: OpenAIServer, model: str, patience: float = 30.0, wait: float = 0.5
    ) -> None:
        """`patience`: seconds for an answer; `wait`: seconds before the second attempt."""
        self._server = server
        self._model = model
        self._patience = patience
        self._wait = wait

    async def rerank(self, query: str, passages: Sequence[str]) -> list[float]:
        if not passages:
            return []
        body = msgspec.json.encode(
            {
                "model": self._model,
                "query": query,
                "documents": list(passages),
                "top_n": len(passages),
                "return_documents": False,
            }
        )
        said = await ask_again(lambda: self._ask(body), self._wait)
        try:
            return _read(said, len(passages))
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise CompletionFailed(f"The rerank server's answer is wrong: {error}.") from error

    async def _ask(self, body: bytes) -> bytes:
        try:
            with anyio.fail_after(self._patience):
                async with self._server.ask(_PATH, body, self._model) as answer:
                    return await answer.read(_LARGEST)
        except TimeoutError as error:
            raise CompletionFailed("The rerank server does not answer.") from error


def _read(body: bytes, count: int) -> list[float]:
    """Raises `ValueError`."""
    scores: list[float | None] = [None] * count
    for one in _DECODER.decode(body).results:
        if not 0 <= one.index < count or not isfinite(one.relevance_score):
            raise ValueError("a result is of no passage, or its score is no number")
        scores[one.index] = one.relevance_score
    found = [score for score in scores if score is not None]
    if len(found) != count:
        raise ValueError(f"it holds {len(found)} scores for {count} passages")
    if all(0 <= score <= 1 for score in found):
        return found
    # Some servers answer with what their model says, before it is made a probability.
    return [1 / (1 + exp(-max(-60.0, min(60.0, score)))) for score in found]
