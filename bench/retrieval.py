"""How well questions find their passages: recall, MRR and nDCG of each method on each engine.

The English corpus is Kaiwa's own documents, cut as a knowledge base cuts them; the Chinese one
says much the same in short passages. Some questions share words with their passage, some are
paraphrases, and for some there are others that look alike. `bench/corpus/` has them all.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import log2
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import numpy as np
from semantic_text_splitter import MarkdownSplitter

from bench import targets
from bench.bases import make_base, open_means
from bench.data import open_data, prepare
from bench.figures import Table
from bench.runs import Bench
from kaiwa.domain.knowledge import KnowledgeBase, RetrievalSettings, SearchMethod
from kaiwa.knowledge.search import SearchMeans, search
from kaiwa.ports import Embedder
from kaiwa.providers.registry import load_embedder
from kaiwa.store.db import Database

_ROOT: Final = Path(__file__).parents[1]
_CORPUS: Final = _ROOT / "bench" / "corpus"
_PAGES: Final = ("README.md", "ARCHITECTURE.md", "docs/guide/*.md", "docs/decisions/*.md")
_LENGTH: Final = 600
"""Characters of an English passage, at most."""
_TOP: Final = 10
_FIRST: Final = 5
_BEST: Final = "hybrid 0.3 : 0.7"
"""Vectors : words, as it fits a model that only knows spellings."""


def _weighted(vectors: float) -> RetrievalSettings:
    return RetrievalSettings(vector_weight=vectors, keyword_weight=1 - vectors)


KINDS: Final = ("words", "paraphrase", "hard")
METHODS: Final[Sequence[tuple[str, SearchMethod, RetrievalSettings]]] = (
    ("keywords", "keyword_search", RetrievalSettings()),
    ("full text", "full_text_search", RetrievalSettings()),
    ("vectors", "semantic_search", RetrievalSettings()),
    ("hybrid 0.7 : 0.3", "hybrid_search", RetrievalSettings()),
    ("hybrid 0.5 : 0.5", "hybrid_search", _weighted(0.5)),
    (_BEST, "hybrid_search", _weighted(0.3)),
    ("hybrid by ranks", "hybrid_search", RetrievalSettings(fusion="rrf")),
)


@dataclass(frozen=True)
class Question:
    """What is asked, and what of the corpus answers it."""

    kind: str
    text: str
    answers: frozenset[str]


@dataclass(frozen=True)
class Corpus:
    """Passages, and questions about them."""

    language: str
    passages: list[str]
    questions: list[Question]
    lost: int
    """Questions whose passage is in the documents no more."""


@dataclass
class Score:
    """Of some questions, added up."""

    count: int = 0
    recall: float = 0
    mrr: float = 0
    ndcg: float = 0
    by_kind: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, question: Question, found: Sequence[str]) -> None:
        places = [place for place, one in enumerate(found, 1) if one in question.answers]
        hit = float(bool(places) and places[0] <= _FIRST)
        best = sum(1 / log2(place + 1) for place in range(1, min(len(question.answers), _TOP) + 1))
        self.count += 1
        self.recall += hit
        self.mrr += 1 / places[0] if places else 0
        self.ndcg += sum(1 / log2(place + 1) for place in places) / best
        self.by_kind[question.kind].append(hit)

    def recall_of(self, kind: str) -> float:
        return sum(self.by_kind[kind]) / len(self.by_kind[kind])


async def retrieval(bench: Bench) -> Table:
    """With the built-in `hashed`, or the embedding model in the folder KAIWA_BENCH_ONNX."""
    folder = os.environ.get("KAIWA_BENCH_ONNX", "")
    embedder = load_embedder("onnx")(folder) if folder else load_embedder("hashed")("hashed")
    table = Table(
        f"Retrieval, vectors of {Path(folder).name or 'hashed'}",
        "corpus, engine, method", f"recall@{_FIRST}", "MRR", f"nDCG@{_TOP}",
        *(f"recall@{_FIRST}: {kind}" for kind in KINDS),
    )  # fmt: skip
    for corpus in (read_english(), read_chinese()):
        table.note(
            f"{corpus.language}: {len(corpus.passages)} passages,"
            f" {len(corpus.questions)} questions, {corpus.lost} more whose passage is gone."
        )
        for database in bench.databases:
            with TemporaryDirectory(dir=bench.folder) as name, database.fresh() as url:
                db = await open_data(Path(name), url)
                scores = await evaluate(db, corpus, embedder)
                _add(table, f"{corpus.language}, {database.name}", scores)
                await db.close()
    return table


async def evaluate(db: Database, corpus: Corpus, embedder: Embedder) -> dict[str, Score]:
    """By method."""
    workspace_id = (await prepare(db, "100")).workspace_id
    made = await embedder.embed(corpus.passages)
    vectors = [np.array(one, "<f2").tobytes() for one in made]
    base = await make_base(db, workspace_id, corpus.passages, vectors)
    means = open_means(db, embedder)
    return {
        name: await _ask(means, base, corpus, method, settings)
        for name, method, settings in METHODS
    }


async def _ask(
    means: SearchMeans,
    base: KnowledgeBase,
    corpus: Corpus,
    method: SearchMethod,
    settings: RetrievalSettings,
) -> Score:
    score = Score()
    wanted = msgspec.structs.replace(settings, method=method, top_k=_TOP)
    for question in corpus.questions:
        found = await search(question.text, [base], wanted, means, own_method=False)
        score.add(question, [one.segment.content for one in found])
    return score


def _add(table: Table, where: str, scores: dict[str, Score]) -> None:
    for name, score in scores.items():
        figures = [score.recall, score.mrr, score.ndcg]
        by_kind = [score.recall_of(kind) for kind in KINDS]
        cells = [f"{figure / score.count:.3f}" for figure in figures]
        table.add(f"{where}, {name}", *cells, *(f"{figure:.3f}" for figure in by_kind))
        if name == "full text":
            table.judge(where, targets.RETRIEVAL_WORDS, score.recall_of("words"))
    halves = max(scores["full text"].ndcg, scores["vectors"].ndcg)
    above = (scores[_BEST].ndcg - halves) / scores["full text"].count
    table.judge(where, targets.RETRIEVAL_HYBRID, above)


@cache
def read_english() -> Corpus:
    splitter = MarkdownSplitter(_LENGTH)
    pages = sorted(path for pattern in _PAGES for path in _ROOT.glob(pattern))
    passages = [one for page in pages for one in splitter.chunks(page.read_text("utf-8"))]
    plain = {one: " ".join(one.split()) for one in passages}
    questions: list[Question] = []
    lost = 0
    for kind, mark, text in _lines("english.tsv"):
        answers = frozenset(one for one in passages if mark in plain[one])
        if answers:
            questions.append(Question(kind, text, answers))
        else:
            lost += 1
    return Corpus("English", list(dict.fromkeys(passages)), questions, lost)


@cache
def read_chinese() -> Corpus:
    lines = _lines("chinese.tsv")
    passages = {name: text for kind, name, text in lines if kind == "passage"}
    questions = [
        Question(kind, text, frozenset([passages[name]]))
        for kind, name, text in lines
        if kind != "passage"
    ]
    return Corpus("Chinese", list(passages.values()), questions, 0)


def _lines(name: str) -> list[list[str]]:
    text = (_CORPUS / name).read_text("utf-8")
    return [line.split("\t") for line in text.splitlines()]
