"""Our words → the contract's words, for everything that is answered as JSON.

The order of the fields is the order on the wire.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from kaiwa.domain.file import MessageFile, StoredFile
from kaiwa.domain.file_objects import with_links
from kaiwa.domain.knowledge import Citation
from kaiwa.domain.message import Conversation, Message, Page
from kaiwa.domain.thought import Thought
from kaiwa.domain.usage import Usage, plain
from kaiwa.errors import KaiwaError


class Link(Protocol):
    """Signs a link to a file, for the one who asks; those that tools `made` have their own."""

    def __call__(self, file: StoredFile, *, made: bool = False) -> str: ...


Links = Mapping[UUID, str]
"""Signed links by the ids of files."""

NO_PARENT = "00000000-0000-0000-0000-000000000000"


class ErrorBody(Struct, frozen=True):
    """Any refusal; `params` names the field at fault when a single one is."""

    code: str
    message: str
    status: int
    params: str | UnsetType = UNSET


class Success(Struct, frozen=True):
    """Done."""

    result: Literal["success"] = "success"


class Transcription(Struct, frozen=True):
    """What was said."""

    text: str


class UsageBody(Struct, frozen=True):
    """Tokens, exact prices as strings, seconds. `estimated` when the counts are ours."""

    prompt_tokens: int
    prompt_unit_price: str
    prompt_price_unit: str
    prompt_price: str
    completion_tokens: int
    completion_unit_price: str
    completion_price_unit: str
    completion_price: str
    total_tokens: int
    total_price: str
    currency: str
    latency: float
    estimated: bool | UnsetType = UNSET


class CitationBody(Struct, frozen=True, kw_only=True):
    """A passage that an answer was told, best first; `score` is from 0 to 1."""

    position: int
    dataset_id: str
    dataset_name: str
    document_id: str
    document_name: str
    data_source_type: str
    segment_id: str
    retriever_from: Literal["api"] = "api"
    score: float
    content: str
    hit_count: int
    word_count: int
    segment_position: int
    index_node_hash: str


class CitedBody(CitationBody, frozen=True, kw_only=True):
    """The same as it is kept with its message."""

    id: str
    message_id: str
    created_at: int


class Metadata(Struct, frozen=True):
    """What stands beside an answer."""

    usage: UsageBody
    retriever_resources: list[CitationBody]
    annotation_reply: dict[str, Any] | None


class Answered(Struct, frozen=True):
    """A whole answer."""

    event: Literal["message"]
    task_id: str
    id: str
    message_id: str
    conversation_id: str
    mode: str
    answer: str
    metadata: Metadata
    created_at: int


class FeedbackBody(Struct, frozen=True):
    """The end user's rating."""

    rating: Literal["like", "dislike"]


class FileBody(Struct, frozen=True):
    """A file in a message; `url` is good for a while."""

    id: str
    type: str
    url: str
    belongs_to: str
    filename: str
    mime_type: str
    size: int
    transfer_method: str
    upload_file_id: str


class ThoughtBody(Struct, frozen=True):
    """A round of an agent; `tool_input` and `observation` are JSON objects by tool, as text."""

    id: str
    chain_id: None
    message_id: str
    position: int
    thought: str
    tool: str
    tool_labels: dict[str, Any]
    tool_input: str
    created_at: int
    observation: str
    message_files: list[str]
    files: list[str]


class MessageBody(Struct, frozen=True):
    """A question and its answer; `outcome` tells `stopped` and `interrupted` from `normal`."""

    id: str
    conversation_id: str
    parent_message_id: str
    inputs: dict[str, Any]
    query: str
    answer: str
    message_files: list[FileBody]
    feedback: FeedbackBody | None
    retriever_resources: list[CitedBody]
    created_at: int
    agent_thoughts: list[ThoughtBody]
    status: Literal["normal", "error"]
    error: str | None
    outcome: str


class MessagePage(Struct, frozen=True):
    """Messages, oldest first."""

    limit: int
    has_more: bool
    data: list[MessageBody]


class ConversationBody(Struct, frozen=True):
    """A conversation; times in Unix seconds."""

    id: str
    name: str
    inputs: dict[str, Any]
    status: Literal["normal"]
    introduction: str
    created_at: int
    updated_at: int
    pinned: bool


class RenamedBody(ConversationBody, frozen=True):
    """A conversation after a change to it."""

    result: Literal["success"] = "success"


class ConversationPage(Struct, frozen=True):
    """Conversations in the order asked for."""

    limit: int
    has_more: bool
    data: list[ConversationBody]


class Suggestions(Struct, frozen=True):
    """What the person may want to ask next."""

    result: Literal["success"]
    data: list[str]


class UploadedFile(Struct, frozen=True):
    """A file that was taken in."""

    id: str
    name: str
    size: int
    extension: str
    mime_type: str
    created_by: str
    created_at: int
    preview_url: str | None
    source_url: str


class Estimate(Struct, frozen=True):
    """How long a document is; `tokens` is an estimate."""

    pages: int | None
    characters: int
    tokens: int


class Welcome(Struct, frozen=True):
    """Where one has arrived."""

    welcome: str
    api_version: str
    server_version: str


class Health(Struct, frozen=True):
    """How the server is."""

    status: str


def error_body(error: KaiwaError) -> ErrorBody:
    return ErrorBody(error.code, error.message, error.status, error.params or UNSET)


