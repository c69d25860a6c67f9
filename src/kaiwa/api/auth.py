"""Who asks: the `Authorization` header → the caller's app, or a refusal."""

import hashlib

from kaiwa.api.site import ApiRequest, site_of
from kaiwa.domain.app import Caller
from kaiwa.errors import Forbidden, NotChatApp, Unauthorized
from kaiwa.store.db import Database
from kaiwa.store.keys import find_caller

CHAT_MODES = ("chat", "agent-chat")


async def authorise(request: ApiRequest, db: Database) -> Caller:
    """The caller of a valid key.

    Raises `Unauthorized`, or `TooManyRequests` after too many wrong keys; `Forbidden` when the app
    is gone, its API is off, or it does not admit the browser's origin; `NotChatApp` when it is no
    chat app.
    """
    guesses = site_of(request).guesses
    host = request.client.host if request.client else None
    digest = _digest(request.headers.get("authorization", ""))
    known = guesses.knows(digest)
    if not known:
        guesses.check(host)
    caller = await find_caller(db, digest)
    if not known:
        guesses.check(host)  # others came meanwhile: no key beyond the limit is told apart
    if caller is None:
        guesses.note_wrong(host, digest)
        raise Unauthorized
    guesses.note_good(digest)
    origin = request.headers.get("origin")
    admitted = caller.config.origins
    if origin and admitted and origin not in admitted and "*" not in admitted:
        raise Forbidden("This app's key may not be used from this origin.")
    if caller.app.mode not in CHAT_MODES:
        raise NotChatApp
    return caller


def _digest(header: str) -> bytes:
    scheme, _, token = header.partition(" ")
    if not token:
        raise Unauthorized("Authorization header must be provided and start with 'Bearer'")
    if scheme.lower() != "bearer":
        raise Unauthorized("Authorization scheme must be 'Bearer'")
    return hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
