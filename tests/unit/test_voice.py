"""A voice beside its turn: what is replaced, held back, cut off or broken, and its last word."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import anyio
import pytest

from kaiwa.chat.once import Once
from kaiwa.chat.running import Cut, TurnLimits
from kaiwa.chat.voice import Voice
from kaiwa.domain.app import SpeechConfig
from kaiwa.domain.events import (
    Delta,
    TextDelta,
    TurnAudio,
    TurnEnded,
    TurnEvent,
    TurnFailed,
    TurnOpened,
    TurnReplaced,
    TurnSpoken,
    TurnText,
)
from kaiwa.domain.prompt import ModelRequest
from kaiwa.ports import Rest
from tests.support.turns import Ear, Play, Stage, ended, on_stage
from tests.support.voices import SECONDS_PER_CHARACTER, ToneSpeaker, tone

pytestmark = pytest.mark.anyio

END = TurnFailed("completion_request_error", 400, "no")
CALM = TurnLimits(turn=1e9, first_token=1e9, between_tokens=1e9)


class Heard(Ear):
    """An ear that takes audio when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.free = anyio.Event()
        self.free.set()
        self.first_audio = anyio.Event()
        self.over = anyio.Event()

    def emit(self, events: Sequence[TurnEvent]) -> Rest | None:
        self(events)
        if isinstance(events[-1], TurnAudio):
            self.first_audio.set()
        if isinstance(events[-1], TurnSpoken):
            self.over.set()
        return None if self.free.is_set() else self.free.wait

    @property
    def audio(self) -> int:
        return sum(isinstance(event, TurnAudio) for event in self.events)


class Told:
    """A voice that is told events by hand."""

    def __init__(self, patience: float = 5) -> None:
        self.heard = Heard()
        self.speaker = ToneSpeaker()
        self.ended = Once()
        self.voice = Voice(self.heard.emit, self.speaker, SpeechConfig(), self.ended, patience)

    def say(self, *events: TurnEvent) -> Rest | None:
        return self.voice.emit(events)

    @asynccontextmanager
    async def speaking(self) -> AsyncGenerator[None]:
        """Its task runs; a test that fails does not hang."""
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.voice.run)
                try:
                    yield
                finally:
                    self.ended.set()

    def end(self) -> Rest | None:
        rest = self.say(END)
        self.ended.set()
        return rest


async def test_what_is_replaced_is_spoken_no_more_and_the_replacement_is() -> None:
    told = Told()
    told.speaker.pace = 0.02
    async with told.speaking():
        told.say(TurnText("One is very long. " * 20))
        await told.heard.first_audio.wait()
        told.say(TurnReplaced("That is not said. "), TurnText("Never"))
        told.end()
    assert told.speaker.texts[-2:] == ["That is not said.", "Never"]
    assert len(told.speaker.texts) < 10
    assert told.speaker.speaking == 0
    assert isinstance(told.heard.events[-1], TurnSpoken)


async def test_the_first_sentence_is_due_at_once_and_later_ones_when_it_has_been_heard() -> None:
    told = Told()
    before = monotonic()
    async with told.speaking():
        told.say(TurnText("One. Two. Three. "))
        told.end()
    first, second, third = told.speaker.due
    assert before <= first <= monotonic()
    assert second - first == third - second == pytest.approx(2)


async def test_a_replacement_wakes_a_voice_that_hangs() -> None:
    told = Told(patience=60)
    async with told.speaking():
        told.say(TurnText("This hangs. Now"))
        await told.speaker.asked_for.wait()
        told.say(TurnReplaced("Good."))
        told.end()
    assert told.speaker.texts == ["This hangs.", "Good."]
    assert told.heard.audio > 0


async def test_a_client_that_takes_nothing_is_waited_for_by_the_voice_alone() -> None:
    told = Told(patience=1)
    sentence = "This is one sentence of some length."
    tone(len(sentence) * SECONDS_PER_CHARACTER)  # which is made once, and takes its time
    told.heard.free = anyio.Event()
    async with told.speaking():
        assert told.say(TurnText(f"{sentence} " * 100))
        await told.heard.first_audio.wait()
        await anyio.sleep(1.2)  # longer than a voice may be silent
        assert told.heard.audio == 1
        assert told.speaker.most == 3
        assert told.speaker.pieces <= 3 * 9
        assert told.end() is None
        told.heard.free.set()
    assert len(told.speaker.texts) == 100


