"""What the server and the child that reads a document say to each other."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec import Struct

from kaiwa.domain.knowledge import ChunkRule

NO_TEXT: Final = "There is no text in the document."
LOCKED: Final = "The document is protected by a password."


class Limits(Struct, frozen=True):
    """What reading one document may take."""

    seconds: float = 30
    memory: int = 1 << 30
    """Bytes of address space, of which Python and a parser need up to 120 MB for themselves."""
    unpacked: int = 250_000_000
    """Bytes that the parts of an office document or e-book may have together."""
    text: int = 10_000_000
    """Bytes of text."""


class Order(Struct, frozen=True):
    """What the child is started with; the document comes by its standard input."""

    parser: str
    extension: str
    parent: int
    """The server's process id; the child does not stay without it."""
    limits: Limits
    rule: ChunkRule | None = None
    """How the text is cut; None: it is wanted as it is."""


class Report(Struct, frozen=True):
    """What the child says in one line before the text, or instead of it."""

    refusal: str | None = None
    """One sentence."""
    too_large: bool = False
    """Whether the refusal is `FileTooLarge` rather than `UnsupportedFileType`."""
    pages: int | None = None
    characters: int = 0
    tokens: int = 0


class Piece(Struct, frozen=True, array_like=True):
    """What the child says of each piece of a text that was cut, one in a line."""

    content: str
    answer: str
    terms: str
    """As `domain/terms.py` makes them, apart by spaces."""
    tokens: int


class Parsed(NamedTuple):
    """What a parser found: how many pages if it has any, and the text piece by piece."""

    pages: int | None
    pieces: Iterable[str]
