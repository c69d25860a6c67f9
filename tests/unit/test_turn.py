"""However a turn ends, what was said is kept, and its end is told exactly once."""

import shutil
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from kaiwa.chat.running import Cut, Live, TurnLimits
from kaiwa.domain.answer import Answer
from kaiwa.domain.events import Delta, ReasoningDelta, TextDelta, TurnEnded, TurnEvent
from kaiwa.domain.message import Message, Outcome
from kaiwa.domain.prompt import ModelRequest
from kaiwa.errors import CompletionFailed
from kaiwa.ports import Rest
from tests.support.turns import Ear, Stage, ended, on_stage, run_apart

_IMPATIENT = TurnLimits(turn=1e9, first_token=1, between_tokens=1)
_OUTCOMES = {
    Cut.STOPPED: Outcome.STOPPED,
    Cut.LEFT: Outcome.STOPPED,
    Cut.TURN_LIMIT: Outcome.STOPPED,
    Cut.SHUTDOWN: Outcome.INTERRUPTED,
    Cut.FIRST_TOKEN: Outcome.ERROR,
    Cut.BETWEEN_TOKENS: Outcome.ERROR,
}


class Blow(Enum):
    """What befalls a turn."""

    STOP = "stop"
    SHUTDOWN = "shutdown"
    LEAVE = "leave"
    SILENCE = "silence"
    TOO_LONG = "too long"


class Case(Struct, frozen=True):
    """A script, and what happens at which moment of it."""

    pieces: tuple[str, ...] = ("a", "b")
    thoughts: bool = False
    """Whether each piece comes with a reasoning delta before it."""
    reasoning: Literal["answer", "hide"] = "answer"
    finale: Literal["end", "fail", "crash", "hang"] = "end"
    blow: Blow | None = None
    at: int = 0
    """The number of the piece or of the emit."""
    emitting: bool = False
    """Whether it falls while something is emitted, instead of before a piece is said."""
    later: bool = False
    """Whether another task strikes, instead of the turn's own."""
    leaving: Literal["finish", "stop"] = "finish"
    deaf_from: int | None = None
    """From which emit on the client's end raises."""
    slow: int = 0
    """How many rounds of the loop an emit takes."""


_PIECES = st.sampled_from(["a", "b ", "<think>", "</think>", "<", "京"])
_CASES = st.builds(
    Case,
    pieces=st.lists(_PIECES, max_size=5).map(tuple),
    thoughts=st.booleans(),
    reasoning=st.sampled_from(["answer", "hide"]),
    finale=st.sampled_from(["end", "fail", "crash", "hang"]),
    blow=st.none() | st.sampled_from(Blow),
    at=st.integers(0, 6),
    emitting=st.booleans(),
    later=st.booleans(),
    leaving=st.sampled_from(["finish", "stop"]),
    deaf_from=st.none() | st.integers(0, 5),
    slow=st.integers(0, 3),
)


