"""EPUB: the chapters of a book in the order in which they are read."""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote
from zipfile import ZipFile

from kaiwa.errors import UnsupportedFileType
from kaiwa.files.parsers.archives import list_elements, open_archive, read_xml
from kaiwa.files.parsers.pages import read_page
from kaiwa.files.parsers.texts import decode
from kaiwa.files.parsers.wire import Parsed

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"


def read(data: bytes, extension: str, most: int) -> Parsed:
    archive = open_archive(data, most)
    package = list_elements(read_xml(archive, _CONTAINER), "rootfile")[0].get("full-path", "")
    chapters = _list_chapters(archive, package)
    if not _list_locked(archive).isdisjoint(chapters):
        raise UnsupportedFileType("The book is protected against being copied.")
    return Parsed(None, _read_chapters(archive, chapters))


def _list_chapters(archive: ZipFile, package: str) -> list[str]:
    root = read_xml(archive, package)
    items = {item.get("id"): item for item in list_elements(root, "item")}
    folder = posixpath.dirname(package)
    paths = [
        posixpath.normpath(posixpath.join(folder, unquote(items[id].get("href", ""))))
        for each in list_elements(root, "itemref")
        if (id := each.get("idref")) in items
    ]
    return [path for path in paths if path in archive.namelist()]


def _list_locked(archive: ZipFile) -> set[str]:
    """The parts that are encrypted; mostly only fonts are."""
    if _ENCRYPTION not in archive.namelist():
        return set()
    found = list_elements(read_xml(archive, _ENCRYPTION), "CipherReference")
    return {unquote(each.get("URI", "")) for each in found}


def _read_chapters(archive: ZipFile, chapters: list[str]) -> Iterator[str]:
    for chapter in chapters:
        yield read_page(decode(archive.read(chapter))) + "\n"
