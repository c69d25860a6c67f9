"""What a client says about knowledge → checked values, with the original's messages.

Lenient like `body.py`: what is left out has its default, unknown keys are passed over.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, TypeVar, cast, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kaiwa.api.body import Body, read_choice
from kaiwa.api.site import Site
from kaiwa.domain.knowledge import (
    ChunkRule,
    DocumentForm,
    Indexing,
    KnowledgeBase,
    RetrievalSettings,
    SearchMethod,
    Segment,
)
from kaiwa.domain.message import JsonValue
from kaiwa.domain.terms import index_terms
from kaiwa.domain.text import as_text, count_tokens
from kaiwa.errors import InvalidParam
from kaiwa.store.knowledge import BaseKind, kind_of

T = TypeVar("T", int, float)

RRF: Final = "reciprocal_rank"
"""A mode of ours, beside the original's `weighted_score` and `reranking_model`."""
PERMISSIONS: Final = ("only_me", "all_team_members", "partial_members")
_METHODS: Final = get_args(SearchMethod)
_INDEXINGS: Final = get_args(Indexing)
_FORMS: Final = get_args(DocumentForm)
_LONGEST_NAME: Final = 40
_LONGEST_DESCRIPTION: Final = 400
_LONGEST_SEPARATOR: Final = 100
_SMALLEST, _LARGEST = 50, 4000
"""Tokens of a segment that a rule may ask for."""
_MOST_FOUND: Final = 100
_MOST_SEGMENTS: Final = 100
_LONGEST_SEGMENT: Final = 20_000
_MOST_KEYWORDS: Final = 50
_LONGEST_KEYWORD: Final = 40
_LAST_PAGE: Final = 99_999


def read_page(value: str | None) -> int:
    """Which page, from 1."""
    if value is None or value == "":
        return 1
    try:
        page = int(value)
    except ValueError as error:
        raise InvalidParam(f"{value[:40]} is not a valid integer", params="page") from error
    if not 1 <= page <= _LAST_PAGE:
        raise InvalidParam(
            f"Invalid argument: {page}. argument must be within the range 1 - {_LAST_PAGE}",
            params="page",
        )
    return page


def read_base_name(body: Body) -> str:
    name = as_text(body["name"]).strip() if body.get("name") is not None else ""
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise InvalidParam("Name must be between 1 to 40 characters.", params="name")
    return name


def read_description(body: Body) -> str:
    description = as_text(body["description"]) if body.get("description") is not None else ""
    if len(description) > _LONGEST_DESCRIPTION:
        raise InvalidParam("Description cannot exceed 400 characters.", params="description")
    return description


def read_permission(body: Body) -> str | None:
    given = body.get("permission")
    if given is None:
        return None
    if given not in PERMISSIONS:
        raise InvalidParam("Invalid permission.", params="permission")
    return str(given)


def read_kind(body: Body, known: BaseKind) -> BaseKind:
    """How a base is indexed, as the body says it; else as is `known`."""
    given = body.get("indexing_technique")
    if given not in (None, *_INDEXINGS):
        raise InvalidParam("Invalid indexing technique.", params="indexing_technique")
    indexing = cast(Indexing, given or known.indexing)
    if indexing == "economy":
        return BaseKind(indexing, "", "")
    provider = body.get("embedding_model_provider", body.get("embedding_provider_name"))
    model = body.get("embedding_model")
    if not model:
        return BaseKind(indexing, known.embedding_provider, known.embedding_model)
    return BaseKind(indexing, as_text(provider or ""), as_text(model))


def kind_by_default(site: Site) -> BaseKind:
    """Of a base about which nothing is said."""
    return BaseKind("high_quality", *site.embedding)


def first_kind(site: Site, base: KnowledgeBase, body: Body) -> BaseKind | None:
    """What the first document of a base may still decide; None when there is one already."""
    known = kind_of(base)
    if base.document_count:
        return None
    if not known.embedding_model:
        known = replace(kind_by_default(site), indexing=known.indexing)
    kind = read_kind(body, known)
    named = body.get("indexing_technique") or body.get("embedding_model")
    return kind if named and kind != kind_of(base) else None


