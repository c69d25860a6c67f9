"""Reads the tool calls and answers that a model writes as text (ReAct), while they come.

Knows nothing of which tools there are or how they are run; `react` has the form they are asked in.
"""

import codecs
import json
import re
from collections.abc import Sequence
from typing import Literal

from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import ToolCall
from kaiwa.domain.text import clean

_MOST_HELD = 100_000
"""Characters of an action; one that is longer is text."""


class _Opening:
    """Rows of short patterns; tells a row that is there from one that has only begun."""

    def __init__(self, **rows: Sequence[str]) -> None:
        """Every beginning of what a pattern matches must match it too."""
        wholes = [f"(?P<{kind}>{''.join(row)})" for kind, row in rows.items()]
        self.whole = re.compile("|".join(wholes), re.IGNORECASE)
        self.begun = re.compile("|".join(map(_beginnings, rows.values())), re.IGNORECASE)


def _beginnings(row: Sequence[str]) -> str:
    pattern = ""
    for part in reversed(row):
        pattern = f"(?:{part}{pattern})?"
    return pattern


_GAP = r"\s{0,20}+"  # bounded, as what may become a marker is held back
_COLON = (" ?", "[:：]")
_FENCE = r"(?:`{1,3}[a-z]{0,10}\s{0,20})?"
_OBJECT = (_FENCE, r"(?:\[\s{0,20})?", r"\{")
_ACTION = (*"action", *_COLON, _GAP)
_NAME = (r"(?P<name>[^\s`{\[][^\n]{0,79})", r"\n\s{0,20}")
_ANYWHERE = {  # for models put an action behind their thought, on the same line
    "block": (*_ACTION, *_OBJECT),
    "named": (*_ACTION, *_NAME, *"action", "[ _]?", *"input", *_COLON),
}
_WITHIN = _Opening(**_ANYWHERE)
_AT_LINE = _Opening(
    **_ANYWHERE,
    bare=(*_OBJECT, _GAP, *'"action'),
    final=(*"final", "[ _]?", *"answer", *_COLON),
    thought=(*"thought", *_COLON),
    observation=(*"observation", *_COLON),
)
_INPUT = _Opening(object=(_GAP, *_OBJECT))
"""What stands after `Action Input:`, unless it is mere text."""

_TOKEN = re.compile(r"(?P<word>[A-Za-z0-9_]+)|\s+|[^A-Za-z0-9_\s]+")
_SPACE = re.compile(r"\s*")
_FEW_SPACES = re.compile(_GAP)
_BRACKET = re.compile(r"[\[{]")

_FINAL_NAME = re.compile(r"final[ _-]?answer", re.IGNORECASE)
# A block that begins so is shown while it comes; others are read when they are whole.
_FINAL_HEAD = re.compile(
    r"\[?S\{S\"action\"S:S\"final[ _-]?answer\"S,S\"action_input\"S:S\"".replace("S", _GAP),
    re.IGNORECASE,
)
_LONGEST_HEAD = 300
_STRING = re.compile(r'(?:[^"\\]++|\\[^u]|\\u[0-9a-fA-F]{4})*+')
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
# What ends the answer's string; and the end of it all, once a quote in it was not escaped.
_CLOSING = _Opening(
    last=('"', _GAP, r"\}"),
    next=('"', _GAP, ",", _GAP, '"', r'[^"\\]{0,40}', '"', _GAP, ":"),
)
_LAST_CLOSING = _Opening(last=('"', _GAP, r"\}", _GAP, r"\]?", _GAP, "`{0,3}", _GAP))


