"""Messages: opened, kept while they grow, closed, paged, read as history."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import count, islice
from typing import Any
from uuid import UUID

import anyio
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Row, func, select
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App
from kaiwa.domain.message import Closing, Draft, Exchange, Message, Outcome
from kaiwa.domain.usage import Price, Round, Usage
from kaiwa.errors import NotFound
from kaiwa.store.conversations import delete_conversation, get_conversation, purge_conversations
from kaiwa.store.db import Database
from kaiwa.store.feedback import set_rating
from kaiwa.store.messages import (
    beat,
    checkpoint_messages,
    close_abandoned,
    close_message,
    find_message,
    first_query,
    list_messages,
    open_message,
    read_history,
)
from kaiwa.store.postgres import open_postgres
from kaiwa.store.tables import end_users, messages, rounds
from tests.store.sample import (
    ROUND,
    Erased,
    at,
    begin,
    closing,
    fall_silent,
    finish,
    go_on,
    make_app,
    opening,
    tick,
)

pytestmark = pytest.mark.anyio

_users = count()


async def get(db: Database, app: App, message: Message, user: str = "ann") -> Message:
    found = await find_message(db, app.id, user, message.id)
    assert found
    return found


async def test_an_opened_message_is_found_as_it_was_said(db: Database, app: App) -> None:
    asked = replace(opening(app), inputs={"大": 2**200, "f": 0.1, "l": [None, {"é": "\U0001f600"}]})
    opened, _ = await open_message(db, asked)
    assert opened == Message(
        id=asked.message_id,
        conversation_id=asked.conversation_id,
        parent_id=None,
        position=1,
        inputs=asked.inputs,
        query="why?",
        answer="",
        reasoning="",
        outcome=Outcome.RUNNING,
        error_code=None,
        error=None,
        created_at=asked.now,
    )
    assert await get(db, app, opened) == opened


async def test_what_is_no_json_is_not_kept(db: Database, app: App) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        await open_message(db, replace(opening(app), inputs={"x": float("nan")}))
    assert await db.read(lambda conn: conn.scalar(select(func.count()).select_from(messages))) == 0


async def test_a_time_without_a_zone_is_not_kept(db: Database, app: App) -> None:
    with pytest.raises(TypeError, match="offset-naive"):
        await begin(db, app, now=at(0).replace(tzinfo=None))


async def test_messages_follow_one_another(db: Database, app: App) -> None:
    first = await begin(db, app)
    second = await go_on(db, app, first.conversation_id)
    third = await go_on(db, app, first.conversation_id)
    assert [m.position for m in (first, second, third)] == [1, 2, 3]
    assert [m.parent_id for m in (first, second, third)] == [None, first.id, second.id]


async def test_questions_at_once_get_positions_without_gaps(db: Database, app: App) -> None:
    first = await begin(db, app)
    others = [go_on(db, app, first.conversation_id) for _ in range(20)]
    opened = [first, *await asyncio.gather(*others)]
    assert sorted(m.position for m in opened) == list(range(1, 22))
    assert len({m.parent_id for m in opened}) == 21


async def test_a_follow_up_moves_its_conversation_up(db: Database, app: App) -> None:
    first = await begin(db, app)
    asked = replace(opening(app, conversation_id=first.conversation_id), now=at(50))
    await open_message(db, replace(asked, conversation_inputs={"later": 1}, name="ignored"))
    found = await get_conversation(db, app.id, "ann", first.conversation_id)
    assert (found.updated_at, found.inputs, found.name) == (
        at(50),
        {"later": 1},
        "New conversation",
    )


async def test_an_end_user_is_made_once(db: Database, app: App) -> None:
    await asyncio.gather(*(begin(db, app) for _ in range(5)))
    await begin(db, app, "bob")
    await begin(db, await make_app(db, "Other"))
    await open_message(db, replace(opening(app), source="terminal"))
    query = select(end_users.c.source, end_users.c.name).order_by(end_users.c.created_at)
    found = await db.read(lambda conn: [tuple(row) for row in conn.execute(query)])
    assert sorted(found) == [("api", "ann"), ("api", "ann"), ("api", "bob"), ("terminal", "ann")]


async def test_a_refused_question_leaves_nothing(db: Database, app: App) -> None:
    with pytest.raises(NotFound):
        await go_on(db, app, uuid7(), "new here")
    assert await db.read(lambda conn: conn.scalar(select(func.count()).select_from(end_users))) == 0


async def test_checkpoints_keep_how_far_answers_have_come(db: Database, app: App) -> None:
    grown = [await begin(db, app) for _ in range(3)]
    await checkpoint_messages(db, [Draft(m.id, f"so far {m.id}", "hm") for m in grown])
    for message in grown:
        found = await get(db, app, message)
        assert (found.answer, found.reasoning) == (f"so far {message.id}", "hm")
        assert found.outcome is Outcome.RUNNING
    await checkpoint_messages(db, [])
    assert (await get(db, app, grown[0])).answer == f"so far {grown[0].id}"


async def test_a_late_checkpoint_does_not_touch_a_closed_answer(db: Database, app: App) -> None:
    message = await begin(db, app)
    await finish(db, message, "the whole answer")
    await checkpoint_messages(db, [Draft(message.id, "the wh", "")])
    assert (await get(db, app, message)).answer == "the whole answer"


async def test_closing_keeps_the_answer_and_how_it_ended(db: Database, app: App) -> None:
    message = await begin(db, app)
    await close_message(
        db, Closing(message.id, "a", "r", Outcome.ERROR, "code", "why", Usage(), tick())
    )
    closed = replace(
        message, answer="a", reasoning="r", outcome=Outcome.ERROR, error_code="code", error="why"
    )
    assert await get(db, app, message) == closed


def to_price(row: Row[Any]) -> Price | None:
    if row.price_unit is None:
        return None
    return Price(row.prompt_unit_price, row.completion_unit_price, row.price_unit, row.currency)


async def test_usage_is_kept_round_by_round_to_the_last_digit(db: Database, app: App) -> None:
    price = Price(Decimal("1234567890.1234567891"), Decimal("0.0000000003"), Decimal("0.001"))
    spent = (ROUND, Round("p", "m", 2, 5, price, True, 1.5), Round("p", "m", 1, 1, None, True, 0.1))
    message = await begin(db, app)
    for _ in range(2):  # safe to run twice
        await close_message(db, replace(closing(message.id), usage=Usage(spent)))
    rows = await db.read(
        lambda conn: conn.execute(select(rounds).order_by(rounds.c.position)).all()
    )
    found = [
        Round(
            row.provider,
            row.model,
            row.prompt_tokens,
            row.completion_tokens,
            to_price(row),
            row.estimated,
            row.latency,
        )
        for row in rows
    ]
    assert found == list(spent)
    assert [(row.prompt_price, row.completion_price) for row in rows] == [
        (one.prompt_price, one.completion_price) for one in spent
    ]


async def test_closing_an_erased_message_does_nothing(db: Database, app: App) -> None:
    message = await begin(db, app)
    await delete_conversation(db, app.id, "ann", message.conversation_id, at(1))
    await purge_conversations(db, at(2), Erased())
    await close_message(db, closing(message.id))
    assert await find_message(db, app.id, "ann", message.id) is None


SILENCE = timedelta(seconds=30)


async def test_only_what_nobody_works_on_is_abandoned(db: Database, app: App) -> None:
    silent, finished, saved, alive, young = [await begin(db, app) for _ in range(5)]
    await checkpoint_messages(db, [Draft(silent.id, "I was say", "")])
    await finish(db, finished)
    for message in (silent, finished, saved, alive):
        await fall_silent(db, message, 31)
    await fall_silent(db, young, 25)
    await checkpoint_messages(db, [Draft(saved.id, "so", "")])
    await beat(db, [alive.id, finished.id])
    await beat(db, [])
    assert await close_abandoned(db, SILENCE, "code", "why", at(11)) == 1
    assert await close_abandoned(db, SILENCE, "code", "why", at(12)) == 0
    found = await get(db, app, silent)
    assert (found.outcome, found.answer) == (Outcome.INTERRUPTED, "I was say")
    assert (found.error_code, found.error) == ("code", "why")
    outcomes = [(await get(db, app, m)).outcome for m in (finished, saved, alive, young)]
    assert outcomes == [Outcome.NORMAL, *[Outcome.RUNNING] * 3]


async def test_what_is_being_closed_is_left_alone_and_not_waited_for(url: str) -> None:
    """Two transactions that each hold what the other wants would wait for the server's verdict."""
    db = await open_postgres(url)
    app = await make_app(db)
    closed, open_ = await begin(db, app), await begin(db, app)
    with psycopg.connect(url) as closer:
        closer.execute("UPDATE messages SET answer = 'whole' WHERE id = %s", [closed.id])
        with anyio.fail_after(10):
            await checkpoint_messages(db, [Draft(m.id, "hal", "") for m in (closed, open_)])
            await beat(db, [closed.id, open_.id])
        closer.commit()
    assert (await get(db, app, closed)).answer == "whole"
    assert (await get(db, app, open_)).answer == "hal"
    await db.close()


