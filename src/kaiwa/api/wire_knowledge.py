"""The contract's words for knowledge: bases are datasets, and their structs are the answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from kaiwa.domain.knowledge import (
    ChunkRule,
    Document,
    KnowledgeBase,
    Passage,
    RetrievalSettings,
    Segment,
)


class RerankModel(Struct, frozen=True):
    """What orders passages anew; empty names: nothing."""

    reranking_provider_name: str
    reranking_model_name: str


class VectorSetting(Struct, frozen=True):
    """How much closeness of meaning counts."""

    vector_weight: float


class KeywordSetting(Struct, frozen=True):
    """How much shared words count."""

    keyword_weight: float


class Weights(Struct, frozen=True):
    """Of the halves of a hybrid search."""

    weight_type: str
    vector_setting: VectorSetting
    keyword_setting: KeywordSetting


class RetrievalModel(Struct, frozen=True):
    """How a dataset is searched."""

    search_method: str
    reranking_enable: bool
    reranking_mode: str | None
    reranking_model: RerankModel
    weights: Weights | None
    top_k: int
    score_threshold_enabled: bool
    score_threshold: float | None


class DatasetBody(Struct, frozen=True):
    """A knowledge base; times in Unix seconds."""

    id: str
    name: str
    description: str
    provider: Literal["vendor"]
    permission: str
    data_source_type: str | None
    indexing_technique: str
    app_count: int
    document_count: int
    word_count: int
    created_by: str
    created_at: int
    updated_by: str
    updated_at: int
    embedding_model: str | None
    embedding_model_provider: str | None
    embedding_available: bool
    retrieval_model_dict: RetrievalModel
    tags: list[str]
    doc_form: str | None
    partial_member_list: list[str]


class DatasetPage(Struct, frozen=True):
    """Knowledge bases, newest first."""

    data: list[DatasetBody]
    has_more: bool
    limit: int
    total: int
    page: int


class UploadInfo(Struct, frozen=True):
    """Where a document's bytes are."""

    upload_file_id: str


class DocumentBody(Struct, frozen=True):
    """A document; times in Unix seconds."""

    id: str
    position: int
    data_source_type: str
    data_source_info: UploadInfo
    dataset_process_rule_id: str
    name: str
    created_from: Literal["api"]
    created_by: str
    created_at: int
    tokens: int
    indexing_status: str
    error: str | None
    enabled: bool
    disabled_at: int | None
    disabled_by: str | None
    archived: bool
    display_status: str
    word_count: int
    hit_count: int
    doc_form: str
    doc_metadata: None


class DocumentAdded(Struct, frozen=True):
    """A document that is going to be indexed; `batch` asks how far it is."""

    document: DocumentBody
    batch: str


class DocumentPage(Struct, frozen=True):
    """Documents, newest first."""

    data: list[DocumentBody]
    has_more: bool
    limit: int
    total: int
    page: int


class DocumentDetail(DocumentBody, frozen=True):
    """A document and how it was indexed; `indexing_latency` in seconds."""

    dataset_process_rule: dict[str, Any]
    completed_at: int | None
    updated_at: int
    indexing_latency: float | None
    doc_type: None
    doc_language: str
    segment_count: int
    average_segment_length: float


class IndexingBody(Struct, frozen=True):
    """How far a document is; times in Unix seconds."""

    id: str
    indexing_status: str
    processing_started_at: int | None
    parsing_completed_at: int | None
    cleaning_completed_at: int | None
    splitting_completed_at: int | None
    completed_at: int | None
    paused_at: int | None
    error: str | None
    stopped_at: int | None
    completed_segments: int
    total_segments: int


class IndexingStatus(Struct, frozen=True):
    """The documents of a batch."""

    data: list[IndexingBody]


class DocumentFile(Struct, frozen=True):
    """A document's bytes; the links are good for a while."""

    id: str
    name: str
    size: int
    extension: str
    url: str
    download_url: str
    mime_type: str
    created_by: str
    created_at: int


