"""What the server and the child that listens into a recording say to each other."""

from typing import Literal

from msgspec import Struct

RATE = 16_000
"""Samples a second of a recording that was converted, of two bytes each, in one channel."""


class Limits(Struct, frozen=True):
    """What listening into one recording may take."""

    seconds: float = 30
    memory: int = 1 << 30
    """Bytes of address space, of which Python and the decoders need 130 MB for themselves."""
    minutes: int = 120
    """How long a recording may last."""
    converted_minutes: int = 30
    """The same for one that has to be converted, of which a minute takes two megabytes."""


class Order(Struct, frozen=True):
    """What the child is started with; the recording comes by its standard input."""

    format: str
    """As the library calls it: what the recording is taken for by its first bytes."""
    takes: frozenset[str]
    """Endings of names that need not be converted."""
    parent: int
    """The server's process id; the child does not stay without it."""
    limits: Limits


class Report(Struct, frozen=True):
    """What the child says in one line before a converted recording, or alone."""

    fault: Literal["no_sound", "broken", "too_long"] | None = None
    minutes: int = 0
    """How long it may be; when it is too long."""
    ending: str = ""
    mime_type: str = ""
    seconds: float = 0
