"""What the built-in tools work with."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from kaiwa.errors import OperatorError
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


def find_painter(catalog: Catalog, image_model: str) -> dict[str, object]:
    """What is set up for the server of the setting `image_model`. Raises `OperatorError`."""
    provider = image_model.partition("/")[0]
    options = catalog.find_options(provider, "openai")
    if options is None:
        raise OperatorError(
            f"The setting image_model names {provider!r}, which is no model server of the kind"
            " openai that is set up."
        )
    return options
