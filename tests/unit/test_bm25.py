"""BM25 equals its formula, and is the same share however a text is cut into words."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.bm25 import count_terms, dampen, score_words, share_words, weigh
from kaiwa.domain.terms import Term

WORDS = st.sampled_from(["a", "ab", "abc", "b", "ba", "c"])
TEXTS = st.lists(st.lists(WORDS, max_size=12), min_size=1, max_size=8)
ASKED = st.lists(st.builds(Term, WORDS, st.booleans()), min_size=1, max_size=5, unique=True)


def has(word: str, term: Term) -> bool:
    return word.startswith(term.text) if term.prefix else word == term.text


@given(st.lists(WORDS, max_size=12), ASKED)
def test_terms_are_counted(words: list[str], asked: list[Term]):
    wanted = [sum(has(word, term) for word in words) for term in asked]
    assert count_terms(" ".join(words), asked) == wanted


@given(TEXTS, ASKED)
def test_a_score_is_that_of_the_formula(texts: list[list[str]], asked: list[Term]):
    total = len(texts)
    average = sum(map(len, texts)) / total
    weights: list[float] = []
    for term in asked:
        having = sum(any(has(word, term) for word in text) for text in texts)
        weights.append(log(1 + (total - having + 0.5) / (having + 0.5)))
        assert weigh(total, having) == weights[-1]
    for text in texts:
        naive = 0.0
        for term, weight in zip(asked, weights, strict=True):
            count = sum(has(word, term) for word in text)
            length = len(text) / average if average else 1
            naive += weight * count * 2.2 / (count + 1.2 * (1 - 0.75 + 0.75 * length))
        counts = count_terms(" ".join(text), asked)
        score = score_words(counts, weights, dampen(len(text), average))
        assert score * sum(weights) * 2.2 == pytest.approx(naive)
        assert 0 <= score < 1
        assert 0 <= share_words(counts, weights) <= 1.000001


def test_nothing_asked_is_nothing_found():
    assert score_words([], [], 1) == share_words([], []) == 0
