"""From a question to the passages that answer it, best first."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar
from uuid import UUID

import anyio
import msgspec
from msgspec import Struct

from kaiwa.domain.fusion import rank, reciprocal
from kaiwa.domain.knowledge import KnowledgeBase, Passage, RetrievalSettings
from kaiwa.errors import CompletionFailed, KaiwaError, KnowledgeUnsearchable
from kaiwa.knowledge.finding import Finding, Question
from kaiwa.knowledge.shelf import Shelf
from kaiwa.ports import Embedder, Reranker
from kaiwa.store.db import Reads
from kaiwa.store.search import Standing, read_passages, read_standings

_LONGEST: Final = 4000
"""Characters of a query; what comes behind them is not looked for."""
_RERANKED: Final = 50
"""Passages that a reranker is asked about."""

logger = logging.getLogger(__name__)

T = TypeVar("T")

Found = Mapping[tuple[UUID, int], float]
"""Scores by base and number."""


class SearchMeans(Struct, frozen=True):
    """What a search works with."""

    db: Reads
    shelf: Shelf
    embedder: Callable[[str, str], Awaitable[Embedder]]
    """By provider and model. Raises `ProviderNotInitialized`."""
    reranker: Callable[[str], Awaitable[Reranker]]
    """By `provider/model`. Raises `ProviderNotInitialized`."""
    patience: float = 10
    """Seconds for each of them: somebody waits for an answer."""


async def search(
    query: str,
    bases: Sequence[KnowledgeBase],
    settings: RetrievalSettings,
    means: SearchMeans,
    *,
    own_method: bool = True,
) -> list[Passage]:
    """What answers the query, at most `top_k`, with scores from 0 to 1, none below the threshold.

    With `own_method` each base is searched as its own settings say, and `settings` are for the
    joined result. Bases that are gone are passed over. When an embedding server is away, a hybrid
    search goes on with words alone. Raises what `Embedder.embed` raises where vectors alone are
    asked for, and `KnowledgeUnsearchable` when they do not fit those of a base.
    """
    standings = await read_standings(means.db, [base.id for base in bases])
    for base in bases:
        if base.id not in standings:
            means.shelf.drop(base.id)
    present = [base for base in bases if base.id in standings]
    query = " ".join(query[:_LONGEST].split())
    if not query or not present:
        return []
    chosen = [(base, base.retrieval if own_method else settings) for base in present]
    wanted = max(settings.top_k, _RERANKED if settings.rerank_model else 0)
    asked = await _ask(query, chosen, means)
    lists = await _search_each(chosen, asked, standings, wanted, means)
    passages = await read_passages(means.db, _join(lists, settings)[:wanted])
    if settings.rerank_model and passages:
        passages = await _rerank(query, passages, settings.rerank_model, means)
    return [one for one in passages if _passes(one.score, settings)][: settings.top_k]


def _passes(score: float, settings: RetrievalSettings) -> bool:
    return settings.score_threshold is None or score >= settings.score_threshold


async def _ask(
    query: str, chosen: Sequence[tuple[KnowledgeBase, RetrievalSettings]], means: SearchMeans
) -> Question:
    """The question with its vector in each model that one of the searches compares by."""
    asked = Question(query)
    for base, settings in chosen:
        model = (base.embedding_provider, base.embedding_model)
        if not asked.needs_vector(base, settings) or model in asked.vectors:
            continue
        try:
            embedder = await means.embedder(*model)
            embedding = _in_time(embedder.embed([query], query=True), means)
            asked.vectors[model] = (await embedding)[0]
        except KaiwaError as error:
            if settings.method == "semantic_search":
                raise
            logger.warning("%s is searched by words alone: %s", base.name, error.message)
            asked.vectors[model] = None
    return asked


async def _in_time(asking: Awaitable[T], means: SearchMeans) -> T:
    try:
        with anyio.fail_after(means.patience):
            return await asking
    except TimeoutError as error:
        raise CompletionFailed(
            f"The model's server has not answered in {means.patience:g} seconds."
        ) from error


async def _search_each(
    chosen: Sequence[tuple[KnowledgeBase, RetrievalSettings]],
    asked: Question,
    standings: Mapping[UUID, Standing],
    wanted: int,
    means: SearchMeans,
) -> list[Found]:
    """All at once; in the order of the bases."""
    lists: list[Found] = [{} for _ in chosen]

    async def search_one(place: int) -> None:
        base, settings = chosen[place]
        now = standings[base.id]
        _check_dimensions(base, now, asked)
        block = await means.shelf.take(means.db, base, now)
        most = max(wanted, settings.top_k)
        vector = asked.vector_for(base)
        found = await Finding(means.db, block, asked, vector, means.shelf.threads).find(
            settings, most
        )
        lists[place] = {
            (base.id, number): score for number, score in found if _passes(score, settings)
        }

    if len(chosen) == 1:  # as nearly always
        await search_one(0)
        return lists
    try:
        async with anyio.create_task_group() as group:
            for place in range(len(chosen)):
                group.start_soon(search_one, place)
    except* KaiwaError as errors:
        raise _first(errors) from errors
    return lists


def _first(errors: BaseExceptionGroup[KaiwaError]) -> KaiwaError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _check_dimensions(base: KnowledgeBase, now: Standing, asked: Question) -> None:
    vector = asked.vector_for(base)
    if vector and now.dimensions and len(vector) != now.dimensions:
        raise KnowledgeUnsearchable(
            f"The knowledge base {base.name} has vectors of {now.dimensions} numbers, but its model"
            f" {base.embedding_model} now makes {len(vector)}: index its documents anew."
        )


def _join(lists: Sequence[Found], settings: RetrievalSettings) -> list[tuple[int, float]]:
    """One list, the best first; only scores of one base are known to be comparable."""
    if len(lists) > 1 and settings.fusion == "rrf":
        joined = reciprocal([list(found) for found in lists])
    else:
        joined = {key: score for found in lists for key, score in found.items()}
    return [(number, score) for (_, number), score in rank(joined)]


async def _rerank(
    query: str, passages: Sequence[Passage], model: str, means: SearchMeans
) -> list[Passage]:
    """Ordered anew; as they are when the reranker is away."""
    try:
        reranker = await means.reranker(model)
        told = [one.segment.told for one in passages]
        scores = await _in_time(reranker.rerank(query, told), means)
    except KaiwaError as error:
        logger.warning("what was found is not ranked by %s: %s", model, error.message)
        return list(passages)
    scored = zip(passages, scores, strict=True)
    ordered = sorted(scored, key=lambda pair: -pair[1])
    return [msgspec.structs.replace(one, score=score) for one, score in ordered]