async def test_its_own_process_has_the_last_word_on_an_answer(db: Database, app: App) -> None:
    message = await begin(db, app)
    await fall_silent(db, message, 31)
    assert await close_abandoned(db, SILENCE, "code", "why", at(11)) == 1
    await finish(db, message, "all of it")
    found = await get(db, app, message)
    assert (found.outcome, found.answer, found.error) == (Outcome.NORMAL, "all of it", None)


async def converse(db: Database, app: App, many: int, user: str = "ann") -> list[Message]:
    first = await begin(db, app, user)
    return [first, *[await go_on(db, app, first.conversation_id, user) for _ in range(many - 1)]]


async def page_ids(
    db: Database, app: App, conversation_id: UUID, first_id: UUID | None, limit: int, user: str
) -> tuple[list[UUID], bool]:
    page = await list_messages(db, app.id, user, conversation_id, first_id=first_id, limit=limit)
    return [item.id for item in page.items], page.has_more


async def test_pages_of_messages_go_back_in_time(db: Database, app: App) -> None:
    said = await converse(db, app, 5)
    ids, where = [m.id for m in said], said[0].conversation_id
    assert await page_ids(db, app, where, None, 2, "ann") == (ids[3:], True)
    assert await page_ids(db, app, where, ids[3], 2, "ann") == (ids[1:3], True)
    assert await page_ids(db, app, where, ids[1], 1, "ann") == (ids[:1], False)
    assert await page_ids(db, app, where, ids[0], 2, "ann") == ([], False)
    assert await page_ids(db, app, where, None, 5, "ann") == (ids, False)


