"""How fast a large knowledge base is searched, and what that does to tokens on the same loop.

It is searched in this very process, as Kaiwa does it between a question and its model, without the
time of an embedding model. A task that wakes like a stream with many tokens says how late it comes.
"""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from bench import targets
from bench.bases import make_base, open_means
from bench.data import open_data, prepare
from bench.databases import SQLITE, Database, settle
from bench.figures import Table, quantile
from bench.runs import Bench
from kaiwa.domain.knowledge import KnowledgeBase, RetrievalSettings, SearchMethod
from kaiwa.knowledge.search import SearchMeans, search

_COUNT: Final = 100_000
_DIMENSIONS: Final = 384
_WORDS: Final = 80
"""Of a segment; the words are as common as those of a language."""
_VOCABULARY: Final = 50_000
_ASKED: Final = 7
"""Words of a question."""
_AT_ONCE: Final = 8
_SEARCHES: Final = 1000
_TICK: Final = 0.005
_METHODS: Final[Sequence[SearchMethod]] = (
    "semantic_search",
    "full_text_search",
    "hybrid_search",
)


class _Random:
    """An embedding model that takes no time."""

    def __init__(self) -> None:
        self._numbers = np.random.default_rng(5)

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        return _unit(self._numbers, len(texts)).tolist()


def _unit(
    numbers: np.random.Generator, count: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    made = numbers.standard_normal((count, _DIMENSIONS), np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


async def search_base(bench: Bench) -> Table:
    """Each method on each engine."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # its threads are Kaiwa's here
    table = Table(
        f"A base of {_COUNT:,} segments, vectors of {_DIMENSIONS}, {_AT_ONCE} searches at once",
        "search", "p50, ms", "target", "p99, ms", "target", "alone, ms",
        "a token comes late, p99, ms",
    )  # fmt: skip
    texts = _texts()
    for database in bench.databases:
        with TemporaryDirectory(dir=bench.folder) as name, database.fresh() as url:
            await _measure(table, database, Path(name), url, texts)
    return table


def _texts() -> list[str]:
    """So that a few words are in most texts, and most words in a few."""
    chance = random.Random(7)
    words = [f"w{number}" for number in range(_VOCABULARY)]
    weights = list(accumulate(1 / (place + 10) for place in range(_VOCABULARY)))
    return [" ".join(chance.choices(words, cum_weights=weights, k=_WORDS)) for _ in range(_COUNT)]


async def _measure(
    table: Table, database: Database, folder: Path, url: str, texts: Sequence[str]
) -> None:
    db = await open_data(folder, url)
    workspace_id = (await prepare(db, "100")).workspace_id
    numbers = np.random.default_rng(3)
    vectors = [one.tobytes() for one in _unit(numbers, _COUNT).astype("<f2")]
    base = await make_base(db, workspace_id, texts, vectors)
    settle(url)
    means = open_means(db, _Random())
    questions = _questions(texts)
    started = time.perf_counter()
    await _search(means, base, questions[0], "hybrid_search")
    loaded = time.perf_counter() - started
    for method in _METHODS:
        await _add_row(table, database, means, base, questions, method)
    share = means.shelf.size / (_COUNT * _DIMENSIONS * 2)
    cell = table.judge(database.name, targets.SEARCH_MEMORY, share)
    table.note(
        f"{database.name}: the first search, which loads the base, took {loaded:.1f} s; it takes"
        f" {share:.2f} × its vectors in half precision ({cell})."
    )
    await db.close()


def _questions(texts: Sequence[str]) -> list[str]:
    """Words that stand together in one of the texts."""
    chance = random.Random(11)
    return [" ".join(chance.sample(chance.choice(texts).split(), _ASKED)) for _ in range(_SEARCHES)]


async def _add_row(
    table: Table,
    database: Database,
    means: SearchMeans,
    base: KnowledgeBase,
    questions: Sequence[str],
    method: SearchMethod,
) -> None:
    alone = [await _time(means, base, one, method) for one in questions[:50]]
    took: list[float] = []
    late: list[float] = []
    waiting = list(questions)

    async def ask() -> None:
        while waiting:
            took.append(await _time(means, base, waiting.pop(), method))

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(_tick(late))
        async with asyncio.TaskGroup() as asking:
            for _ in range(_AT_ONCE):
                asking.create_task(ask())
        ticking.cancel()
    who = f"{database.name}, {method}"
    p50, p99, lateness = quantile(took, 0.5), quantile(took, 0.99), quantile(late, 0.99)
    table.judge(who, targets.SEARCH_LATE, lateness)
    first, last = targets.SEARCH_P50, targets.SEARCH_P99
    if database is not SQLITE:
        first, last = targets.SEARCH_P50_SHARED, targets.SEARCH_P99_SHARED
    table.add(
        who,
        f"{p50:.1f}",
        table.judge(who, first, p50),
        f"{p99:.1f}",
        table.judge(who, last, p99),
        f"{quantile(alone, 0.5):.1f}",
        f"{lateness:.1f}",
    )


async def _tick(late: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(_TICK)
        late.append((time.perf_counter() - before - _TICK) * 1000)


async def _time(means: SearchMeans, base: KnowledgeBase, query: str, method: SearchMethod) -> float:
    """In milliseconds."""
    started = time.perf_counter()
    found = await _search(means, base, query, method)
    assert found
    return (time.perf_counter() - started) * 1000


async def _search(means: SearchMeans, base: KnowledgeBase, query: str, method: SearchMethod) -> int:
    settings = RetrievalSettings(method=method, top_k=4)
    return len(await search(query, [base], settings, means, own_method=False))
