"""Any server that speaks OpenAI's API for vectors, `POST …/embeddings`.

Texts go out in batches. What a server does not take at once, or not in base64, is asked for
otherwise, and remembered; what passes is asked again.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Sequence
from math import isfinite, sqrt
from struct import unpack
from typing import Final

import anyio
import msgspec
from msgspec import Struct

from kaiwa.errors import CompletionFailed, KaiwaError
from kaiwa.providers.openai_server import OpenAIServer
from kaiwa.providers.retrying import ask_again, refusal_of

_PATH: Final = "/embeddings"
_MOST: Final = 64
"""Texts of one batch."""
_CHARACTERS: Final = 100_000
"""Of one batch; OpenAI takes 300,000 tokens."""
_LARGEST: Final = 64 << 20
"""Bytes of an answer."""
_WRONG_SIZE: Final = frozenset({400, 413, 422})
"""What servers answer to more than they take at once."""


class _Vector(Struct, frozen=True):
    embedding: str | list[float]
    index: int | None = None


class _Answer(Struct, frozen=True):
    data: list[_Vector]


_DECODER: Final = msgspec.json.Decoder(_Answer)


class OpenAIEmbedder:
    """A model that embeds, on its server."""

    def __init__(
        self, server: OpenAIServer, model: str, patience: float = 60.0, wait: float = 0.5
    ) -> None:
        """`patience`: seconds for one batch; `wait`: seconds before the second attempt."""
        self._server = server
        self._model = model
        self._patience = patience
        self._wait = wait
        self._most = _MOST
        self._compact = True

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        vectors: list[list[float]] = []
        for batch in _cut(texts, self._most):
            vectors += await self._embed_batch(batch)
        if len({len(vector) for vector in vectors}) > 1:
            raise CompletionFailed(
                f"The model {self._model} has made vectors of different dimensions."
            )
        return vectors

    async def _embed_batch(self, texts: Sequence[str]) -> list[list[float]]:
        try:
            return await ask_again(lambda: self._ask(texts), self._wait)
        except KaiwaError as error:
            refusal = refusal_of(error)
            if refusal is None or refusal.status not in _WRONG_SIZE:
                raise
            if self._compact and "encoding_format" in refusal.sentence:
                self._compact = False
                return await self._embed_batch(texts)
            if len(texts) == 1:
                raise
        # Perhaps there are too many of them: if it is something else, a single one says so.
        half = len(texts) // 2
        first = await self._embed_batch(texts[:half])
        self._most = max(1, min(self._most, half))
        return first + await self._embed_batch(texts[half:])

    async def _ask(self, texts: Sequence[str]) -> list[list[float]]:
        form = "base64" if self._compact else "float"
        body = {"model": self._model, "input": list(texts), "encoding_format": form}
        try:
            with anyio.fail_after(self._patience):
                async with self._server.ask(
                    _PATH, msgspec.json.encode(body), self._model
                ) as answer:
                    said = await answer.read(_LARGEST)
        except TimeoutError as error:
            raise CompletionFailed("The embedding server does not answer.") from error
        try:
            return _read(said, len(texts))
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise CompletionFailed(f"The embedding server's answer is wrong: {error}.") from error


def _read(body: bytes, count: int) -> list[list[float]]:
    """In the order of the texts, each of length 1. Raises `ValueError`."""
    found = _DECODER.decode(body).data
    if len(found) != count:
        raise ValueError(f"it holds {len(found)} vectors for {count} texts")
    if any(one.index is not None for one in found):
        found = sorted(found, key=lambda one: -1 if one.index is None else one.index)
        if [one.index for one in found] != list(range(count)):
            raise ValueError("it does not tell which vector is of which text")
    return [_unit(_numbers(one.embedding)) for one in found]


def _numbers(given: str | list[float]) -> Sequence[float]:
    if not isinstance(given, str):
        return given
    try:
        whole = b64decode(given, validate=True)
    except Base64Error as error:
        raise ValueError("a vector is not in base64") from error
    if len(whole) % 4:
        raise ValueError("a vector is cut off")
    return unpack(f"<{len(whole) // 4}f", whole)


def _unit(vector: Sequence[float]) -> list[float]:
    length = sqrt(sum(value * value for value in vector))
    if not length or not isfinite(length):
        raise ValueError("a vector is empty or has no length")
    return [value / length for value in vector]


def _cut(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == most or size + len(text) > _CHARACTERS):
            yield batch
            batch, size = [], 0
        # Servers refuse an empty text.
        batch.append(text or " ")
        size += len(text)
    if batch:
        yield batch
