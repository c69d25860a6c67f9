"""The knowledge bases of an app's file."""

from typing import Any

import pytest
import yaml

from kaiwa.domain.dsl import read_dsl
from kaiwa.domain.knowledge import KnowledgeConfig, RetrievalSettings
from kaiwa.errors import OperatorError
from tests.support.apps import app_file

ENTRIES: list[Any] = [{"dataset": {"enabled": True, "id": "a"}}, {"dataset": {"id": "b"}}]
NAMELESS: dict[str, Any] = {"datasets": {"datasets": [{"dataset": {}}]}}
OLD: dict[str, Any] = {"datasets": {"datasets": ENTRIES}}


def read(kaiwa: object = None, mode: str = "chat", **config: Any) -> KnowledgeConfig | None:
    file = yaml.safe_load(app_file(**config))
    file["app"]["mode"] = mode
    file["kaiwa"] = {} if kaiwa is None else {"knowledge": kaiwa}
    return read_dsl(yaml.safe_dump(file), "a.yml")[0].config.knowledge


def bases(kaiwa: object = None, **config: Any) -> tuple[str, ...]:
    found = read(kaiwa, **config)
    return found.bases if found else ()


def test_bases_are_named_by_ids_of_elsewhere_or_as_they_are_called_here() -> None:
    assert bases() == ()
    assert bases(dataset_configs=OLD) == ("a", "b")
    assert bases({"b": "Guide"}, dataset_configs=OLD) == ("a", "Guide")
    assert bases({"a": "Guide", "b": "Guide"}, dataset_configs=OLD) == ("Guide",)
    assert bases("Guide") == ("Guide",)
    assert bases(["Guide", "Orders", "Guide"]) == ("Guide", "Orders")
    off = {"datasets": {"datasets": [{"dataset": {"enabled": False, "id": "a"}}]}}
    assert bases(dataset_configs=off) == ()


@pytest.mark.parametrize(("mode", "strategy"), [("chat", "router"), ("agent-chat", "react")])
def test_bases_may_stand_among_an_agents_tools(mode: str, strategy: str) -> None:
    tools = [{"dataset": {"enabled": True, "id": "c"}}, {"dataset": {"enabled": False, "id": "d"}}]
    found = bases(mode=mode, agent_mode={"enabled": True, "strategy": strategy, "tools": tools})
    assert found == ("c",)


def test_how_what_is_found_is_joined() -> None:
    settings = {
        **OLD,
        "retrieval_model": "single",
        "top_k": 7,
        "score_threshold": 0.5,
        "score_threshold_enabled": True,
        "reranking_enable": True,
        "reranking_mode": "weighted_score",
        "reranking_model": {"reranking_provider_name": "", "reranking_model_name": ""},
        "weights": {
            "vector_setting": {"vector_weight": 0.2, "embedding_model_name": "m"},
            "keyword_setting": {"keyword_weight": 0.8},
        },
    }
    found = read(dataset_configs=settings)
    assert found == KnowledgeConfig(
        ("a", "b"),
        "single",
        RetrievalSettings(top_k=7, score_threshold=0.5, vector_weight=0.2, keyword_weight=0.8),
        weighs=True,
    )
    settings |= {
        "score_threshold_enabled": False,
        "reranking_mode": "reranking_model",
        "reranking_model": {
            "reranking_provider_name": "langgenius/jina/jina",
            "reranking_model_name": "r/1",
        },
    }
    found = read(dataset_configs=settings)
    assert found
    assert (found.retrieval.score_threshold, found.retrieval.rerank_model) == (None, "jina/r/1")
    assert not found.weighs


@pytest.mark.parametrize(("filtering", "told"), [("manual", 1), ("disabled", 0), (None, 0)])
def test_a_filter_of_documents_is_told_to_be_without_effect(
    filtering: str | None, told: int
) -> None:
    more = {"metadata_filtering_mode": filtering, "metadata_filtering_conditions": {"a": 1}}
    _, notes = read_dsl(app_file(dataset_configs=OLD | more), "a.yml")
    filters = [note for note in notes if "metadata" in note]
    assert len(filters) == told
    assert all(note.endswith("is not honoured: all documents are searched") for note in filters)


@pytest.mark.parametrize(
    ("kaiwa", "config", "fault"),
    [
        ({"a": ""}, OLD, "must not be empty"),
        ([1, [2]], OLD, "must be text"),
        (None, {**OLD, "top_k": 0}, "top_k: must be a whole number of at least 1"),
        (None, {**OLD, "score_threshold": 2}, "score_threshold: must be a number from 0 to 1"),
        (None, {**OLD, "retrieval_model": "all"}, "must be one of single, multiple"),
        (None, NAMELESS, "dataset.id: is missing"),
        ([f"b{i}" for i in range(101)], {}, "at most 100 bases"),
    ],
)
def test_what_is_wrong_is_refused(kaiwa: object, config: object, fault: str) -> None:
    with pytest.raises(OperatorError, match=fault):
        read(kaiwa, dataset_configs=config)
