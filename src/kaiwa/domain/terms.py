"""The words a text is found by, the same on every database.

Words of scripts that are written without spaces are cut into pairs of characters; the last
character of such a run stands alone too, so that every character begins some term.
"""

import re
import unicodedata
from typing import Final

from msgspec import Struct

_RUN: Final = (
    r"[\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003134f]+"
)
_WORD: Final = r"[^\W_]+"
_PIECES: Final = re.compile(rf"({_RUN})|({_WORD})")
_LONGEST: Final = 40
"""Characters of a word; what is longer is no word that anybody asks for."""
_MOST_ASKED: Final = 64
"""Words of a question."""


class Term(Struct, frozen=True):
    """A word that is asked for."""

    text: str
    prefix: bool = False
    """Whether longer ones that begin so are meant too."""


def index_terms(text: str) -> list[str]:
    """All of a text's terms, in its order, with repetitions."""
    terms: list[str] = []
    for run, word in _split(text):
        if run:
            terms += [run[i : i + 2] for i in range(len(run))]
        else:
            terms.append(word[:_LONGEST])
    return terms


def query_terms(text: str) -> list[Term]:
    """What a question asks for, each term once; empty when it has no words."""
    found: dict[Term, None] = {}
    for run, word in _split(text):
        if len(run) == 1:
            found[Term(run, prefix=True)] = None
        elif run:
            found.update(dict.fromkeys(Term(run[i : i + 2]) for i in range(len(run) - 1)))
        else:
            found[Term(word[:_LONGEST])] = None
    return list(found)[:_MOST_ASKED]


def _split(text: str) -> list[tuple[str, str]]:
    """Runs and words; of each pair one is empty."""
    folded = unicodedata.normalize("NFKC", text).lower()
    pieces: list[tuple[str, str]] = []
    for found in _PIECES.finditer(folded):
        run, word = found[1] or "", found[2] or ""
        if run:
            pieces.append((run, ""))
            continue
        # A word may go over into a run: `iPhone手机`.
        parts = [part for part in re.split(f"({_RUN})", word) if part]
        pieces += [(part, "") if re.fullmatch(_RUN, part) else ("", part) for part in parts]
    return pieces
