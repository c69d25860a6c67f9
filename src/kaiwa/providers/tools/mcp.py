"""The kind `mcp`: a server of tools that speaks the Model Context Protocol, by HTTP or as a child.

It is connected to when it is first needed, and again when that connection is over.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST

from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import ToolSpec
from kaiwa.errors import ToolFailed
from kaiwa.ports import Tool, ToolOutput
from kaiwa.providers.http import Operator, redact
from kaiwa.providers.tools.mcp_connection import FAULTS, Connection, ListedTool, explain
from kaiwa.providers.tools.mcp_options import McpOptions, read_mcp_options
from kaiwa.providers.tools.mcp_results import read_result

_FRESH: Final = 60.0
"""Seconds for which a list of tools is believed."""
_PATIENCE: Final = 5.0
"""Seconds for which a server that could not be started is left alone, and to say good-bye."""


class McpTool:
    """One tool of a server."""

    icon: Mapping[str, str] = {"content": "🧩", "background": "#F3E8FF"}

    def __init__(self, listed: ListedTool, server: "McpService") -> None:
        self._name = listed.name
        self._server = server
        self.spec: ToolSpec = listed.spec
        self.labels: Mapping[str, str] = {"en_US": listed.label}

    async def run(self, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        """See `ports.Tool`."""
        return await self._server.call(self._name, arguments)


class McpService:
    """A server whose tools are ours to call."""

    def __init__(self, name: str, options: McpOptions, http: Operator) -> None:
        """`name` is the service's in the settings."""
        self._name = name
        self._options = options
        self._http = http
        self._tasks: TaskGroup | None = None
        self._current: Connection | None = None
        self._connections: set[Connection] = set()
        """Those that still live, whether or not they take new calls."""

    async def open(self, tasks: TaskGroup) -> None:
        """Nothing is asked of it yet."""
        self._tasks = tasks

    async def tools(self) -> Sequence[Tool]:
        """Raises `ToolFailed` when they cannot be known at the moment."""
        connection = await self._find_connection(_FRESH)
        return [McpTool(listed, self) for listed in connection.tools]

    async def check(self) -> str | None:
        """None when it answers, else why not."""
        try:
            await self._find_connection(0)
        except ToolFailed:
            return "it cannot be used" if self._current is None else self._current.problem
        return None

    async def close(self) -> None:
        """End all connections, and the processes behind them."""
        with anyio.move_on_after(_PATIENCE):
            for connection in [*self._connections]:
                connection.over.set()
                await connection.closed.wait()

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        """Call the tool that the server knows by this name. Raises `ToolFailed`.

        Asked again only when the server has said that it does not know our session any more, for
        then it has done nothing.
        """
        try:
            return await self._call(tool, arguments)
        except _Forgotten:
            pass
        try:
            return await self._call(tool, arguments)
        except _Forgotten as error:
            raise ToolFailed(f"The service {self._name} forgets who asks it.") from error

    async def _call(self, tool: str, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        connection = await self._find_connection()
        try:
            with connection.calling(), anyio.fail_after(self._options.timeout):
                result = await connection.client.call_tool(tool, dict(arguments))
        except TimeoutError as error:
            connection.doubtful = True
            sentence = f"The service did not answer in {self._options.timeout:g} seconds."
            raise ToolFailed(sentence) from error
        except FAULTS as error:
            if _is_forgotten(error):
                connection.retire()
                raise _Forgotten from error
            if isinstance(error, MCPError) and error.code == CONNECTION_CLOSED:
                connection.retire()
            reason = redact(explain(error), self._options.secrets)
            raise ToolFailed(f"The service has failed: {reason}") from error
        return read_result(result, self._options.secrets)

    async def _find_connection(self, fresh: float | None = None) -> Connection:
        """One that works, its list of tools not older than `fresh` seconds.

        One that has let a call wait in vain must answer first. Raises `ToolFailed`.
        """
        connection = await self._connect()
        age = anyio.current_time() - connection.listed_at
        if connection.doubtful or (fresh is not None and age > fresh):
            try:
                with connection.calling(), anyio.fail_after(_PATIENCE):
                    await connection.list_tools()
            except (TimeoutError, *FAULTS):
                connection.retire()
                connection = await self._connect()
        return connection

    async def _connect(self) -> Connection:
        connection = self._current
        if connection is None or not (connection.usable or self._failed_lately(connection)):
            connection = self._begin()
        with anyio.move_on_after(self._options.start_timeout):
            await connection.ready.wait()
        if not connection.ready.is_set():
            seconds = f"{self._options.start_timeout:g} seconds"
            connection.give_up(f"it was not ready in {seconds}")
        if connection.problem:
            raise ToolFailed(f"The service {self._name} cannot be used: {connection.problem}.")
        return connection

    def _failed_lately(self, connection: Connection) -> bool:
        age = anyio.current_time() - connection.listed_at
        return bool(connection.problem) and age < _PATIENCE

    def _begin(self) -> Connection:
        assert self._tasks is not None
        if self._current is not None:
            self._current.retire()
        connection = self._current = Connection(self._options, self._http)
        self._connections.add(connection)
        self._tasks.start_soon(self._hold, connection)
        return connection

    async def _hold(self, connection: Connection) -> None:
        try:
            await connection.live()
        finally:
            self._connections.discard(connection)


class _Forgotten(Exception):
    """The server does not know our session any more."""


def _is_forgotten(error: Exception) -> bool:
    """As the client tells of HTTP's 404, which says that a session is no more."""
    return isinstance(error, MCPError) and (error.code, error.message) == (
        INVALID_REQUEST,
        "Session terminated",
    )


def create(name: str, options: Mapping[str, object], http: Operator) -> McpService:
    """Raises `OperatorError`."""
    return McpService(name, read_mcp_options(options), http)
