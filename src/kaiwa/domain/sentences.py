"""A growing text cut into sentences, each as soon as it is certain; what is no prose is left out.

English, Chinese and Japanese. Whether a mark ends a sentence is known by what follows it, nearly
always in the next piece; where the text ends does not matter, so no split of it changes a sentence.
"""

import re
from typing import Final

from kaiwa.domain.prose import Prose

_LONGEST: Final = 400
"""Characters of a sentence; a longer one is cut at a comma or a space, so that it can be spoken."""
_LONGEST_LINK: Final = 2000
"""Characters up to which one is kept whole even so."""
_FAR: Final = 64
"""Characters after a mark within which it is found out what it means."""
_LINK_TEXT: Final = 200

_WIDE_STOPS = "。！？｡‼⁇⁈⁉"
_STOPS = f".!?…{_WIDE_STOPS}"
_CLOSERS = r"\"'”’)\]}）」』】》〉＂＇］｝*_`~"
_END = re.compile(rf"\n|[{_STOPS}][{_STOPS}{_CLOSERS}]{{0,{_FAR}}}")
_WIDE_END = re.compile(f"[{_WIDE_STOPS}]")
_ONE_STOP = re.compile(rf"\.(?![{_STOPS}])")
_WIDE = re.compile(
    "[\u2e80-\u2fff\u3005-\u3007\u300a\u300c\u300e\u3010\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\uff08\U00020000-\U0003134f“‘]"
)
_GOES_ON = frozenset("，、；：,;:")
_QUOTED = re.compile("[」』][とっ]")
_SPACES = re.compile(rf"[^\S\n]{{1,{_FAR}}}")
_NAME = re.compile(rf"[A-Za-z]{{1,{_FAR}}}")
_WORD = re.compile(r"[\w.]{1,20}\Z")
_LETTERS = re.compile(r"\.?(?:[^\W\d_]\.)*[^\W\d_]")
_NUMBER = re.compile(r"[\s>*_#(-]{0,40}\d[\d.]{0,9}")
_IN_ADDRESS = frozenset("=/&#@%?+-")
_COMMA = re.compile(r"[，、；：]|[,;:](?=\s)")
_LINK = re.compile(rf"\[[^\[\]\n]{{0,{_LINK_TEXT}}}\]\([^()\s]*\)|https?://\S+")
_OPEN_LINK = re.compile(
    rf"(?:\[[^\[\]\n]{{0,{_LINK_TEXT}}}(?:\](?:\([^()\s]*)?)?|https?://\S*|https?:?/?)\Z"
)
_LINK_END = re.compile(r"[\s)]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES: Final = _words(
    "mr mrs ms messrs mx dr prof gen maj capt cmdr lt sgt rev sen gov pres vs e.g i.e cf viz"
    " approx incl esp"
)
"""What a full stop behind them does not end."""
_BEFORE_NUMBERS: Final = _words(
    "no nos nr fig figs eq eqs sec secs ch chap vol vols p pp art para pt ver v ed ca c jan feb mar"
    " apr jun jul aug sep sept oct nov dec"
)
_MAYBE_LAST: Final = _words("inc ltd co corp bros jr sr st mt al ph.d")
_STARTERS: Final = _words(
    "A After All Although An And Another As At Because Before But By Did Do Does During For From"
    " Had Has Have He Her Here His How However I If In Is It Its Let Many Most My No Not Now On"
    " One Only Or Our She Since So Some That The Their Then There These They This Those Though To"
    " Under Unlike Was We Were What When Where Whether Which While Who Why With Would Yes You"
    " Your"
)
"""Words that begin a sentence rather than go on with a name, when they are written large."""


class Sentences:
    """Takes a text in pieces and gives its sentences, in order, none of them blank."""

    def __init__(self) -> None:
        self._prose = Prose()
        self._text = ""
        """What is no sentence yet."""
        self._seen = 0
        """How much of it is known to hold no end."""

    def feed(self, text: str) -> list[str]:
        """The sentences that are certain now."""
        return self._cut(self._prose.feed(text), final=False)

    def finish(self) -> list[str]:
        """The rest; then nothing more."""
        return self._cut(self._prose.finish(), final=True)

    def _cut(self, prose: str, *, final: bool) -> list[str]:
        text = self._text + prose
        sentences: list[str] = []
        start, seen = 0, self._seen
        while True:
            end, seen = _find_end(text, start, seen, final)
            if end is None:
                break
            if sentence := text[start:end].strip():
                sentences.append(sentence)
            start = seen = end
        self._text, self._seen = text[start:], seen - start
        if final:
            if rest := self._text.strip():
                sentences.append(rest)
            self._text, self._seen = "", 0
        return sentences