async def test_the_last_word_comes_after_the_turns_end_even_when_the_voice_is_hushed() -> None:
    told = Told()
    async with told.speaking():
        told.say(TurnText("This hangs. And"))
        await told.speaker.asked_for.wait()
        told.voice.hush()
        await anyio.wait_all_tasks_blocked()
        assert told.speaker.speaking == 0
        assert not told.heard.over.is_set()
        told.say(TurnText("more. Text."))
        told.end()
    assert [type(event) for event in told.heard.events[-2:]] == [TurnFailed, TurnSpoken]
    assert told.speaker.texts == ["This hangs."]


async def test_a_voice_that_is_far_behind_is_told_no_more() -> None:
    told = Told()
    told.say(TurnText("A. \n" * 1500))
    async with told.speaking():
        told.end()
    assert len(told.speaker.texts) == 1000


def says(*pieces: str, hangs: bool = False) -> Play:
    """A model that says these, and then nothing more for ever, if it `hangs`."""

    async def play(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
        for piece in pieces:
            yield [TextDelta(piece)]
        if hangs:
            await anyio.sleep_forever()

    return play


def loud(stage: Stage) -> ToneSpeaker:
    speaker = ToneSpeaker()
    stage.speaker = speaker
    return speaker


async def test_a_shutdown_ends_a_voice_in_time_and_it_says_so(migrated: Path) -> None:
    async with on_stage(migrated, CALM, speech=SpeechConfig(auto_play=True)) as stage:
        speaker, heard = loud(stage), Heard()
        stage.model.play = says("This hangs. ", "Now.")
        live = await ended(await stage.ask(heard.emit, aloud=True))
        with anyio.fail_after(5):
            await speaker.asked_for.wait()
            assert not heard.over.is_set()
            await stage.running.drain(0.01)
    assert [type(event) for event in heard.events[-2:]] == [TurnEnded, TurnSpoken]
    assert speaker.speaking == 0
    assert live.message


async def test_a_drain_lets_a_voice_finish(migrated: Path) -> None:
    async with on_stage(migrated, CALM, speech=SpeechConfig(auto_play=True)) as stage:
        speaker, heard = loud(stage), Heard()
        speaker.pace = 0.01
        stage.model.play = says("This is said to its end. ", "Now.")
        await ended(await stage.ask(heard.emit, aloud=True))
        with anyio.fail_after(5):
            await stage.running.drain(5)
    assert speaker.texts == ["This is said to its end.", "Now."]
    assert heard.audio >= 2


async def test_a_turn_that_breaks_says_its_last_word_all_the_same(migrated: Path) -> None:
    class Broken(Heard):
        def emit(self, events: Sequence[TurnEvent]) -> Rest | None:
            if isinstance(events[-1], TurnEnded | TurnFailed):
                raise RuntimeError("the client's end is broken")
            return super().emit(events)

    async with on_stage(migrated, CALM, speech=SpeechConfig(auto_play=True)) as stage:
        loud(stage)
        heard = Broken()
        await ended(await stage.ask(heard.emit, aloud=True))
        with anyio.fail_after(5):
            await heard.over.wait()


@pytest.mark.parametrize("cut", Cut)
async def test_however_a_turn_is_cut_the_last_word_is_said_once(migrated: Path, cut: Cut) -> None:
    async with on_stage(migrated, CALM, speech=SpeechConfig(auto_play=True)) as stage:
        speaker, heard = loud(stage), Heard()
        stage.model.play = says("This is fine. ", "And", hangs=True)
        live = await stage.ask(heard.emit, aloud=True)
        with anyio.fail_after(5):
            await speaker.asked_for.wait()
            live.cut(cut)
            await ended(live)
            await heard.over.wait()
    kinds = [type(event) for event in heard.events]
    assert kinds.count(TurnSpoken) == 1
    assert kinds[-1] is TurnSpoken
    assert isinstance(heard.events[0], TurnOpened)
    assert heard.events[0].speaks
    assert len(heard.ends) == 1