class SegmentBody(Struct, frozen=True):
    """A piece of a document; times in Unix seconds."""

    id: str
    position: int
    document_id: str
    content: str
    sign_content: str
    answer: str
    word_count: int
    tokens: int
    keywords: list[str]
    index_node_id: str
    index_node_hash: str
    hit_count: int
    enabled: bool
    disabled_at: int | None
    disabled_by: str | None
    status: Literal["completed"]
    created_by: str
    created_at: int
    updated_at: int
    indexing_at: int
    completed_at: int
    error: None
    stopped_at: None
    child_chunks: list[str]


class SegmentAnswer(Struct, frozen=True):
    """One segment."""

    data: SegmentBody
    doc_form: str


class SegmentsAdded(Struct, frozen=True):
    """Segments that are found from now on."""

    data: list[SegmentBody]
    doc_form: str


class SegmentPage(Struct, frozen=True):
    """Segments in the order of their document."""

    data: list[SegmentBody]
    doc_form: str
    has_more: bool
    limit: int
    total: int
    page: int


class FoundDocument(Struct, frozen=True):
    """The document a segment is of."""

    id: str
    data_source_type: str
    name: str
    doc_type: None
    doc_metadata: None


class FoundSegment(SegmentBody, frozen=True):
    """A segment that was found."""

    document: FoundDocument


class RecordBody(Struct, frozen=True):
    """A segment and how well it fits, from 0 to 1."""

    segment: FoundSegment
    child_chunks: list[str]
    score: float
    tsne_position: None


class QueryBody(Struct, frozen=True):
    """What was asked."""

    content: str


class Retrieved(Struct, frozen=True):
    """What was found, the best first."""

    query: QueryBody
    records: list[RecordBody]


class Deleted(Struct, frozen=True):
    """Done; nothing is said."""


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def retrieval_model(settings: RetrievalSettings) -> RetrievalModel:
    provider, _, model = settings.rerank_model.partition("/")
    weights = Weights(
        "customized",
        VectorSetting(settings.vector_weight),
        KeywordSetting(settings.keyword_weight),
    )
    hybrid = settings.method == "hybrid_search"
    mode = "weighted_score" if settings.fusion == "weighted" else "reciprocal_rank"
    return RetrievalModel(
        search_method=settings.method,
        reranking_enable=bool(model),
        reranking_mode="reranking_model" if model else mode if hybrid else None,
        reranking_model=RerankModel(provider if model else "", model),
        weights=weights if hybrid else None,
        top_k=settings.top_k,
        score_threshold_enabled=settings.score_threshold is not None,
        score_threshold=settings.score_threshold,
    )


def dataset_body(base: KnowledgeBase, app_count: int) -> DatasetBody:
    owner = str(base.workspace_id)
    return DatasetBody(
        id=str(base.id),
        name=base.name,
        description=base.description,
        provider="vendor",
        permission=base.permission,
        data_source_type="upload_file" if base.document_count else None,
        indexing_technique=base.indexing,
        app_count=app_count,
        document_count=base.document_count,
        word_count=base.word_count,
        created_by=owner,
        created_at=int(base.created_at.timestamp()),
        updated_by=owner,
        updated_at=int(base.updated_at.timestamp()),
        embedding_model=base.embedding_model or None,
        embedding_model_provider=base.embedding_provider or None,
        embedding_available=True,
        retrieval_model_dict=retrieval_model(base.retrieval),
        tags=[],
        doc_form=None,
        partial_member_list=[],
    )


def document_body(document: Document) -> DocumentBody:
    return DocumentBody(
        id=str(document.id),
        position=document.position,
        data_source_type=document.source,
        data_source_info=UploadInfo(str(document.id)),
        dataset_process_rule_id=str(document.id),
        name=document.name,
        created_from="api",
        created_by=str(document.workspace_id),
        created_at=int(document.created_at.timestamp()),
        tokens=document.tokens,
        indexing_status=document.status,
        error=document.error,
        enabled=document.enabled,
        disabled_at=None if document.enabled else _seconds(document.updated_at),
        disabled_by=None if document.enabled else str(document.workspace_id),
        archived=document.archived,
        display_status=document.display_status,
        word_count=document.words,
        hit_count=document.hit_count,
        doc_form=document.rule.form,
        doc_metadata=None,
    )


