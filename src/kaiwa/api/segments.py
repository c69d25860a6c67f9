"""Segments of documents, as somebody reads and writes them by hand."""

from typing import Any

from litestar import Response
from litestar.params import FromPath

from kaiwa.api import wire
from kaiwa.api import wire_knowledge as knowledge
from kaiwa.api.body import Body, path_uuid, read_json, read_limit
from kaiwa.api.datasets import find_base
from kaiwa.api.documents import find_document
from kaiwa.api.knowledge_body import read_page, read_segment, read_segments, segment_values
from kaiwa.api.site import ApiRequest, site_of
from kaiwa.domain.knowledge import Document, KnowledgeBase, Segment
from kaiwa.errors import DocumentArchived, InvalidParam, NotFound
from kaiwa.store import segments as store


async def post_segments(
    request: ApiRequest, dataset_id: FromPath[str], document_id: FromPath[str]
) -> Response[knowledge.SegmentsAdded]:
    """Add segments at the end of a document; they are found at once."""
    site = site_of(request)
    base, document = await _find(request, dataset_id, document_id)
    _check_written(document)
    written = read_segments(await read_json(request), document.rule.form)
    vectors = await site.embed(base, [one.content for one in written])
    new = [
        store.NewSegment(
            id=site.context.new_id(), position=at, embedding=vector, **segment_values(one)
        )
        for at, (one, vector) in enumerate(zip(written, vectors, strict=True), 1)
    ]
    await store.insert_segments(site.db, document, new, site.context.clock())
    found = [await store.get_segment(site.db, document, one.id) for one in new]
    return Response(knowledge.SegmentsAdded([_body(base, one) for one in found], _form(document)))


async def get_segments(
    request: ApiRequest, dataset_id: FromPath[str], document_id: FromPath[str]
) -> Response[knowledge.SegmentPage]:
    """A page of a document's segments, in its order."""
    base, document = await _find(request, dataset_id, document_id)
    query = request.query_params
    page, limit = read_page(query.get("page")), read_limit(query.get("limit"))
    keyword = (query.get("keyword") or "").replace("\0", "")
    found, total = await store.list_segments(
        site_of(request).db, document, keyword=keyword, offset=(page - 1) * limit, limit=limit
    )
    data = [_body(base, one) for one in found]
    more = page * limit < total
    return Response(knowledge.SegmentPage(data, _form(document), more, limit, total, page))


async def get_segment(
    request: ApiRequest,
    dataset_id: FromPath[str],
    document_id: FromPath[str],
    segment_id: FromPath[str],
) -> Response[knowledge.SegmentAnswer]:
    """One segment."""
    base, document = await _find(request, dataset_id, document_id)
    segment = await store.get_segment(site_of(request).db, document, path_uuid(segment_id))
    return Response(knowledge.SegmentAnswer(_body(base, segment), _form(document)))


async def post_segment(
    request: ApiRequest,
    dataset_id: FromPath[str],
    document_id: FromPath[str],
    segment_id: FromPath[str],
) -> Response[knowledge.SegmentAnswer]:
    """Change a segment; it is found by its new words at once."""
    site = site_of(request)
    base, document = await _find(request, dataset_id, document_id)
    if document.archived:
        raise DocumentArchived
    segment = await store.get_segment(site.db, document, path_uuid(segment_id))
    body = await read_json(request)
    values = await _changed(request, base, document, segment, body)
    await store.change_segment(site.db, document, segment.id, values, site.context.clock())
    changed = await store.get_segment(site.db, document, segment.id)
    return Response(knowledge.SegmentAnswer(_body(base, changed), _form(document)))


async def delete_segment(
    request: ApiRequest,
    dataset_id: FromPath[str],
    document_id: FromPath[str],
    segment_id: FromPath[str],
) -> Response[wire.Success]:
    """Delete a segment; it is not found from now on."""
    site = site_of(request)
    _, document = await _find(request, dataset_id, document_id)
    if document.archived:
        raise DocumentArchived
    await store.delete_segment(site.db, document, path_uuid(segment_id), site.context.clock())
    return Response(wire.Success())


async def _changed(
    request: ApiRequest, base: KnowledgeBase, document: Document, segment: Segment, body: Body
) -> dict[str, Any]:
    given = body.get("segment")
    if not isinstance(given, dict):
        raise InvalidParam("Missing required parameter in the JSON body", params="segment")
    written = read_segment(given, document.rule.form, segment)
    values = segment_values(written)
    if written.content != segment.content:
        [values["embedding"]] = await site_of(request).embed(base, [written.content])
    values["keywords"] = store.write_keywords(written.keywords)
    if given.get("enabled") is not None:
        values["enabled"] = bool(given["enabled"])
    return values


async def _find(
    request: ApiRequest, dataset_id: str, document_id: str
) -> tuple[KnowledgeBase, Document]:
    base = await find_base(request, dataset_id)
    return base, await find_document(request, base, document_id)


def _check_written(document: Document) -> None:
    """Only what is found can be added to. Raises as the original does."""
    if document.archived:
        raise DocumentArchived
    if not document.generation:
        raise NotFound("Document is not completed.")
    if not document.enabled:
        raise NotFound("Document is disabled.")


def _body(base: KnowledgeBase, segment: Segment) -> knowledge.SegmentBody:
    return knowledge.segment_body(segment, str(base.workspace_id))


def _form(document: Document) -> str:
    return document.rule.form
