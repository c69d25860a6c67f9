"""Checks the options an operator gave for a model server, or for a service with tools."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct
from yarl import URL

from kaiwa.errors import OperatorError
from kaiwa.providers.refusals import Interpreter

T = TypeVar("T", bound=Struct)


class ServerOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every model server on the network can be told."""

    name: str = ""
    """The provider's name in the settings, which stands before its errors; else the kind."""
    api_key: str = ""
    base_url: str = ""
    headers: dict[str, str] = {}
    """Sent with every request, and stronger than our own."""
    vision: bool | None = None
    """Whether its models can look at pictures; None when the server is to say so itself."""
    tools: bool | None = None
    """Whether its models can call tools; None when the server is to say so itself."""
    retry_wait: float = 0.5
    """Seconds before the second attempt."""

    @property
    def keyed(self) -> bool:
        """Whether requests carry some key."""
        names = {name.lower() for name in self.headers}
        return bool(self.api_key or names & {"authorization", "x-api-key", "api-key"})


def read_options(
    kind: str, shape: type[T], options: Mapping[str, object], what: str = "model server"
) -> T:
    """The options as `shape`; None counts as not given. Raises `OperatorError`."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        sentence = f"The options of a {what} of kind {kind!r} are wrong: {error}."
        raise OperatorError(sentence) from error


def read_base_url(kind: str, options: ServerOptions, default: str) -> str:
    """The address without a closing slash. Raises `OperatorError`."""
    text = options.base_url or default
    if not is_address(text):
        raise OperatorError(
            f"The base_url of a model server of kind {kind!r} must look like"
            f" {default} and hold no name, password or query."
        )
    if not are_lines((options.api_key, *options.headers, *options.headers.values())):
        raise OperatorError(
            f"The api_key and headers of a model server of kind {kind!r} must each be"
            " one line without spaces around it."
        )
    return text.rstrip("/")


def is_address(text: str) -> bool:
    """Whether it is a server's address that holds no name, password or query."""
    try:
        url = URL(text)
    except ValueError:
        return False
    return bool(
        url.scheme in {"http", "https"} and url.host and not url.user and not url.query_string
    )


def are_lines(values: Iterable[str]) -> bool:
    """Whether each can be the value of a header: one line without spaces around it."""
    return all(value.isprintable() and value == value.strip() for value in values)


def make_interpreter(kind: str, options: ServerOptions) -> Interpreter:
    """Knows what to call the server, and which secrets never to repeat."""
    secrets = tuple(value for value in (options.api_key, *options.headers.values()) if value)
    return Interpreter(options.name or kind, secrets, options.keyed)