class ReactParser:
    """Reads one round of a model while it comes, however its text is split.

    A round is free text, then an action, and what comes after an action is passed over. An action
    that cannot be read is text like any other. A model may also just answer: then there is neither
    `action` nor `final`, and `thought` is its answer.
    """

    def __init__(self, call_id: str) -> None:
        """`call_id` is to be the action's."""
        self.action: ToolCall | None = None
        """What is to be run. Its arguments are a JSON object, unless the model gave other JSON."""
        self._call_id = call_id
        self._state: Literal["text", "input", "block", "line", "answer", "final", "over"] = "text"
        self._shown: list[str] = []
        self._thought: list[str] = []
        self._final: list[str] | None = None
        self._held = ""
        """What cannot be told yet, a few hundred characters at most."""

        self._at_line = True
        """Whether only blanks stand before, on this line."""
        self._in_word = False
        self._trims = False
        """Whether the blanks that come next belong to a marker."""

        self._opened = ""
        """What stood before the block; `_name` in it, where the action was named there."""
        self._name = ""
        self._needs_input = False
        self._block: list[str] = []
        self._size = 0
        self._depth = 0
        self._quoted = False
        self._escaped = False

        self._halves = codecs.getincrementaldecoder("utf-16-le")("replace")
        """Puts the halves of characters together, which JSON escapes one by one."""
        self._torn = False
        """Whether a quote in the answer was not escaped, so that its end cannot be told by one."""

    @property
    def thought(self) -> str:
        """All that was shown but the final answer."""
        return "".join(self._thought)

    @property
    def final(self) -> str | None:
        """The final answer as far as it has come; all of it was shown too."""
        return None if self._final is None else "".join(self._final)

    def feed(self, text: str) -> str:
        """What is to be shown now; markers, and what may still become one, are not."""
        text, self._held = self._held + text, ""
        at = 0
        while at < len(text):
            at = self._read(text, at)
        return self._take()

    def finish(self) -> str:
        """What was held back and is no action; then nothing more."""
        held, self._held = self._held, ""
        match self._state:
            case "text":
                self._show(held)
            case "input":
                self._block = [held]
                self._act(line=True)
            case "line":
                self._act(line=True)
            case "block":
                self._give_up()
            case "answer":
                if held[:1] != '"' or (self._torn and "}" not in held):
                    self._answer(held)
                self._show(self._halves.decode(b"", final=True))
            case "final" | "over":
                pass
        self._state = "over"
        return self._take()

    def _read(self, text: str, at: int) -> int:
        """Reads on from `at`, and says how far."""
        if self._trims:
            at = _end(_SPACE, text, at)
            if at == len(text):
                return at
            self._trims = False
        match self._state:
            case "text":
                return self._read_text(text, at)
            case "input":
                return self._read_input(text, at)
            case "block" | "line":
                return self._read_block(text, at)
            case "answer":
                return self._read_answer(text, at)
            case "final":
                self._show(text[at:])
            case "over":
                pass
        return len(text)

    def _hold(self, text: str, at: int) -> int:
        self._held = text[at:]
        return len(text)

    def _show(self, text: str) -> None:
        if text:
            self._shown.append(text)
            (self._thought if self._final is None else self._final).append(text)

    def _take(self) -> str:
        shown = "".join(self._shown)
        self._shown.clear()
        return shown

    def _read_text(self, text: str, start: int) -> int:
        at = start
        while at < len(text):
            if not self._in_word:
                opening = _AT_LINE if self._at_line else _WITHIN
                if found := opening.whole.match(text, at):
                    self._show(text[start:at])
                    return self._open(found)
                if opening.begun.fullmatch(text, at):
                    self._show(text[start:at])
                    return self._hold(text, at)
            token = _TOKEN.match(text, at)
            assert token is not None
            self._in_word = token["word"] is not None
            self._at_line = token[0].isspace() and (self._at_line or "\n" in token[0])
            at = token.end()
        self._show(text[start:])
        return at

    def _open(self, found: re.Match[str]) -> int:
        """Goes on after a marker, or from the bracket that opens a block."""
        kind = found.lastgroup
        if kind in ("block", "bare"):
            bracket = _BRACKET.search(found[0])
            assert bracket is not None
            self._open_block("block", found[0][: bracket.start()], needs_input=kind == "bare")
            return found.start() + bracket.start()
        if kind == "named":
            self._opened = found[0]
            self._name = found["name"].strip()
            self._state = "input"
            if not _FINAL_NAME.fullmatch(self._name):
                return found.end()
        if kind in ("named", "final"):
            self._final = []
            self._state = "final"
        self._trims = True
        self._at_line = True
        return found.end()

    def _read_input(self, text: str, at: int) -> int:
        """What stands after `Action Input:`, an object or the rest of the line."""
        if found := _INPUT.whole.match(text, at):
            bracket = _BRACKET.search(found[0])
            assert bracket is not None
            self._open_block("block", self._opened + found[0][: bracket.start()], self._name)
            return at + bracket.start()
        if _INPUT.begun.fullmatch(text, at):
            return self._hold(text, at)
        end = _end(_FEW_SPACES, text, at)
        self._open_block("line", self._opened + text[at:end], self._name)
        return end

    def _open_block(
        self,
        state: Literal["block", "line"],
        opened: str,
        name: str = "",
        needs_input: bool = False,
    ) -> None:
        self._state = state
        self._opened = opened
        self._name = name
        self._needs_input = needs_input
        self._block = []
        self._size = self._depth = 0
        self._quoted = self._escaped = False

    def _read_block(self, text: str, at: int) -> int:
        if self._state == "block" and not self._name and self._size < _LONGEST_HEAD:
            head = "".join(self._block) + text[at : at + _LONGEST_HEAD]
            if found := _FINAL_HEAD.match(head):
                self._final = []
                self._state = "answer"
                return at + found.end() - self._size
        stop = min(len(text), at + _MOST_HELD - self._size)
        if self._state == "line":
            end = text.find("\n", at, stop) + 1
        else:
            end = self._find_end(text, at, stop)
        self._block.append(text[at : end or stop])
        self._size += stop - at
        if end:
            self._act(line=self._state == "line")
        elif self._size >= _MOST_HELD:
            self._give_up()
        return end or stop

    def _find_end(self, text: str, at: int, stop: int) -> int:
        """Where the bracket that opened the block is closed; 0 when it is not before `stop`."""
        for i in range(at, stop):
            char = text[i]
            if self._escaped:
                self._escaped = False
            elif char == "\\":
                self._escaped = True
            elif char == '"':
                self._quoted = not self._quoted
            elif not self._quoted and char in "{[":
                self._depth += 1
            elif not self._quoted and char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return i + 1
        return 0

    def _act(self, *, line: bool) -> None:
        """Makes the block an action; one that is none is shown."""
        block = "".join(self._block).strip()
        try:
            said = _decode(block)
        except (ValueError, RecursionError):
            if not line:
                return self._give_up()
            said = block or None
        name = self._name
        if not name:
            action = said[0] if isinstance(said, list) else said
            if not isinstance(action, dict) or (self._needs_input and "action_input" not in action):
                return self._give_up()
            said = action.get("action_input")
            name = action.get("action")
            if not isinstance(name, str) or not (name := clean(name).strip()):
                return self._give_up()
        self._state = "over"
        if _FINAL_NAME.fullmatch(name):
            self._final = []
            self._show(_as_answer(said))
        else:
            self.action = ToolCall(self._call_id, name, _as_arguments(said))

    def _give_up(self) -> None:
        self._show(self._opened + "".join(self._block))
        self._state = "text"
        self._at_line = self._in_word = False

    def _read_answer(self, text: str, at: int) -> int:
        """The string that is the final answer."""
        end = _end(_STRING, text, at)
        self._answer(text[at:end])
        if end == len(text):
            return end
        if text[end] == "\\":
            if _ESCAPE_BEGUN.fullmatch(text, end):
                return self._hold(text, end)
        else:
            if not self._torn and _CLOSING.whole.match(text, end):
                self._state = "over"
                return len(text)
            if (_LAST_CLOSING if self._torn else _CLOSING).begun.fullmatch(text, end):
                return self._hold(text, end)
            self._torn = True
        self._answer(text[end])
        return end + 1

    def _answer(self, escaped: str) -> None:
        plain = _ESCAPE.sub(_unescape, escaped)
        self._show(clean(self._halves.decode(plain.encode("utf-16-le", "surrogatepass"))))


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _unescape(found: re.Match[str]) -> str:
    """As JSON says; what it does not know stays as it is."""
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, found[0])


def _decode(text: str) -> JsonValue:
    """JSON; models write line breaks within strings, which it forbids."""
    value: JsonValue = json.loads(text, strict=False)
    return value


def _as_answer(said: JsonValue) -> str:
    if said is None:
        return ""
    return clean(said if isinstance(said, str) else json.dumps(said, ensure_ascii=False))


def _as_arguments(said: JsonValue) -> str:
    """JSON, as a tool is called; an object that the model put into a string is taken out."""
    if said is None:
        return "{}"
    if isinstance(said, str):
        try:
            inner = _decode(said)
        except (ValueError, RecursionError):
            inner = None
        if isinstance(inner, dict):
            said = inner
    return clean(json.dumps(said, ensure_ascii=False))
