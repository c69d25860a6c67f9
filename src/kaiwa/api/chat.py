"""Ask, and stop the answer."""

import secrets
from typing import cast
from uuid import UUID

import anyio
from litestar import Response
from litestar.params import FromPath
from litestar.types import ASGIApp

from kaiwa.api import wire
from kaiwa.api.auth import authorise, authorise_reading
from kaiwa.api.body import (
    Body,
    path_uuid,
    read_choice,
    read_files,
    read_inputs,
    read_json,
    read_query,
    read_uuid,
    required_user,
)
from kaiwa.api.site import ApiRequest, Site, linking, site_of
from kaiwa.api.sse import EventStream
from kaiwa.chat.order import Order, Ready, bring_files, check_approval, check_order
from kaiwa.chat.running import Live
from kaiwa.chat.turn import start_turn
from kaiwa.domain.app import Caller
from kaiwa.domain.file import GivenFile
from kaiwa.domain.message import Conversation
from kaiwa.domain.thought import Decision
from kaiwa.errors import InvalidParam, NotFound
from kaiwa.store.conversations import find_conversation
from kaiwa.store.db import Reads
from kaiwa.store.messages import find_message


async def post_chat_message(request: ApiRequest) -> ASGIApp:
    """Send a question; the answer comes as a stream or, `blocking`, as one JSON object."""
    site = site_of(request)

    async def read(db: Reads, app_id: UUID) -> tuple[Body, Conversation | None]:
        body = await read_json(request)
        return body, await _find_named(body, db, app_id)

    caller, (body, conversation) = await authorise_reading(request, read)
    order, blocking, given = read_order(body, caller)
    site.context.running.admit(caller.app.id, caller.config.max_active_requests)
    if blocking and not caller.config.blocking:
        kind = "Agent Chat App" if caller.config.agent else "This app"
        raise InvalidParam(f"{kind} does not support blocking mode")
    ready = await check_order(order, site.context, conversation)
    ready = await bring_files(ready, given, site.context)
    return await _answer(request, site, ready, blocking=blocking)


async def post_approval(request: ApiRequest, message_id: FromPath[str]) -> ASGIApp:
    """Say yes or no to the calls of an agent that waits; the answer then goes on as a stream."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    body = await read_json(request)
    user = required_user(body)
    decision = read_choice(body.get("decision"), ("approve", "decline"), "decision")
    message = await find_message(site.db, caller.app.id, user, path_uuid(message_id))
    if message is None:
        raise NotFound("Message Not Exists.")
    site.context.running.admit(caller.app.id, caller.config.max_active_requests)
    order = Order(
        app=caller.app,
        config=caller.config,
        key_id=caller.key_id,
        user=user,
        source="api",
        query=message.query,
        inputs={},
        conversation_id=message.conversation_id,
        auto_name=False,
        task_id=_new_task_id(),
    )
    ready = await check_approval(order, message, cast("Decision", decision), site.context)
    return await _answer(request, site, ready, blocking=False)


async def _answer(request: ApiRequest, site: Site, ready: Ready, *, blocking: bool) -> ASGIApp:
    order = ready.order
    if blocking:
        live = start_turn(ready, site.context, _deaf)
        return cast(ASGIApp, await _whole_answer(request, site, live, order.app.mode))
    stream = EventStream(
        order.task_id,
        site.context.running,
        site.settings.ping,
        site.settings.patience,
        linking(request),
    )
    live = stream.live = start_turn(ready, site.context, stream.emit, aloud=True)
    if live.seated.is_set():
        await _begun(live, stream)
    return stream


async def post_stop(request: ApiRequest, task_id: FromPath[str]) -> Response[wire.Success]:
    """Stop an answer; what was said is kept. Succeeds whether or not there is such a task."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    user = required_user(await read_json(request))
    site.context.running.stop(task_id, caller.app.id, user)
    return Response(wire.Success())


async def _find_named(body: Body, db: Reads, app_id: UUID) -> Conversation | None:
    """The conversation the body names, if it is there; its faults come to light later."""
    try:
        conversation_id = read_uuid(body.get("conversation_id"), "conversation_id")
        user = required_user(body)
    except InvalidParam:
        return None
    return conversation_id and await find_conversation(db, app_id, user, conversation_id)


def read_order(body: Body, caller: Caller) -> tuple[Order, bool, tuple[GivenFile, ...]]:
    """What is asked for, whether as one whole answer, and the files that come with it."""
    user = required_user(body)
    inputs = read_inputs(body)
    query = read_query(body)
    given = read_files(body, caller.config.files)
    blocking = True
    if "response_mode" in body:
        mode = read_choice(body["response_mode"], ("blocking", "streaming"), "response_mode")
        blocking = mode == "blocking"
    order = Order(
        app=caller.app,
        config=caller.config,
        key_id=caller.key_id,
        user=user,
        source="api",
        query=query,
        inputs=inputs,
        conversation_id=read_uuid(body.get("conversation_id"), "conversation_id"),
        auto_name=bool(body.get("auto_generate_name", True)),
        task_id=_new_task_id(),
    )
    return order, blocking, given


def _new_task_id() -> str:
    """Random: who knows it may stop the answer."""
    return str(UUID(bytes=secrets.token_bytes(16), version=4))


def _deaf(events: object) -> None:
    """A blocking client hears the whole answer at the end."""


async def _begun(live: Live, stream: EventStream) -> None:
    """Wait until the question is on disk, so that a refusal keeps its status."""
    try:
        await live.begun.wait()
        if live.refusal:
            raise live.refusal
    except BaseException:
        stream.leave()
        raise


async def _whole_answer(
    request: ApiRequest, site: Site, live: Live, mode: str
) -> Response[wire.Answered]:
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_notice_leaving, request, site, live)
            await live.ended.wait()
            tasks.cancel_scope.cancel()
    finally:
        site.context.running.leave(live)
    if error := live.refusal or live.failure:
        raise error
    assert live.message
    return Response(wire.answered(live.message, live.usage, live.task_id, mode))


async def _notice_leaving(request: ApiRequest, site: Site, live: Live) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    site.context.running.leave(live)
