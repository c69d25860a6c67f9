"""What a URL of ours is, for the table of them all."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from kaiwa import errors


class Route(Struct, frozen=True):
    """One URL; `{name}` in the path is a parameter of that name."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Callable[..., object]
    answer: type[Struct]
    body: type[Struct] | None = None
    body_required: bool = True
    query: dict[str, str] = {}
    """Query parameters with what they mean; a leading `*` marks a required one."""
    streams: bool = False
    """Whether it can answer with server-sent events."""
    key: bool = True
    """Whether it wants a key: an app's, or one for knowledge."""
    knowledge: bool = False
    """Whether that is a key for knowledge."""
    raises: tuple[type[errors.KaiwaError], ...] = ()
    status: int = 200
    upload: bool = False
    """Whether the body is a form with a file, which has limits of its own."""
    form_field: str = "user"
    """What such a form holds besides."""
    also: tuple[str, ...] = ()
    """Other spellings of the path, which clients use too."""
    sends_file: bool = False
    """Whether it answers with a file's bytes."""
    forms: bool = False
    """Whether the body may also be a form."""
    sends_sound: bool = False
    """Whether it answers with sound, or `null` for silence."""


STORE_ERRORS = (errors.BlobsUnavailable, errors.BlobsForbidden, errors.BlobTooLarge)
