"""A turn whose database fails, and what the database sees of a turn."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint
from msgspec.structs import replace
from sqlalchemy import Connection, func, select

from kaiwa.chat.running import Cut
from kaiwa.domain.events import Delta, TextDelta, TurnEnded, TurnFailed
from kaiwa.domain.message import Outcome
from kaiwa.domain.prompt import ModelRequest
from kaiwa.errors import Interrupted, ServiceUnavailable, StoreUnavailable, TooManyRequests
from kaiwa.store.db import Database
from kaiwa.store.tables import conversations, end_users, messages
from tests.support.turns import CALM, Ear, ended, on_stage, says_hello

pytestmark = pytest.mark.anyio


async def count_rows(db: Database) -> int:
    def unit(conn: Connection) -> int:
        tables = (end_users, conversations, messages)
        return sum(conn.scalar(select(func.count()).select_from(t)) or 0 for t in tables)

    return await db.read(unit)


async def test_a_question_that_cannot_be_written_is_refused_and_nothing_is_kept(
    file: Path,
) -> None:
    async with on_stage(file) as stage:
        stage.db.failing = 1
        ear = Ear()
        live = await ended(await stage.ask(ear))
        assert isinstance(live.refusal, StoreUnavailable)
        assert ear.events == [TurnFailed("service_unavailable", 503, live.refusal.message)]
        assert stage.model.asked == []
        assert await count_rows(stage.db) == 0


async def test_a_refused_question_frees_its_place(file: Path) -> None:
    async with on_stage(file, max_active_requests=1) as stage:
        stage.db.failing = 1
        await ended(await stage.ask(Ear()))
        live = await ended(await stage.ask(Ear()))
        assert live.refusal is None


async def test_an_answer_waits_for_a_database_that_is_away(file: Path) -> None:
    async with on_stage(file) as stage:

        async def breaks_the_database(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
            yield [TextDelta("kept")]
            stage.db.failing = 4

        stage.model.play = breaks_the_database
        ear = Ear()
        live = await ended(await stage.ask(ear))
        assert stage.db.failed == 4
        assert isinstance(ear.events[-1], TurnEnded)
        stored = await stage.stored(live)
        assert (stored.answer, stored.outcome) == ("kept", Outcome.NORMAL)


async def test_an_answer_that_could_not_be_closed_in_time_is_closed_later(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with on_stage(file, replace(CALM, close=0.01, checkpoint=5)) as stage:

        async def breaks_the_database(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
            yield [TextDelta("kept")]
            stage.db.failing = 1_000_000

        stage.model.play = breaks_the_database
        ear = Ear()
        live = await ended(await stage.ask(ear))
        assert [type(event) for event in ear.ends] == [TurnFailed]
        assert isinstance(live.failure, StoreUnavailable)
        assert live.message
        assert live.message.outcome is Outcome.ERROR
        assert (await stage.stored(live)).outcome is Outcome.RUNNING
        stage.db.failing = 0
        with anyio.fail_after(5):
            await stage.db.recovered.wait()
        stored = await stage.stored(live)
        assert (stored.answer, stored.outcome) == ("kept", Outcome.NORMAL)
    assert "is not closed yet" in caplog.text


async def test_a_turn_writes_twice_and_holds_nothing_while_the_model_thinks(file: Path) -> None:
    async with on_stage(file, replace(CALM, checkpoint=5)) as stage:
        writes: list[int] = []

        async def looks_around(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
            before = stage.db.writes
            await stage.db.real.write(lambda conn: conn.execute(select(1)).scalar_one())
            yield [TextDelta("hm")]
            writes.append(stage.db.writes - before)

        stage.model.play = looks_around
        before = stage.db.writes
        await ended(await stage.ask(Ear()))
        assert writes == [0]
        assert stage.db.writes - before == 2


async def test_a_shutdown_before_the_question_is_written_refuses_it(file: Path) -> None:
    async with on_stage(file) as stage:
        ear = Ear()
        live = await stage.ask(ear)
        live.cut(Cut.SHUTDOWN)
        await ended(live)
        assert isinstance(live.refusal, ServiceUnavailable)
        assert [event.status for event in ear.events if isinstance(event, TurnFailed)] == [503]
        assert await count_rows(stage.db) == 0


@pytest.mark.parametrize("reason", [Cut.STOPPED, Cut.LEFT])
async def test_a_stop_before_the_model_is_asked_keeps_the_question(file: Path, reason: Cut) -> None:
    async with on_stage(file) as stage:
        ear = Ear()
        live = await stage.ask(ear)
        live.cut(reason)
        await ended(live)
        stored = await stage.stored(live)
        assert (stored.query, stored.answer, stored.outcome) == ("why?", "", Outcome.STOPPED)
        assert isinstance(ear.events[-1], TurnEnded)
        assert live.usage.rounds == ()


@pytest.mark.parametrize(
    ("reason", "refusal"),
    [(Cut.SHUTDOWN, ServiceUnavailable), (Cut.STOPPED, Interrupted), (None, TooManyRequests)],
)
async def test_a_question_that_waits_in_vain_leaves_nothing_behind(
    file: Path, reason: Cut | None, refusal: type[Exception]
) -> None:
    limits = replace(CALM, wait=10 if reason else 0.02)
    async with on_stage(file, limits) as stage:
        first = await ended(await stage.ask(Ear()))
        assert first.message
        going_on = anyio.Event()

        async def waits(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
            await going_on.wait()
            yield [TextDelta("at last")]

        stage.model.play = waits
        running = await stage.ask(Ear(), within=first.message.conversation_id)
        ear = Ear()
        waiting = await stage.ask(ear, within=first.message.conversation_id)
        await checkpoint()
        if reason:
            waiting.cut(reason)
        await ended(waiting)
        assert isinstance(waiting.refusal, refusal)
        assert len(ear.ends) == len(ear.events) == 1
        assert waiting.message_id is None
        going_on.set()
        await ended(running)
        stage.model.play = says_hello
        last = await ended(await stage.ask(Ear(), within=first.message.conversation_id))
        assert last.message
        assert (last.message.position, last.message.parent_id) == (3, running.message_id)
