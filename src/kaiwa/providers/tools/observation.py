"""What a service says, as a model is told it: not too long, and without our secrets."""

from collections.abc import Iterable
from typing import Final

from kaiwa.providers.http import hide

_LONGEST: Final = 20_000


def observe(text: str, secrets: Iterable[str]) -> str:
    """At most some 20,000 characters, which say so when there were more."""
    text = hide(text, secrets)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… (cut off here: it is longer)"
