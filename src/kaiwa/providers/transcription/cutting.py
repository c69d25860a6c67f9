"""Long sound in pieces that a recogniser takes, cut where it is quiet; and their texts together."""

from array import array
from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 28
"""Seconds of one piece: Whisper hears no more than thirty at once."""
_SHORTEST: Final = 18
_MOMENT: Final = 0.2
"""Seconds of which the quietest are looked for."""
_WIDE: Final = "\u2e80"
"""From here on, scripts have no spaces between words, or hardly any."""
_NOT_WIDE: Final = ("\uac00", "\ud7a3")
"""But Korean has."""


def cut_quietly(samples: "array[int]", rate: int) -> list[int]:
    """Where the pieces begin, and the end of the last one; `rate` is in samples a second."""
    cuts = [0]
    while len(samples) - cuts[-1] > _LONGEST * rate:
        cuts.append(_find_quiet(samples, cuts[-1], rate))
    return [*cuts, len(samples)] if len(samples) else []


def _find_quiet(samples: "array[int]", start: int, rate: int) -> int:
    step = max(1, int(rate * _MOMENT))
    first, last = start + _SHORTEST * rate, start + _LONGEST * rate
    at = min(range(first, last - step + 1, step), key=lambda at: _loudness(samples[at : at + step]))
    return at + step // 2


def _loudness(samples: "array[int]") -> int:
    return sum(map(abs, samples))


def join_texts(texts: Iterable[str]) -> str:
    """With a space between them where their script has one."""
    joined = ""
    for text in texts:
        text = text.strip()
        between = joined and text and not (_is_wide(joined[-1]) and _is_wide(text[0]))
        joined += f" {text}" if between else text
    return joined


def _is_wide(char: str) -> bool:
    return char >= _WIDE and not _NOT_WIDE[0] <= char <= _NOT_WIDE[1]
