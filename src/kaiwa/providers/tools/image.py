"""Pictures, drawn by any model server that speaks OpenAI's image API."""

from base64 import b64decode
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from kaiwa.errors import FetchRefused, FileTooLarge, KaiwaError, OperatorError, ToolFailed
from kaiwa.ports import ToolFile, ToolOutput
from kaiwa.providers.tools.means import Means, find_painter

_MOST_BYTES: Final = 20_000_000
"""Of one picture."""
_MOST_ANSWER: Final = 30_000_000
_KINDS: Final = {
    b"\x89PNG\r\n\x1a\n": ("png", "image/png"),
    b"\xff\xd8\xff": ("jpg", "image/jpeg"),
    b"RIFF": ("webp", "image/webp"),
}
_LONG_SIDES: Final = {"dall-e-3": 1792}
"""Of pictures that are not square; other models know 1536."""
_SHOWN: Final = (
    "The picture has been drawn and is already shown to the user. Do not repeat it or link to it."
)


class _Picture(Struct):
    b64_json: str | None = None
    url: str | None = None


class _Answer(Struct):
    data: list[_Picture]


async def draw_picture(
    means: Means,
    prompt: Annotated[
        str,
        Meta(
            description="What is to be seen, in detail: subject, style, light, composition.",
            min_length=1,
            max_length=4000,
        ),
    ],
    size: Literal["square", "vertical", "horizontal"] = "square",
) -> ToolOutput:
    """Draw a picture from a description and show it to the user."""
    picture = await _ask(means, prompt, size)
    if picture.b64_json:
        try:
            data = b64decode(picture.b64_json)
        except ValueError as error:
            raise ToolFailed("The image server sent a broken picture.") from error
    elif picture.url:
        data = await _fetch(means, picture.url)
    else:
        raise ToolFailed("The image server sent no picture.")
    for start, (extension, mime_type) in _KINDS.items():
        if data.startswith(start):
            return ToolOutput(_SHOWN, (ToolFile(f"picture.{extension}", mime_type, data),))
    raise ToolFailed("The image server sent something that is no picture.")


async def _ask(means: Means, prompt: str, size: str) -> _Picture:
    _, _, model = means.image_model.partition("/")
    try:
        server = find_painter(means)
    except OperatorError as error:
        raise ToolFailed("The image server is not set up rightly.") from error
    body = msgspec.json.encode(
        {"model": model, "prompt": prompt, "n": 1, "size": _measure(model, size)}
    )
    try:
        async with server.ask("/images/generations", body, model) as answer:
            said = await answer.read(_MOST_ANSWER)
        return msgspec.json.decode(said, type=_Answer).data[0]
    except KaiwaError as error:
        raise ToolFailed(f"The picture could not be drawn: {error.message}") from error
    except (msgspec.DecodeError, RecursionError, IndexError) as error:
        raise ToolFailed("The image server sent no picture.") from error


def _measure(model: str, size: str) -> str:
    long = _LONG_SIDES.get(model, 1536)
    return {"square": "1024x1024", "vertical": f"1024x{long}"}.get(size, f"{long}x1024")


async def _fetch(means: Means, url: str) -> bytes:
    try:
        async with means.fetcher.fetch(url, _MOST_BYTES) as fetched:
            return b"".join([piece async for piece in fetched.pieces()])
    except (FetchRefused, FileTooLarge) as error:
        raise ToolFailed(f"The picture could not be had: {error.message}") from error
