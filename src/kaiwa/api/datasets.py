"""Knowledge bases, which the contract calls datasets: made, listed, changed, deleted, searched."""

from uuid import UUID

from litestar import Response
from litestar.params import FromPath
from msgspec.structs import replace

from kaiwa.api import wire_knowledge as wire
from kaiwa.api.auth import authorise_knowledge
from kaiwa.api.body import path_uuid, read_json, read_limit
from kaiwa.api.knowledge_body import (
    kind_by_default,
    read_base_name,
    read_description,
    read_kind,
    read_page,
    read_permission,
    read_retrieval,
    required_text,
)
from kaiwa.api.site import ApiRequest, site_of
from kaiwa.domain.knowledge import KnowledgeBase, RetrievalSettings
from kaiwa.errors import InvalidParam
from kaiwa.store import knowledge as store

_LONGEST_QUERY = 250


async def post_dataset(request: ApiRequest) -> Response[wire.DatasetBody]:
    """Make an empty knowledge base."""
    site = site_of(request)
    workspace_id = await authorise_knowledge(request)
    body = await read_json(request)
    name = read_base_name(body)
    kind = read_kind(body, kind_by_default(site))
    new = store.NewBase(
        id=site.context.new_id(),
        name=name,
        description=read_description(body),
        permission=read_permission(body) or "only_me",
        indexing=kind.indexing,
        embedding_provider=kind.embedding_provider,
        embedding_model=kind.embedding_model,
        retrieval=read_retrieval(body.get("retrieval_model"), RetrievalSettings()),
    )
    base = await store.create_base(site.db, workspace_id, new, site.context.clock())
    return Response(wire.dataset_body(base, 0))


async def get_datasets(request: ApiRequest) -> Response[wire.DatasetPage]:
    """A page of the knowledge bases, newest first."""
    site = site_of(request)
    workspace_id = await authorise_knowledge(request)
    query = request.query_params
    page, limit = read_page(query.get("page")), read_limit(query.get("limit"))
    keyword = (query.get("keyword") or "").replace("\0", "")
    found, total = await store.list_bases(
        site.db, workspace_id, keyword=keyword, offset=(page - 1) * limit, limit=limit
    )
    counts = await store.count_apps(site.db, workspace_id, found)
    data = [wire.dataset_body(base, counts[base.id]) for base in found]
    return Response(wire.DatasetPage(data, page * limit < total, limit, total, page))


async def get_dataset(request: ApiRequest, dataset_id: FromPath[str]) -> Response[wire.DatasetBody]:
    """One knowledge base."""
    base = await find_base(request, dataset_id)
    return Response(await _described(request, base))


async def patch_dataset(
    request: ApiRequest, dataset_id: FromPath[str]
) -> Response[wire.DatasetBody]:
    """Change what a knowledge base is called, who may see it, and how it is searched."""
    site = site_of(request)
    base = await find_base(request, dataset_id)
    body = await read_json(request)
    changed = await store.change_base(
        site.db,
        base.workspace_id,
        base.id,
        site.context.clock(),
        name=None if body.get("name") is None else read_base_name(body),
        description=None if body.get("description") is None else read_description(body),
        permission=read_permission(body),
        retrieval=read_retrieval(body.get("retrieval_model"), base.retrieval),
        kind=read_kind(body, store.kind_of(base)),
    )
    return Response(await _described(request, changed))


async def delete_dataset(request: ApiRequest, dataset_id: FromPath[str]) -> Response[None]:
    """Delete a knowledge base that no app answers from; it is not found from now on."""
    site = site_of(request)
    workspace_id = await authorise_knowledge(request)
    base_id = path_uuid(dataset_id)
    await store.delete_base(site.db, workspace_id, base_id, site.context.clock())
    return Response(None, status_code=204)


async def post_retrieve(request: ApiRequest, dataset_id: FromPath[str]) -> Response[wire.Retrieved]:
    """Search a knowledge base as an app would."""
    base = await find_base(request, dataset_id)
    body = await read_json(request)
    query = required_text(body, "query")
    if not query.strip():
        raise InvalidParam("Query is required", params="query")
    if len(query) > _LONGEST_QUERY:
        raise InvalidParam(f"Query cannot exceed {_LONGEST_QUERY} characters", params="query")
    settings = read_retrieval(body.get("retrieval_model"), base.retrieval)
    if not base.embeds and settings.method != "keyword_search":
        settings = replace(settings, method="full_text_search")
    passages = await site_of(request).search_knowledge(query, [base], settings)
    return Response(wire.retrieved(query, passages, str(base.workspace_id)))


async def find_base(request: ApiRequest, dataset_id: str) -> KnowledgeBase:
    """The base of this id that the key opens. Raises `NotFound`, and as `authorise_knowledge`."""
    workspace_id: UUID = await authorise_knowledge(request)
    return await store.get_base(site_of(request).db, workspace_id, path_uuid(dataset_id))


async def _described(request: ApiRequest, base: KnowledgeBase) -> wire.DatasetBody:
    counts = await store.count_apps(site_of(request).db, base.workspace_id, [base])
    return wire.dataset_body(base, counts[base.id])
