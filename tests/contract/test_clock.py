"""A clock that leaps, forwards or back, harms no answer and loses no conversation."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.apps import app_file, says
from tests.support.client import text_of
from tests.support.server import serving
from tests.support.talking import take

pytestmark = pytest.mark.anyio

WORDS = [f" w{number}" for number in range(60)]
LEAPS = [timedelta(hours=2), timedelta(days=-1), timedelta(days=3650), timedelta(hours=-1)]


class LeapingClock:
    """The time, so much off."""

    def __init__(self) -> None:
        self.off = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.off


@pytest.mark.parametrize("leap", LEAPS, ids=str)
async def test_a_clock_that_leaps_in_an_answer_harms_nothing(
    tmp_path: Path, leap: timedelta
) -> None:
    """The upkeep looks for what is abandoned several times meanwhile."""
    clock = LeapingClock()
    limits: dict[str, Any] = {"turn_timeout": 60, "token_timeout": 30, "first_token_timeout": 30}
    async with serving(
        tmp_path, clock=clock, abandoned_after=0.1, checkpoint_interval=0.05, **limits
    ) as server:
        client = await server.client(app_file(says(*WORDS, pace=0.01)))
        async with client.streaming("Hello") as stream:
            begun = await take(stream, 10)
            clock.off = leap
            frames = begun + await stream.rest()
        assert frames[-1].event == "message_end"
        assert text_of(frames) == "".join(WORDS)
        where = frames[0].data["conversation_id"]
        again = await client.ask("And?", conversation_id=where)
        other = await client.ask("Hello from elsewhen")
        messages = await client.messages(where)
        assert [message["outcome"] for message in messages] == ["normal", "normal"]
        assert [message["id"] for message in messages] == [
            frames[0].data["message_id"],
            again.body["message_id"],
        ]
        listed = (await client.get("/conversations", limit=1)).body
        rest = (await client.get("/conversations", last_id=listed["data"][0]["id"])).body
        found = {item["id"] for item in listed["data"] + rest["data"]}
        assert found == {where, other.body["conversation_id"]}
