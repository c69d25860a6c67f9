"""Excel sheets, old and new: a line for a row, a tab between its cells."""

import io
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

from python_calamine import CalamineWorkbook, PasswordError

from kaiwa.errors import UnsupportedFileType
from kaiwa.files.parsers.archives import open_archive
from kaiwa.files.parsers.wire import LOCKED, Parsed

Cell = int | float | str | bool | time | date | datetime | timedelta


def read(data: bytes, extension: str, most: int) -> Parsed:
    if extension == "xlsx":
        open_archive(data, most).close()
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
    except PasswordError as error:
        raise UnsupportedFileType(LOCKED) from error
    return Parsed(None, _read_sheets(workbook))


def _read_sheets(workbook: CalamineWorkbook) -> Iterator[str]:
    for name in workbook.sheet_names:
        lines = filter(None, map(_line, workbook.get_sheet_by_name(name).iter_rows()))
        first = next(lines, None)
        if first is None:
            continue
        yield f"{name}\n{first}\n"
        for line in lines:
            yield f"{line}\n"
        yield "\n"


def _line(row: list[Cell]) -> str:
    return "\t".join(map(_show, row)).rstrip()


def _show(cell: Cell) -> str:
    """Sheets know no whole numbers, and a moment at midnight is a day."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return " ".join(str(cell).split())
