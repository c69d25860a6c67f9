"""Deltas in, events out: nothing merged, nothing lost, reasoning where it belongs."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.answer import Answer
from kaiwa.domain.events import (
    Delta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEvent,
    TurnText,
    UsageDelta,
)

Mode = Literal["answer", "hide"]
_PIECES = st.sampled_from(
    ["<", "think", ">", "</", "/", "<think>", "</think>", "<think", "</th", " ", "\n", "a", "字"]
)
_CONTENT = st.lists(_PIECES, max_size=30).map("".join)
_DELTAS: st.SearchStrategy[Delta] = st.one_of(
    _PIECES.map(TextDelta),
    _PIECES.map(ReasoningDelta),
    st.builds(ToolCallDelta, st.just(0), st.just("id"), st.just("name"), st.text(max_size=3)),
    st.builds(UsageDelta, st.integers(0, 9), st.integers(0, 9)),
)


def _texts(events: Sequence[TurnEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, TurnText)]


def _said(answer: Answer, deltas: Sequence[Delta]) -> list[str]:
    """What each delta alone made the answer say, and then the end."""
    found: list[str] = []
    for delta in deltas:
        found += _texts(answer.feed([delta]))
    return found + _texts(answer.finish())


def _split(content: str, cuts: Sequence[int]) -> list[Delta]:
    places = sorted({cut % (len(content) + 1) for cut in cuts} | {0, len(content)})
    return [TextDelta(content[start:end]) for start, end in pairwise(places)]


@given(st.lists(_DELTAS, max_size=40), st.sampled_from(["answer", "hide"]))
def test_the_text_is_all_events_joined_and_none_is_empty(deltas: list[Delta], mode: Mode):
    answer = Answer(mode)
    said = _said(answer, deltas)
    assert answer.text == "".join(said)
    assert all(said)
    assert answer.finish() == []


@given(st.lists(_DELTAS, max_size=40), st.sampled_from(["answer", "hide"]), st.integers(1, 7))
def test_it_does_not_matter_what_one_read_held(deltas: list[Delta], mode: Mode, size: int):
    one_by_one, in_batches = Answer(mode), Answer(mode)
    said: list[str] = []
    for start in range(0, len(deltas), size):
        said += _texts(in_batches.feed(deltas[start : start + size]))
    said += _texts(in_batches.finish())
    assert said == _said(one_by_one, deltas)
    assert in_batches.reasoning == one_by_one.reasoning
    assert in_batches.usage == one_by_one.usage


@given(_CONTENT, st.lists(st.integers(0, 200), max_size=12))
def test_hiding_does_not_depend_on_where_the_text_was_split(content: str, cuts: list[int]):
    whole, pieces = Answer("hide"), Answer("hide")
    _said(whole, [TextDelta(content)] if content else [])
    _said(pieces, _split(content, cuts))
    assert (pieces.text, pieces.reasoning) == (whole.text, whole.reasoning)


@given(_CONTENT, st.lists(st.integers(0, 200), max_size=12))
def test_shown_text_is_the_model_s_to_the_letter(content: str, cuts: list[int]):
    answer = Answer("answer")
    deltas = _split(content, cuts)
    assert _said(answer, deltas) == [d.text for d in deltas if isinstance(d, TextDelta) and d.text]


@given(st.lists(_DELTAS, max_size=40), st.sampled_from(["answer", "hide"]))
def test_the_length_grows_whenever_something_was_added(deltas: list[Delta], mode: Mode):
    answer = Answer(mode)
    for delta in deltas:
        before = answer.length, answer.text
        answer.feed([delta])
        assert answer.length >= before[0]
        assert (answer.length > before[0]) or answer.text == before[1]


def test_each_text_delta_is_one_event():
    answer = Answer("answer")
    events = answer.feed([TextDelta("Hel"), TextDelta("lo"), UsageDelta(3, 2)])
    assert events == [TurnText("Hel"), TurnText("lo")]
    assert answer.feed([TextDelta("!")]) == [TurnText("!")]
    assert answer.finish() == []
    assert (answer.text, answer.usage, answer.length) == ("Hello!", UsageDelta(3, 2), 3)


def test_shown_reasoning_stands_within_tags_in_the_frames_of_its_deltas():
    answer = Answer("answer")
    said = _said(
        answer,
        [ReasoningDelta("Let me"), ReasoningDelta(" see."), TextDelta("Yes"), TextDelta(".")],
    )
    assert said == ["<think>\nLet me", " see.", "\n</think>\n\nYes", "."]
    assert answer.reasoning == ""


def test_reasoning_that_never_ends_is_closed_at_the_end():
    answer = Answer("answer")
    assert _said(answer, [ReasoningDelta("hm")]) == ["<think>\nhm", "\n</think>"]


def test_reasoning_that_returns_opens_a_block_of_its_own():
    answer = Answer("answer")
    said = _said(answer, [ReasoningDelta("a"), TextDelta("b"), ReasoningDelta("c"), TextDelta("d")])
    assert "".join(said) == "<think>\na\n</think>\n\nb<think>\nc\n</think>\n\nd"


def test_hidden_reasoning_of_either_kind_is_kept_apart():
    answer = Answer("hide")
    said = _said(
        answer,
        [
            ReasoningDelta("one "),
            TextDelta(" <thi"),
            TextDelta("nk>two</th"),
            TextDelta("ink>\n\nok"),
        ],
    )
    assert said == ["ok"]
    assert answer.reasoning == "one two"


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("plain", "plain", ""),
        ("  plain ", "  plain ", ""),
        ("  ", "  ", ""),
        ("<thin", "<thin", ""),
        ("<thing>", "<thing>", ""),
        ("<think>a</think> b", "b", "a"),
        ("\n<think>\na\n</think>\n\n b", "b", "a"),
        ("<think>never ended </thin", "", "never ended </thin"),
        ("<think>a</think>", "", "a"),
        ("<think>a</think>b<think>c</think>", "b<think>c</think>", "a"),
        ("<think>a</think>\n<think>c</think>", "<think>c</think>", "a"),
        ("text <think>a</think>", "text <think>a</think>", ""),
        ("<think>a < b </ c</think>d", "d", "a < b </ c"),
    ],
)
def test_only_a_think_block_at_the_very_start_is_hidden(content: str, text: str, reasoning: str):
    for deltas in ([TextDelta(content)], [TextDelta(letter) for letter in content]):
        answer = Answer("hide")
        _said(answer, deltas)
        assert (answer.text, answer.reasoning) == (text, reasoning)


def test_what_could_still_become_a_tag_is_held_and_then_let_go():
    answer = Answer("hide")
    assert answer.feed([TextDelta("<th")]) == []
    assert answer.text == ""
    assert answer.feed([TextDelta("e> cat")]) == [TurnText("<the> cat")]
    assert answer.feed([TextDelta("<th")]) == [TurnText("<th")]


def test_what_is_held_at_the_end_is_said():
    answer = Answer("hide")
    assert answer.feed([TextDelta(" <th")]) == []
    assert answer.finish() == [TurnText(" <th")]
    assert answer.text == " <th"


@pytest.mark.parametrize("text", ["<", "<think>", "<think></think>", "word"])
def test_an_answer_has_begun_with_the_first_thing_said_also_when_it_is_held_back(text: str) -> None:
    answer = Answer("hide")
    assert not answer.begun
    answer.feed([TextDelta(text)])
    assert answer.begun
