"""The room of live turns: what one of them does, or the database, harms no other."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import pytest

from kaiwa.chat.running import Cut, Live, Running, TurnLimits
from kaiwa.domain.events import Delta, TextDelta
from kaiwa.domain.message import Draft, Outcome
from kaiwa.domain.prompt import ModelRequest
from kaiwa.errors import ServiceUnavailable
from kaiwa.ports import DeltaStream
from kaiwa.providers.speaking import Spoken
from tests.support.turns import CALM, Ear, PlayedModel, ended, on_stage

pytestmark = pytest.mark.anyio


async def no_save(drafts: Sequence[Draft]) -> None:
    """Keeps nothing."""


async def no_beat(message_ids: Sequence[UUID]) -> None:
    """Says nothing."""


def make_live() -> Live:
    return Live(str(uuid4()), uuid4(), "ann", uuid4())


async def says_one_and_hangs(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
    yield [TextDelta("one")]
    await anyio.sleep_forever()


async def test_checkpoints_hold_only_what_has_grown(file: Path) -> None:
    saved: list[Draft] = []
    more = anyio.Event()
    two_saved = anyio.Event()

    async def save(drafts: Sequence[Draft]) -> None:
        saved.extend(drafts)
        (two_saved if len(saved) == 2 else more).set()

    async def speaks_twice(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
        yield [TextDelta("one")]
        await more.wait()
        yield [TextDelta(" two")]
        await two_saved.wait()
        await anyio.sleep(10 * CALM.checkpoint)

    async with on_stage(file, save=save) as stage:
        stage.model.play = speaks_twice
        await ended(await stage.ask(Ear()))
    assert [draft.answer for draft in saved] == ["one", "one two"]


async def test_a_checkpoint_that_failed_is_written_again(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[str] = []
    done = anyio.Event()

    async def save(drafts: Sequence[Draft]) -> None:
        attempts.extend(draft.answer for draft in drafts)
        if len(attempts) < 3:
            raise OSError("no disk")
        done.set()

    async def speaks(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
        yield [TextDelta("one")]
        await done.wait()

    async with on_stage(file, save=save) as stage:
        stage.model.play = speaks
        live = await ended(await stage.ask(Ear()))
        assert (await stage.stored(live)).outcome is Outcome.NORMAL
    assert attempts == ["one"] * 3
    assert "background work failed" in caplog.text


async def test_a_beat_that_fails_harms_nobody(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    beats: list[int] = []
    done = anyio.Event()

    async def beat(message_ids: Sequence[UUID]) -> None:
        beats.append(1)
        if len(beats) == 3:
            done.set()
        raise OSError("no disk")

    async def speaks(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
        await done.wait()
        yield [TextDelta("one")]

    async with on_stage(file, show_alive=beat) as stage:
        stage.model.play = speaks
        live = await ended(await stage.ask(Ear()))
        assert (await stage.stored(live)).answer == "one"
    assert "background work failed" in caplog.text


async def test_a_save_that_hangs_does_not_lengthen_the_limits(file: Path) -> None:
    async def save(drafts: Sequence[Draft]) -> None:
        await anyio.sleep_forever()

    limits = TurnLimits(between_tokens=0.05, checkpoint=0.005)
    async with on_stage(file, limits, save=save) as stage:
        stage.model.play = says_one_and_hangs
        live = await ended(await stage.ask(Ear()))
        assert live.cut_by is Cut.BETWEEN_TOKENS
        assert (await stage.stored(live)).answer == "one"


async def test_a_turn_that_breaks_does_not_take_the_others_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks() -> None:
        raise ValueError("a mistake of ours")

    goes_on = anyio.Event()
    async with Running(CALM, no_save, no_beat) as running:
        broken, other = make_live(), make_live()
        running.start(other, goes_on.wait)
        running.start(broken, breaks)
        await ended(broken)
        assert broken.failure
        assert broken.failure.status == 500
        assert len(running) == 1
        goes_on.set()
        await ended(other)
    assert "a mistake of ours" in caplog.text


async def test_a_model_that_lingers_when_it_is_left_ends_all_the_same(file: Path) -> None:
    class Lingering(PlayedModel):
        @asynccontextmanager
        async def stream(self, request: ModelRequest) -> AsyncGenerator[DeltaStream]:
            try:
                yield Spoken(self.play(request))
            finally:
                try:
                    await anyio.sleep_forever()
                finally:
                    await anyio.sleep_forever()

    async with on_stage(file) as stage:
        stage.model = Lingering(says_one_and_hangs)
        ear = Ear()
        live = await stage.ask(ear)
        await ear.spoken_to.wait()
        live.cut(Cut.STOPPED)
        await ended(live)
        assert (await stage.stored(live)).outcome is Outcome.STOPPED


@pytest.mark.parametrize("natively", [False, True])
async def test_answers_are_kept_when_the_process_is_cancelled(file: Path, natively: bool) -> None:
    speaking = anyio.Event()
    lives: list[Live] = []

    async def work() -> None:
        async with on_stage(file) as stage:
            stage.model.play = says_one_and_hangs
            ear = Ear()
            lives.append(await stage.ask(ear))
            await ear.spoken_to.wait()
            speaking.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        if natively:  # as a supervisor's hard cancel does it
            task = asyncio.get_running_loop().create_task(work())
            await speaking.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            tasks.start_soon(work)
            await speaking.wait()
            tasks.cancel_scope.cancel()
    [live] = lives
    assert live.message
    assert live.message.answer == "one"
    assert live.message.outcome is Outcome.INTERRUPTED
    async with on_stage(file) as stage:
        assert await stage.stored(live) == live.message


async def test_draining_refuses_lets_finish_and_then_cuts(file: Path) -> None:
    async with on_stage(file) as stage:
        running = stage.running
        stage.model.play = says_one_and_hangs
        ear = Ear()
        live = await stage.ask(ear)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.drain, 0.05)
            tasks.start_soon(running.drain, 0.05)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(ServiceUnavailable):
                await stage.ask(Ear())
            assert live.cut_by is None
        assert len(running) == 0
        assert live.cut_by is Cut.SHUTDOWN
        assert (await stage.stored(live)).outcome is Outcome.INTERRUPTED


async def test_a_chore_that_fails_is_logged_and_none_starts_while_draining(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails() -> None:
        raise ValueError("a mistake of ours")

    caplog.set_level(logging.ERROR)
    ran = anyio.Event()

    async def runs() -> None:
        ran.set()

    async with Running(CALM, no_save, no_beat) as running:
        running.chore(fails)
        running.chore(runs)
        await ran.wait()
        await running.drain(0)
        running.chore(fails)
    assert caplog.text.count("background work failed") == 1
