"""Tools that a test makes up, in the place of the built-in ones."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from kaiwa.domain.app import ToolEntry
from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import ToolSpec
from kaiwa.errors import OperatorError
from kaiwa.ports import Tool, ToolOutput
from kaiwa.providers.tools.toolbox import Toolbox
from tests.support.server import TestServer, serving

Act = Callable[[Mapping[str, JsonValue]], Awaitable[ToolOutput]]


class OddTool:
    """A `Tool` that takes any object."""

    def __init__(self, name: str, act: Act) -> None:
        self.spec = ToolSpec(name, "Does what a test says.", {"type": "object"})
        self.labels: Mapping[str, str] = {"en_US": name}
        self.icon: str | Mapping[str, str] = {"content": "?", "background": "#fff"}
        self._act = act

    async def run(self, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        return await self._act(arguments)


class OddTools:
    """A `Source` of these."""

    def __init__(self, acts: Mapping[str, Act]) -> None:
        self._acts = acts

    async def open(self, entry: ToolEntry) -> Tool:
        if entry.name not in self._acts:
            raise OperatorError("there is none")
        return OddTool(entry.name, self._acts[entry.name])

    async def list_notes(self, entry: ToolEntry) -> list[str]:
        return []


@asynccontextmanager
async def serving_tools(folder: Path, **acts: Act) -> AsyncGenerator[TestServer]:
    """A server whose agents can have these tools, as `odd/<name>`."""
    async with serving(folder, default_model="quoting/quoting") as server:
        server.house.toolbox = Toolbox({"builtin": OddTools(acts)})
        yield server
