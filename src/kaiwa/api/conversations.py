"""The end user's conversations: list, rename, pin, delete."""

from collections.abc import Sequence
from typing import Literal, cast
from uuid import UUID

from litestar import Response
from litestar.params import FromPath

from kaiwa.api import wire
from kaiwa.api.auth import authorise, authorise_reading
from kaiwa.api.body import (
    path_uuid,
    read_choice,
    read_flag,
    read_json,
    read_limit,
    read_uuid,
    user_or_default,
)
from kaiwa.api.site import ApiRequest, linking, site_of
from kaiwa.chat.title import find_title
from kaiwa.domain.app import Caller
from kaiwa.domain.file_objects import kept_ids
from kaiwa.domain.message import Conversation
from kaiwa.domain.text import as_text
from kaiwa.errors import InvalidParam, KaiwaError
from kaiwa.store import conversations as store
from kaiwa.store.db import Reads
from kaiwa.store.files import find_files
from kaiwa.store.messages import first_query

SortBy = Literal["created_at", "-created_at", "updated_at", "-updated_at"]
SORTS = ("created_at", "-created_at", "updated_at", "-updated_at")


async def get_conversations(request: ApiRequest) -> Response[wire.ConversationPage]:
    """A page of the end user's conversations, after `last_id`."""
    query = request.query_params

    async def read(db: Reads, app_id: UUID) -> wire.ConversationPage:
        user = user_or_default(query)
        last_id = read_uuid(query.get("last_id"), "last_id")
        limit = read_limit(query.get("limit"))
        pinned = read_flag(query.get("pinned"), "pinned")
        sort_by = read_choice(query.get("sort_by") or "-updated_at", SORTS, "sort_by")
        page = await store.list_conversations(
            db,
            app_id,
            user,
            last_id=last_id,
            limit=limit,
            pinned=pinned,
            sort_by=cast(SortBy, sort_by),
        )
        links = await _find_links(request, db, app_id, user, page.items)
        return wire.conversation_page(page, limit, links)

    _, page = await authorise_reading(request, read)
    return Response(page)


async def delete_conversation(
    request: ApiRequest, conversation_id: FromPath[str]
) -> Response[wire.Success]:
    """Delete a conversation; it is gone at once and purged some days later."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    user = user_or_default(await read_json(request, optional=True))
    await store.delete_conversation(
        site.db, caller.app.id, user, path_uuid(conversation_id), site.context.clock()
    )
    return Response(wire.Success())


async def post_name(
    request: ApiRequest, conversation_id: FromPath[str]
) -> Response[wire.RenamedBody]:
    """Give a conversation a name, or have one made from its first question."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    body = await read_json(request)
    user = user_or_default(body)
    found = await store.get_conversation(site.db, caller.app.id, user, path_uuid(conversation_id))
    automatic = body.get("auto_generate")
    if automatic and as_text(automatic).lower() != "false":
        name = await _made_name(request, caller, found)
    elif body.get("name") is None:
        raise InvalidParam("name is required when auto_generate is false", params="name")
    else:
        name = as_text(body["name"])
    renamed = await store.rename_conversation(
        site.db, caller.app.id, user, found.id, name, site.context.clock()
    )
    links = await _find_links(request, site.db, caller.app.id, user, [renamed])
    return Response(wire.renamed_body(renamed, links))


async def patch_pin(
    request: ApiRequest, conversation_id: FromPath[str]
) -> Response[wire.RenamedBody]:
    """Pin a conversation."""
    return await _pin(request, conversation_id, pinned=True)


async def patch_unpin(
    request: ApiRequest, conversation_id: FromPath[str]
) -> Response[wire.RenamedBody]:
    """Unpin a conversation."""
    return await _pin(request, conversation_id, pinned=False)


async def _pin(
    request: ApiRequest, conversation_id: str, *, pinned: bool
) -> Response[wire.RenamedBody]:
    site = site_of(request)
    caller = await authorise(request, site.db)
    user = user_or_default(await read_json(request, optional=True))
    conversation = await store.pin_conversation(
        site.db, caller.app.id, user, path_uuid(conversation_id), pinned
    )
    links = await _find_links(request, site.db, caller.app.id, user, [conversation])
    return Response(wire.renamed_body(conversation, links))


async def _find_links(
    request: ApiRequest, db: Reads, app_id: UUID, user: str, found: Sequence[Conversation]
) -> wire.Links:
    """Links to the files in their inputs, which most have none of."""
    ids = kept_ids(each.inputs for each in found)
    files = await find_files(db, app_id, user, ids)
    return {file_id: linking(request)(file) for file_id, file in files.items()}


async def _made_name(request: ApiRequest, caller: Caller, conversation: Conversation) -> str:
    site = site_of(request)
    query = await first_query(site.db, conversation.id)
    if query is None:
        return conversation.name
    try:
        kit = await site.context.kit_for(caller.config)
    except KaiwaError:
        return conversation.name
    return await find_title(query, kit.side_model) or conversation.name
