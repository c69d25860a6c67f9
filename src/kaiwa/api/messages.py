"""Messages of a conversation, their ratings, and what to ask next."""

from typing import cast
from uuid import UUID

from litestar import Response
from litestar.params import FromPath

from kaiwa.api import wire
from kaiwa.api.auth import authorise, authorise_reading
from kaiwa.api.body import (
    path_uuid,
    read_choice,
    read_json,
    read_limit,
    read_uuid,
    required_user,
    user_or_default,
)
from kaiwa.api.site import ApiRequest, linking, site_of
from kaiwa.chat.suggest import suggest_questions
from kaiwa.domain.message import Exchange, Rating
from kaiwa.domain.text import as_text
from kaiwa.errors import BadRequest, InvalidParam, NotFound
from kaiwa.store import messages as store
from kaiwa.store.apps import get_config
from kaiwa.store.conversations import get_conversation
from kaiwa.store.db import Reads
from kaiwa.store.feedback import set_rating

_SUGGEST_FROM = 3


async def get_messages(request: ApiRequest) -> Response[wire.MessagePage]:
    """A page of a conversation: the newest messages before `first_id`, oldest first."""
    query = request.query_params

    async def read(db: Reads, app_id: UUID) -> wire.MessagePage:
        user = user_or_default(query)
        if "conversation_id" not in query:
            raise InvalidParam(
                "Missing required parameter in the query string", params="conversation_id"
            )
        conversation_id = read_uuid(query.get("conversation_id"), "conversation_id")
        first_id = read_uuid(query.get("first_id"), "first_id")
        limit = read_limit(query.get("limit"))
        if conversation_id is None:
            return wire.MessagePage(limit, False, [])
        page = await store.list_messages(
            db, app_id, user, conversation_id, first_id=first_id, limit=limit
        )
        return wire.message_page(page, limit, linking(request))

    _, page = await authorise_reading(request, read)
    return Response(page)


async def post_feedback(request: ApiRequest, message_id: FromPath[str]) -> Response[wire.Success]:
    """Rate an answer; `null` takes the rating back."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    body = await read_json(request)
    user = required_user(body)
    rating = body.get("rating")
    if rating is not None:
        rating = read_choice(rating, ("like", "dislike"), "rating")
    content = body.get("content")
    await set_rating(
        site.db,
        caller.app.id,
        user,
        path_uuid(message_id),
        cast("Rating | None", rating),
        None if content is None else as_text(content),
        site.context.new_id,
        site.context.clock(),
    )
    return Response(wire.Success())


async def get_suggested(
    request: ApiRequest, message_id: FromPath[str]
) -> Response[wire.Suggestions]:
    """Questions the person may want to ask after the conversation's latest answers."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    user = required_user(request.query_params)
    message = await store.find_message(site.db, caller.app.id, user, path_uuid(message_id))
    if message is None:
        raise NotFound("Message Not Exists.")
    conversation = await get_conversation(site.db, caller.app.id, user, message.conversation_id)
    config = await get_config(site.db, caller.app.id, conversation.config_id)
    if not caller.config.suggestions_enabled:
        raise BadRequest("Suggested Questions Is Disabled.")
    newest = await store.read_history(site.db, conversation.id, list[Exchange], _SUGGEST_FROM)
    kit = await site.context.kit_for(caller.config)
    questions = await suggest_questions(newest[::-1], kit.side_model, config.suggested_questions)
    return Response(wire.Suggestions("success", questions))