def usage_body(usage: Usage) -> UsageBody:
    price = usage.price
    return UsageBody(
        prompt_tokens=usage.prompt_tokens,
        prompt_unit_price=plain(price.prompt) if price else "0.0",
        prompt_price_unit=plain(price.unit) if price else "0.0",
        prompt_price=plain(usage.prompt_price) if price else "0.0",
        completion_tokens=usage.completion_tokens,
        completion_unit_price=plain(price.completion) if price else "0.0",
        completion_price_unit=plain(price.unit) if price else "0.0",
        completion_price=plain(usage.completion_price) if price else "0.0",
        total_tokens=usage.total_tokens,
        total_price=plain(usage.total_price) if price else "0.0",
        currency=price.currency if price else "USD",
        latency=usage.latency,
        estimated=True if usage.estimated else UNSET,
    )


def metadata(usage: Usage, citations: Sequence[Citation]) -> Metadata:
    return Metadata(usage_body(usage), [citation_body(one) for one in citations], None)


def _citation_values(one: Citation) -> dict[str, Any]:
    return {
        "position": one.position,
        "dataset_id": str(one.base_id),
        "dataset_name": one.base_name,
        "document_id": str(one.document_id),
        "document_name": one.document_name,
        "data_source_type": one.source,
        "segment_id": str(one.segment_id),
        "score": one.score,
        "content": one.content,
        "hit_count": one.hit_count,
        "word_count": one.words,
        "segment_position": one.segment_position,
        "index_node_hash": one.digest,
    }


def citation_body(one: Citation) -> CitationBody:
    return CitationBody(**_citation_values(one))


def cited_body(one: Citation, message: Message) -> CitedBody:
    return CitedBody(
        id=str(one.id),
        message_id=str(message.id),
        created_at=int(one.created_at.timestamp()),
        **_citation_values(one),
    )


def answered(message: Message, usage: Usage, task_id: str, mode: str) -> Answered:
    return Answered(
        event="message",
        task_id=task_id,
        id=str(message.id),
        message_id=str(message.id),
        conversation_id=str(message.conversation_id),
        mode=mode,
        answer=message.answer,
        metadata=metadata(usage, message.citations),
        created_at=int(message.created_at.timestamp()),
    )


def uploaded_file(file: StoredFile, link: str) -> UploadedFile:
    return UploadedFile(
        id=str(file.id),
        name=file.name,
        size=file.size,
        extension=file.extension,
        mime_type=file.mime_type,
        created_by=str(file.user_id),
        created_at=int(file.created_at.timestamp()),
        preview_url=None,
        source_url=link,
    )


def message_body(message: Message, link: Link) -> MessageBody:
    within = {one.file.id: link(one.file) for one in message.files if one.belongs_to == "inputs"}
    beside = [one for one in message.files if one.belongs_to != "inputs"]
    return MessageBody(
        id=str(message.id),
        conversation_id=str(message.conversation_id),
        parent_message_id=str(message.parent_id) if message.parent_id else NO_PARENT,
        inputs=with_links(message.inputs, within),
        query=message.query,
        answer=message.answer,
        message_files=[
            _file_body(one, link(one.file, made=one.belongs_to == "assistant")) for one in beside
        ],
        feedback=FeedbackBody(message.rating) if message.rating else None,
        retriever_resources=[cited_body(one, message) for one in message.citations],
        created_at=int(message.created_at.timestamp()),
        agent_thoughts=[_thought_body(one, message) for one in message.thoughts],
        status="error" if message.outcome.failed else "normal",
        error=message.error,
        outcome=message.outcome,
    )


def _thought_body(thought: Thought, message: Message) -> ThoughtBody:
    files = [str(one) for one in thought.files]
    return ThoughtBody(
        id=str(thought.id),
        chain_id=None,
        message_id=str(message.id),
        position=thought.position,
        thought=thought.text,
        tool=thought.tool,
        tool_labels=thought.labels,
        tool_input=thought.tool_input,
        created_at=int(thought.created_at.timestamp()),
        observation=thought.observation,
        message_files=files,
        files=files,
    )


def thought_event(thought: Thought) -> dict[str, object]:
    """What an `agent_thought` says beside what every event says."""
    return {
        "id": str(thought.id),
        "position": thought.position,
        "thought": thought.text,
        "observation": thought.observation,
        "tool": thought.tool,
        "tool_labels": thought.labels,
        "tool_input": thought.tool_input,
        "message_files": [str(one) for one in thought.files],
    }


def file_event(one: MessageFile, url: str) -> dict[str, object]:
    """The same of a `message_file`."""
    return {"id": str(one.id), "type": one.file.type, "belongs_to": one.belongs_to, "url": url}


def _file_body(one: MessageFile, url: str) -> FileBody:
    return FileBody(
        id=str(one.id),
        type=one.file.type,
        url=url,
        belongs_to=one.belongs_to,
        filename=one.file.name,
        mime_type=one.file.mime_type,
        size=one.file.size,
        transfer_method=one.method,
        upload_file_id=str(one.file.id),
    )


def message_page(page: Page[Message], limit: int, link: Link) -> MessagePage:
    return MessagePage(limit, page.has_more, [message_body(m, link) for m in page.items])


def conversation_body(conversation: Conversation, links: Links) -> ConversationBody:
    return ConversationBody(
        id=str(conversation.id),
        name=conversation.name,
        inputs=with_links(conversation.inputs, links),
        status="normal",
        introduction=conversation.introduction,
        created_at=int(conversation.created_at.timestamp()),
        updated_at=int(conversation.updated_at.timestamp()),
        pinned=conversation.pinned,
    )


def renamed_body(conversation: Conversation, links: Links) -> RenamedBody:
    body = conversation_body(conversation, links)
    return RenamedBody(*(getattr(body, name) for name in body.__struct_fields__))


def conversation_page(page: Page[Conversation], limit: int, links: Links) -> ConversationPage:
    return ConversationPage(limit, page.has_more, [conversation_body(c, links) for c in page.items])
