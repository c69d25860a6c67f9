"""Who asks: the `Authorization` header → the caller's app, or a refusal."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from kaiwa.api.site import ApiRequest, site_of
from kaiwa.domain.app import Caller
from kaiwa.errors import Forbidden, NotChatApp, Unauthorized
from kaiwa.store.db import Database, Reads
from kaiwa.store.keys import KeyedReads, find_caller
from kaiwa.store.knowledge import KnowledgeKey, find_knowledge_caller

T = TypeVar("T")

CHAT_MODES = ("chat", "agent-chat")


async def authorise(request: ApiRequest, db: Database) -> Caller:
    """The caller of a valid key.

    Raises `Unauthorized`, or `TooManyRequests` after too many wrong keys; `Forbidden` when the app
    is gone, its API is off, or it does not admit the browser's origin; `NotChatApp` when it is no
    chat app.
    """
    caller = await _find_holder(request, lambda digest: find_caller(db, digest), _app_of)
    return _admit(caller, request)


async def authorise_knowledge(request: ApiRequest) -> UUID:
    """The workspace of a valid key for knowledge.

    Raises `Unauthorized`, also for an app's key, or `TooManyRequests` after too many wrong keys.
    """
    db = site_of(request).db
    key = await _find_holder(
        request, lambda digest: find_knowledge_caller(db, digest), _workspace_of
    )
    return key.workspace_id


def _app_of(caller: Caller) -> UUID:
    return caller.app.id


def _workspace_of(key: KnowledgeKey) -> UUID:
    return key.workspace_id


async def _find_holder(
    request: ApiRequest,
    find: Callable[[bytes], Awaitable[T | None]],
    owner_of: Callable[[T], UUID],
) -> T:
    guesses = site_of(request).guesses
    host = _host(request)
    digest = _digest(request)
    known = guesses.find_owner(digest)
    if not known:
        guesses.check(host)
    found = await find(digest)
    if not known:
        guesses.check(host)  # others came meanwhile: no key beyond the limit is told apart
    if found is None:
        guesses.note_wrong(host, digest)
        raise Unauthorized
    if not known:
        guesses.note_good(digest, owner_of(found))
    return found


async def authorise_reading(
    request: ApiRequest, read: Callable[[Reads, UUID], Awaitable[T]]
) -> tuple[Caller, T]:
    """The caller, and what `read` reads for the app of that id.

    A key that was seen before is looked up on the same way to the database as the first thing
    that is read; what `read` itself refuses may then be refused before the key is. Raises as
    `authorise` does.
    """
    site = site_of(request)
    digest = _digest(request)
    app_id = site.guesses.find_owner(digest)
    if app_id is None:
        caller = await authorise(request, site.db)
        return caller, await read(site.db, caller.app.id)
    reads = KeyedReads(site.db, digest, app_id)
    try:
        found = await read(reads, app_id)
    except Unauthorized:
        site.guesses.note_wrong(_host(request), digest)
        raise
    if reads.caller is None:  # there was nothing to read
        return await authorise(request, site.db), found
    return _admit(reads.caller, request), found


def _admit(caller: Caller, request: ApiRequest) -> Caller:
    origin = request.headers.get("origin")
    admitted = caller.config.origins
    if origin and admitted and origin not in admitted and "*" not in admitted:
        raise Forbidden("This app's key may not be used from this origin.")
    if caller.app.mode not in CHAT_MODES:
        raise NotChatApp
    return caller


def _host(request: ApiRequest) -> str | None:
    return request.client.host if request.client else None


def _digest(request: ApiRequest) -> bytes:
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if not token:
        raise Unauthorized("Authorization header must be provided and start with 'Bearer'")
    if scheme.lower() != "bearer":
        raise Unauthorized("Authorization scheme must be 'Bearer'")
    return hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
