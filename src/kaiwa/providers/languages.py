"""In which language a text is read: the one it is said to have, when its letters allow it."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple


class _Script(NamedTuple):
    letters: re.Pattern[str]
    languages: tuple[str, ...]
    """Written in it, the likeliest first."""


_SCRIPTS: Final = (
    _Script(re.compile("[\u3041-\u30fa]"), ("ja",)),
    _Script(re.compile("[\u3400-\u9fff\uf900-\ufaff]"), ("cmn", "zh", "yue", "hak", "ja")),
    _Script(re.compile("[\u1100-\u11ff\uac00-\ud7af]"), ("ko",)),
    _Script(
        re.compile("[\u0400-\u04ff]"),
        ("ru", "uk", "bg", "be", "sr", "mk", "kk", "ky", "tt", "ba", "cv", "mn"),
    ),
    _Script(re.compile("[\u0370-\u03ff]"), ("el", "grc")),
    _Script(re.compile("[\u0590-\u05ff]"), ("he",)),
    _Script(re.compile("[\u0600-\u06ff]"), ("ar", "fa", "ur", "ug", "sd")),
    _Script(re.compile("[\u0900-\u097f]"), ("hi", "mr", "ne", "kok")),
    _Script(re.compile("[\u0e00-\u0e7f]"), ("th",)),
)
_SHARE: Final = 4
"""One letter in so many of a script makes the text one of it: English words are quoted often."""
_KANA_SHARE: Final = 12
"""Japanese has Chinese characters between."""
_NAMES: Final = {
    "en": "en-us", "fr": "fr-fr", "iw": "he", "no": "nb", "zh": "cmn", "zh-hk": "yue",
}  # fmt: skip
"""Languages that espeak-ng calls otherwise."""
_ENGLISH: Final = "en-us"


def find_language(text: str, language: str, known: Mapping[str, str]) -> str:
    """One of `known`, by its name in small letters; `language` as `zh-Hans`, or empty."""
    wanted = _find(language, known)
    script = _script_of(text)
    if script and language.lower().partition("-")[0] not in script.languages:
        wanted = _find(script.languages[0], known) or wanted
    return wanted or _ENGLISH


def _find(language: str, known: Mapping[str, str]) -> str | None:
    tag = language.strip().lower().replace("_", "-")
    for name in (tag, tag.partition("-")[0]):
        if found := known.get(_NAMES.get(name, name)):
            return found
    return None


def _script_of(text: str) -> _Script | None:
    """The script it is mostly written in, other than Latin."""
    letters = sum(map(str.isalpha, text))
    for script in _SCRIPTS:
        found = len(script.letters.findall(text))
        if found and found * (_KANA_SHARE if script is _SCRIPTS[0] else _SHARE) >= letters:
            return script
    return None
