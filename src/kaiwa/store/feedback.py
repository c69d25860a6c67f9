"""What an end user thinks of an answer: one rating a message."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update

from kaiwa.domain.message import Rating
from kaiwa.errors import InvalidParam, NotFound
from kaiwa.ports import NewId
from kaiwa.store.columns import ID, MICROS
from kaiwa.store.db import Database
from kaiwa.store.rows import THEIR_LIVE, scope_of
from kaiwa.store.tables import conversations, feedback, messages

_FIND = (
    select(
        messages.c.workspace_id,
        messages.c.app_id,
        messages.c.user_id,
        messages.c.id.label("message_id"),
    )
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(THEIR_LIVE, messages.c.id == bindparam("this", type_=ID))
)
_ITS_ROW = and_(
    feedback.c.message_id == bindparam("this", type_=ID),
    feedback.c.source == bindparam("of_source"),
)
_ADD = insert(feedback)
_CHANGE = (
    update(feedback)
    .where(_ITS_ROW)
    .values(
        rating=bindparam("new_rating"),
        content=bindparam("new_content"),
        updated_at=bindparam("moment", type_=MICROS),
    )
)
_REMOVE = delete(feedback).where(_ITS_ROW)


async def set_rating(
    db: Database,
    app_id: UUID,
    user: str,
    message_id: UUID,
    rating: Rating | None,
    content: str | None,
    new_id: NewId,
    now: datetime,
    *,
    source: str = "api",
) -> None:
    """Rate, rate anew, or, with None, take the rating back.

    Raises `NotFound` when the message is not this end user's to see, `InvalidParam` when there
    is nothing to take back.
    """
    bound = scope_of(app_id, user, source) | {"this": message_id}
    values = {"new_rating": rating, "new_content": content, "moment": now}
    feedback_id = new_id()

    def unit(conn: Connection) -> None:
        found = conn.execute(_FIND, bound).mappings().one_or_none()
        if found is None:
            raise NotFound("Message Not Exists.")
        if rating is None:
            _remove(conn, message_id, source)
        elif not conn.execute(_CHANGE, values | _row(message_id, source)).rowcount:
            added = {"id": feedback_id, "source": source, "rating": rating, "content": content}
            moments = {"created_at": now, "updated_at": now}
            conn.execute(_ADD, dict(found) | added | moments)

    await db.write(unit)


def _row(message_id: UUID, source: str) -> dict[str, Any]:
    return {"this": message_id, "of_source": source}


def _remove(conn: Connection, message_id: UUID, source: str) -> None:
    if not conn.execute(_REMOVE, _row(message_id, source)).rowcount:
        raise InvalidParam("rating cannot be None when feedback not exists")
