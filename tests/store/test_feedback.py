"""Ratings: given, changed, taken back, and only on one's own messages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Row, select
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App
from kaiwa.domain.message import Rating
from kaiwa.errors import InvalidParam, NotFound
from kaiwa.store.conversations import delete_conversation
from kaiwa.store.db import Database
from kaiwa.store.feedback import set_rating
from kaiwa.store.messages import find_message
from kaiwa.store.tables import feedback
from tests.store.sample import at, begin, make_app, tick

pytestmark = pytest.mark.anyio


async def all_feedback(db: Database) -> Sequence[Row[Any]]:
    return await db.read(lambda conn: conn.execute(select(feedback)).all())


async def test_a_rating_is_kept_and_changed_in_its_one_row(db: Database, app: App) -> None:
    message = await begin(db, app)
    given: list[tuple[Rating, str | None, datetime]] = [
        ("like", "good", at(1)),
        ("dislike", None, at(2)),
    ]
    for rating, content, now in given:
        await set_rating(db, app.id, "ann", message.id, rating, content, uuid7, now)
        found = await find_message(db, app.id, "ann", message.id)
        assert found
        assert found.rating == rating
    (row,) = await all_feedback(db)
    assert (row.content, row.created_at, row.updated_at) == (None, at(1), at(2))


async def test_a_rating_is_taken_back_once(db: Database, app: App) -> None:
    message = await begin(db, app)
    await set_rating(db, app.id, "ann", message.id, "like", None, uuid7, tick())
    await set_rating(db, app.id, "ann", message.id, None, None, uuid7, tick())
    assert await all_feedback(db) == []
    with pytest.raises(InvalidParam, match="rating cannot be None when feedback not exists"):
        await set_rating(db, app.id, "ann", message.id, None, None, uuid7, tick())


async def test_nobody_rates_somebody_elses_message(db: Database, app: App) -> None:
    other = await make_app(db, "Other")
    anns = await begin(db, app)
    await begin(db, app, "bob")
    await begin(db, other)
    ratings: list[Rating | None] = ["like", None]
    for where, who, what in (
        (app, "bob", anns.id),
        (other, "ann", anns.id),
        (app, "stranger", anns.id),
        (app, "ann", uuid7()),
    ):
        for rating in ratings:
            with pytest.raises(NotFound, match=r"^Message Not Exists\.$"):
                await set_rating(db, where.id, who, what, rating, None, uuid7, tick())
    await delete_conversation(db, app.id, "ann", anns.conversation_id, tick())
    with pytest.raises(NotFound, match=r"^Message Not Exists\.$"):
        await set_rating(db, app.id, "ann", anns.id, "like", None, uuid7, tick())
    assert await all_feedback(db) == []
