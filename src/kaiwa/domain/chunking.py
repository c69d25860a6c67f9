"""A document's text, cleaned and cut into the pieces that are found and cited.

The time grows with the text alone, whatever is in it: the library that splits at the best places
is given stretches, for it takes minutes over a long text without a pause.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from semantic_text_splitter import TextSplitter

from kaiwa.domain.knowledge import ChunkRule
from kaiwa.domain.text import count_tokens

_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_LINES: Final = re.compile(r"\n{3,}")
_SPACES: Final = re.compile(r"[\t\f\r \u00a0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000]{2,}")
_EMAIL: Final = re.compile(
    r"(?<![a-zA-Z0-9_.+-])[a-zA-Z0-9_.+-]{1,64}@[a-zA-Z0-9-]{1,63}(?:\.[a-zA-Z0-9-]{1,63}){1,8}"
)
_URL: Final = re.compile(r"https?://[^\s，。！？、；：）】》」]+")
_SENTENCE: Final = re.compile(r"[。！？!?；…]+[」』”’）)\"']*|\.(?=\s)|\n")
_PAUSES: Final = (re.compile(r"\n{2,}"), re.compile(r"\n"), _SENTENCE, re.compile(r"\s"))
"""Where a stretch may end, the best first."""


def tidy(text: str, rule: ChunkRule) -> str:
    """Without what nobody can read, and without what the rule does not want."""
    text = _CONTROLS.sub("", text.replace("\r\n", "\n"))
    if rule.remove_extra_spaces:
        text = _SPACES.sub(" ", _LINES.sub("\n\n", text))
    if rule.remove_urls_emails:
        text = _URL.sub("", _EMAIL.sub("", text))
    return text


def cut(text: str, rule: ChunkRule) -> Iterator[str]:
    """The pieces in their order, none empty, none of more than `max_tokens`.

    A custom rule cuts at each of its separators; what is still too long is cut where it reads
    best, and then each piece begins with the last sentences of the one before.
    """
    most = max(1, rule.max_tokens)
    overlap = min(max(0, rule.overlap), most // 2)
    for part in _parts(text, rule):
        if count_tokens(part) <= most:
            yield part
        else:
            yield from _fit(part, most, overlap)


def _parts(text: str, rule: ChunkRule) -> Iterator[str]:
    separator = rule.separator.replace("\\n", "\n").replace("\\t", "\t")
    if rule.mode == "automatic" or not separator:
        separator = None
    at = 0
    while at <= len(text):
        end = len(text) if separator is None else text.find(separator, at)
        end = len(text) if end < 0 else end
        if part := text[at:end].strip():
            yield part
        at = end + len(separator or "\0")


def _fit(text: str, most: int, overlap: int) -> Iterator[str]:
    before = 0
    for start, end in _spans(text, most - overlap):
        begin = _reach_back(text, before, start, overlap) if start and overlap else start
        yield text[begin:end].strip()
        before = start


def _spans(text: str, most: int) -> Iterator[tuple[int, int]]:
    """Where the pieces stand, without those that would begin with others."""
    splitter = TextSplitter.from_callback(count_tokens, most)
    stretch, at = 6 * most + 800, 0  # a token has four characters at most
    while at < len(text):
        end = _pause(text, at, at + stretch)
        found = splitter.chunk_indices(text[at:end])
        following = end
        if end < len(text) and len(found) > 1:
            # The last one ends where the stretch does: it goes on with the next.
            following = at + found.pop()[0]
        for start, piece in found:
            yield from _shorten(text, at + start, at + start + len(piece), most)
        at = following


def _shorten(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """In halves, as often as it takes: a character with a thousand accents is one to a splitter."""
    if count_tokens(text[start:end]) <= most or end - start < 2:
        yield start, end
        return
    middle = (start + end) // 2
    yield from _shorten(text, start, middle, most)
    yield from _shorten(text, middle, end, most)


def _pause(text: str, start: int, end: int) -> int:
    """The best place to break off in the second half of the stretch."""
    if end >= len(text):
        return len(text)
    for pause in _PAUSES:
        if found := [*pause.finditer(text, (start + end) // 2, end)]:
            return found[-1].end()
    return end


def _reach_back(text: str, floor: int, start: int, overlap: int) -> int:
    """From where a piece repeats the one before, at most so many tokens, best a whole sentence."""
    low = max(floor, start - 4 * overlap)
    fits = bisect_left(
        range(low, start), True, key=lambda at: count_tokens(text[at:start]) <= overlap
    )
    low += fits
    if low == floor or text[low - 1].isspace():
        return low
    for pause in (_SENTENCE, _PAUSES[-1]):
        if (found := pause.search(text, low, start)) and text[found.end() : start].strip():
            return found.end()
    return low
