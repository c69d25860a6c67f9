"""Words that must not be said: found in a whole text, and in one that comes in pieces.

Case does not matter, nor whether a letter is full-width; a word counts wherever it stands, also
within another. It is on the hot path of apps that have such words.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, Protocol, cast

import ahocorasick

_WIDE: Final = range(0xFF01, 0xFF5F)
_WIDE_FROM_ASCII: Final = 0xFEE0
_WIDE_SPACE: Final = 0x3000
_REMEMBERED: Final = 32


class _Library(Protocol):
    STORE_LENGTH: int

    def Automaton(self, store: int, /) -> "_Automaton": ...


class _Automaton(Protocol):
    """What is used of pyahocorasick's."""

    def add_word(self, word: str, /) -> bool: ...

    def make_automaton(self) -> None: ...

    def iter(self, text: str, /) -> Iterator[tuple[int, int]]: ...

    def match(self, start: str, /) -> bool:
        """Whether a word begins so."""
        ...


def _make_automaton() -> _Automaton:
    library = cast("_Library", ahocorasick)
    return library.Automaton(library.STORE_LENGTH)


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


class Keywords:
    """A set of such words, to be shared: it never changes."""

    def __init__(self, words: Iterable[str]) -> None:
        """Takes about 2 µs a word, and up to 0.1 s for as many as an app may have."""
        forms = {form_of(word) for word in words} - {""}
        self.firsts = frozenset([form[0] for form in forms])
        """What they begin with."""
        self.longest = max(map(len, forms), default=0)
        self._automaton = _make_automaton()
        for form in forms:
            self._automaton.add_word(form)
        if forms:
            self._automaton.make_automaton()
        self.begin = self._automaton.match
        """Whether one of them begins so."""

    def found_in(self, text: str) -> bool:
        """Whether one of them stands in the text."""
        return bool(self.firsts) and self.stand_in(form_of(text))

    def stand_in(self, form: str) -> bool:
        return next(self._automaton.iter(form), None) is not None


def form_of(text: str) -> str:
    """The folded text, every byte of its UTF-8 as a character.

    For the automaton tries all characters that may come next one by one: thousands in Chinese.
    """
    if text.isascii():
        return text.lower()
    return fold(text).encode("utf-8", "surrogatepass").decode("latin-1")


def _count(form: str) -> int:
    """How many characters of the text that is."""
    if form.isascii():
        return len(form)
    return len(form.encode("latin-1").decode("utf-8", "surrogatepass"))


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

    def feed(self, text: str) -> str:
        """What may pass now; with the piece that completes a word, nothing does."""
        if self.hit:
            return ""
        if self.held:
            text = self.held + text
        form = form_of(text)
        if self._keywords.stand_in(form):
            self.hit = True
            self.held = text
            return ""
        firsts, begin = self._keywords.firsts, self._keywords.begin
        reach = max(0, len(form) - self._keywords.longest + 1)
        for at, char in enumerate(form[reach:], reach):
            if char in firsts and begin(form[at:]):
                passed = len(text) - _count(form[at:])
                self.held = text[passed:]
                return text[:passed]
        self.held = ""
        return text

    def finish(self) -> str:
        """What was held back and has become no word: nothing more comes."""
        if self.hit:
            return ""
        held, self.held = self.held, ""
        return held
