"""What agents thought is kept with its message, as it stood last."""

import pytest
from msgspec.structs import replace

from kaiwa.domain.app import App
from kaiwa.domain.message import Draft, Message
from kaiwa.domain.thought import Thought
from kaiwa.store.db import Database
from kaiwa.store.messages import checkpoint_messages, find_message, list_messages
from tests.store.sample import THOUGHTS, begin, finish, go_on

pytestmark = pytest.mark.anyio

FIRST, LAST = THOUGHTS
ASKED = replace(FIRST, calls=tuple(replace(call, observation=None) for call in FIRST.calls))


async def thoughts_of(db: Database, app: App, message: Message) -> tuple[Thought, ...]:
    found = await find_message(db, app.id, "ann", message.id)
    assert found
    return found.thoughts


async def checkpoint(db: Database, message: Message, *thoughts: Thought) -> None:
    await checkpoint_messages(db, [Draft(message.id, "half", "", thoughts)])


async def test_thoughts_are_kept_while_they_go_on(db: Database, app: App) -> None:
    message = await begin(db, app)
    await checkpoint(db, message, ASKED)
    assert await thoughts_of(db, app, message) == (ASKED,)
    await checkpoint(db, message)  # nothing has changed
    await checkpoint(db, message, FIRST, LAST)
    assert await thoughts_of(db, app, message) == THOUGHTS
    await finish(db, message, thoughts=(FIRST,))
    assert await thoughts_of(db, app, message) == (FIRST,)


async def test_a_late_checkpoint_does_not_touch_the_thoughts_of_an_ended_message(
    db: Database, app: App
) -> None:
    message = await begin(db, app)
    await finish(db, message, thoughts=THOUGHTS)
    await checkpoint(db, message, ASKED)
    assert await thoughts_of(db, app, message) == THOUGHTS


async def test_thoughts_are_listed_with_their_messages(db: Database, app: App) -> None:
    first = await begin(db, app)
    await finish(db, first, thoughts=THOUGHTS)
    second = await go_on(db, app, first.conversation_id)
    await finish(db, second)
    third = await go_on(db, app, first.conversation_id)
    await finish(db, third, thoughts=(LAST,))
    page = await list_messages(db, app.id, "ann", first.conversation_id, first_id=None, limit=20)
    assert [message.thoughts for message in page.items] == [THOUGHTS, (), (LAST,)]


def test_what_is_no_json_is_shown_as_it_is() -> None:
    assert FIRST.tool == "clock;x"
    assert FIRST.tool_input == '{"clock":{"zone":"UTC"},"x":"{"}'
    assert FIRST.observation == '{"clock":"12:00 \\u0000"}'
    assert (LAST.tool, LAST.tool_input, LAST.observation) == ("", "", "")
