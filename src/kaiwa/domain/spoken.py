"""What is read aloud of a text in Markdown: its words, without code, thoughts, marks and emoji.

Expressions, not a parser: it is asked for every sentence while an answer is written, often with
half a structure. Each of them takes time in proportion to the text, whatever the text is.
"""

import re
from typing import Final

_ROUNDS = 4
"""Marks within marks need another one; what needs more is made to annoy."""

_UNSPOKEN: Final = re.compile(
    r"^[ \t>]*+(?:(?P<ticks>`{3,}+)[^`\n]*+|(?P<tildes>~{3,}+)[^\n]*+)(?:\Z|\n"
    r"(?s:.*?)(?:^[ \t>]*+(?:(?P=ticks)`*+|(?P=tildes)~*+)[ \t]*$|\Z))"
    r"|(?<!`)<think>(?s:.*?)(?:</think>|\Z)"
    r"|(?<!`)<!--(?s:.*?)(?:-->|\Z)"
    r"|^ {0,3}\[[^\[\]\n]++\]:[^\n]*+"
    r"|\[\^[^\[\]\n]*+\]",
    re.MULTILINE,
)
"""Fenced code, thoughts, comments, the addresses of links, footnotes; to the end, when unended."""
_THOUGHT: Final = re.compile(r"\A.*(?<!`)</think>", re.DOTALL)
"""One whose beginning stands in the model's prompt."""
_CODE: Final = re.compile(r"`([^`\n]*+)`")
_ANGLES: Final = str.maketrans("", "", "<>")
_LINK: Final = re.compile(
    r"!?\[([^\[\]]*+)\](?:\([^()\n]*+(?:\([^()\n]*+\)[^()\n]*+)?\)|\[[^\[\]\n]*+\])"
)
_URL: Final = re.compile(
    r"(?<![a-z])<?(?:https?|ftp)://(?:[!-.:;=0-9A-Z_a-z~]*+@)?"
    r"((?:\w[\w.-]{0,252})?\w)(?::\d++)?(?:[/?#][!-;=?-~]*+)?>?",
    re.IGNORECASE,
)
_AFTER_URL = ".,;:!?)]}*_~|'\"`"
"""What stands behind an address rather than at its end."""
_BREAK: Final = re.compile(
    r"</?(?:br|p|div|li|ul|ol|tr|td|th|table|hr|h[1-6]|summary|details)\b[^<>\n]*+>",
    re.IGNORECASE,
)
_TAG: Final = re.compile(r"</?[a-z][^<>\n]*+>|(?<!<)<++(?=[a-z/!?])", re.IGNORECASE)
_ENTITIES: Final = {
    "&nbsp;": " ", "&quot;": '"', "&#39;": "'", "&lt;": "<", "&gt;": ">", "&amp;": "&",
}  # fmt: skip
_ENTITY: Final = re.compile("|".join(_ENTITIES))
_ESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_STARS: Final = re.compile(r"(?<=[0-9A-Za-z)])\*(?=[0-9A-Za-z(])|(?<=\s)\*(?=\s)|(\*+)")
"""Those that multiply, and those that stress."""
_STRESS: Final = re.compile(r"(?<![^\W_])_++|(?<!_)_++(?![^\W_])|~~+|`+")
_EMOJI: Final = re.compile(
    " ?[\U0001f000-\U0001faff\u2300-\u23ff\u2600-\u27bf\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55]"
    "[\U0001f000-\U0001faff\u200d\u2600-\u27bf\ufe0e\ufe0f\U000e0020-\U000e007f]*+"
)
_UNHEARD: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f\u200b\u2060\u20e3\ufe0e\ufe0f\ufeff\ud800-\udfff]"
)
_LINE_MARKS: Final = re.compile(r"(?:> ?|#{1,6} |[-*+•‣◦] (?:\[[ xX]\] )?)+")
_CELLS: Final = re.compile(r" ?\|[ |]*+")
_LETTER: Final = re.compile(r"[^\W_]")
_MARKS: Final = re.compile(r"[*_`~#<>\[\](){}|\\&/+•‣◦:-]+")


def speakable(text: str) -> str:
    """The words of a piece of an answer, a line for each of its lines; "" when there are none.

    Links keep their labels and addresses their hosts; numbers of lists stay. Saying it again of
    what comes out changes nothing.
    """
    for _ in range(_ROUNDS):
        plain = _unmark(text)
        if plain == text:
            return text
        text = plain
    return text if _unmark(text) == text else _fold(_MARKS.sub(" ", text))


def _unmark(text: str) -> str:
    """One round: first what is not said at all, then marks within lines, then those of lines."""
    text = _UNSPOKEN.sub(" ", text)
    text = _THOUGHT.sub("", text, count=1)
    text = _CODE.sub(lambda code: code[1].translate(_ANGLES), text)
    text = _URL.sub(_host, _LINK.sub(r"\1", text))
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = _ENTITY.sub(lambda entity: _ENTITIES[entity[0]], text)
    text = _ESCAPE.sub(r"\1", text)
    text = _UNHEARD.sub("", _EMOJI.sub("", text))
    return _fold(_STRESS.sub("", _STARS.sub(lambda run: "" if run[1] else run[0], text)))


def _fold(text: str) -> str:
    """The lines that have something to say, spaces folded."""
    lines = [_line(" ".join(line.split())) for line in text.splitlines()]
    return "\n".join([line for line in lines if _LETTER.search(line)])


def _line(line: str) -> str:
    line = _LINE_MARKS.sub("", line, count=1) if _LINE_MARKS.match(line) else line
    return _CELLS.sub(", ", line.strip("| ")) if "|" in line else line


def _host(url: re.Match[str]) -> str:
    whole = url[0].strip("<>")
    return url[1].removeprefix("www.") + whole[len(whole.rstrip(_AFTER_URL)) :]
