"""Tools told of and called in words: the prompt, and what a model makes of it, split anyhow."""

import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kaiwa.domain.prompt import PromptMessage, ToolCall, ToolSpec
from kaiwa.domain.react import STOP, react_prompt, round_messages, scratchpad
from kaiwa.domain.react_parser import ReactParser
from kaiwa.domain.thought import Called, Thought

_CLOCK = ToolSpec("clock", "Tells the time", {"type": "object", "properties": {}})
_SEARCH = ToolSpec("search", "查找", {"type": "object"})
_FENCE = "```"
_LIMIT = 100_000

_PIECES = st.sampled_from(
    [
        *("Thought:", "thought :", "Action:", "ACTION：", "Observation:", "Final Answer:", "Thou"),
        *("Action Input:", "act", "ion", "\n", " ", "  \n", "\t", "我", "。", "a", "word ", "_"),
        *("```", "```json\n", "`", "{", "}", "[", "]", ",", ":", '"', "\\", "\\u", "00e9", "\\n"),
        *('"action"', '"action_input"', '"Final Answer"', '"clock"', '{"q": 1}', "\\ud83d\\ude00"),
        *('{"action": "clock", "action_input": {"a": "}"}}', '{"action": "Final Answer", '),
        *('"action_input": "', '"}', '"}\n```', "clock\n", "null", "1", "\\ud83d"),
    ]
)
_BEGINNINGS = st.sampled_from(
    [
        *("", 'Action: {"action": "Final Answer", "action_input": "', "Final Answer: "),
        *("Action: clock\nAction Input:", '{"action_input": ', 'Action: [{"action": "clock", '),
    ]
)
_WRITTEN = st.tuples(_BEGINNINGS, st.lists(_PIECES, max_size=40).map("".join)).map("".join)
_CUTS = st.lists(st.integers(0, 400), max_size=30)
_TEXT = st.text(st.sampled_from('aTt 我。\n"\\{}é😀,:'), max_size=60)


def _block(action: object) -> str:
    return f"{_FENCE}json\n{json.dumps(action)}\n{_FENCE}"


