"""What the built-in tools work with."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from kaiwa.ports import Clock, Fetcher
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Operator

ReadDocument = Callable[[bytes, str], Awaitable[str]]
"""The text of a document with this extension, as `html`.

Raises `UnsupportedFileType` and `FileTooLarge`, whose messages may be shown to anybody.
"""


class Means(Struct, frozen=True):
    """Given to each tool before its arguments."""

    clock: Clock
    http: Operator
    fetcher: Fetcher
    read_document: ReadDocument
    catalog: Catalog
    """Whose servers may also draw."""
    image_model: str = ""
    """`provider/model`."""
    search_url: str = ""
    search_api_key: str = ""