class Played:
    """A case on a stage."""

    def __init__(self, case: Case, stage: Stage) -> None:
        self.case = case
        self.stage = stage
        self.ear = Ear()
        self.emits = 0
        self.struck = False
        self.broken = False
        self.live: Live | None = None

    async def run(self) -> tuple[Live, Message]:
        self.stage.model.play = self.play
        self.live = await self.stage.ask(self.emit)
        await ended(self.live)
        return self.live, await self.stage.stored(self.live)

    async def play(self, request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
        case = self.case
        for number, piece in enumerate(case.pieces):
            if number == case.at and not case.emitting:
                self.strike()
            await checkpoint()
            yield deltas_of(case, piece)
        self.strike()
        for _ in range(3):
            await checkpoint()
        match case.finale:
            case "fail":
                raise CompletionFailed("the model is out of order")
            case "crash":
                raise ValueError("a mistake of ours")
            case "hang":
                assert self.live
                if self.live.cut_by is None:
                    self.blow(Blow.STOP)
                await anyio.sleep_forever()
            case "end":
                pass

    def emit(self, events: Sequence[TurnEvent]) -> Rest | None:
        if self.emits == self.case.at and self.case.emitting:
            self.strike()
        self.emits += 1
        if self.case.deaf_from is not None and self.emits > self.case.deaf_from:
            self.broken = True
            raise RuntimeError("the client's end is broken")
        self.ear(events)
        return self.linger if self.case.slow else None

    async def linger(self) -> None:
        for _ in range(self.case.slow):
            await checkpoint()

    def strike(self) -> None:
        if self.struck or self.case.blow is None:
            return
        self.struck = True
        if self.case.later:
            self.stage.running.chore(self.strike_later)
        else:
            self.blow(self.case.blow)

    async def strike_later(self) -> None:
        assert self.case.blow
        self.blow(self.case.blow)

    def blow(self, blow: Blow) -> None:
        live = self.live
        assert live
        match blow:
            case Blow.STOP:
                self.stage.running.stop(live.task_id, live.app_id, live.user)
            case Blow.SHUTDOWN:
                self.stage.running.cut_all(Cut.SHUTDOWN)
            case Blow.LEAVE:
                self.stage.running.leave(live)
            case Blow.SILENCE:
                live.check_time(anyio.current_time(), _IMPATIENT)
                live.check_time(anyio.current_time() + 10, _IMPATIENT)
            case Blow.TOO_LONG:
                live.check_time(anyio.current_time() + 2e9, _IMPATIENT)


def deltas_of(case: Case, piece: str) -> list[Delta]:
    return [ReasoningDelta("hm"), TextDelta(piece)] if case.thoughts else [TextDelta(piece)]


def whole(case: Case) -> str:
    """What the model says when nothing happens to it."""
    answer = Answer(case.reasoning)
    for piece in case.pieces:
        answer.feed(deltas_of(case, piece))
    answer.finish()
    return answer.text


def natural(played: Played) -> Outcome:
    """How the turn ends when nothing cuts it."""
    fine = played.case.finale == "end" and not played.broken
    return Outcome.NORMAL if fine else Outcome.ERROR


@pytest.fixture(scope="module")
def shared(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all examples."""
    return Path(shutil.copy(migrated, tmp_path_factory.mktemp("turns") / "kaiwa.db"))


@settings(max_examples=100, deadline=None)
@given(case=_CASES)
@example(case=Case(blow=Blow.STOP, emitting=True))
@example(case=Case(blow=Blow.SILENCE, emitting=True, at=1, slow=2))
@example(case=Case(thoughts=True, blow=Blow.SHUTDOWN, at=1))
@example(case=Case(deaf_from=0))
@example(case=Case(deaf_from=3))
def test_what_was_said_is_kept_and_its_end_is_told_once(shared: Path, case: Case) -> None:
    async def scenario() -> None:
        async with on_stage(shared, reasoning=case.reasoning, leaving=case.leaving) as stage:
            played = Played(case, stage)
            live, stored = await played.run()
            check(played, live, stored)

    run_apart(scenario)


def check(played: Played, live: Live, stored: Message) -> None:
    case, ear = played.case, played.ear
    expected = {_OUTCOMES[live.cut_by]} if live.cut_by else {natural(played)}
    if played.broken or case.later:  # the blow may have come when all was over
        expected |= {natural(played), Outcome.NORMAL if case.finale == "end" else Outcome.ERROR}
    assert stored.outcome in expected
    assert whole(case).startswith(stored.answer.removesuffix("\n</think>"))
    if stored.outcome is Outcome.NORMAL:
        assert stored.answer == whole(case)
    assert stored.answer.startswith(ear.text)
    if not played.broken:
        assert stored.answer == ear.text
        assert len(ear.ends) == 1
        assert ear.events[-1] is ear.ends[0]
        assert isinstance(ear.ends[0], TurnEnded) != stored.outcome.failed
        assert live.message == stored
    usage = live.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert len(usage.rounds) == len(played.stage.model.asked) or not stored.answer
