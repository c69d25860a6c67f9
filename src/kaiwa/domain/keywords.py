"""Words that must not be said: found in a whole text, and in one that comes in pieces.

Case does not matter, nor whether a letter is full-width; a word counts wherever it stands, also
within another. It is on the hot path of apps that have such words: an automaton of Aho and
Corasick goes from character to character, and is made as far as texts have led through it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

_WIDE: Final = range(0xFF01, 0xFF5F)
_WIDE_FROM_ASCII: Final = 0xFEE0
_WIDE_SPACE: Final = 0x3000
_REMEMBERED: Final = 32
_ROOM: Final = 1_000_000
"""Characters of states that one set of words remembers; beyond them it is slower."""
_STATE: Final = 20
"""Of those, what a state takes beside its own."""


class _Folded(dict[int, int]):
    """What each character counts as, filled as they come up."""

    def __missing__(self, code: int) -> int:
        plain = " " if code == _WIDE_SPACE else chr(code)
        if code in _WIDE:
            plain = chr(code - _WIDE_FROM_ASCII)
        folded = plain.casefold()
        if len(folded) != 1:
            folded = plain.lower()[0]
        self[code] = ord(folded)
        return self[code]


_FOLDED: Final = _Folded()


def fold(text: str) -> str:
    """The text as it is compared; every character stays one, so that places stay the same."""
    return text.lower() if text.isascii() else text.translate(_FOLDED)


class _State(dict[str, "_State"]):
    """What of a text may still become a word; where each character leads from there."""

    __slots__ = ("_words", "text")

    def __init__(self, words: "Keywords", text: str) -> None:
        self._words = words
        self.text = text

    def __missing__(self, char: str) -> "_State":
        state, kept = self._words.find_state(self.text + char)
        if kept:
            self[char] = state
        return state


class _Hit(_State):
    """A word has come; whatever follows."""

    def __missing__(self, char: str) -> _State:
        return self


class Keywords:
    """A set of such words, to be shared."""

    def __init__(self, words: Iterable[str]) -> None:
        """Takes about half a µs a word."""
        self._words = frozenset([fold(word) for word in words]) - {""}
        self._sorted = sorted(self._words)
        self._sizes = sorted({len(word) for word in self._words})
        self._states: dict[str, _State] = {}
        self._room = _ROOM
        self.hit: _State = _Hit(self, "")
        self.start = _State(self, "")

    def found_in(self, text: str) -> bool:
        """Whether one of them stands in the text."""
        state = self.start
        for char in fold(text):
            state = state[char]
        return state is self.hit

    def find_state(self, text: str) -> tuple[_State, bool]:
        """Where this text leads, none but its last character read anew; whether it is kept."""
        if any(text[-size:] in self._words for size in self._sizes):
            return self.hit, True
        while text and not self._begin(text):
            text = text[1:]
        if not text:
            return self.start, True
        state = self._states.get(text)
        if state is None:
            state = _State(self, text)
            if self._room < 0:
                return state, False
            self._room -= len(text) + _STATE
            self._states[text] = state
        return state, True

    def _begin(self, text: str) -> bool:
        """Whether one of the words begins so."""
        at = bisect_left(self._sorted, text)
        return at < len(self._sorted) and self._sorted[at].startswith(text)


@lru_cache(maxsize=_REMEMBERED)
def find_keywords(words: Sequence[str]) -> Keywords:
    """Those of these words, which are made once."""
    return Keywords(words)


class KeywordFilter:
    """Lets a text pass that comes in pieces, until a word is in it.

    An end that may still become a word is held back, and goes on with what comes next.
    """

    def __init__(self, keywords: Keywords) -> None:
        self.hit = False
        """Whether a word has come; nothing passes any more."""
        self.held: str = ""
        self._keywords = keywords
        self._state = keywords.start

    def feed(self, text: str) -> str:
        """What may pass now; with the piece that completes a word, nothing does."""
        if self.hit:
            return ""
        state = self._state
        for char in fold(text):
            state = state[char]
        self._state = state
        if self.held:
            text = self.held + text
        if state is self._keywords.hit:
            self.hit = True
            self.held = text
            return ""
        passed = len(text) - len(state.text)
        self.held = text[passed:]
        return text[:passed]

    def finish(self) -> str:
        """What was held back and has become no word: nothing more comes."""
        if self.hit:
            return ""
        held, self.held = self.held, ""
        self._state = self._keywords.start
        return held