def _cut(text: str, cuts: Sequence[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(places)]


def _read(pieces: Sequence[str]) -> tuple[str, ReactParser]:
    """All that was shown, and the parser at the end."""
    parser = ReactParser("call")
    shown = "".join([parser.feed(piece) for piece in pieces]) + parser.finish()
    assert shown == parser.thought + (parser.final or "")
    assert parser.feed("more") + parser.finish() == ""
    return shown, parser


def _result(pieces: Sequence[str]) -> tuple[str, str, ToolCall | None, str | None]:
    shown, parser = _read(pieces)
    return shown, parser.thought, parser.action, parser.final


_CALLS = {
    "in a fence": (
        'Action:\n```\n{"action": "clock", "action_input": {"q": 1}}\n```',
        "",
        '{"q": 1}',
    ),
    "in a fence of a language": (
        'Thought: now\nAction:\n```JSON\n{"action": "clock", "action_input": {"q": 1}}\n```\n',
        "now\n",
        '{"q": 1}',
    ),
    "without a fence": ('Action: {"action": "clock", "action_input": {}}', "", "{}"),
    "without a marker": ('I look.\n{"action": "clock", "action_input": {}}', "I look.\n", "{}"),
    "in a fence without a marker": (
        'I look.\n\n```json\n{\n  "action": "clock",\n  "action_input": {}\n}\n```',
        "I look.\n\n",
        "{}",
    ),
    "on the line of the thought": (
        '我需要时间。Action:```{"action": "clock", "action_input": {}}```',
        "我需要时间。",
        "{}",
    ),
    "in a list": ('Action: [{"action": "clock", "action_input": {"q": 1}}]', "", '{"q": 1}'),
    "as the first of several": (
        'Action: [{"action": "clock"}, {"action": "search", "action_input": {}}]',
        "",
        "{}",
    ),
    "with keys in other order": (
        'Action: {"action_input": {"q": 1}, "action": "clock"}',
        "",
        '{"q": 1}',
    ),
    "with more keys": (
        'Action: {"why": "{", "action": "clock", "action_input": {"q": 1}, "n": [2]}',
        "",
        '{"q": 1}',
    ),
    "with braces and fences in strings": (
        'Action:\n```\n{"action": "clock", "action_input": {"q": "}```\\"{", "r": {"s": {}}}}\n```',
        "",
        '{"q": "}```\\"{", "r": {"s": {}}}',
    ),
    "with line breaks in strings": (
        'Action: {"action": "clock", "action_input": {"q": "a\nb"}}',
        "",
        '{"q": "a\\nb"}',
    ),
    "with wide colons and small letters": (
        'thought：想\naction：{"action": "clock", "action_input": {"q": "北京"}}',
        "想\n",
        '{"q": "北京"}',
    ),
    "with an object in a string": (
        'Action: {"action": "clock", "action_input": "{\\"q\\": 1}"}',
        "",
        '{"q": 1}',
    ),
    "with mere text": ('Action: {"action": "clock", "action_input": "now"}', "", '"now"'),
    "with nothing": ('Action: {"action": " clock ", "action_input": null}', "", "{}"),
    "with half a character": (
        'Action: {"action": "clock", "action_input": {"q": "\\ud83d"}}',
        "",
        '{"q": "?"}',
    ),
    "in two lines": ('Thought: a\nAction: clock\nAction Input: {"q": {}}\n', "a\n", '{"q": {}}'),
    "in two lines with a fence": (
        'Action:clock\nAction Input:\n```json\n{"q":\n 1}\n```',
        "",
        '{"q": 1}',
    ),
    "in two lines with text": ("Action: clock\naction_input: Paris, now \nObs", "", '"Paris, now"'),
    "in two lines with text at the end": ("Action: clock\nAction Input: Paris", "", '"Paris"'),
    "in two lines with nothing": ("Action: clock\nAction Input: ", "", "{}"),
    "before a made-up result": (
        'Action: {"action": "clock", "action_input": {}}\nObservation: 3\nThought: done\n'
        'Action: {"action": "Final Answer", "action_input": "3"}',
        "",
        "{}",
    ),
    "after a block that is none": (
        'Action: {"act": 1}\nAction: {"action": "clock", "action_input": {}}',
        'Action: {"act": 1}\n',
        "{}",
    ),
}


@pytest.mark.parametrize("case", _CALLS)
def test_a_tool_is_called(case: str):
    text, shown, arguments = _CALLS[case]
    expected = (shown, shown, ToolCall("call", "clock", arguments), None)
    assert _result([text]) == expected
    assert _result(list(text)) == expected


_ANSWERS = {
    "action first": 'Action:\n```json\n{"action": "Final Answer", "action_input": "A"}\n```',
    "input first": 'Action: {"action_input": "A", "action": "final_answer"}',
    "more keys before": 'Action: {"n": 1, "action": "Final Answer", "action_input": "A"}',
    "more keys after": 'Action: {"action": "Final Answer", "action_input": "A", "n": 1}',
    "a list": 'Action: [{"action": "Final Answer", "action_input": "A"}] and so on',
    "no marker": '{"action": "Final Answer", "action_input": "A"}',
    "two lines": "Action: Final Answer\nAction Input: A",
    "a line": "Final Answer: A",
}


@pytest.mark.parametrize("case", _ANSWERS)
def test_a_final_answer_is_heard_once(case: str):
    expected = ("ok\nA", "ok\n", None, "A")
    text = f"Thought: ok\n{_ANSWERS[case]}"
    assert _result([text]) == expected
    assert _result(list(text)) == expected


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ('"a\\n\\t\\"b\\" \\/ \\\\ \\u00e9"}', 'a\n\t"b" / \\ é'),
        ('"\\ud83d\\ude00"}', "😀"),
        ('"x\\ud83dy\\ude00"}', "x\ufffdy\ufffd"),
        ('"a\nb\\u0000"}', "a\nb"),
        ('"\\(x\\) \\ux"}', "\\(x\\) \\ux"),
        ('""}', ""),
        ("null}", ""),
        ("42}", "42"),
        ('{"é": 1}}', '{"é": 1}'),
        ('"cut sho', "cut sho"),
        ('"cut sho\\', "cut sho\\"),
        ('"ended"', "ended"),
        ('"He said "hi", then left"}\n```', 'He said "hi", then left'),
        ('"{"name": "Bob"}"\n}]\n```\n', '{"name": "Bob"}'),
        ('"torn "by" quotes', 'torn "by" quotes'),
        ('"torn "by" a "quote"', 'torn "by" a "quote"'),
    ],
)
def test_a_final_answer_is_the_value_of_its_string(written: str, answer: str):
    text = f'Action: {{"action": "Final Answer", "action_input": {written}'
    assert _result([text]) == (answer, "", None, answer)
    assert _result(list(text)) == (answer, "", None, answer)


