"""Texts as vectors, in the form in which they are kept."""

import struct
from collections.abc import Awaitable, Callable, Sequence

from kaiwa.domain.knowledge import KnowledgeBase
from kaiwa.errors import KnowledgeUnsearchable
from kaiwa.ports import Embedder

OpenEmbedder = Callable[[str, str], Awaitable[Embedder]]
"""By provider and model. Raises `ProviderNotInitialized`."""

NUMBER_SIZE = 2
"""Bytes of a number of a kept vector: half precision, little-endian."""


async def embed(
    base: KnowledgeBase, texts: Sequence[str], open_embedder: OpenEmbedder
) -> list[bytes]:
    """A vector for each, by the base's model.

    Raises `KnowledgeUnsearchable` when they do not fit those that the base has, and what
    `Embedder.embed` raises.
    """
    embedder = await open_embedder(base.embedding_provider, base.embedding_model)
    vectors = await embedder.embed(texts)
    length = len(vectors[0])
    if base.dimensions not in (None, length):
        raise KnowledgeUnsearchable(say_differ(base, length))
    return [struct.pack(f"<{length}e", *vector) for vector in vectors]


async def embed_written(
    base: KnowledgeBase, texts: Sequence[str], open_embedder: OpenEmbedder
) -> list[bytes | None]:
    """The same for segments that somebody writes; None where a base has no vectors."""
    if not base.embeds or not texts:
        return [None for _ in texts]
    return [*await embed(base, texts, open_embedder)]


def say_differ(base: KnowledgeBase, numbers: int | None) -> str:
    return (
        f"The embedding model {base.embedding_model} makes vectors of {numbers} numbers, but those"
        f" of the knowledge base have {base.dimensions}: it needs a base of its own."
    )
