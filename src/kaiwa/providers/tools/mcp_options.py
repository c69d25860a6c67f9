"""What the operator says about a server of tools that speaks the Model Context Protocol."""

import re
import shlex
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from yarl import URL

from kaiwa.errors import OperatorError
from kaiwa.providers.options import are_lines, read_options

_KIND: Final = "mcp"
_SECRET_NAME: Final = re.compile("KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL", re.IGNORECASE)


class McpOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `url` or `command` is given."""

    url: str = ""
    """Of a server that speaks streamable HTTP."""
    headers: dict[str, str] = {}
    """Sent with every request, and stronger than the client's."""
    bearer: str = ""
    """A token for `Authorization: Bearer`."""
    command: str = ""
    """Starts a server that speaks over its standard input and output."""
    args: tuple[str, ...] | str = ()
    """The command's; one text is split as a shell does."""
    env: dict[str, str] = {}
    """The command's environment, besides `HOME`, `PATH` and the like."""
    timeout: float = 60.0
    """Seconds for one call."""
    start_timeout: float = 30.0
    """Seconds until it is connected and has listed its tools."""

    def __repr__(self) -> str:
        return f"McpOptions(command={self.command!r})"

    @property
    def words(self) -> list[str]:
        """The command with its arguments."""
        args = shlex.split(self.args) if isinstance(self.args, str) else self.args
        return [self.command, *args]

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the server might repeat; of the environment what is called like a secret."""
        named = [value for name, value in self.env.items() if _SECRET_NAME.search(name)]
        found = {self.bearer, *self.headers.values(), *named, *URL(self.url).query.values()}
        return tuple(found - {""})

    @property
    def sent(self) -> dict[str, str]:
        """The headers of every request, their names in lower case."""
        sent = {"authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        return sent | {name.lower(): value for name, value in self.headers.items()}


def read_mcp_options(options: Mapping[str, object]) -> McpOptions:
    """Raises `OperatorError`."""
    read = read_options(_KIND, McpOptions, options, "service")
    if bool(read.url) == bool(read.command):
        raise OperatorError("A service of kind 'mcp' needs a url or a command, and not both.")
    if read.url and not _is_url(read.url):
        raise OperatorError(
            "The url of a service of kind 'mcp' must look like https://mcp.example.com/mcp and hold"
            " no name or password."
        )
    if not are_lines((read.bearer, *read.headers, *read.headers.values())):
        raise OperatorError(
            "The bearer and headers of a service of kind 'mcp' must each be one line without"
            " spaces around it."
        )
    if min(read.timeout, read.start_timeout) <= 0:
        raise OperatorError("The timeouts of a service of kind 'mcp' must be more than 0.")
    try:
        words = read.words
    except ValueError as error:
        raise OperatorError(f"The args of a service of kind 'mcp' are wrong: {error}.") from error
    if "\0" in "".join((*words, *read.env, *read.env.values())):
        raise OperatorError("The command of a service of kind 'mcp' must hold no zero characters.")
    return read


def _is_url(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    return bool(url.scheme in {"http", "https"} and url.host and not url.user)