def test_a_final_answer_comes_as_the_model_writes_it():
    parser = ReactParser("call")
    pieces = [
        'Action: {"action": "Final Answer", "action_input": "One',
        " tw",
        "o \\u00",
        'e9"',
        "}",
    ]
    assert [parser.feed(piece) for piece in pieces] == ["One", " tw", "o ", "é", ""]
    assert parser.final == "One two é"


@pytest.mark.parametrize(
    "text",
    [
        "Just an answer.",
        "行动之前先想一想：好的。",
        'Action: {"action": "clock", "action_input": {"q": 1}',
        'Action: {"action": "clock", "action_input": {"q": 1,}}',
        "Action: {'action': 'clock', 'action_input': {}}",
        'Action: {"action": 1, "action_input": {}} so',
        'Action: {"action": "", "action_input": {}}',
        "Action: [{}]",
        "Action: [{[[",
        "Action: think of something\nand then act",
        "Action: clock\nAction Input: {broken",
        "Action:",
        "A lot of action: {nothing}",
        "Her Thought: none",
        "My final answer: none",
        '```json\n{"actions": [1, 2]}\n```\n',
        '```json\n{"action": "buy", "price": 3}\n```\n',
        'See `{"action": "clock", "action_input": {}}` here',
        'Reaction: {"action": "clock", "action_input": {}}',
        "```python\nprint({})\n```",
    ],
)
def test_what_is_no_action_is_an_answer(text: str):
    assert _result([text]) == (text, text, None, None)
    assert _result(list(text)) == (text, text, None, None)


def test_a_result_without_an_action_is_text():
    assert _result(["Thought: a\n  Observation : b"])[0] == "a\n  b"


@given(_WRITTEN, _CUTS)
@example('Action: {"action": "Final Answer", "action_input": "a"b"}', [46, 47, 49, 50, 51])
@example("Action: clock\nAction Input:" + " " * 21 + "\nx", [27, 40, 47, 48])
def test_it_does_not_matter_how_the_text_is_split(text: str, cuts: list[int]):
    whole = _result([text])
    assert _result(_cut(text, cuts)) == whole
    assert _result(list(text)) == whole


@given(_WRITTEN)
def test_nothing_is_lost_where_nothing_is_called(text: str):
    shown, parser = _read([text])
    if parser.action is None and parser.final is None:
        # Markers that only name what follows are all that may be missing, with the blanks after.
        marker = re.compile(r"(?:thought|observation) ?[:：]", re.IGNORECASE)
        left = marker.sub("", shown)
        assert "".join(left.split()) == "".join(marker.sub("", text).split())
    elif parser.action is not None:
        assert _is_within(shown, text)


def _is_within(part: str, whole: str) -> bool:
    """Whether all characters of the one are in the other, in order."""
    rest = iter(whole)
    return all(char in rest for char in part)


@given(_TEXT, _TEXT, st.booleans(), _CUTS)
def test_a_valid_final_answer_is_heard_exactly(
    before: str, answer: str, escaped: bool, cuts: list[int]
):
    action = {"action": "Final Answer", "action_input": answer}
    written = json.dumps(action, ensure_ascii=escaped, indent=2)
    shown, parser = _read(_cut(f"{before}\nAction:\n```json\n{written}\n```\nThe end", cuts))
    assert parser.final == answer
    assert parser.thought == f"{before}\n"
    assert shown == f"{before}\n{answer}"


@given(st.dictionaries(_TEXT, st.one_of(_TEXT, st.lists(st.integers()))), st.booleans(), _CUTS)
def test_a_valid_call_is_read_exactly(arguments: dict[str, object], fence: bool, cuts: list[int]):
    action = {"action": "clock", "action_input": arguments}
    written = _block(action) if fence else json.dumps(action, ensure_ascii=False)
    _, parser = _read(_cut(f"Thought: x\nAction: {written} and more", cuts))
    assert parser.action is not None
    assert parser.action.name == "clock"
    assert json.loads(parser.action.arguments) == arguments


@given(st.text(st.characters(exclude_characters=":：`{[")), _CUTS)
@example("Final answer\nThought\nobservation", [])
def test_text_without_markers_passes_as_it_comes(text: str, cuts: list[int]):
    parser, shown, fed = ReactParser("call"), "", 0
    for piece in _cut(text, cuts):
        shown += parser.feed(piece)
        fed += len(piece)
        assert fed - len(shown) <= len("Final Answer ")
    assert shown + parser.finish() == text