def document_detail(document: Document) -> DocumentDetail:
    body = document_body(document)
    count = document.segment_count
    started, completed = document.started_at, document.completed_at
    return DocumentDetail(
        *(getattr(body, name) for name in body.__struct_fields__),
        dataset_process_rule=process_rule(document.rule),
        completed_at=_seconds(completed),
        updated_at=int(document.updated_at.timestamp()),
        indexing_latency=(completed - started).total_seconds() if started and completed else None,
        doc_type=None,
        doc_language=document.language,
        segment_count=count,
        average_segment_length=document.words / count if count else 0,
    )


def process_rule(rule: ChunkRule) -> dict[str, Any]:
    """As a document is added with it."""
    cleaning = {
        "remove_extra_spaces": rule.remove_extra_spaces,
        "remove_urls_emails": rule.remove_urls_emails,
    }
    return {
        "mode": rule.mode,
        "rules": {
            "pre_processing_rules": [
                {"id": name, "enabled": enabled} for name, enabled in cleaning.items()
            ],
            "segmentation": {
                "separator": rule.separator,
                "max_tokens": rule.max_tokens,
                "chunk_overlap": rule.overlap,
            },
        },
    }


def indexing_body(document: Document) -> IndexingBody:
    failed = document.status == "error"
    return IndexingBody(
        id=str(document.id),
        indexing_status=document.status,
        processing_started_at=_seconds(document.started_at),
        parsing_completed_at=_seconds(document.parsed_at),
        cleaning_completed_at=_seconds(document.split_at),
        splitting_completed_at=_seconds(document.split_at),
        completed_at=None if failed else _seconds(document.completed_at),
        paused_at=None,
        error=document.error,
        stopped_at=_seconds(document.completed_at) if failed else None,
        completed_segments=document.segments_done,
        total_segments=document.segment_count,
    )


def document_file(document: Document, url: str) -> DocumentFile:
    return DocumentFile(
        id=str(document.id),
        name=document.name,
        size=document.size,
        extension=document.extension,
        url=url,
        download_url=f"{url}&as_attachment=true",
        mime_type=document.mime_type,
        created_by=str(document.workspace_id),
        created_at=int(document.created_at.timestamp()),
    )


def segment_body(segment: Segment, owner: str) -> SegmentBody:
    made = int(segment.created_at.timestamp())
    changed = int(segment.updated_at.timestamp())
    return SegmentBody(
        id=str(segment.id),
        position=segment.position,
        document_id=str(segment.document_id),
        content=segment.content,
        sign_content=segment.content,
        answer=segment.answer,
        word_count=segment.words,
        tokens=segment.tokens,
        keywords=list(segment.keywords),
        index_node_id=str(segment.id),
        index_node_hash=segment.digest.hex(),
        hit_count=segment.hit_count,
        enabled=segment.enabled,
        disabled_at=None if segment.enabled else changed,
        disabled_by=None if segment.enabled else owner,
        status="completed",
        created_by=owner,
        created_at=made,
        updated_at=changed,
        indexing_at=made,
        completed_at=made,
        error=None,
        stopped_at=None,
        child_chunks=[],
    )


def retrieved(query: str, passages: Sequence[Passage], owner: str) -> Retrieved:
    return Retrieved(QueryBody(query), [_record_body(one, owner) for one in passages])


def _record_body(passage: Passage, owner: str) -> RecordBody:
    body = segment_body(passage.segment, owner)
    document = FoundDocument(
        str(passage.segment.document_id), passage.source, passage.document_name, None, None
    )
    segment = FoundSegment(
        *(getattr(body, name) for name in body.__struct_fields__), document=document
    )
    return RecordBody(segment, [], passage.score, None)
