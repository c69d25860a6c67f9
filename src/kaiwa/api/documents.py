"""Documents of knowledge bases: taken in, replaced, listed, switched, deleted.

Taking one in keeps its bytes and writes its row; whoever claims that row does the rest.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from litestar import Response
from litestar.params import FromPath

from kaiwa.api import wire
from kaiwa.api import wire_knowledge as knowledge
from kaiwa.api.body import Body, path_uuid, read_json, read_limit
from kaiwa.api.datasets import find_base
from kaiwa.api.form import Form, name_of
from kaiwa.api.knowledge_body import (
    first_kind,
    read_data,
    read_page,
    read_retrieval,
    read_rule,
    required_text,
)
from kaiwa.api.site import ApiRequest, Site, linking, site_of
from kaiwa.domain.knowledge import ChunkRule, Document, KnowledgeBase
from kaiwa.domain.text import as_text
from kaiwa.errors import (
    DocumentArchived,
    FileTooLarge,
    InvalidAction,
    InvalidParam,
    KaiwaError,
    NoFileUploaded,
    NotFound,
)
from kaiwa.files.keeping import Coming, KeptDocument, once
from kaiwa.files.kinds import Kind, clean_name
from kaiwa.store import documents as store
from kaiwa.store.knowledge import change_base

_TEXT = Kind("document", "txt", "text/plain")
_ACTIONS: dict[str, dict[str, bool]] = {
    "enable": {"enabled": True},
    "disable": {"enabled": False},
    "archive": {"archived": True},
    "un_archive": {"archived": False},
}
_MOST_AT_ONCE = 100
_LONGEST_LANGUAGE = 40


async def post_by_text(
    request: ApiRequest, dataset_id: FromPath[str]
) -> Response[knowledge.DocumentAdded]:
    """Add a document by its text."""
    base = await find_base(request, dataset_id)
    body = await read_json(request)
    name, text = required_text(body, "name"), required_text(body, "text")
    if body.get("original_document_id"):
        return await _replace(request, base, await _named(request, base, body), body, name, text)
    document_id = site_of(request).context.new_id()
    kept = await _keep_text(request, base, document_id, name, text)
    return await _add(request, base, document_id, kept, body)


async def post_by_file(
    request: ApiRequest, dataset_id: FromPath[str]
) -> Response[knowledge.DocumentAdded]:
    """Add a document by a file."""
    base = await find_base(request, dataset_id)
    document_id = site_of(request).context.new_id()
    kept, form = await _keep_file(request, base, document_id)
    try:
        body = read_data(form.field("data"))
        if body.get("original_document_id"):
            document = await _named(request, base, body)
            return await _put_in_place(request, base, document, kept, body)
    except KaiwaError:
        await site_of(request).keeper.forget(kept)
        raise
    return await _add(request, base, document_id, kept, body)


async def post_update_by_text(
    request: ApiRequest, dataset_id: FromPath[str], document_id: FromPath[str]
) -> Response[knowledge.DocumentAdded]:
    """Give a document another text, name or rule; what was found of it is found until then."""
    base = await find_base(request, dataset_id)
    document = await find_document(request, base, document_id)
    body = await read_json(request)
    name = None if body.get("name") is None else required_text(body, "name")
    text = None if body.get("text") is None else required_text(body, "text")
    return await _replace(request, base, document, body, name, text)


async def post_update_by_file(
    request: ApiRequest, dataset_id: FromPath[str], document_id: FromPath[str]
) -> Response[knowledge.DocumentAdded]:
    """Give a document the content of a file; what was found of it is found until then."""
    base = await find_base(request, dataset_id)
    document = await find_document(request, base, document_id)
    _check_open(document)
    kept, form = await _keep_file(request, base, document.id)
    try:
        body = read_data(form.field("data"))
        return await _put_in_place(request, base, document, kept, body)
    except KaiwaError:
        await site_of(request).keeper.forget(kept)
        raise


async def get_documents(
    request: ApiRequest, dataset_id: FromPath[str]
) -> Response[knowledge.DocumentPage]:
    """A page of the documents, newest first."""
    base = await find_base(request, dataset_id)
    query = request.query_params
    page, limit = read_page(query.get("page")), read_limit(query.get("limit"))
    keyword = (query.get("keyword") or "").replace("\0", "")
    found, total = await store.list_documents(
        site_of(request).db, base.id, keyword=keyword, offset=(page - 1) * limit, limit=limit
    )
    data = [knowledge.document_body(one) for one in found]
    return Response(knowledge.DocumentPage(data, page * limit < total, limit, total, page))


async def get_document(
    request: ApiRequest, dataset_id: FromPath[str], document_id: FromPath[str]
) -> Response[knowledge.DocumentDetail]:
    """One document."""
    base = await find_base(request, dataset_id)
    return Response(knowledge.document_detail(await find_document(request, base, document_id)))


async def delete_document(
    request: ApiRequest, dataset_id: FromPath[str], document_id: FromPath[str]
) -> Response[wire.Success]:
    """Delete a document; it is not found from now on."""
    site = site_of(request)
    base = await find_base(request, dataset_id)
    document = await find_document(request, base, document_id)
    _check_open(document)
    await store.delete_document(site.db, base.workspace_id, document, site.context.clock())
    return Response(wire.Success())


async def get_indexing_status(
    request: ApiRequest, dataset_id: FromPath[str], batch: FromPath[str]
) -> Response[knowledge.IndexingStatus]:
    """How far the documents of a batch are."""
    base = await find_base(request, dataset_id)
    batch = batch.replace("\0", "")
    found: list[Document] = []
    if batch:
        found, _ = await store.list_documents(site_of(request).db, base.id, batch=batch)
    if not found:
        raise NotFound("Documents not found.")
    return Response(knowledge.IndexingStatus([knowledge.indexing_body(one) for one in found]))


async def patch_status(
    request: ApiRequest, dataset_id: FromPath[str], action: FromPath[str]
) -> Response[wire.Success]:
    """Switch documents: `enable`, `disable`, `archive`, `un_archive`."""
    site = site_of(request)
    base = await find_base(request, dataset_id)
    if action not in _ACTIONS:
        raise InvalidAction
    ids = _read_ids(await read_json(request))
    now = site.context.clock()
    await store.change_documents(site.db, base.workspace_id, base.id, ids, now, **_ACTIONS[action])
    return Response(wire.Success())


async def get_upload_file(
    request: ApiRequest, dataset_id: FromPath[str], document_id: FromPath[str]
) -> Response[knowledge.DocumentFile]:
    """A document's bytes, by links."""
    base = await find_base(request, dataset_id)
    document = await find_document(request, base, document_id)
    link = linking(request)(store.file_of(document))
    return Response(knowledge.document_file(document, link))


