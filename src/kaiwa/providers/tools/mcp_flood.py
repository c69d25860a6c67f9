"""How much a server of tools may say to one question."""

from typing import Final

MOST: Final = 16_000_000
"""Of what `weigh` counts."""

_LINE: Final = 200


def weigh(chunk: bytes) -> int:
    """Its bytes, and something for each line: many short messages are as much work as long ones."""
    return len(chunk) + _LINE * chunk.count(b"\n")
