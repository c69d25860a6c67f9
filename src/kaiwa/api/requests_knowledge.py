"""What clients send about knowledge, as the OpenAPI document shows it.

`knowledge_body.py` reads it, more leniently.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from kaiwa.domain.knowledge import SearchMethod


class RerankChoice(Struct, frozen=True):
    """What orders passages anew."""

    reranking_provider_name: str = ""
    reranking_model_name: str = ""


class HowToSearch(Struct, frozen=True):
    """How a base is searched; what is left out is as it was, or by default."""

    search_method: SearchMethod | None = None
    reranking_enable: bool = False
    reranking_mode: Literal["weighted_score", "reciprocal_rank", "reranking_model"] | None = None
    reranking_model: RerankChoice | None = None
    weights: dict[str, Any] | None = None
    top_k: Annotated[int, Meta(ge=1, le=100)] | None = None
    score_threshold_enabled: bool = False
    score_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None


class HowToCut(Struct, frozen=True):
    """How a document's text is cleaned and cut; `rules` belong to `custom`."""

    mode: Literal["automatic", "custom"]
    rules: dict[str, Any] | None = None


class Writing(Struct, frozen=True):
    """A segment."""

    content: Annotated[str, Meta(min_length=1, max_length=20_000)]
    answer: str | None = None
    keywords: list[str] | None = None


class Rewriting(Struct, frozen=True):
    """A segment; what is left out stays."""

    content: Annotated[str, Meta(min_length=1, max_length=20_000)] | None = None
    answer: str | None = None
    keywords: list[str] | None = None
    enabled: bool | None = None


class DatasetRequest(Struct, frozen=True):
    """A new knowledge base."""

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    description: str = ""
    indexing_technique: Literal["high_quality", "economy"] | None = None
    permission: Literal["only_me", "all_team_members", "partial_members"] = "only_me"
    embedding_model: str | None = None
    embedding_model_provider: str | None = None
    retrieval_model: HowToSearch | None = None


class DatasetChange(Struct, frozen=True):
    """What is to be different; the rest stays."""

    name: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    description: str | None = None
    indexing_technique: Literal["high_quality", "economy"] | None = None
    permission: Literal["only_me", "all_team_members", "partial_members"] | None = None
    embedding_model: str | None = None
    embedding_model_provider: str | None = None
    retrieval_model: HowToSearch | None = None


class TextRequest(Struct, frozen=True):
    """A document's text, and how it is cut."""

    name: str
    text: str
    indexing_technique: Literal["high_quality", "economy"] | None = None
    doc_form: Literal["text_model", "qa_model"] = "text_model"
    doc_language: str = "English"
    process_rule: HowToCut | None = None
    retrieval_model: HowToSearch | None = None
    embedding_model: str | None = None
    embedding_model_provider: str | None = None


class TextChange(Struct, frozen=True):
    """Another name, text or rule of a document."""

    name: str | None = None
    text: str | None = None
    process_rule: HowToCut | None = None


class DocumentsRequest(Struct, frozen=True):
    """Which documents."""

    document_ids: Annotated[list[str], Meta(min_length=1, max_length=100)]


class SegmentsRequest(Struct, frozen=True):
    """Segments to add."""

    segments: Annotated[list[Writing], Meta(min_length=1, max_length=100)]


class SegmentRequest(Struct, frozen=True):
    """What a segment is to be."""

    segment: Rewriting


class RetrieveRequest(Struct, frozen=True):
    """A question, and how to search."""

    query: str
    retrieval_model: HowToSearch | None = None
