"""What the built-in tools work with."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from kaiwa.ports import Clock, Fetcher
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Operator
from kaiwa.providers.openai_server import OpenAIServer, find_server

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


def find_painter(means: Means) -> OpenAIServer:
    """The server of the setting `image_model`. Raises `OperatorError`."""
    return find_server(means.catalog, means.http, "image_model", means.image_model)
