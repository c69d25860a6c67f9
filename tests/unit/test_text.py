"""Tokens, languages, words, shortening, and what is found in a model's words."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.text import (
    clean,
    count_tokens,
    first_json,
    language_of,
    say,
    shorten,
    strip_thinking,
    words,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("你好", 2),
        ("你好世界", 3),
        ("你好世界abcd", 4),
        ("こんにちは", 4),
        ("한국", 2),
        ("é", 1),
        ("😀" * 8, 2),
    ],
)
def test_tokens_are_three_quarters_of_cjk_and_a_quarter_of_the_rest(text: str, tokens: int):
    assert count_tokens(text) == tokens


def test_a_long_text_is_counted_quickly():
    text = "word 字" * 200_000
    began = time.perf_counter()
    assert count_tokens(text) == (200_000 * 3 + 1_000_000 + 3) // 4
    assert time.perf_counter() - began < 1


@given(st.text(), st.text())
def test_a_longer_text_never_has_fewer_tokens(first: str, second: str):
    assert count_tokens(first) <= count_tokens(first + second)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my parcel?", "en"),
        ("", "en"),
        ("我的包裹在哪里?", "zh"),
        ("荷物はどこですか", "ja"),
        ("カメラ", "ja"),
        ("日本語で", "ja"),
        ("Привет", "en"),
    ],
)
def test_the_script_tells_the_language(text: str, language: str):
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I list Messages?", ["how", "do", "i", "list", "message"]),
        ("queries, boxes and classes", ["query", "box", "and", "class"]),
        ("status analysis is this", ["status", "analysis", "is", "this"]),
        ("conversation_id", ["conversation", "id"]),
        ("Bob's don't", ["bob", "don't"]),
        ("我的包裹", ["我的", "的包", "包裹"]),
        ("猫", ["猫"]),
        ("猫 cats カメラ", ["猫", "cat", "カメ", "メラ"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("", []),
        ("?! …", []),
    ],
)
def test_words_are_lower_case_and_bigrams(text: str, expected: list[str]):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 10, "short"),
        ("  two\n\tlines  ", 20, "two lines"),
        ("exactly ten", 11, "exactly ten"),
        ("one two three", 7, "one two…"),
        ("one two three", 8, "one two…"),
        ("ae\u0301b", 2, "a…"),
        ("a👩\u200d🔬b", 2, "a…"),
        ("a👍\U0001f3fdb", 2, "a…"),
        ("\u0301\u0301\u0301", 2, "\u0301\u0301…"),
        ("", 5, ""),
    ],
)
def test_shortening_keeps_characters_whole(text: str, limit: int, expected: str):
    assert shorten(text, limit) == expected


@given(st.text(), st.integers(1, 50))
def test_a_shortened_text_is_one_line_within_its_limit(text: str, limit: int):
    short = shorten(text, limit)
    assert len(short.removesuffix("…")) <= limit
    assert short.split() == short.split(" ") or not short


def test_our_own_texts_are_there_in_each_language():
    assert say("new_conversation", "en") == "New conversation"
    assert say("new_conversation", language_of("你好")) == "新的对话"
    assert say("new_conversation", "ja") == "新しい会話"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("<think>hm</think>\n\nyes", "yes"),
        ("\n <think>\nhm\n</think>yes", "yes"),
        ("<think>never ended", ""),
        ("hm</think>\nyes", "yes"),
        ("yes <think>no</think>", ""),
        ("", ""),
    ],
)
def test_thinking_is_stripped_from_the_start(text: str, expected: str):
    assert strip_thinking(text) == expected


def test_the_first_json_in_noisy_words_is_found():
    assert first_json('Sure! ```json\n{"a": [1, 2]}\n``` {"b": 1}', "{") == {"a": [1, 2]}
    assert first_json('Here [are] three: ["x", "y"] and ["z"]', "[") == ["x", "y"]
    assert first_json('{"a": NaN} {"b": 1}', "{") == {"b": 1}


@pytest.mark.parametrize("text", ["", "none", "[1, 2", "{]}", "[" * 100_000, "[ " * 100_000])
def test_no_json_is_none(text: str):
    assert first_json(text, "[") is None


def test_cleaning_removes_what_cannot_be_kept():
    assert clean("a\0b") == "ab"
    assert clean("é\ud800") == "é?"
