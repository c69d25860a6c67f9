"""Documents that are ZIP archives: not opened when their parts are too large together."""

import io
import re
from xml.etree.ElementTree import Element, fromstring
from zipfile import ZipFile

from kaiwa.errors import FileTooLarge, UnsupportedFileType
from kaiwa.files.parsers.wire import LOCKED

_ENCRYPTED = 1
_NAMESPACE = re.compile(r"\A\{[^}]*\}")


def open_archive(data: bytes, most: int) -> ZipFile:
    """The archive, whose parts unpacked have at most so many bytes.

    A part that says less than it has is only unpacked so far. Raises `FileTooLarge`, and
    `UnsupportedFileType` when it has a password.
    """
    archive = ZipFile(io.BytesIO(data))
    parts = archive.infolist()
    if any(part.flag_bits & _ENCRYPTED for part in parts):
        raise UnsupportedFileType(LOCKED)
    if sum(part.file_size for part in parts) > most:
        raise FileTooLarge("The document is too large when it is unpacked.")
    return archive


def read_xml(archive: ZipFile, name: str) -> Element:
    """The root element of a small part."""
    return fromstring(archive.read(name))


def local_name(element: Element) -> str:
    """Its name without the namespace, for documents come with several of the same meaning."""
    return _NAMESPACE.sub("", element.tag)


def list_elements(root: Element, name: str) -> list[Element]:
    """All elements of this local name, in order."""
    return [element for element in root.iter() if local_name(element) == name]
