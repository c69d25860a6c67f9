"""Cuts a document's text into pieces, in the child process, for it may take long."""

import csv
import io
from collections.abc import Iterator
from typing import Final

import msgspec

from kaiwa.domain.chunking import cut, tidy
from kaiwa.domain.knowledge import ChunkRule
from kaiwa.domain.terms import index_terms
from kaiwa.domain.text import count_tokens
from kaiwa.errors import FileTooLarge, UnsupportedFileType
from kaiwa.files.parsers.wire import NO_TEXT, Piece

MOST_PIECES: Final = 100_000
_SHEETS: Final = {"csv": ",", "xlsx": "\t", "xls": "\t"}
_LONGEST_CELL: Final = 1_000_000


def cut_up(text: str, rule: ChunkRule, extension: str) -> bytes:
    """A line of JSON for each piece.

    Raises `UnsupportedFileType` when nothing is left to be cut, and `FileTooLarge` when there are
    too many pieces.
    """
    lines: list[bytes] = []
    for content, answer in _list_pieces(text, rule, extension):
        terms = " ".join(index_terms(f"{content} {answer}" if answer else content))
        tokens = count_tokens(content) + count_tokens(answer)
        lines.append(msgspec.json.encode(Piece(content, answer, terms, tokens)))
        if len(lines) > MOST_PIECES:
            raise FileTooLarge(f"The document has more than {MOST_PIECES:,} pieces.")
    if not lines:
        raise UnsupportedFileType(NO_TEXT)
    return b"\n".join(lines)


def _list_pieces(text: str, rule: ChunkRule, extension: str) -> Iterator[tuple[str, str]]:
    """Contents and answers; of questions and answers in a sheet, each row is a piece."""
    if rule.form == "qa_model" and extension in _SHEETS:
        csv.field_size_limit(_LONGEST_CELL)
        for row in csv.reader(io.StringIO(text), delimiter=_SHEETS[extension]):
            question, answer = [*(cell.strip() for cell in row), "", ""][:2]
            if question and answer:
                yield tidy(question, rule), tidy(answer, rule)
    else:
        for content in cut(tidy(text, rule), rule):
            yield content, ""
