"""HTML: the text a reader of the page would see."""

import re
from typing import Final

from selectolax.lexbor import LexborHTMLParser

from kaiwa.files.parsers.texts import decode
from kaiwa.files.parsers.wire import Parsed

_UNSEEN: Final = (
    "script, style, noscript, template, iframe, object, svg, nav, footer, [hidden],"
    " [aria-hidden=true]"
)
_LINES: Final = (
    "address, article, aside, blockquote, br, dd, div, dl, dt, fieldset, figcaption, figure, form,"
    " h1, h2, h3, h4, h5, h6, header, hr, li, main, ol, p, pre, section, table, tr, ul"
)
_LINE, _CELL = "\ue000", "\ue001"
_SPACE = re.compile(r"\s+")
_LINE_ENDS = re.compile(f" ?[{_LINE}{_CELL}]*{_LINE}[{_LINE}{_CELL} ]*")


def read(data: bytes, extension: str, most: int) -> Parsed:
    return Parsed(None, [read_page(decode(data))])


def read_page(html: str) -> str:
    """A line for each block. Marks stand for the ends of lines until all else is joined."""
    tree = LexborHTMLParser(html.replace(_LINE, "").replace(_CELL, ""))
    title = tree.css_first("head title")
    heading = title.text() if title else ""
    for node in tree.css(_UNSEEN):
        node.decompose()
    for node in tree.css(_LINES):
        node.insert_before(_LINE)
        node.insert_after(_LINE)
    for node in tree.css("td, th"):
        node.insert_after(_CELL)
    text = _SPACE.sub(" ", tree.body.text() if tree.body else "")
    text = _LINE_ENDS.sub("\n", text).replace(_CELL, "\t").strip()
    heading = " ".join(heading.split())
    return f"{heading}\n{text}\n" if heading else f"{text}\n"
