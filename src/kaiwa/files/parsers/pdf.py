"""PDF, page by page."""

import re
from collections.abc import Iterator

from pypdfium2 import PdfDocument, PdfiumError
from pypdfium2.raw import FPDF_ERR_PASSWORD

from kaiwa.errors import UnsupportedFileType
from kaiwa.files.parsers.wire import LOCKED, Parsed

_SOFT_HYPHEN = re.compile("[\x02\ufffe]\r?\n?")


def read(data: bytes, extension: str, most: int) -> Parsed:
    try:
        document = PdfDocument(data)
    except PdfiumError as error:
        if error.err_code == FPDF_ERR_PASSWORD:  # pyright: ignore[reportUnknownMemberType]
            raise UnsupportedFileType(LOCKED) from error
        raise
    return Parsed(len(document), _read_pages(document))


def _read_pages(document: PdfDocument) -> Iterator[str]:
    found = False
    for page in document:
        text = page.get_textpage().get_text_bounded()  # pyright: ignore[reportUnknownMemberType]
        page.close()
        found = found or bool(text.strip())
        yield _SOFT_HYPHEN.sub("", text) + "\n\n"
    if not found:
        raise UnsupportedFileType("There is no text in the document; it may be a scan.")
