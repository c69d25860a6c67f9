"""One live turn's time limits."""

from uuid import uuid4

import pytest

from kaiwa.chat.running import Cut, Live, TurnLimits

pytestmark = pytest.mark.anyio

LIMITS = TurnLimits(turn=100, first_token=10, between_tokens=5)


def make_live() -> Live:
    return Live(str(uuid4()), uuid4(), "ann", uuid4())


async def test_a_model_that_does_not_begin_is_cut() -> None:
    live = make_live()
    start = live.ask_model()
    live.check_time(start + 9, LIMITS)
    assert live.cut_by is None
    live.check_time(start + 11, LIMITS)
    assert live.cut_by is Cut.FIRST_TOKEN


async def test_a_model_that_falls_silent_is_cut() -> None:
    live = make_live()
    start = live.ask_model()
    live.heard = 1
    live.check_time(start + 20, LIMITS)
    live.check_time(start + 24, LIMITS)
    live.heard = 2
    live.check_time(start + 26, LIMITS)
    live.check_time(start + 30, LIMITS)
    assert live.cut_by is None
    live.check_time(start + 32, LIMITS)
    assert live.cut_by is Cut.BETWEEN_TOKENS


async def test_a_slow_reader_does_not_make_the_model_silent() -> None:
    live = make_live()
    start = live.ask_model()
    live.heard = 1
    live.speaking = True
    for seconds in (1, 20, 40):
        live.check_time(start + seconds, LIMITS)
    live.speaking = False
    live.check_time(start + 44, LIMITS)
    assert live.cut_by is None


async def test_a_turn_has_a_limit_of_its_own_and_the_first_reason_stands() -> None:
    live = make_live()
    live.check_time(live.started_at + 101, LIMITS)
    live.cut(Cut.STOPPED)
    assert live.cut_by is Cut.TURN_LIMIT
