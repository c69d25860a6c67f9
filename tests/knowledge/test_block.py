"""A block that follows its base, change by change, is the one that would be made anew."""

from array import array
from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.bm25 import count_terms
from kaiwa.domain.terms import Term, index_terms, query_terms
from kaiwa.knowledge.block import Block, plan
from kaiwa.store.search import Candidate, Seen

WORDS = st.lists(st.sampled_from(["cat", "dog", "猫は魚", "狗", "a1", "한국어"]), max_size=4)
NUMBERS = st.sampled_from([1, 2, 3, 8191, 8192, 8193, 20_000])
BASES = st.dictionaries(NUMBERS, WORDS)
QUESTIONS = ["cat", "dog cat", "猫", "は", "狗", "한", "国", "a", "a1"]

Base = Mapping[int, list[str]]


def make(base: Base, version: int, before: Block | None = None, since: Base | None = None) -> Block:
    """Of a segment for each number; one that is not as it was `since` has changed at `version`."""
    numbers = sorted(base)
    terms = {number: " ".join(index_terms(" ".join(base[number]))) for number in numbers}
    changed = [0 if since and since.get(one) == base[one] else version for one in numbers]
    lengths = [len(terms[number]) + 1 for number in numbers]
    seen = Seen(array("q", numbers), array("q", changed), array("q", lengths))
    made = [
        one.before
        if one.stays
        else one.make({n: Candidate(terms[n], vector(n)) for n in one.missing()}, 2)
        for one in plan(seen, before, 2)
    ]
    return Block(version, 2, seen, [one for one in made if one])


def vector(number: int) -> bytes:
    return np.array([np.cos(number), np.sin(number)], "<f2").tobytes()


def found(block: Block, question: str) -> list[int]:
    chosen, _ = block.choose_by_words(query_terms(question), 10)
    return sorted(block.find_numbers(chosen))


@given(BASES, BASES)
def test_a_block_follows_its_base(first: Base, second: Base) -> None:
    before = make(first, 0)
    after, anew = make(second, 1, before, since=first), make(second, 2)
    for question in QUESTIONS:
        terms: list[Term] = query_terms(question)
        having = [
            number
            for number, words in sorted(second.items())
            if any(count_terms(" ".join(index_terms(" ".join(words))), terms))
        ]
        assert found(after, question) == found(anew, question) == having
        assert after.choose_by_words(terms, 10) == anew.choose_by_words(terms, 10)
    asked = [1.0, 0.0]
    assert after.choose_by_vector(asked, 10) == anew.choose_by_vector(asked, 10)
    assert after.size == anew.size


def test_a_word_that_many_have_is_found_the_same_again() -> None:
    block = make({number: ["cat"] for number in range(1, 20_000)}, 0)
    first = block.choose_by_words(query_terms("cat dog"), 5)
    assert block.choose_by_words(query_terms("cat dog"), 5) == first
    assert len(first[0]) == 5
