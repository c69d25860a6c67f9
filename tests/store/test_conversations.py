"""Conversations: paged, changed, deleted, and nobody else's."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App
from kaiwa.domain.message import Conversation, Message
from kaiwa.errors import NotFound
from kaiwa.store.conversations import (
    SortBy,
    delete_conversation,
    find_conversation,
    get_conversation,
    list_conversations,
    pin_conversation,
    purge_conversations,
    rename_conversation,
    retitle_conversation,
)
from kaiwa.store.db import Database
from kaiwa.store.feedback import set_rating
from kaiwa.store.messages import first_query, list_messages
from kaiwa.store.tables import conversations, feedback, messages, rounds, thoughts
from tests.store.sample import THOUGHTS, Erased, at, begin, finish, go_on, make_app, opening, tick

pytestmark = pytest.mark.anyio

SORTS: Sequence[SortBy] = ("created_at", "-created_at", "updated_at", "-updated_at")
_users = count()


async def page_ids(
    db: Database,
    app: App,
    user: str = "ann",
    *,
    last_id: UUID | None = None,
    limit: int = 100,
    pinned: bool | None = None,
    sort_by: SortBy = "-updated_at",
) -> tuple[list[UUID], bool]:
    page = await list_conversations(
        db, app.id, user, last_id=last_id, limit=limit, pinned=pinned, sort_by=sort_by
    )
    return [item.id for item in page.items], page.has_more


async def begin_many(db: Database, app: App, many: int, user: str = "ann") -> list[UUID]:
    return [(await begin(db, app, user)).conversation_id for _ in range(many)]


async def test_a_conversation_is_kept_as_it_was_opened(db: Database, app: App) -> None:
    first = await begin(db, app, now=at(0))
    found = await get_conversation(db, app.id, "ann", first.conversation_id)
    given = opening(app)
    assert found == Conversation(
        id=first.conversation_id,
        app_id=app.id,
        user_id=found.user_id,
        config_id=app.config_id,
        name=given.name,
        inputs=given.conversation_inputs,
        introduction=given.introduction,
        pinned=False,
        created_at=at(0),
        updated_at=at(0),
    )


async def test_pages_come_in_the_order_asked_for(db: Database, app: App) -> None:
    a, b, c = await begin_many(db, app, 3)
    await rename_conversation(db, app.id, "ann", a, "renamed", tick())
    assert await page_ids(db, app, sort_by="created_at") == ([a, b, c], False)
    assert await page_ids(db, app, sort_by="-created_at") == ([c, b, a], False)
    assert await page_ids(db, app, sort_by="updated_at") == ([b, c, a], False)
    assert await page_ids(db, app, sort_by="-updated_at") == ([a, c, b], False)


async def test_has_more_is_exact(db: Database, app: App) -> None:
    a, b, c, d = await begin_many(db, app, 4)
    assert await page_ids(db, app, limit=2) == ([d, c], True)
    assert await page_ids(db, app, limit=2, last_id=c) == ([b, a], False)
    assert await page_ids(db, app, limit=2, last_id=a) == ([], False)
    assert await page_ids(db, app, "nobody") == ([], False)


async def test_pinned_ones_are_listed_apart(db: Database, app: App) -> None:
    a, b, c = await begin_many(db, app, 3)
    pinned = await pin_conversation(db, app.id, "ann", b, True)
    assert pinned.pinned
    assert pinned.updated_at == pinned.created_at
    assert await page_ids(db, app, pinned=True) == ([b], False)
    assert await page_ids(db, app, pinned=False) == ([c, a], False)
    assert await page_ids(db, app, pinned=False, last_id=b) == ([a], False)
    await pin_conversation(db, app.id, "ann", b, False)
    assert await page_ids(db, app, pinned=True) == ([], False)


Walk = st.lists(
    st.tuples(st.sampled_from(["page", "add", "delete", "touch"]), st.integers(0, 99)), max_size=30
)


@given(
    moments=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    walk=Walk,
    limit=st.integers(1, 4),
    sort_by=st.sampled_from(SORTS),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_pages_never_skip_or_repeat_a_row(
    db: Database,
    app: App,
    moments: list[int],
    walk: list[tuple[str, int]],
    limit: int,
    sort_by: SortBy,
) -> None:
    """Whatever is added, deleted or changed between pages; the others are seen exactly once."""
    user = f"user {next(_users)}"
    alive = [(await begin(db, app, user, now=at(m))).conversation_id for m in moments]
    steady = set(alive)
    seen: list[UUID] = []

    async def turn_page() -> bool:
        last_id = seen[-1] if seen else None
        found, more = await page_ids(db, app, user, last_id=last_id, limit=limit, sort_by=sort_by)
        assert len(found) <= limit
        seen.extend(found)
        return more

    async def disturb(what: str, n: int) -> None:
        other = alive[n % len(alive)]
        if what == "add":
            alive.append((await begin(db, app, user, now=at(n % 4))).conversation_id)
        elif other in seen[-1:]:
            return  # the row that marks the place stays as it is
        elif what == "delete" and len(alive) > 1:
            await delete_conversation(db, app.id, user, other, tick())
            alive.remove(other)
            steady.discard(other)
        elif what == "touch":
            await rename_conversation(db, app.id, user, other, "touched", at(n % 7))
            steady.discard(other)

    for what, n in walk:
        await (turn_page() if what == "page" else disturb(what, n))
    while await turn_page():
        pass
    assert sorted(id for id in seen if id in steady) == sorted(steady)


async def test_a_row_can_only_mark_a_place_in_its_own_list(db: Database, app: App) -> None:
    (mine,) = await begin_many(db, app, 1)
    (bobs,) = await begin_many(db, app, 1, "bob")
    (elsewhere,) = await begin_many(db, await make_app(db, "Other"), 1)
    await delete_conversation(db, app.id, "ann", mine, tick())
    for last_id in (bobs, elsewhere, mine, uuid7()):
        with pytest.raises(NotFound, match=r"^Last Conversation Not Exists\.$"):
            await page_ids(db, app, last_id=last_id)


async def test_renaming_moves_a_conversation_up(db: Database, app: App) -> None:
    (a,) = await begin_many(db, app, 1)
    renamed = await rename_conversation(db, app.id, "ann", a, "旅行", at(9))
    assert (renamed.name, renamed.updated_at) == ("旅行", at(9))
    assert await find_conversation(db, app.id, "ann", a) == renamed


async def test_automatic_naming_never_undoes_a_name_somebody_gave(db: Database, app: App) -> None:
    a, b = await begin_many(db, app, 2)
    before = await get_conversation(db, app.id, "ann", a)
    await rename_conversation(db, app.id, "ann", b, "mine", tick())
    for each in (a, b):
        await retitle_conversation(db, each, "A title", "New conversation")
    after = await get_conversation(db, app.id, "ann", a)
    assert (after.name, after.updated_at) == ("A title", before.updated_at)
    assert (await get_conversation(db, app.id, "ann", b)).name == "mine"


async def test_a_deleted_conversation_is_gone_for_every_function(db: Database, app: App) -> None:
    (a,) = await begin_many(db, app, 1)
    await delete_conversation(db, app.id, "ann", a, tick())
    await retitle_conversation(db, a, "A title", "New conversation")
    assert await page_ids(db, app) == ([], False)
    await assert_not_found(db, app, "ann", a)


async def assert_not_found(db: Database, app: App, user: str, conversation_id: UUID) -> None:
    """By no function that names an end user's conversation."""
    assert await find_conversation(db, app.id, user, conversation_id) is None
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: get_conversation(db, app.id, user, conversation_id),
        lambda: rename_conversation(db, app.id, user, conversation_id, "stolen", tick()),
        lambda: pin_conversation(db, app.id, user, conversation_id, True),
        lambda: delete_conversation(db, app.id, user, conversation_id, tick()),
        lambda: list_messages(db, app.id, user, conversation_id, first_id=None, limit=5),
        lambda: go_on(db, app, conversation_id, user),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound, match=r"^Conversation Not Exists\.$"):
            await attempt()