@given(
    begun=st.integers(1, 10),
    limit=st.integers(1, 4),
    added=st.lists(st.integers(0, 3), max_size=8),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_pages_of_messages_never_skip_or_repeat(
    db: Database, app: App, begun: int, limit: int, added: list[int]
) -> None:
    user = f"user {next(_users)}"
    said = [m.id for m in await converse(db, app, begun, user)]
    first = await find_message(db, app.id, user, said[0])
    assert first
    seen: list[UUID] = []
    more = True
    while more:
        place = seen[0] if seen else None
        found, more = await page_ids(db, app, first.conversation_id, place, limit, user)
        seen = found + seen
        for _ in range(added.pop() if added else 0):
            await go_on(db, app, first.conversation_id, user)
    assert seen == said


async def test_a_page_shows_the_end_users_own_rating(db: Database, app: App) -> None:
    a, b = await converse(db, app, 2)
    await set_rating(db, app.id, "ann", a.id, "dislike", "wrong", uuid7, tick())
    page = await list_messages(db, app.id, "ann", a.conversation_id, first_id=None, limit=9)
    assert [(m.id, m.rating) for m in page.items] == [(a.id, "dislike"), (b.id, None)]


async def test_a_page_begins_only_at_a_message_of_its_conversation(db: Database, app: App) -> None:
    here, there = await begin(db, app), await begin(db, app)
    for first_id in (there.id, uuid7(), here.conversation_id):
        with pytest.raises(NotFound, match=r"^First Message Not Exists\.$"):
            await page_ids(db, app, here.conversation_id, first_id, 5, "ann")


async def test_nobody_finds_somebody_elses_message(db: Database, app: App) -> None:
    other = await make_app(db, "Other")
    anns = await begin(db, app)
    await begin(db, app, "bob")
    await begin(db, other)
    for where, who in ((app, "bob"), (other, "ann"), (app, "stranger")):
        assert await find_message(db, where.id, who, anns.id) is None
    assert await find_message(db, app.id, "ann", anns.id, source="terminal") is None
    assert await find_message(db, app.id, "ann", uuid7()) is None
    await delete_conversation(db, app.id, "ann", anns.conversation_id, tick())
    assert await find_message(db, app.id, "ann", anns.id) is None


async def test_history_holds_what_was_answered(db: Database, app: App) -> None:
    first = await begin(db, app)
    where = first.conversation_id
    await finish(db, first, "one")
    for answer, outcome in (
        ("", Outcome.NORMAL),
        ("two", Outcome.STOPPED),
        ("three", Outcome.INTERRUPTED),
        ("four", Outcome.ERROR),
    ):
        await finish(db, await go_on(db, app, where, query=f"{answer}?"), answer, outcome)
    running = await go_on(db, app, where)
    await checkpoint_messages(db, [Draft(running.id, "not yet", "")])
    await finish(db, await begin(db, app), "elsewhere")
    found = await read_history(db, where, list[Exchange], 10)
    assert [each.answer for each in found] == ["four", "three", "two", "one"]
    assert found[2] == Exchange("two?", "two")
    assert [e.answer for e in await read_history(db, where, list[Exchange], 2)] == ["four", "three"]


async def test_history_is_read_newest_first_and_as_far_as_is_chosen(db: Database, app: App) -> None:
    first = await begin(db, app)
    await finish(db, first, "answer 0")
    for n in range(1, 30):
        await finish(db, await go_on(db, app, first.conversation_id), f"answer {n}")

    def choose(newest_first: Iterator[Exchange]) -> list[str]:
        return [exchange.answer for exchange in islice(newest_first, 4)]

    found = await read_history(db, first.conversation_id, choose)
    assert found == ["answer 29", "answer 28", "answer 27", "answer 26"]


async def test_opening_brings_the_history_before_it(db: Database, app: App) -> None:
    opened, history = await open_message(db, opening(app), list[Exchange])
    assert history == []
    await finish(db, opened, "one")
    asked = opening(app, "ann", opened.conversation_id, "and then?")
    second, history = await open_message(db, asked, list[Exchange])
    assert second.position == 2
    assert history == [Exchange(opened.query, "one")]


async def test_the_first_query_is_the_oldest(db: Database, app: App) -> None:
    first = await begin(db, app)
    await go_on(db, app, first.conversation_id, query="and then?")
    assert await first_query(db, first.conversation_id) == "why?"
    assert await first_query(db, uuid7()) is None
