"""A page of the web as text, by the guarded door: a model may have any address from anybody."""

from typing import Annotated, Final

from msgspec import Meta

from kaiwa.errors import KaiwaError, ToolFailed
from kaiwa.providers.tools.means import Means

_MOST_BYTES: Final = 5_000_000
_MOST_CHARACTERS: Final = 20_000
_EXTENSIONS: Final = {
    "": "html",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/json": "txt",
    "application/xml": "txt",
    "application/rss+xml": "txt",
    "application/atom+xml": "txt",
}


async def webscraper(
    means: Means,
    url: Annotated[str, Meta(description="The whole address, with https:// or http://.")],
    start: Annotated[
        int, Meta(ge=0, description="At which character to begin, to read a long page on.")
    ] = 0,
) -> str:
    """Read the text of a web page or of a PDF on the web."""
    try:
        async with means.fetcher.fetch(url.strip(), _MOST_BYTES) as fetched:
            extension = _find_extension(fetched.content_type)
            data = b"".join([piece async for piece in fetched.pieces()])
        text = await means.read_document(data, extension)
    except KaiwaError as error:
        raise ToolFailed(error.message) from error
    return _cut(text, start)


def _find_extension(content_type: str) -> str:
    found = _EXTENSIONS.get(content_type)
    if found is None and not content_type.startswith("text/"):
        raise ToolFailed(f"There is no text at this address but {content_type[:60]}.")
    return found or "txt"


def _cut(text: str, start: int) -> str:
    part = text[start : start + _MOST_CHARACTERS]
    if not part:
        raise ToolFailed(f"The page has only {len(text)} characters.")
    end = start + len(part)
    if end < len(text):
        part += f"\n\n[{len(text) - end} more characters follow; start={end} reads on.]"
    return part
