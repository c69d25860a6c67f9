"""Sentences of a growing text: right in three languages, and the same however the text is split."""

import pickle
import re
import sys
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kaiwa.domain.sentences import Sentences

_BITS = st.sampled_from(
    ["Mr. ", "A b", "U.S. ", "3.", "14 ", "e.g. ", "The ", "Hello", ". ", "! ", "?!", "...", "…",
     "”", '"', ")", "。", "」と", "「", "はい", "你好", "，", ", ", "\n", "\n\n", "- ", "1. ", " ",
     "[a ",
     "](http://a.b/c)", "https://x.y/z?q=1. ", "```", "```py\n", "\n```\n", "\n~~~\n", "~~~", "`",
     "<think>", "</think>", "<", "x" * 150, "word " * 90, "，" * 3,
     "!" * 70, " " * 70]
)  # fmt: skip
_TEXTS = st.lists(_BITS, max_size=30).map("".join)


def cut(*pieces: str) -> list[str]:
    """The sentences of all pieces."""
    sentences = Sentences()
    found = [one for piece in pieces for one in sentences.feed(piece)]
    return found + sentences.finish()


def bare(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "sentences",
    [
        ["Hello there.", "How are you?", "Fine!"],
        ["Mr. Smith met Dr. No.", "They talked."],
        ["Use a tool, e.g. a hammer, i.e. Something heavy.", "Then stop."],
        ["It is 3.14 or 2.5 metres.", "Version 1.2.3 is out."],
        ["He lives in the U.S. Army base.", "Fine."],
        ["He lives in the U.S.", "The weather is good."],
        ["J. R. R. Tolkien wrote it.", "I read it."],
        ["See fig. 3 and no. 7.", "He said no.", "Then he left."],
        ["Well... maybe.", "Really?!", "Yes."],
        ['"Go away!" he said.', '"Why?"', "She left."],
        ["(This is so.)", "[Or not.]", "**Bold.**", "End."],
        ["It opens at 9 a.m. on Monday.", "Come then."],
        ["Acme Inc. makes it.", "Acme Inc.", "It makes them."],
        ["Born in 1990.", "Died in 2020."],
        ["Visit example.com or https://a.b/c.d?e=f.", "Bye."],
        ["[What is it? A guide](http://a.b) helps.", "Read it."],
        ["你好。", "今天天气怎么样？", "很好！"],
        ["他说：“走吧。”", "然后走了。"],
        ["我不知道……", "也许吧。"],
        ["「はい。」と言った。", "そうですか？", "（本当です。）", "では。"],
        ["これは3.14です。", "OKです!", "次へ。"],
        ["价格是 3.5 元。", "OK.", "好的。"],
    ],
)
def test_sentences_end_where_people_end_them(sentences: Sequence[str]) -> None:
    space = "" if "。" in "".join(sentences) else " "
    assert cut(space.join(sentences)) == sentences
    assert cut(*space.join(sentences)) == sentences


def test_lines_and_items_of_lists_are_sentences() -> None:
    text = "Do this:\n\n1. Wash hands. Dry them.\n2. Cook\n- eat\n* 寝る\n## Then\nRest"
    assert cut(text) == [
        "Do this:", "1. Wash hands.", "Dry them.", "2. Cook", "- eat", "* 寝る", "## Then", "Rest",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "block",
    [
        "```\nprint('Hello. You.')\n```\n",
        "```python\nx = 1. \n  ``` no end\n```\n",
        "````md\n```\ninner.\n```\n````\n",
        "~~~\n```\nA. B.\n~~~\n",
        "  - ```sh\n    ls. Now.\n    ```\n",
        "> ```\n> Quoted. So.\n> ```\n",
        "<think>\nFirst. Then ```\n</think>\n\n",
    ],
)
def test_code_and_thoughts_are_not_spoken(block: str) -> None:
    text = f"Look here:\n{block}That is it. Yes."
    expected = ["Look here:", "That is it.", "Yes."]
    assert cut(text) == expected
    assert cut(*text) == expected


def test_blocks_that_never_end_are_not_spoken() -> None:
    assert cut("Look:\n```py\nx = 1. Y") == ["Look:"]
    assert cut("Look:\n```py") == ["Look:"]
    assert cut("<think>Hm. So. ") == []


def test_what_only_looks_like_a_block_is_spoken() -> None:
    assert cut("A `<think>` tag. And ```x``` too.\n```y``` as well.") == [
        "A `<think>` tag.", "And ```x``` too.", "```y``` as well.",
    ]  # fmt: skip
    assert cut("1 < 2 is true. 3 <") == ["1 < 2 is true.", "3 <"]


def test_a_sentence_is_certain_with_the_piece_after_it() -> None:
    sentences = Sentences()
    assert sentences.feed("Hello there") == []
    assert sentences.feed(".") == []
    assert sentences.feed(" How") == ["Hello there."]
    assert sentences.feed(" are you") == []
    assert sentences.feed("?\n") == ["How are you?"]
    assert sentences.feed("好。") == []
    assert sentences.feed("是") == ["好。"]


def test_a_long_sentence_is_cut_at_a_comma_or_space_and_never_in_a_link() -> None:
    clause = "and so it goes on and on, "
    parts = cut(clause * 60)
    assert len(parts) > 3
    assert all(part.endswith(",") for part in parts)
    link = f"[the long way](https://example.com/{'x' * 500})"
    assert link in cut("word " * 50 + link + " more words" * 50)
    assert max(map(len, cut("字" * 3000))) <= 400
    assert max(map(len, cut("http://" + "x" * 5000))) <= 2000


@settings(max_examples=300, deadline=None)
@given(text=_TEXTS, data=st.data())
@example(text='Hello!!!"' + "!" * 70 + " Yes. ", data=None)
def test_no_split_changes_the_sentences(text: str, data: st.DataObject | None) -> None:
    whole = cut(text)
    assert cut(*text) == whole
    if data:
        places = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
        edges = [0, *places, len(text)]
        assert cut(*[text[i:j] for i, j in pairwise(edges)]) == whole


@given(text=_TEXTS)
def test_nothing_but_skipped_blocks_is_lost(text: str) -> None:
    text = re.sub("<think>|```|~~~", "", text)
    text = re.sub("<think>|```|~~~", "", text)
    if not re.search("<think>|```|~~~", text):
        assert bare("".join(cut(text))) == bare(text)


@pytest.mark.parametrize(
    "unit", ["a. ", "[A! ", "!", " ", "x", "http://", "U.S. ", "\n", "`", "<", ">", "「。"]
)
def test_the_work_grows_with_the_text_alone(unit: str) -> None:
    def work(length: int) -> int:
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        text = (unit * length)[:length]
        sys.setprofile(count)
        try:
            cut(*[text[i : i + 5] for i in range(0, length, 5)])
        finally:
            sys.setprofile(None)
        return calls

    assert work(40_000) < 2.5 * work(20_000)


def test_what_is_held_is_bounded() -> None:
    sentences = Sentences()
    for unit in ("x", "!", " ", "[a", "http://", "<", "`"):
        for _ in range(3000):
            sentences.feed(unit * 5)
        assert len(pickle.dumps(sentences)) < 5000