async def find_document(request: ApiRequest, base: KnowledgeBase, document_id: str) -> Document:
    """Raises `NotFound`."""
    return await store.get_document(site_of(request).db, base.id, path_uuid(document_id))


def _check_open(document: Document) -> None:
    if document.archived:
        raise DocumentArchived


async def _named(request: ApiRequest, base: KnowledgeBase, body: Body) -> Document:
    """The document that a new one is to replace."""
    document = await find_document(request, base, as_text(body["original_document_id"]))
    _check_open(document)
    return document


def _read_ids(body: Body) -> list[UUID]:
    given = body.get("document_ids")
    if not isinstance(given, list) or not given:
        raise InvalidParam("document_ids is required.", params="document_ids")
    if len(given) > _MOST_AT_ONCE:
        raise InvalidParam(f"document_ids are more than {_MOST_AT_ONCE}.", params="document_ids")
    try:
        return [path_uuid(as_text(one)) for one in given]
    except NotFound as error:
        raise NotFound("Document not found.") from error


async def _keep_text(
    request: ApiRequest, base: KnowledgeBase, document_id: UUID, name: str, text: str
) -> KeptDocument:
    if not text.strip():
        raise InvalidParam("text is empty.", params="text")
    coming = Coming(name, _TEXT.mime_type, once(text.encode("utf-8", "replace")))
    return await site_of(request).keeper.keep_document(base.id, document_id, coming, kind=_TEXT)


