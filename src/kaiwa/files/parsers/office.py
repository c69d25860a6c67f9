"""Word documents and presentations: paragraphs and tables in their order.

Their XML is read as a stream, by local names, which mean the same in both formats.
"""

import posixpath
import re
from collections.abc import Iterator
from typing import IO, Final
from xml.etree.ElementTree import Element, iterparse
from zipfile import ZipFile

from kaiwa.files.parsers.archives import list_elements, local_name, open_archive, read_xml
from kaiwa.files.parsers.wire import Parsed

_TYPES = "[Content_Types].xml"
_MAIN_DOCUMENT: Final = ".document.main+xml", ".template.main+xml"
_MAIN_PRESENTATION: Final = ".presentation.main+xml", ".slideshow.main+xml"
_NOTES = re.compile(r"word/(?:footnotes|endnotes)\d*\.xml")
_BREAKS: Final = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def read(data: bytes, extension: str, most: int) -> Parsed:
    archive = open_archive(data, most)
    if extension == "pptx":
        slides = _list_slides(archive)
        return Parsed(len(slides), _read_slides(archive, slides))
    parts = [_find_main(archive, _MAIN_DOCUMENT), *filter(_NOTES.fullmatch, archive.namelist())]
    return Parsed(None, (piece for part in parts for piece in _read_part(archive, part)))


def _find_main(archive: ZipFile, endings: tuple[str, ...]) -> str:
    """The part that all others hang on; only its type is fixed, not its name."""
    for element in list_elements(read_xml(archive, _TYPES), "Override"):
        if element.get("ContentType", "").endswith(endings):
            return element.get("PartName", "").lstrip("/")
    raise ValueError("no main part")


def _list_slides(archive: ZipFile) -> list[str]:
    """In the order in which they are shown."""
    main = _find_main(archive, _MAIN_PRESENTATION)
    targets = _find_targets(archive, main)
    slides = list_elements(read_xml(archive, main), "sldId")
    ids = [value for slide in slides for name, value in slide.items() if name.endswith("}id")]
    return [targets[id][1] for id in ids]


def _find_targets(archive: ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """What a part names by id: a type and another part each."""
    folder, name = posixpath.split(part)
    relations = f"{folder}/_rels/{name}.rels"
    if relations not in archive.namelist():
        return {}
    found = list_elements(read_xml(archive, relations), "Relationship")
    return {
        each.get("Id", ""): (
            each.get("Type", ""),
            posixpath.normpath(posixpath.join("/", folder, each.get("Target", ""))).lstrip("/"),
        )
        for each in found
    }


def _read_slides(archive: ZipFile, slides: list[str]) -> Iterator[str]:
    for slide in slides:
        yield from _read_part(archive, slide)
        for type, part in _find_targets(archive, slide).values():
            if type.endswith("/notesSlide"):
                yield from _read_part(archive, part)
        yield "\n"


def _read_part(archive: ZipFile, part: str) -> Iterator[str]:
    with archive.open(part) as stream:
        yield from _Reading().lines(stream)


class _Reading:
    """The text of one part, a paragraph or a row of a table at a time."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._rows: list[list[str]] = []
        """The cells of the rows we are in; one row may stand in a cell of another."""
        self._skipped = 0
        """In how many elements we are that repeat another one for older programs."""

    def lines(self, stream: IO[bytes]) -> Iterator[str]:
        for event, element in iterparse(stream, ("start", "end")):
            name = local_name(element)
            if name == "Fallback":
                self._skipped += 1 if event == "start" else -1
            if event == "start" and name == "tr" and not self._skipped:
                self._rows.append([])
            elif event == "end" and not self._skipped:
                yield from self._end(element, name)
            if event == "end" and name in ("p", "tr", "Fallback"):
                element.clear()

    def _end(self, element: Element, name: str) -> Iterator[str]:
        match name:
            case "t":
                self._words.append(element.text or "")
            case "p" if not self._rows:
                yield self._take() + "\n"
            case "p":
                self._words.append("\n")
            case "tc" if self._rows:
                self._rows[-1].append(" ".join(self._take().split()))
            case "tr" if self._rows:
                row = "\t".join(self._rows.pop()).rstrip() + "\n"
                if self._rows:
                    self._words.append(row)
                else:
                    yield row
            case "tab" if element.attrib:
                pass  # where a tab leads to, not one
            case _:
                self._words.append(_BREAKS.get(name, ""))

    def _take(self) -> str:
        text = "".join(self._words)
        self._words.clear()
        return text