async def test_nobody_reaches_somebody_elses_conversation(db: Database, app: App) -> None:
    other = await make_app(db, "Other")
    (anns,) = await begin_many(db, app, 1)
    await begin_many(db, app, 1, "bob")
    await begin_many(db, other, 1)
    before = await get_conversation(db, app.id, "ann", anns)
    for where, who in ((app, "bob"), (other, "ann"), (app, "stranger"), (app, "ANN"), (app, "")):
        await assert_not_found(db, where, who, anns)
    source = "terminal"
    assert await find_conversation(db, app.id, "ann", anns, source=source) is None
    assert await get_conversation(db, app.id, "ann", anns) == before


async def count_rows(db: Database) -> list[int]:
    queries = [
        select(func.count()).select_from(table)
        for table in (conversations, messages, rounds, feedback, thoughts)
    ]
    return await db.read(lambda conn: [conn.execute(query).scalar_one() for query in queries])


async def _begin_rated(db: Database, app: App) -> Message:
    first = await begin(db, app)
    await finish(db, first, thoughts=THOUGHTS)
    await set_rating(db, app.id, "ann", first.id, "like", None, uuid7, tick())
    return first


async def test_purging_erases_all_that_hangs_on_what_was_deleted(db: Database, app: App) -> None:
    kept, old, recent = [await _begin_rated(db, app) for _ in range(3)]
    await delete_conversation(db, app.id, "ann", old.conversation_id, at(100))
    await delete_conversation(db, app.id, "ann", recent.conversation_id, at(200))
    assert await purge_conversations(db, at(200), Erased()) == 1
    assert await count_rows(db) == [2, 2, 2, 2, 4]
    assert await first_query(db, old.conversation_id) is None
    assert await purge_conversations(db, at(200) + timedelta(microseconds=1), Erased()) == 1
    assert await count_rows(db) == [1, 1, 1, 1, 2]
    assert await purge_conversations(db, at(1000), Erased()) == 0
    assert await first_query(db, kept.conversation_id) == "why?"


async def test_purging_works_in_portions(db: Database, app: App) -> None:
    gone = await begin_many(db, app, 520)
    for _ in range(500):
        await go_on(db, app, gone[0])
    for each in gone:
        await delete_conversation(db, app.id, "ann", each, at(100))
    assert await purge_conversations(db, at(200), Erased()) == 520
    assert await count_rows(db) == [0, 0, 0, 0, 0]
