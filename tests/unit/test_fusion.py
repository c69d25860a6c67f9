"""Lists of what was found become one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.fusion import rank, reciprocal, stretch, weighted

SCORES = st.dictionaries(st.integers(0, 9), st.floats(-1, 1), max_size=6)
SHARES = st.dictionaries(st.integers(0, 9), st.floats(0, 1), max_size=6)
LISTS = st.lists(st.permutations(range(5)), min_size=1, max_size=4)


@given(SCORES)
def test_stretched_scores_go_from_0_to_1_in_the_same_order(scores: dict[int, float]):
    found = stretch(scores)
    assert all(0 <= score <= 1 for score in found.values())
    if any(score > 0 for score in scores.values()):
        assert max(found.values()) == 1
    for one, other in zip(rank(scores), rank(scores)[1:], strict=False):
        assert found[one[0]] >= found[other[0]]


@given(SHARES, SHARES, st.floats(0, 1), st.floats(0, 1))
def test_weighted_scores_are_means(
    one: dict[int, float], other: dict[int, float], first: float, second: float
):
    found = weighted([(one, first), (other, second)])
    total = first + second
    shares = (first / total, second / total) if total else (0.5, 0.5)
    for key, score in found.items():
        naive = shares[0] * one.get(key, 0) + shares[1] * other.get(key, 0)
        assert score == pytest.approx(naive)
        assert 0 <= score <= 1.000001
    assert set(found) == set(one) | set(other)


@given(LISTS)
def test_ranks_alone_decide(lists: list[list[int]]):
    found = reciprocal(lists)
    naive = {key: sum(1 / (61 + one.index(key)) for one in lists) for key in range(5)}
    order = sorted(range(5), key=lambda key: -naive[key])
    for key in range(5):
        assert found[key] * len(lists) / 61 == pytest.approx(naive[key])
    assert [naive[key] for key, _ in rank(found)] == pytest.approx([naive[key] for key in order])


def test_what_all_have_first_is_1_and_nothing_is_nothing():
    assert reciprocal([["a", "b"], ["a"]])["a"] == 1
    assert reciprocal([]) == stretch({}) == weighted([]) == {}


def test_equals_stay_in_their_order():
    assert rank({"b": 1.0, "a": 1.0, "c": 2.0}) == [("c", 2.0), ("b", 1.0), ("a", 1.0)]