def read_retrieval(value: JsonValue, known: RetrievalSettings) -> RetrievalSettings:
    """How to search; what is not said is as it is `known`."""
    if value is None or value == "":
        return known
    given = _object(value, "retrieval_model")
    method = given.get("search_method") or known.method
    mode = given.get("reranking_mode")
    vector, keyword = _read_weights(given.get("weights"), known)
    return RetrievalSettings(
        method=cast(SearchMethod, read_choice(method, _METHODS, "search_method")),
        top_k=_number(given, "top_k", int, known.top_k, 1, _MOST_FOUND),
        score_threshold=_read_threshold(given, known),
        fusion=known.fusion if mode is None else "rrf" if mode == RRF else "weighted",
        vector_weight=vector,
        keyword_weight=keyword,
        rerank_model=_read_rerank(given, known),
    )


def _read_threshold(given: Body, known: RetrievalSettings) -> float | None:
    if "score_threshold" not in given and "score_threshold_enabled" not in given:
        return known.score_threshold
    if given.get("score_threshold_enabled") is False or given.get("score_threshold") is None:
        return None
    return _number(given, "score_threshold", float, 0.0, 0, 1)


def _read_weights(value: JsonValue, known: RetrievalSettings) -> tuple[float, float]:
    if value is None:
        return known.vector_weight, known.keyword_weight
    weights = _object(value, "weights")
    halves: list[float] = []
    for half, old in (("vector", known.vector_weight), ("keyword", known.keyword_weight)):
        setting = _object(weights.get(f"{half}_setting") or {}, f"{half}_setting")
        halves.append(_number(setting, f"{half}_weight", float, old, 0, 1))
    if not sum(halves):
        raise InvalidParam("One of the weights must be more than 0.", params="weights")
    return halves[0], halves[1]


def _read_rerank(given: Body, known: RetrievalSettings) -> str:
    if "reranking_enable" not in given:
        return known.rerank_model
    if not given["reranking_enable"]:
        return ""
    named = _object(given.get("reranking_model") or {}, "reranking_model")
    provider = as_text(named.get("reranking_provider_name") or "")
    model = as_text(named.get("reranking_model_name") or "")
    return f"{provider}/{model}" if model else known.rerank_model


def read_rule(body: Body, known: ChunkRule) -> ChunkRule:
    """How a document is cut, and what it is made of; what is not said is as it is `known`."""
    form = body.get("doc_form") or known.form
    if form not in _FORMS:
        raise InvalidParam(f"{as_text(form)[:40]} is not a valid doc_form.", params="doc_form")
    value = body.get("process_rule")
    if value is None:
        return replace(known, form=cast(DocumentForm, form))
    given = _object(value, "process_rule")
    mode = given.get("mode")
    if mode is None:
        raise InvalidParam("Process rule mode is required", params="process_rule")
    if mode == "automatic":
        return ChunkRule(form=cast(DocumentForm, form))
    if mode != "custom":
        raise InvalidParam("Process rule mode is invalid", params="process_rule")
    if given.get("rules") is None:
        raise InvalidParam("Process rule rules is required", params="process_rule")
    return _custom_rule(_object(given["rules"], "rules"), cast(DocumentForm, form))


