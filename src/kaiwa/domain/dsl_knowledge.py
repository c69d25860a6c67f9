"""Which knowledge bases an app answers from, in its file.

Files from elsewhere name bases by ids of their own; `kaiwa: {knowledge: …}` says which they are
here, by name or id, or names bases of the app's without any such id.
"""

from typing import Literal

from kaiwa.domain.dsl_yaml import Block, Node
from kaiwa.domain.knowledge import KnowledgeConfig, RetrievalSettings

_MOST: int = 100
_OFF = ("", "disabled")
_WITH_FILTER = ("metadata_filtering_conditions", "metadata_model_config")


def read_knowledge(config: Block, ours: Block, agent_bases: list[Node]) -> KnowledgeConfig | None:
    """None for an app without any; `agent_bases` are those among its tools.

    Raises `OperatorError`.
    """
    settings = config.block("dataset_configs")
    listed = settings.block("datasets")
    named = [
        dataset.need("id")
        for item in listed.items("datasets")
        if (dataset := Block(item, config.notes).block("dataset")).flag("enabled", default=True)
    ]
    listed.find("strategy")
    listed.note_rest()
    bases = _map(ours, [*named, *agent_bases])
    found = KnowledgeConfig(
        bases=bases,
        mode=_mode(settings),
        retrieval=_retrieval(settings),
        weighs=settings.find("weights") is not None
        and settings.text("reranking_mode") != "reranking_model",
    )
    for key in _WITH_FILTER:
        settings.find(key)
    if settings.text("metadata_filtering_mode") not in _OFF:
        settings.note("metadata_filtering_mode", "is not honoured: all documents are searched")
    settings.note_rest()
    if config.text("dataset_query_variable"):
        config.note("dataset_query_variable", "is for completion apps only, ignored")
    return found if bases else None


def _map(ours: Block, named: list[Node]) -> tuple[str, ...]:
    """Names or ids, in order and once each."""
    node = ours.find("knowledge")
    if node is None:
        return _limit([(base, base.text()) for base in named])
    if isinstance(node.value, dict):
        theirs = {key: child.text() for key, child in node.value.items()}
        return _limit([(base, theirs.get(base.text(), base.text())) for base in named])
    own = [node] if isinstance(node.value, str) else node.items()
    return _limit([(base, base.text()) for base in own])


def _limit(found: list[tuple[Node, str]]) -> tuple[str, ...]:
    for place, text in found:
        if not text.strip():
            raise place.fault("must not be empty")
    bases = tuple(dict.fromkeys(text.strip() for _, text in found))
    if len(bases) > _MOST:
        raise found[-1][0].fault(f"must name at most {_MOST} bases")
    return bases


def _mode(settings: Block) -> Literal["single", "multiple"]:
    node = settings.find("retrieval_model")
    if node is None or node.value == "":
        return "multiple"
    return "single" if node.choice(("single", "multiple")) == "single" else "multiple"


def _retrieval(settings: Block) -> RetrievalSettings:
    weights = settings.block("weights")
    vector, keyword = weights.block("vector_setting"), weights.block("keyword_setting")
    mode = settings.text("reranking_mode")
    reranks = settings.flag("reranking_enable", default=mode == "reranking_model")
    rerank = settings.block("reranking_model")
    model = _model(rerank.text("reranking_provider_name"), rerank.text("reranking_model_name"))
    rerank.note_rest()
    standard = RetrievalSettings()
    found = RetrievalSettings(
        top_k=_whole(settings.find("top_k"), standard.top_k),
        score_threshold=_threshold(settings),
        vector_weight=_number(vector.find("vector_weight"), standard.vector_weight),
        keyword_weight=_number(keyword.find("keyword_weight"), standard.keyword_weight),
        rerank_model=model if reranks and mode in ("", "reranking_model") else "",
    )
    for key in ("embedding_provider_name", "embedding_model_name"):
        vector.find(key)
    for block in (vector, keyword):
        block.note_rest()
    weights.find("weight_type")
    weights.note_rest()
    return found


def _model(provider: str, name: str) -> str:
    return f"{provider.strip().rsplit('/', 1)[-1]}/{name.strip()}" if provider and name else ""


def _whole(node: Node | None, standard: int) -> int:
    return standard if node is None or node.value == "" else min(node.whole(1), _MOST)


def _threshold(settings: Block) -> float | None:
    node = settings.find("score_threshold")
    enabled = settings.flag("score_threshold_enabled", default=node is not None)
    return _number(node, 0.0) or None if enabled else None


def _number(node: Node | None, standard: float) -> float:
    if node is None or node.value == "":
        return standard
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise node.fault("must be a number from 0 to 1")
    return float(value)