def test_words_are_not_held_back():
    parser = ReactParser("call")
    assert [parser.feed(p) for p in ["Hello", " a", "ll the", " others", "\n", "Th", "is"]] == [
        *("Hello", " ", "all the", " others", "\n", "", "This")
    ]


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
def test_a_block_without_end_becomes_text(size: int):
    text = 'Action: {"action": "clock", "action_input": "' + "x" * (_LIMIT + 5000)
    parser = ReactParser("call")
    shown, most = "", 0
    for at in range(0, len(text), size):
        shown += parser.feed(text[at : at + size])
        most = max(most, at + size - len(shown))
    assert shown == text
    assert size > 1000 or most <= _LIMIT + 1100
    assert parser.feed('\nAction: {"action": "clock"}') == "\n"
    assert parser.action == ToolCall("call", "clock", "{}")


@pytest.mark.parametrize(
    "piece",
    [
        "Thought:",
        "Action: {}\n",
        'Action: {"action": "\n',
        "Action: a\n",
        " Action",
        "Action:" + " " * 19,
        "```json [ {",
        '"',
        "\\",
        "[{" * 10,
        "Action: a\nAction Input: {\n",
        '\n{"action": "Final Answer", "action_input": "" "',
    ],
)
def test_it_takes_time_in_proportion(piece: str):
    text = piece * (200_000 // len(piece))
    for pieces in ([text], [text[at : at + 3] for at in range(0, len(text), 3)]):
        start = time.process_time()
        _read(pieces)
        assert time.process_time() - start < 5


def test_our_prompt_names_tools_and_form():
    prompt = react_prompt([_CLOCK, _SEARCH], "Be {{query}} kind.", query="no")
    assert prompt.startswith("Be {{query}} kind.\n\n")
    assert '{"name":"search","description":"查找","parameters":{"type":"object"}}' in prompt
    assert "clock, search, Final Answer." in prompt
    assert [mark for mark in ("Thought:", "Action:", "Observation:") if mark not in prompt] == []
    assert STOP == ("Observation",)


def test_the_form_our_prompt_shows_is_the_form_we_read():
    prompt = react_prompt([_CLOCK], "")
    assert prompt.startswith("You can use tools.")
    asked = prompt[prompt.index("Thought: what") :]
    _, parser = _read([asked])
    assert parser.action is not None
    assert parser.action.name == "name of the tool"
    _, parser = _read([asked[asked.index("Thought: I know") :]])
    assert parser.final == "the answer to the question, as text"


def test_without_tools_the_model_is_told_to_answer():
    prompt = react_prompt([], "Be kind.")
    assert prompt.startswith("Be kind.\n\n")
    assert "Action" not in prompt


def test_an_apps_own_prompt_is_filled_in_once():
    template = (
        "{{instruction}}|{{tools}}|{{tool_names}}|{{historic_messages}}|{{query}}|"
        "{{agent_scratchpad}}|{{other}}|$JSON_BLOB"
    )
    prompt = react_prompt(
        [_SEARCH, _CLOCK],
        "I",
        first_prompt=template,
        query="{{tools}}",
        history="H",
        scratchpad="S",
    )
    head, tools, *rest = prompt.split("|")
    assert head == "I"
    assert [json.loads(line)["name"] for line in tools.splitlines()] == ["search", "clock"]
    assert rest == ["search, clock", "H", "{{tools}}", "S", "{{other}}", "$JSON_BLOB"]


def _thought(text: str, *calls: Called) -> Thought:
    return Thought(UUID(int=1), 1, datetime(2026, 1, 1, tzinfo=UTC), text, calls)


def test_earlier_rounds_are_told_in_the_form_they_were_written_in():
    thoughts = [
        _thought("Look.\n", Called("1", "clock", '{"tz": "北京"}', "12:00 {{observation}}")),
        _thought("Hm.", Called("2", "search", "")),
    ]
    first, told, second, nothing = round_messages(thoughts)
    assert told == PromptMessage("user", "Observation: 12:00 {{observation}}\n")
    assert nothing == PromptMessage("user", "Observation: \n")
    assert scratchpad(thoughts) == first.text + told.text + second.text + nothing.text
    _, parser = _read([first.text])
    assert first.role == "assistant"
    assert parser.thought == "Look.\n"
    assert parser.action == ToolCall("call", "clock", '{"tz": "北京"}')
    _, parser = _read([second.text])
    assert parser.action == ToolCall("call", "search", "{}")


def test_an_app_says_itself_how_results_are_told():
    thoughts = [_thought("Look.", Called("1", "clock", "{}", "12:00"))]
    assert scratchpad(thoughts, "Result: {{observation}}\nThought:").endswith(
        "```\nResult: 12:00\nThought:"
    )
    assert scratchpad([]) == ""
