"""The operator's own services that offer tools: those of the settings, by name."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from importlib import import_module
from types import TracebackType
from typing import Final, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup
from msgspec import Struct

from kaiwa.domain.app import ToolEntry
from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import ToolSpec
from kaiwa.domain.tools import legal_name, read_arguments
from kaiwa.errors import OperatorError, ToolFailed
from kaiwa.ports import Tool, ToolOutput
from kaiwa.providers.http import Operator

Entry = Mapping[str, object]

KINDS: Final = ("mcp", "openapi")


class Service(Protocol):
    """A service that offers tools; what each kind makes."""

    async def open(self, tasks: TaskGroup) -> None:
        """Get ready; what has to go on runs in `tasks`.

        Raises `OperatorError` for what the operator has to mend.
        """
        ...

    async def tools(self) -> Sequence[Tool]:
        """Their names differ. Raises `ToolFailed` when they cannot be known at the moment."""
        ...

    async def check(self) -> str | None:
        """None when it is there, else the part of a sentence that says why not."""
        ...

    async def close(self) -> None:
        """Let go of all that is open."""
        ...


class ServiceState(Struct, frozen=True):
    """How a service was found."""

    name: str
    kind: str
    problem: str | None
    """Why it cannot be used."""


class Services:
    """All of them; an async context manager, whose entering checks what the operator said."""

    def __init__(self, entries: Mapping[str, Entry], http: Operator) -> None:
        """`entries` are the settings' services. Raises `OperatorError` for one that is none."""
        self._entries = {name.lower(): entry for name, entry in entries.items()}
        self._http = http
        self._services: dict[str, Service] = {}
        self._open = AsyncExitStack()
        for name, entry in entries.items():
            if entry.get("kind") not in KINDS:
                kinds = " or ".join(KINDS)
                raise OperatorError(f"The setting tools.{name}.kind must be {kinds}.")

    async def __aenter__(self) -> "Services":
        """Raises `OperatorError`."""
        try:
            tasks = await self._open.enter_async_context(anyio.create_task_group())
            self._open.callback(tasks.cancel_scope.cancel)
            self._open.push_async_callback(self._close)
            for name in self._entries:
                await self._open_one(name, tasks)
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def _close(self) -> None:
        await asyncio.gather(*(service.close() for service in self._services.values()))

    async def _open_one(self, name: str, tasks: TaskGroup) -> None:
        try:
            service = await asyncio.to_thread(self._create, name)
            self._services[name] = service
            await service.open(tasks)
        except OperatorError as error:
            raise OperatorError(f"In the setting tools.{name}: {error}") from error

    def _create(self, name: str) -> Service:
        """Loads what the kind needs: not for the event loop."""
        options = dict(self._entries[name])
        kind = str(options.pop("kind"))
        try:
            create = import_module(f"{__package__}.{kind}").create
        except ImportError as error:
            raise OperatorError(
                f"the kind {kind!r} needs packages that are not installed ({error}); install"
                f" kaiwa[{kind}], or run make install-{kind}."
            ) from error
        return create(name, options, self._http)

    async def tools_of(self, name: str) -> Sequence[Tool]:
        """What the service of this name offers.

        Raises `ToolFailed` when it is not set up, or its tools cannot be known at the moment.
        """
        service = self._services.get(name.lower())
        if service is None:
            raise ToolFailed(f"The service {name} is not set up.")
        return await service.tools()

    async def find_tool(self, service: str, name: str) -> Tool | None:
        """`name` as models know it, or as the service itself spells it.

        Raises `ToolFailed` as `tools_of` does.
        """
        tools = {tool.spec.name: tool for tool in await self.tools_of(service)}
        return tools.get(name) or tools.get(legal_name(name))

    async def check(self) -> list[ServiceState]:
        """Asks each for a sign of life."""
        problems = await asyncio.gather(*(one.check() for one in self._services.values()))
        return [
            ServiceState(name, str(self._entries[name]["kind"]), problem)
            for name, problem in zip(self._services, problems, strict=True)
        ]


class ServiceTools:
    """A `toolbox.Source`: an entry names the service and its tool."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def open(self, entry: ToolEntry) -> Tool:
        try:
            tool = await self._services.find_tool(entry.provider, entry.name)
        except ToolFailed as error:
            raise OperatorError(error.message) from error
        if tool is None:
            raise OperatorError(f"the service {entry.provider} offers no tool {entry.name}")
        fixed = {
            name: value for name, value in entry.parameters.items() if name in _list_names(tool)
        }
        return _Preset(tool, fixed) if fixed else tool

    async def list_notes(self, entry: ToolEntry) -> list[str]:
        try:
            tool = await self.open(entry)
        except OperatorError as error:
            return [str(error)]
        known = (*_list_names(tool), *(tool.fixed if isinstance(tool, _Preset) else ()))
        return [
            f"its parameter {name} is not honoured"
            for name in entry.parameters
            if name not in known
        ]


class _Preset:
    """A tool with parameters that the app has set, so that its model is not asked for them."""

    def __init__(self, tool: Tool, fixed: Mapping[str, JsonValue]) -> None:
        self._tool = tool
        self.fixed = fixed
        self.labels, self.icon = tool.labels, tool.icon
        schema = dict(tool.spec.parameters)
        found, required = schema.get("properties"), schema.get("required")
        if isinstance(found, dict):
            schema["properties"] = {n: shape for n, shape in found.items() if n not in fixed}
        if isinstance(required, list):
            schema["required"] = [name for name in required if name not in fixed]
        self.spec = ToolSpec(tool.spec.name, tool.spec.description, schema)

    async def run(self, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        """See `ports.Tool`; what the app has set must fit the tool's schema too."""
        whole = msgspec.json.encode({**arguments, **self.fixed}).decode()
        return await self._tool.run(read_arguments(self._tool.spec.parameters, whole))


def _list_names(tool: Tool) -> list[str]:
    found = tool.spec.parameters.get("properties")
    return list(found) if isinstance(found, dict) else []