async def _keep_file(
    request: ApiRequest, base: KnowledgeBase, document_id: UUID
) -> tuple[KeptDocument, Form]:
    keeper = site_of(request).keeper
    form = Form(request, keeper.limits.document, NoFileUploaded)
    form.check_length(FileTooLarge.over)
    segment = await form.find_file()
    pieces: AsyncIterator[bytes] = form.read_file()
    coming = Coming(name_of(segment) or "", segment.content_type or "", pieces)
    return await keeper.keep_document(base.id, document_id, coming), form


async def _add(
    request: ApiRequest, base: KnowledgeBase, document_id: UUID, kept: KeptDocument, body: Body
) -> Response[knowledge.DocumentAdded]:
    site = site_of(request)
    now = site.context.clock()
    try:
        new = _new(site, document_id, kept, body, ChunkRule(), now)
        await _settle(site, base, body, now)
        document = await store.add_document(site.db, base.workspace_id, base.id, new, now)
    except KaiwaError:
        await site.keeper.forget(kept)
        raise
    return _added(site, document)


async def _settle(site: Site, base: KnowledgeBase, body: Body, now: datetime) -> None:
    """The first document of a base may say how all are indexed and searched."""
    kind = first_kind(site, base, body)
    given = None if base.document_count else body.get("retrieval_model")
    if kind or given:
        retrieval = read_retrieval(given, base.retrieval)
        await change_base(site.db, base.workspace_id, base.id, now, retrieval=retrieval, kind=kind)


async def _replace(
    request: ApiRequest,
    base: KnowledgeBase,
    document: Document,
    body: Body,
    name: str | None,
    text: str | None,
) -> Response[knowledge.DocumentAdded]:
    """With its old name or text where none is given."""
    _check_open(document)
    name = document.name if name is None else name
    if text is not None:
        kept = await _keep_text(request, base, document.id, name, text)
        try:
            return await _put_in_place(request, base, document, kept, body)
        except KaiwaError:
            await site_of(request).keeper.forget(kept)
            raise
    kind = Kind("document", document.extension, document.mime_type)
    same = KeptDocument(clean_name(name), kind, document.key, document.size, document.digest)
    return await _put_in_place(request, base, document, same, body)


async def _put_in_place(
    request: ApiRequest,
    base: KnowledgeBase,
    document: Document,
    kept: KeptDocument,
    body: Body,
) -> Response[knowledge.DocumentAdded]:
    site = site_of(request)
    now = site.context.clock()
    new = _new(site, document.id, kept, body, document.rule, now)
    replaced = await store.replace_document(site.db, base.workspace_id, document, new, now)
    return _added(site, replaced)


def _new(
    site: Site, document_id: UUID, kept: KeptDocument, body: Body, rule: ChunkRule, now: datetime
) -> store.NewDocument:
    name = body.get("name")
    return store.NewDocument(
        id=document_id,
        name=clean_name(as_text(name)) if name else kept.name,
        source="upload_file",
        origin=None,
        digest=kept.digest,
        key=kept.key,
        size=kept.size,
        extension=kept.kind.extension,
        mime_type=kept.kind.mime_type,
        rule=read_rule(body, rule),
        language=as_text(body.get("doc_language") or "English")[:_LONGEST_LANGUAGE],
        batch=f"{now:%Y%m%d%H%M%S}{site.context.new_id().int % 1_000_000:06}",
    )


def _added(site: Site, document: Document) -> Response[knowledge.DocumentAdded]:
    site.wake_workshop()
    return Response(knowledge.DocumentAdded(knowledge.document_body(document), document.batch))