def _find_end(text: str, start: int, seen: int, final: bool) -> tuple[int | None, int]:
    """Where the sentence that begins at `start` ends, and up to where there is nothing to find.

    None when that cannot be known yet.
    """
    longest = start + _LONGEST
    while mark := _END.search(text, seen):
        if mark.start() >= longest:
            break
        ends = _ends(text, start, mark, final)
        if ends is None:
            return None, mark.start()
        if ends:
            return mark.end(), mark.end()
        seen = mark.end()
    if len(text) <= longest:
        return None, len(text)
    return _find_cut(text, start), seen


def _ends(text: str, start: int, mark: re.Match[str], final: bool) -> bool | None:
    """Whether the mark ends the sentence; None when that depends on what is to come."""
    if mark[0] == "\n":
        return True
    if mark.end() == len(text):
        return final or None
    ends = _ends_before(text, start, mark, final)
    return ends and not _in_link(text, start, mark.end())


def _ends_before(text: str, start: int, mark: re.Match[str], final: bool) -> bool | None:
    """The same by what follows the mark."""
    end = mark.end()
    after = text[end]
    if _WIDE_END.search(mark[0]):
        return after not in _GOES_ON and not _QUOTED.match(text, end - 1)
    if _WIDE.match(after):
        return not (mark[0][0] == "." and text[mark.start() - 1 : mark.start()].isdigit())
    spaces = _SPACES.match(text, end)
    next_at = spaces.end() if spaces else end
    if next_at == len(text):
        return final or None
    if text[next_at] == "\n":
        return True
    if spaces is None or text[next_at].islower():
        return False
    if _ONE_STOP.match(mark[0]):
        return _ends_word(text, start, mark.start(), next_at, final)
    return True


def _ends_word(text: str, start: int, at: int, next_at: int, final: bool) -> bool | None:
    """Whether a full stop at `at` is more than the sign of an abbreviation or of a list's item."""
    found = _WORD.search(text, max(start, at - 20), at)
    if found is None or text[max(start, found.start() - 1)] in _IN_ADDRESS:
        return True
    word = found[0].lower()
    if word in _TITLES or (word in _BEFORE_NUMBERS and text[next_at].isdigit()):
        return False
    if _LETTERS.fullmatch(word) or word in _MAYBE_LAST:
        name = _NAME.match(text, next_at)
        if name and name.end() == len(text) and not final:
            return None
        return bool(name and name[0] in _STARTERS)
    return not _NUMBER.fullmatch(text, start, at)


def _in_link(text: str, start: int, end: int) -> bool:
    """Whether a `[` is open there that is not far away."""
    opened = text.rfind("[", max(start, end - _LINK_TEXT), end)
    return opened >= 0 and text.find("]", opened, end) < 0


def _find_cut(text: str, start: int) -> int | None:
    """Where to cut a sentence that is too long, so that no link is torn.

    None when a link has to end first.
    """
    longest = start + _LONGEST
    link = _OPEN_LINK.search(text, start, longest)
    clear = link.start() if link else longest
    bare = _LINK.sub(lambda whole: "x" * len(whole[0]), text[start:clear])
    for cut in (_last_comma(bare), bare.rfind(" ") + 1, clear - start):
        if cut:
            return start + cut
    if end := _LINK_END.search(text, longest, start + _LONGEST_LINK):
        return end.end()
    return start + _LONGEST_LINK if len(text) >= start + _LONGEST_LINK else None


def _last_comma(text: str) -> int:
    """Behind it; 0 when there is none that leaves enough before it."""
    ends = [comma.end() for comma in _COMMA.finditer(text, _LONGEST // 4)]
    return ends[-1] if ends else 0
