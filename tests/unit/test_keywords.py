"""Words that must not be said: in whole texts, and in texts that come in pieces."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.answer import Answer
from kaiwa.domain.events import ReasoningDelta, TextDelta, TurnReplaced, TurnText, UsageDelta
from kaiwa.domain.keywords import KeywordFilter, Keywords, find_keywords, fold

_LETTERS = st.text("abAＡｂ日本İß-\ud800 ", max_size=12)
_WORDS = st.lists(st.text("abAＡｂ日本İß", min_size=1, max_size=4), min_size=1, max_size=6)
_PIECES = st.lists(_LETTERS, max_size=8)


def stands_in(words: list[str], text: str) -> bool:
    return any(fold(word) in fold(text) for word in words)


def held_of(words: list[str], text: str) -> str:
    """The longest end that could become one of the words."""
    for start in range(len(text)):
        if any(fold(word).startswith(fold(text[start:])) for word in words):
            return text[start:]
    return ""


@given(_WORDS, _LETTERS)
def test_a_word_is_found_wherever_it_stands(words: list[str], text: str) -> None:
    assert Keywords(words).found_in(text) == stands_in(words, text)


@given(_WORDS, _PIECES)
def test_what_has_passed_and_what_is_held_are_the_text_and_no_word_passes(
    words: list[str], pieces: list[str]
) -> None:
    found = KeywordFilter(Keywords(words))
    passed = text = ""
    for piece in pieces:
        before = found.held
        passed += found.feed(piece)
        text += piece
        if stands_in(words, text):
            assert found.hit
            assert passed + before + piece == text
            assert found.finish() == found.feed("more") == ""
            return
        assert not found.hit
        assert passed + found.held == text
        assert found.held == held_of(words, text)
    assert passed + found.finish() == text
    assert found.held == ""


def test_a_word_does_not_stand_on_both_sides_of_an_end() -> None:
    found = KeywordFilter(Keywords(["secret"]))
    assert (found.feed("one sec"), found.finish(), found.feed("ret")) == ("one ", "sec", "ret")
    assert not found.hit


@given(_WORDS, _LETTERS)
def test_words_are_found_when_no_more_can_be_remembered(words: list[str], text: str) -> None:
    keywords = Keywords(words)
    keywords._room = -1  # pyright: ignore[reportPrivateUsage]
    assert keywords.found_in(text) == stands_in(words, text)


def test_a_long_text_leads_to_no_more_states_than_there_is_room_for() -> None:
    dice = Random(7)
    words = ["".join(dice.choices("ab", k=400)) for _ in range(40)]
    keywords = Keywords(words)
    for word in words:
        assert not keywords.found_in(word[:-1])
    assert keywords.found_in(words[0])
    assert sum(map(len, keywords._states)) < 1_001_000  # pyright: ignore[reportPrivateUsage]


@given(st.text())
def test_folding_keeps_every_character_one(text: str) -> None:
    folded = fold(text)
    assert len(folded) == len(text)
    assert fold(folded) == fold(text)
    assert "".join(map(fold, text)) == folded


def test_case_and_width_do_not_matter() -> None:
    words = Keywords(["Ｂａｄ", "naïve", "ΣΑΣ", "İstanbul"])
    for text in ("so BAD!", "ｓｏ　ｂＡｄ", "NAÏVE", "σας", "istanbul", "İSTANBUL"):
        assert words.found_in(text), text
    assert not words.found_in("b ad naive")


def test_no_words_are_found_nowhere() -> None:
    assert not Keywords([]).found_in("anything")
    assert not Keywords([""]).found_in("anything")


def test_the_same_words_are_made_ready_once() -> None:
    assert find_keywords(("a", "b")) is find_keywords(tuple("ab"))


def answer_of(*words: str) -> Answer:
    return Answer("answer", KeywordFilter(Keywords(words)), "Sorry.")


def test_an_answer_gives_way_before_the_word_is_whole() -> None:
    answer = answer_of("secret")
    assert answer.feed([TextDelta("The sec"), TextDelta("ond")]) == [
        TurnText("The "),
        TurnText("second"),
    ]
    assert answer.feed([TextDelta(" se"), TextDelta("CR")]) == [TurnText(" ")]
    length = answer.length
    events = answer.feed([TextDelta("et!"), TextDelta("More"), UsageDelta(3, 4)])
    assert events == [TurnReplaced("Sorry.")]
    assert answer.text == "Sorry."
    assert answer.usage == UsageDelta(3, 4)
    assert answer.length > length
    assert answer.taken_back
    assert answer.round_text == ""
    assert answer.round_said == "The second seCRet!"
    assert answer.feed([TextDelta("x"), ReasoningDelta("y")]) == []
    assert answer.finish() == []


def test_what_is_held_goes_out_at_the_end() -> None:
    answer = answer_of("secret")
    assert answer.feed([TextDelta("no sec")]) == [TurnText("no ")]
    assert answer.text == "no "
    assert answer.finish() == [TurnText("sec")]
    assert answer.text == "no sec"


def test_a_round_begins_on_its_line_also_when_its_text_was_held() -> None:
    answer = answer_of("secret")
    answer.feed([TextDelta("one s")])
    answer.finish()
    answer.begin_round()
    assert answer.feed([TextDelta("se")]) == []
    assert answer.feed([TextDelta("t")]) == [TurnText("set")]
    assert answer.text == "one s\nset"
    assert answer.round_text == "set"


def test_shown_reasoning_is_looked_at_like_text() -> None:
    answer = answer_of("secret")
    events = answer.feed([ReasoningDelta("a sec"), ReasoningDelta("ret")])
    assert events == [TurnText("<think>\na "), TurnReplaced("Sorry.")]


def test_hidden_reasoning_is_nobodys_business() -> None:
    answer = Answer("hide", KeywordFilter(Keywords(["secret"])), "Sorry.")
    answer.feed([ReasoningDelta("a secret"), TextDelta("<think>secret</think>fine")])
    assert answer.finish() == []
    assert answer.text == "fine"
    assert not answer.taken_back


def test_the_tag_that_ends_reasoning_can_be_a_word_too() -> None:
    answer = answer_of("</think>")
    answer.feed([ReasoningDelta("hm")])
    assert answer.finish() == [TurnReplaced("Sorry.")]


def test_a_correction_keeps_what_has_come_since() -> None:
    answer = Answer("answer")
    answer.feed([TextDelta("You fool"), TextDelta(", yes")])
    length = answer.length
    assert answer.correct(8, "You ****") == TurnReplaced("You ****, yes")
    assert answer.length > length
    assert answer.feed([TextDelta(".")]) == [TurnText(".")]
    assert answer.text == answer.round_text == "You ****, yes."
    assert answer.corrected
    assert not answer.taken_back
