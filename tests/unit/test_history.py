"""How much history fits."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.file import StoredFile
from kaiwa.domain.history import (
    check_fits,
    history_budget,
    lower_max_tokens,
    max_tokens_of,
    tell_documents,
    trim,
)
from kaiwa.domain.message import Exchange
from kaiwa.domain.prompt import ModelRequest, PromptMessage
from kaiwa.domain.text import count_tokens
from kaiwa.errors import PromptTooLong

_TEXT = st.integers(1, 40).map("x".__mul__)
_EXCHANGES = st.lists(st.builds(Exchange, _TEXT, _TEXT), max_size=12)


def _all(history: list[Exchange]) -> list[PromptMessage]:
    messages: list[PromptMessage] = []
    for exchange in history:
        messages.append(PromptMessage("user", exchange.query))
        messages.append(PromptMessage("assistant", exchange.answer))
    return messages


def _request(text: str, **params: object) -> ModelRequest:
    return ModelRequest("m", (PromptMessage("user", text),), params)


@pytest.mark.parametrize(
    ("context_size", "max_tokens", "system_tokens", "budget"),
    [(1000, 200, 300, 500), (1000, 900, 200, 0), (None, 768, 1000, 31_000), (None, 40_000, 0, 0)],
)
def test_the_budget_is_what_the_rest_leaves(
    context_size: int | None, max_tokens: int, system_tokens: int, budget: int
):
    assert history_budget(context_size, max_tokens, system_tokens) == budget


@given(_EXCHANGES, st.integers(0, 120))
def test_trimming_keeps_the_newest_messages_that_fit(history: list[Exchange], budget: int):
    kept = trim(reversed(history), budget)
    everything = _all(history)
    assert kept == everything[len(everything) - len(kept) :]
    assert len(kept) >= min(1, len(everything))
    spent = sum(count_tokens(message.text) for message in kept)
    assert spent <= budget or len(kept) == 1
    if len(kept) < len(everything):
        left_out = everything[len(everything) - len(kept) - 1]
        assert spent + count_tokens(left_out.text) > budget


@given(_EXCHANGES, st.integers(0, 120))
def test_no_more_is_read_than_trimming_needs(history: list[Exchange], budget: int):
    read = 0

    def newest_first() -> Iterator[Exchange]:
        nonlocal read
        for exchange in reversed(history):
            read += 1
            yield exchange

    kept = trim(newest_first(), budget)
    assert read <= len(kept) // 2 + 1


def test_an_answer_may_stay_without_its_question():
    history = [Exchange("a" * 40, "b" * 8), Exchange("c" * 4, "d" * 4)]
    assert trim(reversed(history), 5) == [
        PromptMessage("assistant", "b" * 8),
        PromptMessage("user", "cccc"),
        PromptMessage("assistant", "dddd"),
    ]


def test_the_newest_message_stays_without_any_budget():
    assert trim([Exchange("q", "answer")], 0) == [PromptMessage("assistant", "answer")]


def _document(number: int) -> StoredFile:
    return StoredFile(
        id=UUID(int=number),
        user_id=UUID(int=0),
        name="a.txt",
        size=1,
        extension="txt",
        mime_type="text/plain",
        type="document",
        key="a",
        created_at=datetime.now(UTC),
    )


def _told(history: list[Exchange], texts: dict[int, str], budget: int) -> list[str]:
    """Each message's text; `texts` by the number of the document."""
    chosen = trim(reversed(history), budget, "high")
    found = tell_documents(chosen, {UUID(int=n): text for n, text in texts.items()}, budget)
    assert not any(message.documents for message in found)
    return [message.text for message in found]


def test_earlier_documents_stand_before_their_questions_and_take_the_room_of_older_messages():
    history = [
        Exchange("o" * 40, "p" * 40),
        Exchange("q" * 4, "a" * 4, (_document(1), _document(2))),
        Exchange("r" * 4, "b" * 4),
    ]
    texts = {1: "x" * 40, 2: "y" * 40}
    rest = ["aaaa", "rrrr", "bbbb"]
    everything = [f"{'x' * 40}\n\n{'y' * 40}\n\nqqqq", *rest]
    assert _told(history, texts, 44) == ["o" * 40, "p" * 40, *everything]
    assert _told(history, texts, 43) == ["p" * 40, *everything]
    assert _told(history, texts, 33) == everything
    assert _told(history, texts, 23) == [f"{'x' * 40}\n\nqqqq", *rest]
    assert _told(history, {2: texts[2]}, 24) == ["p" * 40, f"{'y' * 40}\n\nqqqq", *rest]
    assert _told(history, texts, 13) == ["qqqq", *rest]
    assert _told(history, {}, 24) == ["o" * 40, "p" * 40, "qqqq", *rest]
    assert _told(history, texts, 0) == ["bbbb"]


def test_documents_are_not_told_again_where_the_app_takes_no_files():
    assert trim([Exchange("q", "a", (_document(1),))], 100) == _all([Exchange("q", "a")])


def test_of_many_earlier_documents_the_newest_are_read():
    history = [Exchange("q", "a", (_document(number),)) for number in range(12)]
    chosen = trim(reversed(history), 1000, "high")
    assert [file.id.int for message in chosen for file in message.documents] == [*range(4, 12)]


def test_a_prompt_that_leaves_no_room_is_refused():
    request = _request("x" * 400)
    check_fits(request, 120, 20)
    check_fits(request, None, 999_999)
    with pytest.raises(PromptTooLong):
        check_fits(request, 120, 21)


@pytest.mark.parametrize(
    ("context_size", "max_tokens", "lowered"),
    [(200, 100, 100), (200, 101, 100), (110, 50, 16), (None, 5000, 5000), (90, 50, 16)],
)
def test_max_tokens_is_lowered_to_what_is_left(
    context_size: int | None, max_tokens: int, lowered: int
):
    request = _request("x" * 400, max_tokens=max_tokens, seed=1)
    found = lower_max_tokens(request, context_size)
    assert found.params == {"max_tokens": lowered, "seed": 1}
    assert request.params["max_tokens"] == max_tokens


def test_no_max_tokens_stays_none():
    request = _request("x" * 400)
    assert lower_max_tokens(request, 10) is request


@pytest.mark.parametrize(("value", "expected"), [(5, 5), (None, 0), ("9", 0), (True, 0), (-1, 0)])
def test_only_a_number_counts_as_max_tokens(value: object, expected: int):
    assert max_tokens_of({"max_tokens": value}) == expected
