"""An agent's answer, round by round: texts on lines of their own, calls from any pieces."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.answer import Answer
from kaiwa.domain.events import Delta, ReasoningDelta, TextDelta, ToolCallDelta, TurnText
from kaiwa.domain.prompt import ToolCall

Mode = Literal["answer", "hide"]
_PIECES = st.sampled_from(["<think>", "</think>", "<", "\n", " ", "\0", "a", "字", "b c"])
_SAID = st.lists(_PIECES.map(TextDelta) | _PIECES.map(ReasoningDelta), max_size=6)
_CALLS = st.lists(st.tuples(st.sampled_from(["", "id"]), st.text(max_size=9)), max_size=4)
_MOST_CALLS = 64
_LONGEST_CALL = 200_000


def _hear(answer: Answer, deltas: Sequence[Delta]) -> str:
    """What was said in this round."""
    events = [*answer.feed(deltas), *answer.finish()]
    return "".join(event.text for event in events if isinstance(event, TurnText))


@given(st.lists(_SAID, min_size=1, max_size=5), st.sampled_from(["answer", "hide"]))
def test_rounds_that_say_something_stand_on_lines_of_their_own(
    rounds: list[list[Delta]], mode: Mode
):
    answer = Answer(mode)
    said: list[str] = []
    for number, deltas in enumerate(rounds):
        if number:
            answer.begin_round()
            assert not answer.begun
        said.append(_hear(answer, deltas))
        assert answer.round_text == said[-1]
        assert answer.text == "\n".join(filter(None, said))
    alone: list[str] = []
    for deltas in rounds:
        one = Answer(mode)
        alone.append(_hear(one, deltas))
    assert said == alone


@given(st.lists(_SAID, min_size=2, max_size=3), st.sampled_from(["answer", "hide"]))
def test_the_length_grows_with_every_round(rounds: list[list[Delta]], mode: Mode):
    answer = Answer(mode)
    for deltas in rounds:
        answer.begin_round()
        for delta in deltas:
            before = answer.length, answer.text, answer.reasoning
            answer.feed([delta])
            assert (answer.length > before[0]) or (answer.text, answer.reasoning) == before[1:]


@given(_CALLS, st.lists(st.integers(0, 99), max_size=9), st.booleans())
def test_it_does_not_matter_in_which_pieces_calls_come(
    calls: list[tuple[str, str]], cuts: list[int], again: bool
):
    pieces: list[Delta] = []
    for index, (id, arguments) in enumerate(calls):
        places = sorted({cut % (len(arguments) + 1) for cut in cuts} | {0, len(arguments)})
        parts = [arguments[start:end] for start, end in pairwise(places)] or [""]
        pieces.append(ToolCallDelta(index, id, "look", parts[0]))
        pieces += [ToolCallDelta(index, "", "look" if again else "", part) for part in parts[1:]]
    split, whole = Answer("answer"), Answer("answer")
    for delta in pieces:
        assert split.feed([delta]) == []
    whole.feed([ToolCallDelta(i, id, "look", text) for i, (id, text) in enumerate(calls)])
    assert split.calls == whole.calls
    assert [call.arguments for call in whole.calls] == [text.replace("\0", "") for _, text in calls]


def test_calls_stand_in_their_order_however_their_pieces_are_mixed():
    answer = Answer("answer")
    answer.feed([ToolCallDelta(1, "b", "second", "{"), ToolCallDelta(0, "", "", "[")])
    answer.feed([ToolCallDelta(0, "a", "first", "]"), ToolCallDelta(1, "", "", "}")])
    assert answer.calls == (ToolCall("a", "first", "[]"), ToolCall("b", "second", "{}"))
    answer.begin_round()
    assert answer.calls == ()


def test_a_call_without_an_end_is_cut_and_costs_no_more_with_every_piece():
    answer = Answer("answer")
    # One by one: when each piece cost as much as all before it, this took minutes.
    for _ in range(_LONGEST_CALL + 1000):
        answer.feed([ToolCallDelta(0, "a", "look", "x")])
    answer.feed([ToolCallDelta(1, "b", "look", "y" * (_LONGEST_CALL + 1))])
    assert [len(call.arguments) for call in answer.calls] == [_LONGEST_CALL] * 2


def test_calls_beyond_the_most_are_left_out():
    answer = Answer("answer")
    answer.feed([ToolCallDelta(index, "", "look", "{}") for index in range(_MOST_CALLS + 6)])
    assert len(answer.calls) == _MOST_CALLS


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b", "\udc00"])
def test_what_neither_a_database_nor_json_can_hold_is_not_in_a_call(bad: str):
    answer = Answer("answer")
    answer.feed([ToolCallDelta(0, bad, bad, bad)])
    [call] = answer.calls
    for text in (call.id, call.name, call.arguments):
        assert "\0" not in text
        assert text.encode()


@pytest.mark.parametrize("mode", ["answer", "hide"])
@pytest.mark.parametrize("kind", [TextDelta, ReasoningDelta])
@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
def test_what_neither_can_hold_is_not_in_an_answer(
    mode: Mode, kind: type[TextDelta] | type[ReasoningDelta], bad: str
):
    answer = Answer(mode)
    said = _hear(answer, [kind(bad)])
    assert answer.text == said
    for text in (answer.text, answer.reasoning, answer.round_reasoning):
        assert "\0" not in text
        assert text.encode() is not None
