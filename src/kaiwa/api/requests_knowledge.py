"""What clients send about knowledge, as the OpenAPI document shows it.

`knowledge_body.py` reads it, more leniently.
"""

from typing import Any, Literal

from msgspec import Struct


class DatasetRequest(Struct, frozen=True):
    """A new knowledge base."""

    name: str
    description: str = ""
    indexing_technique: Literal["high_quality", "economy"] | None = None
    permission: Literal["only_me", "all_team_members", "partial_members"] = "only_me"
    embedding_model: str | None = None
    embedding_model_provider: str | None = None
    retrieval_model: dict[str, Any] | None = None


class DatasetChange(Struct, frozen=True):
    """What is to be different; the rest stays."""

    name: str | None = None
    description: str | None = None
    indexing_technique: Literal["high_quality", "economy"] | None = None
    permission: Literal["only_me", "all_team_members", "partial_members"] | None = None
    embedding_model: str | None = None
    embedding_model_provider: str | None = None
    retrieval_model: dict[str, Any] | None = None


class TextRequest(Struct, frozen=True):
    """A document's text, and how it is cut."""

    name: str
    text: str
    indexing_technique: Literal["high_quality", "economy"] | None = None
    doc_form: Literal["text_model", "qa_model"] = "text_model"
    doc_language: str = "English"
    process_rule: dict[str, Any] | None = None
    retrieval_model: dict[str, Any] | None = None
    embedding_model: str | None = None
    embedding_model_provider: str | None = None


class TextChange(Struct, frozen=True):
    """Another name, text or rule of a document."""

    name: str | None = None
    text: str | None = None
    process_rule: dict[str, Any] | None = None


class DocumentsRequest(Struct, frozen=True):
    """Which documents."""

    document_ids: list[str]


class SegmentsRequest(Struct, frozen=True):
    """Segments, each with `content`, and `answer` and `keywords` if it has any."""

    segments: list[dict[str, Any]]


class SegmentRequest(Struct, frozen=True):
    """A segment's new `content`, and `answer`, `keywords` and `enabled` if they change."""

    segment: dict[str, Any]


class RetrieveRequest(Struct, frozen=True):
    """A question, and how to search."""

    query: str
    retrieval_model: dict[str, Any] | None = None
