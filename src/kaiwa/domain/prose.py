"""What of a growing text is meant to be heard: all but blocks of code and `<think>` blocks.

Fences and tags are found however the text is split into pieces.
"""

import re
from typing import Final, Literal

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_LINE = r"(?<=\n)[ \t>]{0,40}(?:(?:[-*+]|\d{1,9}[.)])[ \t]{1,20})?"
_FENCE = r"(?:(`{3,30})[^`\n]{0,200}|(~{3,30})[^~\n]{0,200})"
_OPENER = re.compile(rf"(?<!`){_OPEN}|{_LINE}{_FENCE}\n")
_OPENER_AT_END = re.compile(rf"{_LINE}{_FENCE}\Z")
_MAYBE_OPENER = re.compile(
    rf"<(?:t(?:h(?:i(?:nk?)?)?)?)?\Z|{_LINE}(?:\d{{1,9}}[.)]?|[-*+]|`{{1,2}}|~{{1,2}}|{_FENCE})?\Z"
)
_LONGEST_LINE = 200
"""Characters after which a line of code is known not to end its block."""


class Prose:
    """Takes a text in pieces; a block that is left out is a line break."""

    def __init__(self) -> None:
        self._before: str = "\n"
        """The character before what is held."""
        self._held: str = ""
        self._within: Literal["text", "code", "thought"] = "text"
        self._code_end = re.compile("")

    def feed(self, text: str) -> str:
        """What may be heard now; an end that may still begin a block is held back."""
        return self._take(self._held + text, final=False)

    def finish(self) -> str:
        """What was held back and is no block."""
        return self._take(self._held, final=True)

    def _take(self, text: str, *, final: bool) -> str:
        """A character stands before the text while it is looked at: is this the start of a line?"""
        text = self._before + text
        heard: list[str] = []
        at = 1
        while True:
            if self._within == "text":
                opener = _OPENER.search(text, at)
                if opener is None:
                    break
                heard.append(text[at : opener.start()])
                at = self._enter(opener)
            else:
                closed = self._find_close(text, at, final)
                if closed is None:
                    at = self._skip(text, at)
                    break
                self._within = "text"
                heard.append("\n")
                at = closed
        end = len(text)
        if self._within == "text":
            maybe = (_OPENER_AT_END if final else _MAYBE_OPENER).search(text, at)
            if maybe:
                end = maybe.start()
            heard.append(text[at:end])
        else:
            end = at
        self._before, self._held = text[end - 1], "" if final else text[end:]
        return "".join(heard)

    def _enter(self, opener: re.Match[str]) -> int:
        fence: str | None = opener[1] or opener[2]
        if fence is None:
            self._within = "thought"
            return opener.end()
        self._within = "code"
        mark, least = re.escape(fence[0]), len(fence)
        self._code_end = re.compile(
            rf"(?<=\n)[ \t>]{{0,40}}{mark}{{{least},{least + 30}}}[ \t]{{0,80}}(\n|\Z)"
        )
        return opener.end()

    def _find_close(self, text: str, at: int, final: bool) -> int | None:
        if self._within == "thought":
            found = text.find(_CLOSE, at)
            return None if found < 0 else found + len(_CLOSE)
        closed = self._code_end.search(text, at)
        if closed is None or not (closed[1] or final):
            return None
        return closed.end()

    def _skip(self, text: str, at: int) -> int:
        """Up to what may still become the end of the block."""
        if self._within == "thought":
            return max(at, len(text) - len(_CLOSE) + 1)
        line = text.rfind("\n", at - 1) + 1 or at
        return line if len(text) - line <= _LONGEST_LINE else len(text)
