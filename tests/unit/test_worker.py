"""Answers whose process is gone are closed with their text; those of a living one never."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from kaiwa.domain.events import Delta, TextDelta
from kaiwa.domain.message import Draft, Message, Outcome
from kaiwa.domain.prompt import ModelRequest
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.store.messages import checkpoint_messages, find_message, open_message
from kaiwa.worker import UpkeepSettings, close_what_is_abandoned, keep_up
from tests.store.sample import fall_silent, opening
from tests.support.turns import CALM, Ear, Stage, ended, now, on_stage

pytestmark = pytest.mark.anyio

SETTINGS = UpkeepSettings(abandoned_after=30)


async def abandon(stage: Stage, seconds: float) -> Message:
    """A message that nobody has worked on for so long."""
    made, _ = await open_message(stage.db, opening(stage.app))
    await checkpoint_messages(stage.db, [Draft(made.id, "half an ans", "hm")])
    await fall_silent(stage.db, made, seconds)
    return made


async def read(stage: Stage, message: Message) -> Message:
    found = await find_message(stage.db, stage.app.id, "ann", message.id)
    assert found
    return found


@pytest.mark.parametrize(("seconds", "closed"), [(25, False), (31, True)])
async def test_an_abandoned_answer_is_closed_with_its_text(
    file: Path, seconds: float, closed: bool
) -> None:
    async with on_stage(file) as stage:
        message = await abandon(stage, seconds)
        await close_what_is_abandoned(stage.db, now, SETTINGS)
        found = await read(stage, message)
        assert found.answer == "half an ans"
        assert found.outcome is (Outcome.INTERRUPTED if closed else Outcome.RUNNING)
        assert found.error == (
            "The answer was interrupted; what was said until then is kept." if closed else None
        )


async def test_it_is_closed_once_and_what_has_ended_is_left_alone(file: Path) -> None:
    async with on_stage(file) as stage:
        message = await abandon(stage, 31)
        live = await ended(await stage.ask(Ear()))
        assert live.message
        await fall_silent(stage.db, live.message, 10_000)
        for _ in range(2):
            await close_what_is_abandoned(stage.db, now, SETTINGS)
        assert (await read(stage, message)).outcome is Outcome.INTERRUPTED
        assert (await stage.stored(live)).outcome is Outcome.NORMAL


async def test_upkeep_never_closes_an_answer_of_its_own_process(file: Path) -> None:
    """Even when the clock leaps: a machine that slept for hours wakes up with live answers.

    A message of this process whose turn is not alive is closed: its opening was in doubt, so the
    question was refused, but the row had arrived.
    """

    async def hangs(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
        yield [TextDelta("one")]
        await anyio.sleep_forever()

    hours = 40_000_000
    async with on_stage(file, replace(CALM, checkpoint=60, beat=60)) as stage:
        stage.model.play = hangs
        lost = await abandon(stage, hours)
        ear = Ear()
        live = await stage.ask(ear)
        await ear.spoken_to.wait()
        await fall_silent(stage.db, await stage.stored(live), hours)
        async with anyio.create_task_group() as tasks:
            blobs = open_blobs("memory:", file.parent)
            tasks.start_soon(keep_up, stage.db, blobs, now, SETTINGS, stage.running.message_ids)
            with anyio.fail_after(5):
                while (await read(stage, lost)).outcome is Outcome.RUNNING:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert (await stage.stored(live)).outcome is Outcome.RUNNING
        stage.running.stop(live.task_id, live.app_id, live.user)
        await ended(live)
        assert (await stage.stored(live)).outcome is Outcome.STOPPED
