"""What is read aloud of Markdown, and that no text makes it slow or changes it twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.spoken import speakable

_MARKS = [
    "```", "~~~", "`", "<think>", "</think>", "<!--", "-->", "[", "]", "(", ")", "![", "](", "[^",
    "]:", "http://", "https://a.b/", "@", "<", ">", "</b>", "<br>", "<p ", "*", "**", "_", "~~",
    "\\", "&amp;", "&lt;", "|", "# ", "> ", "- ", "- [ ] ", "1. ", "\n", " ", "\t", "\0", "\ud800",
    "🎉", "👩\u200d🚀", "\ufe0f", "a", "b", "中", "ア", "1", ".", "。", "/", ":",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("Hello, world!", "Hello, world!"),
        ("It costs 3 * 4 = 12, or 2*6 for y < 3.", "It costs 3 * 4 = 12, or 2*6 for y < 3."),
        ("**Bold**, *leaning*, __both__, _so_ and ~~gone~~.", "Bold, leaning, both, so and gone."),
        ("Set snake_case in __init__.", "Set snake_case in init."),
        ("Run `kaiwa serve`, or ``a``.", "Run kaiwa serve, or a."),
        ("Use `<div>` here.", "Use div here."),
        ("# Title\n\n## Below", "Title\nBelow"),
        ("- one\n* two\n+ three\n1. four", "one\ntwo\nthree\n1. four"),
        ("- [ ] open\n- [x] done", "open\ndone"),
        ("> quoted\n> > twice", "quoted\ntwice"),
        ("above\n\n---\n\n***\nbelow", "above\nbelow"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a, b\n1, 2"),
        ("a | b", "a, b"),
        ("See [the guide](https://a.b/c_(d) 'x') now.", "See the guide now."),
        ("See [the guide][1].\n\n[1]: https://a.b/c", "See the guide."),
        ("![a cat](cat.png) [![badge](a.svg)](b)", "a cat badge"),
        ("True.[^1]", "True."),
        ("At https://www.example.com/a?b=c#d.", "At example.com."),
        ("At <http://me:pass@example.com:80>, yes", "At example.com, yes"),
        ("参见https://example.com/a。谢谢", "参见example.com。谢谢"),
        ("这是**重点**内容，~~不~~要。", "这是重点内容，不要。"),
        ("これは**大事**です。\n- はい", "これは大事です。\nはい"),
        ("<b>Hi</b>, one<br>two <!-- three --> four", "Hi, one\ntwo four"),
        ("Tom &amp; Jerry&nbsp;&quot;so&quot;", 'Tom & Jerry "so"'),
        (r"2 \* 3 \_ 4", "2 * 3 4"),
        ("Great 🎉 work 👩\u200d🚀!", "Great work!"),
        ("1\ufe0f\u20e3 first", "1 first"),
        ("क्षत्रिय नमस्ते", "क्षत्रिय नमस्ते"),
        ("…!? —", ""),
        ("🎉", ""),
        ("a  b\t c\u00a0d", "a b c d"),
    ],
)
def test_words_are_said_and_marks_are_not(text: str, said: str):
    assert speakable(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Look:\n```py\nprint('*')\n```\nThere.", "Look:\nThere."),
        ("```\nnever ended", ""),
        ("~~~~ text\n~~~\n~~~~\nafter", "after"),
        ("> ```\n> quoted\n> ```\n> after", "after"),
        ("```one``` line", "one line"),
        ("<think>hm\n```\n</think>Yes.", "Yes."),
        ("<think>never ended", ""),
        ("begun before</think> Yes.", "Yes."),
        ("The tag `<think>` is kept.", "The tag think is kept."),
        ("```\n<think>\n```\nafter", "after"),
    ],
)
def test_code_and_thoughts_are_not_said(text: str, said: str):
    assert speakable(text) == said


@given(st.one_of(st.text(), st.lists(st.sampled_from(_MARKS), max_size=40).map("".join)))
def test_what_is_said_is_said_of_itself(text: str):
    said = speakable(text)
    assert speakable(said) == said
    said.encode()


@given(st.text(st.sampled_from("abc 中文字カナ,.!?。、0123"), min_size=1))
def test_plain_words_stay_as_they_are(text: str):
    words = "".join(text.split())
    said = "".join(speakable(text).split())
    assert said in ("", words)


@pytest.mark.parametrize("mark", [*_MARKS, "[a](((", "[[]](", "`a``b", "http://a@", "[a]:", " |"])
def test_no_text_takes_more_than_its_share_of_time(mark: str):
    # Nothing is timed: a quadratic expression would keep this busy for minutes.
    for text in (mark * 100_000, "a" + mark * 100_000 + "b\n", (mark + " a") * 50_000):
        said = speakable(text)
        assert speakable(said) == said