def _custom_rule(rules: Body, form: DocumentForm) -> ChunkRule:
    segmentation = _object(rules.get("segmentation") or {}, "segmentation")
    default = ChunkRule()
    separator = segmentation.get("separator", segmentation.get("delimiter"))
    separator = default.separator if not separator else as_text(separator)
    if not separator or len(separator) > _LONGEST_SEPARATOR:
        raise InvalidParam("Process rule segmentation separator is invalid", params="separator")
    size = _number(segmentation, "max_tokens", int, default.max_tokens, _SMALLEST, _LARGEST)
    overlap = _number(segmentation, "chunk_overlap", int, min(50, size // 10), 0, size // 2)
    cleaning = _read_cleaning(rules.get("pre_processing_rules"))
    return ChunkRule(
        mode="custom",
        separator=separator,
        max_tokens=size,
        overlap=overlap,
        remove_extra_spaces=cleaning.get("remove_extra_spaces", False),
        remove_urls_emails=cleaning.get("remove_urls_emails", False),
        form=form,
    )


def _read_cleaning(value: JsonValue) -> dict[str, bool]:
    if value is None:
        return {"remove_extra_spaces": True}
    if not isinstance(value, list):
        raise InvalidParam(
            "Process rule pre_processing_rules is invalid", params="pre_processing_rules"
        )
    found: dict[str, bool] = {}
    for one in value:
        rule = _object(one, "pre_processing_rules")
        found[as_text(rule.get("id") or "")] = bool(rule.get("enabled"))
    return found


def read_data(text: str | None) -> Body:
    """The JSON object in a form's field `data`; without one, an empty object."""
    if not text:
        return {}
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidParam("data is not JSON.", params="data") from error
    return _object(found, "data")


def required_text(body: Mapping[str, JsonValue], name: str) -> str:
    if body.get(name) is None:
        raise InvalidParam("Missing required parameter in the JSON body", params=name)
    return as_text(body[name])


class Written(Struct, frozen=True):
    """A segment as somebody writes it."""

    content: str
    answer: str
    keywords: tuple[str, ...]


def read_segments(body: Body, form: DocumentForm) -> list[Written]:
    given = body.get("segments")
    if not isinstance(given, list) or not given:
        raise InvalidParam("Segments is required", params="segments")
    if len(given) > _MOST_SEGMENTS:
        raise InvalidParam(f"segments are more than {_MOST_SEGMENTS}.", params="segments")
    return [read_segment(_object(one, "segments"), form) for one in given]


def read_segment(given: Body, form: DocumentForm, known: Segment | None = None) -> Written:
    """What is not said is as it is `known`."""
    content = known.content if known else ""
    answer = known.answer if known else ""
    if given.get("content") is not None:
        content = as_text(given["content"])
    if given.get("answer") is not None:
        answer = as_text(given["answer"])
    if not content.strip():
        raise InvalidParam("Content is empty", params="content")
    if form == "qa_model" and not answer.strip():
        raise InvalidParam("Answer is required", params="answer")
    if max(len(content), len(answer)) > _LONGEST_SEGMENT:
        raise InvalidParam(
            f"A segment is longer than {_LONGEST_SEGMENT} characters.", params="content"
        )
    keywords = known.keywords if known else ()
    return Written(content, answer, _read_keywords(given.get("keywords"), keywords))


def _read_keywords(value: JsonValue, known: tuple[str, ...]) -> tuple[str, ...]:
    if value is None:
        return known
    if not isinstance(value, list):
        raise InvalidParam("keywords must be a list.", params="keywords")
    words = dict.fromkeys(as_text(one)[:_LONGEST_KEYWORD] for one in value[:_MOST_KEYWORDS])
    return tuple(word for word in words if word)


def segment_values(written: Written) -> dict[str, Any]:
    """What is kept of it, and found by: its keywords and its answer count as its words."""
    whole = " ".join([written.content, written.answer, *written.keywords])
    said = written.content + written.answer
    return {
        "content": written.content,
        "answer": written.answer,
        "keywords": written.keywords,
        "terms": " ".join(index_terms(whole)),
        "tokens": count_tokens(said),
        "words": len(said),
        "digest": sha256(said.encode("utf-8", "replace")).digest(),
    }


def _object(value: JsonValue, name: str) -> Body:
    if not isinstance(value, dict):
        raise InvalidParam(f"{name} must be an object.", params=name)
    return value


def _number(given: Body, name: str, kind: type[T], default: T, least: float, most: float) -> T:
    value = given.get(name)
    if value is None:
        return default
    try:
        number = kind(cast(float, value))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidParam(f"{name} is not a number.", params=name) from error
    if not least <= number <= most:
        raise InvalidParam(f"{name} must be between {least} and {most}.", params=name)
    return number
