"""Names and descriptions of tools that every model takes."""

from collections.abc import Iterable, Set
from typing import Final

from kaiwa.domain.tools import LONGEST_NAME, legal_name

_LONGEST_DESCRIPTION: Final = 1024


def legal_description(text: str) -> str:
    """The text, cut after 1024 characters: OpenAI takes no more."""
    text = text.strip()
    return text if len(text) <= _LONGEST_DESCRIPTION else f"{text[: _LONGEST_DESCRIPTION - 1]}…"


def find_free(name: str, taken: Set[str]) -> str:
    """The name, numbered when it is taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        end = f"_{number}"
        free = name[: LONGEST_NAME - len(end)] + end
    return free


def name_all(texts: Iterable[str]) -> list[str]:
    """A legal name for each, in order; no two are the same."""
    names: dict[str, None] = {}
    for text in texts:
        names[find_free(legal_name(text), names.keys())] = None
    return list(names)
