"""One connection to a server of tools, from its start to its end.

It lives in a task of its own, because what the client enters there has to be left there; whatever
the server does ends this connection alone.
"""

import logging
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final, cast

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.stdio import get_default_environment
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation
from mcp_types import Tool as WireTool
from msgspec import Struct

from kaiwa import __version__
from kaiwa.domain.prompt import ToolSpec
from kaiwa.providers.http import Operator, redact
from kaiwa.providers.tools.mcp_child import Child
from kaiwa.providers.tools.mcp_door import Door
from kaiwa.providers.tools.mcp_options import McpOptions
from kaiwa.providers.tools.names import legal_description, name_all
from kaiwa.providers.tools.schemas import References, Unusable

logger = logging.getLogger(__name__)
for _name in ("client", "mcp"):  # the library's; what it says of a server's faults has no end
    logging.getLogger(_name).setLevel(logging.CRITICAL)

FAULTS: Final = (
    MCPError,
    ValueError,  # an answer that is none, of pydantic's
    RuntimeError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)
"""What a client raises when the server has failed."""

_MOST_PAGES: Final = 50
_MOST_TOOLS: Final = 1000


class ListedTool(Struct, frozen=True):
    """A tool as the server lists it."""

    name: str
    """As the server knows it."""
    label: str
    spec: ToolSpec


class Connection:
    """A client and what it is connected to."""

    client: Client
    """Set when it is ready and there is no problem."""

    def __init__(self, options: McpOptions, http: Operator) -> None:
        self._options = options
        self._http = http
        self._scope = anyio.CancelScope()
        self._calls = 0
        self._retired = False
        self._child: Child | None = None
        self.ready = anyio.Event()
        """It can be used, or has a problem."""
        self.over = anyio.Event()
        """Nothing more comes from it, or is wanted."""
        self.closed = anyio.Event()
        """Everything is left."""
        self.problem = ""
        """Why it could not be begun."""
        self.doubtful = False
        """Whether it has let a call wait in vain."""
        self.tools: Sequence[ListedTool] = ()
        self.listed_at = anyio.current_time()
        """When the tools were listed, or that was last tried or given up; the loop's time."""

    @property
    def usable(self) -> bool:
        """Whether it takes new calls."""
        if self._child is not None and self._child.ended:
            return False
        return not (self._retired or self.problem or self.over.is_set())

    @contextmanager
    def calling(self) -> Generator[None]:
        """While this lasts, it is not ended by being retired."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._end_when_idle()

    def retire(self) -> None:
        """It takes no new calls, and ends with those it has."""
        self._retired = True
        self._end_when_idle()

    def give_up(self, problem: str) -> None:
        """Do not wait for its beginning any longer."""
        self.problem = problem
        self._scope.cancel()

    async def live(self) -> None:
        """From its start until it is over."""
        try:
            with self._scope:
                async with self._make_client() as self.client:
                    await self.list_tools()
                    self.ready.set()
                    await self.over.wait()
        except Exception as error:
            if not self.ready.is_set():
                self.problem = self.problem or self._tell(error)
            logger.debug("A connection to a server of tools broke", exc_info=True)
        finally:
            if not self.ready.is_set():
                self.problem = self.problem or "it is being closed"
                self.listed_at = anyio.current_time()
            self.ready.set()
            self.over.set()
            self.closed.set()

    async def list_tools(self) -> None:
        """Raises one of `FAULTS`."""
        self.listed_at = anyio.current_time()
        found = [tool async for tool in self._list_all()][:_MOST_TOOLS]
        names = name_all(tool.name for tool in found)
        listed = (_read_tool(tool, name) for tool, name in zip(found, names, strict=True))
        self.tools = [tool for tool in listed if tool is not None]
        self.doubtful = False

    async def _list_all(self) -> AsyncIterator[WireTool]:
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self.client.list_tools(cursor=cursor)
            for tool in page.tools:
                yield tool
            cursor = page.next_cursor
            if not cursor:
                return

    def _make_client(self) -> AbstractAsyncContextManager[Client]:
        return Client(
            self._make_transport(),
            client_info=Implementation(name="kaiwa", version=__version__),
            cache=None,
        )

    def _make_transport(self) -> AbstractAsyncContextManager[Any]:
        options = self._options
        if options.command:
            environment = get_default_environment() | options.env
            self._child = Child(options.words, environment, self.over)
            return self._child
        # The client's own limit comes first, and tells of itself better.
        door = Door(self._http, options.sent, max(options.timeout, options.start_timeout) + 5)
        client = httpx2.AsyncClient(transport=door, timeout=None)
        return streamable_http_client(options.url, http_client=client)

    def _end_when_idle(self) -> None:
        if self._retired and not self._calls:
            self.over.set()

    def _tell(self, error: BaseException) -> str:
        reason = explain(error)
        if self._child is not None and self._child.flooded:
            reason = "it sends too much"
        elif self._child is not None and (words := self._child.last_words):
            reason = f"{reason}; its last words: {words}"
        return redact(reason, self._options.secrets)


def explain(error: BaseException) -> str:
    """The part of a sentence that says what went wrong."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if isinstance(error, OSError):
        return f"its command cannot be started ({error.strerror or error})"
    return str(error).removesuffix(".") or type(error).__name__


def _read_tool(tool: WireTool, name: str) -> ListedTool | None:
    """None for one that no model could be told of."""
    try:
        schema = References(tool.input_schema).read_schema(tool.input_schema)
    except Unusable as error:
        logger.warning("The tool %s is left out: %s.", name, error)
        return None
    annotated = tool.annotations.title if tool.annotations else None
    label = tool.title or annotated or tool.name
    description = legal_description(tool.description or label)
    return ListedTool(tool.name, label, ToolSpec(name, description, schema | {"type": "object"}))
