"""Texts cut into pieces: nothing lost, nothing reordered, sizes kept, whatever the text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.chunking import cut, tidy
from kaiwa.domain.knowledge import ChunkRule
from kaiwa.domain.text import count_tokens

ENGLISH = "The quick brown fox jumps over the lazy dog. Nothing else happened that day! "
CHINESE = "今天天气很好，我们去公园散步吧。明天会下雨吗？我不知道。"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
TEXTS = st.lists(
    st.sampled_from(
        [ENGLISH, CHINESE, JAPANESE, "\n\n", "\n", "word ", "好" * 40, "x" * 90, "e\u0301" * 30]
    )
    | st.text(max_size=30),
    max_size=60,
).map("".join)


def rule(most: int = 60, overlap: int = 0, separator: str | None = None) -> ChunkRule:
    mode = "automatic" if separator is None else "custom"
    return ChunkRule(mode=mode, separator=separator or "\n\n", max_tokens=most, overlap=overlap)


def bare(text: str) -> str:
    return "".join(text.split())


@given(TEXTS, st.integers(5, 200))
def test_nothing_is_lost_or_reordered(text: str, most: int):
    pieces = list(cut(text, rule(most)))
    assert bare("".join(pieces)) == bare(text)


@given(TEXTS, st.integers(5, 200), st.integers(0, 300), st.sampled_from([None, "\n\n", ". "]))
def test_no_piece_is_empty_or_too_large(text: str, most: int, overlap: int, separator: str | None):
    for piece in cut(text, rule(most, overlap, separator)):
        assert piece.strip() == piece != ""
        assert count_tokens(piece) <= most


SENTENCES = st.lists(
    st.sampled_from(
        ["Sentence {} of the text. ", "第{}句话，说了什么。", "{}番目の文です。\n\n", "word{} "]
    ),
    max_size=80,
).map(lambda parts: "".join([part.format(at) for at, part in enumerate(parts, 1000)]))


@given(SENTENCES, st.integers(20, 200), st.integers(1, 10))
def test_a_piece_repeats_the_end_of_the_one_before_and_goes_on(text: str, most: int, overlap: int):
    at, end = 0, 0
    whole = text.strip()
    for piece in cut(text, rule(most, overlap)):
        start = whole.find(piece, at)
        assert start >= at
        assert not whole[end:start].strip()  # no gap
        repeated = whole[start:end]
        assert count_tokens(repeated) <= overlap
        assert start + len(piece) > end
        at, end = start, start + len(piece)
    assert not whole[end:].strip()


def test_pieces_end_with_sentences_in_all_three_languages():
    for text, ends in ((ENGLISH, ".!"), (CHINESE, "。？"), (JAPANESE, "。")):
        pieces = list(cut(text * 40, rule(80)))
        assert len(pieces) > 5
        assert all(piece[-1] in ends for piece in pieces)


def test_an_overlap_begins_with_a_sentence():
    pieces = list(cut(CHINESE * 40, rule(100, 30)))
    starts = ("今天", "明天", "我不")
    assert all(piece.startswith(starts) for piece in pieces)
    for before, after in pairwise(pieces):
        assert before[-6:] in after


def test_paragraphs_stay_together_when_they_fit():
    text = "\n\n".join(f"Paragraph {at}. " + ENGLISH * 2 for at in range(20))
    for piece in cut(text, rule(120)):
        assert piece.startswith("Paragraph")


def test_a_custom_rule_cuts_at_each_separator_and_what_is_too_long_further():
    text = "one###two two###" + ENGLISH * 20 + "### ###three"
    first, second, *middle, last = cut(text, rule(50, separator="###"))
    assert (first, second, last) == ("one", "two two", "three")
    assert bare("".join(middle)) == bare(ENGLISH * 20)


def test_a_separator_may_be_written_with_a_backslash():
    assert list(cut("one\ntwo\n\nthree", rule(separator="\\n"))) == ["one", "two", "three"]


def test_an_empty_separator_is_none():
    assert list(cut("one two", ChunkRule(mode="custom", separator=""))) == ["one two"]


@pytest.mark.parametrize("text", ["", " \n\t ", "\n\n\n"])
def test_of_nothing_there_are_no_pieces(text: str):
    assert list(cut(text, rule())) == []


@pytest.mark.parametrize("unit", ["x", "好", "x ", "好\n", "\u0301", ".", "。", "😀", "a\u200d"])
def test_a_long_text_without_pauses_is_cut_too(unit: str):
    """The library alone takes minutes over some of them."""
    text = unit * (400_000 // len(unit))
    pieces = list(cut(text, rule(500, 50)))
    assert max(map(count_tokens, pieces)) <= 500
    assert len(pieces) < 1200


def test_tidying_takes_controls_and_runs_of_spaces_and_lines():
    text = "a\x00b\x07  c\t\t\u3000d\r\n\n\n\n\ne"
    assert tidy(text, ChunkRule()) == "ab c d\n\ne"
    kept = tidy(text, ChunkRule(remove_extra_spaces=False))
    assert kept == "ab  c\t\t\u3000d\n\n\n\n\ne"


def test_tidying_takes_addresses_and_mails_when_asked_to():
    text = "Write to ann.b+c@mail.example.org or see https://example.org/a?b=1, 见https://例.org/甲。好"
    wanted = ChunkRule(remove_urls_emails=True)
    assert tidy(text, wanted) == "Write to or see 见。好"
    assert "example.org" in tidy(text, ChunkRule())


def test_tidying_hostile_texts_takes_no_longer_than_their_length():
    for unit in ("a", "a@", "a@b.", "http://", " \t", "\n"):
        assert tidy(unit * 300_000, ChunkRule(remove_urls_emails=True)) is not None
