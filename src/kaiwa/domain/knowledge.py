"""Knowledge: bases, their documents and segments, how they are searched, and what is cited."""

import re
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

SearchMethod = Literal["semantic_search", "full_text_search", "hybrid_search", "keyword_search"]
Indexing = Literal["high_quality", "economy"]
DocumentStatus = Literal[
    "waiting", "parsing", "splitting", "indexing", "completed", "error", "paused"
]
DocumentForm = Literal["text_model", "qa_model"]
DocumentSource = Literal["upload_file", "website_crawl"]
SEPARATOR = "\n\n"
_FOLDER = "knowledge"


class RetrievalSettings(Struct, frozen=True):
    """How a base, or an app among its bases, is searched."""

    method: SearchMethod = "hybrid_search"
    top_k: int = 4
    score_threshold: float | None = None
    """Passages of a lower score, from 0 to 1, are left out; None: all are taken."""
    fusion: Literal["weighted", "rrf"] = "weighted"
    """How a hybrid search joins its halves."""
    vector_weight: float = 0.7
    keyword_weight: float = 0.3
    rerank_model: str = ""
    """`provider/model` that orders what was found anew, `default` for that of the settings; empty:
    none."""


class KnowledgeBase(Struct, frozen=True):
    """Documents that are searched together."""

    id: UUID
    workspace_id: UUID
    name: str
    description: str
    permission: str
    indexing: Indexing
    embedding_provider: str
    """With `embedding_model` empty where it is found by its words alone."""
    embedding_model: str
    dimensions: int | None
    """Of its vectors; None as long as there are none."""
    retrieval: RetrievalSettings
    version: int
    """Grows in each transaction that changes what is found in it."""
    created_at: datetime
    updated_at: datetime
    document_count: int = 0
    word_count: int = 0

    @property
    def embeds(self) -> bool:
        """Whether its segments have vectors."""
        return self.indexing == "high_quality" and bool(self.embedding_model)


class ChunkRule(Struct, frozen=True):
    """How a document's text is cleaned and cut."""

    mode: Literal["automatic", "custom"] = "automatic"
    separator: str = SEPARATOR
    max_tokens: int = 500
    overlap: int = 50
    """In tokens too."""
    remove_extra_spaces: bool = True
    remove_urls_emails: bool = False
    form: DocumentForm = "text_model"
    """`qa_model`: its segments are questions with their answers."""


class Document(Struct, frozen=True):
    """A text in a base, as it stands."""

    id: UUID
    workspace_id: UUID
    base_id: UUID
    position: int
    """From 1, in the order they came."""
    name: str
    source: DocumentSource
    origin: str | None
    """A file's path or a page's address: the same again is the same document."""
    digest: bytes
    """SHA-256 of the bytes."""
    key: str
    """Of the bytes in the blob store."""
    size: int
    extension: str
    mime_type: str
    rule: ChunkRule
    language: str
    batch: str
    status: DocumentStatus
    error: str | None
    enabled: bool
    archived: bool
    generation: int
    """That of the segments which are found; 0 as long as there are none."""
    tokens: int
    words: int
    segment_count: int
    segments_done: int
    hit_count: int
    attempts: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    parsed_at: datetime | None
    split_at: datetime | None
    completed_at: datetime | None

    @property
    def display_status(self) -> str:
        """As the original's pages call it."""
        if self.status == "waiting":
            return "queuing"
        if self.status in ("parsing", "splitting", "indexing"):
            return "indexing"
        if self.status != "completed":
            return self.status
        if self.archived:
            return "archived"
        return "available" if self.enabled else "disabled"


class Segment(Struct, frozen=True):
    """A piece of a document, found and cited as one."""

    id: UUID
    base_id: UUID
    document_id: UUID
    position: int
    """From 1."""
    content: str
    answer: str
    """Of a question-and-answer segment; else empty."""
    keywords: tuple[str, ...]
    tokens: int
    words: int
    digest: bytes
    enabled: bool
    hit_count: int
    created_at: datetime
    updated_at: datetime

    @property
    def told(self) -> str:
        """As a model is told it."""
        return f"question:{self.content} \nanswer:{self.answer}" if self.answer else self.content


class Passage(Struct, frozen=True):
    """A segment that was found."""

    segment: Segment
    document_name: str
    source: DocumentSource
    base_name: str
    score: float
    """From 0 to 1; comparable within one search alone."""


class Citation(Struct, frozen=True):
    """What an answer was told, and where it comes from, as it was then."""

    id: UUID
    position: int
    """From 1, best first."""
    base_id: UUID
    base_name: str
    document_id: UUID
    document_name: str
    source: DocumentSource
    segment_id: UUID
    segment_position: int
    score: float
    content: str
    hit_count: int
    words: int
    digest: str
    """In hexadecimal."""
    created_at: datetime


class KnowledgeConfig(Struct, frozen=True):
    """The bases an app answers from."""

    bases: tuple[str, ...] = ()
    """Their names or ids, as the app's file has them."""
    mode: Literal["single", "multiple"] = "multiple"
    """`single`: its model chooses one base; `multiple`: all are searched."""
    retrieval: RetrievalSettings = RetrievalSettings()
    """How what was found in several is joined; each base is searched by its own method."""
    weighs: bool = False
    """Whether its weights count in a hybrid search, instead of each base's own."""


def document_key(base_id: UUID, document_id: UUID, version_id: UUID) -> str:
    """Where the bytes of one version of a document lie in the blob store; never used twice."""
    return f"{_FOLDER}/{base_id.hex}/{document_id.hex}/{version_id.hex}"


def read_document_key(key: str) -> tuple[UUID, UUID, UUID] | None:
    """Of whose bytes this is the key: base, document, version; None when it is something else."""
    folder, *ids = key.split("/")
    if folder != _FOLDER or len(ids) != 3 or not all(re.fullmatch("[0-9a-f]{32}", x) for x in ids):
        return None
    base_id, document_id, version_id = (UUID(one) for one in ids)
    return base_id, document_id, version_id
