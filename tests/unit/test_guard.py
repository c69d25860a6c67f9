"""R3 under moderation: what is kept is what a client shows, however its turn ends."""

import random
from collections.abc import AsyncIterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal
from uuid import UUID

import anyio
import pytest
from msgspec.structs import replace

from kaiwa.chat.running import Live
from kaiwa.domain.app import ModerationConfig, ModerationSide
from kaiwa.domain.events import Delta, TextDelta, TurnEvent, TurnReplaced, TurnText
from kaiwa.domain.keywords import Keywords
from kaiwa.domain.message import Draft, Inputs, Outcome
from kaiwa.domain.prompt import ModelRequest
from kaiwa.errors import CompletionFailed
from kaiwa.ports import Verdict
from tests.support.turns import Ear, ended, on_stage

pytestmark = pytest.mark.anyio

WORDS = ("abc", "bb", "caa c")
PRESET = "(not said)"
MODERATION = ModerationConfig("keywords", outputs=ModerationSide(PRESET), keywords=WORDS)
TURNS = 150
ENDS = (Outcome.NORMAL, Outcome.STOPPED, Outcome.ERROR)


def shown(events: Sequence[TurnEvent]) -> list[str]:
    """What a client shows after each event."""
    return list(accumulate(events, _show, initial=""))


def _show(text: str, event: TurnEvent) -> str:
    match event:
        case TurnText(more):
            return text + more
        case TurnReplaced(instead):
            return instead
        case _:
            return text


async def test_what_is_kept_is_what_was_shown_and_no_word_ever_was(file: Path) -> None:
    dice = random.Random(7)
    async with on_stage(file, moderation=MODERATION) as stage:
        seen: dict[Outcome, int] = dict.fromkeys(ENDS, 0)
        replaced = 0
        for _ in range(TURNS):
            pieces = ["".join(dice.choices("aabc d", k=dice.randint(1, 5))) for _ in range(6)]
            at, how = dice.randrange(6), dice.choice(["end", "stop", "fail"])
            ear = Ear()
            live: list[Live] = []

            async def play(
                request: ModelRequest,
                pieces: list[str] = pieces,
                at: int = at,
                how: str = how,
                live: list[Live] = live,
            ) -> AsyncIterator[Sequence[Delta]]:
                for number, piece in enumerate(pieces):
                    if number == at and how == "stop":
                        stage.running.stop(live[0].task_id, stage.app.id, "ann")
                        await anyio.sleep_forever()
                    if number == at and how == "fail":
                        raise CompletionFailed
                    yield [TextDelta(piece)]

            stage.model.play = play
            live.append(await stage.ask(ear))
            message = await stage.stored(await ended(live[0]))
            texts = shown(ear.events)
            assert message.answer == texts[-1]
            assert len(ear.ends) == 1
            seen[message.outcome] += 1
            said = "".join(pieces if how == "end" else pieces[:at])
            found = Keywords(WORDS)
            if found.found_in(said):
                replaced += 1
                assert message.answer == PRESET
                assert not any(found.found_in(text) for text in texts)
            else:
                assert message.answer == said
        assert min(*seen.values(), replaced) > 10


async def test_what_a_checkpoint_keeps_is_never_more_than_was_shown(file: Path) -> None:
    saved: list[str] = []
    shown_all = anyio.Event()

    async def save(drafts: Sequence[Draft]) -> None:
        saved.extend(draft.answer for draft in drafts)
        if saved and saved[-1] == "so a":
            shown_all.set()

    async def play(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
        yield [TextDelta("so a"), TextDelta("ab")]
        await shown_all.wait()
        yield [TextDelta("c")]

    words = replace(MODERATION, keywords=("abc",))
    ear = Ear()
    async with on_stage(file, save=save, moderation=words) as stage:
        stage.model.play = play
        message = await stage.stored(await ended(await stage.ask(ear)))
        assert message.answer == PRESET
    assert set(saved) <= set(shown(ear.events))


async def test_many_words_are_made_ready_beside_the_loop(file: Path) -> None:
    words = tuple(f"{number:05}-word" for number in range(2000))

    async def play(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
        yield [TextDelta("so 01234-wo")]
        yield [TextDelta("rd")]

    async with on_stage(file, moderation=replace(MODERATION, keywords=words)) as stage:
        stage.model.play = play
        message = await stage.stored(await ended(await stage.ask(Ear())))
        assert message.answer == PRESET


class BrokenModerator:
    """Fails as nobody foresaw."""

    async def check_input(self, app_id: UUID, inputs: Inputs, query: str) -> Verdict:
        raise RuntimeError("broken")

    async def check_output(self, app_id: UUID, text: str) -> Verdict:
        raise RuntimeError("broken")


async def _speak(request: ModelRequest) -> AsyncIterator[Sequence[Delta]]:
    yield [TextDelta("Good day. " * 40)]
    yield [TextDelta("And so on.")]


@pytest.mark.parametrize(("when_down", "answer"), [("closed", PRESET), ("open", "Good day. ")])
async def test_a_moderator_that_breaks_ends_no_turn_unkept(
    file: Path, when_down: Literal["open", "closed"], answer: str
) -> None:
    rules = ModerationConfig("api", outputs=ModerationSide(PRESET), when_down=when_down)
    async with on_stage(file, moderation=rules) as stage:
        stage.moderator, stage.model.play = BrokenModerator(), _speak
        ear = Ear()
        message = await stage.stored(await ended(await stage.ask(ear)))
        assert message.outcome is Outcome.NORMAL
        assert message.answer == shown(ear.events)[-1]
        assert message.answer.startswith(answer)
        assert len(ear.ends) == 1
