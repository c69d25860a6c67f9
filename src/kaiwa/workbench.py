"""The tools of an app in the operator's hands: looked at, and run as its model would run them.

Only the tools are opened, not the house: no model is asked, and nothing is kept.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct

from kaiwa.app import open_toolbox
from kaiwa.chat.agent import ToolLimits
from kaiwa.chat.knowledge import tool_name
from kaiwa.desk import get_app
from kaiwa.domain.app import AgentConfig, ToolEntry
from kaiwa.domain.knowledge import KnowledgeBase
from kaiwa.domain.message import JsonValue
from kaiwa.domain.text import clean, shorten
from kaiwa.domain.tools import read_arguments
from kaiwa.errors import OperatorError, ToolFailed
from kaiwa.plain import printable
from kaiwa.ports import Tool, ToolFile, ToolOutput
from kaiwa.settings import Settings
from kaiwa.store.apps import get_config
from kaiwa.store.db import Database
from kaiwa.store.knowledge import find_named_bases

_LINE = 100
"""Characters of a description."""


class Equipped(Struct, frozen=True):
    """How an app acts."""

    agent: AgentConfig = AgentConfig()
    bases: tuple[KnowledgeBase, ...] = ()
    """Each is a tool of the agent."""


async def get_equipped(db: Database, ref: str) -> Equipped:
    """The app of this id or name; one that only talks has no tools. Raises `OperatorError`."""
    app = await get_app(db, ref)
    config = await get_config(db, app.id, app.config_id)
    if config.agent is None:
        return Equipped()
    named = config.knowledge.bases if config.knowledge else ()
    return Equipped(config.agent, tuple(await find_named_bases(db, app.workspace_id, named)))


async def describe_tools(settings: Settings, equipped: Equipped) -> list[str]:
    """Some lines for each tool, also for those that are left out. Raises `OperatorError`."""
    lines: list[str] = []
    async with open_toolbox(settings) as toolbox:
        for entry in equipped.agent.tools:
            lines += _describe(entry, *await toolbox.examine(entry))
    for base in equipped.bases:
        lines += [f"{tool_name(base)}  knowledge  {base.name}"]
        lines += [f"  {shorten(base.description, _LINE)}"] if base.description else []
    return [printable(line) for line in lines]


async def try_tool(settings: Settings, equipped: Equipped, name: str, written: str) -> ToolOutput:
    """What comes of a call with these arguments, as a model would be told it.

    Raises `OperatorError` when there is no such tool, and `ToolFailed`.
    """
    limits = ToolLimits(settings.tool_timeout)
    for base in equipped.bases:
        if tool_name(base) == name:
            raise OperatorError(
                "That is a knowledge base:"
                f" kaiwa knowledge search {shlex.quote(base.name)} QUESTION searches it."
            )
    async with open_toolbox(settings) as toolbox:
        entry = next((entry for entry in equipped.agent.tools if entry.name == name), None)
        if entry is None:
            raise OperatorError(f"The app has no tool {name!r}; kaiwa tools list shows its tools.")
        tool, notes = await toolbox.examine(entry)
        if tool is None:
            raise OperatorError(f"The tool {name} cannot be used: {'; '.join(notes)}.")
        arguments = read_arguments(tool.spec.parameters, written)
        with anyio.move_on_after(limits.seconds):
            output = await tool.run(arguments)
            text = clean(output.text)[: limits.characters]
            return ToolOutput(text, tuple(output.files[: limits.files]))
    raise ToolFailed(f"The tool took longer than {limits.seconds:g} seconds.")


def save_file(file: ToolFile, folder: Path) -> Path:
    """Where it is now, under a name that was free. Raises `OperatorError`."""
    name = Path(printable(clean(file.name))).name or "file"
    path, number = folder / name, 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                with path.open("xb") as opened:
                    opened.write(file.data)
            except FileExistsError:
                number += 1
                path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
            else:
                return path
    except OSError as error:
        raise OperatorError(f"The file {path} cannot be written: {error.strerror}.") from error


def _describe(entry: ToolEntry, tool: Tool | None, notes: Sequence[str]) -> Iterator[str]:
    place = f"{entry.type}/{entry.provider}"
    if tool is None:
        yield f"{entry.name}  {place}  left out: {'; '.join(notes)}"
        return
    yield f"{tool.spec.name}  {place}  {entry.label or tool.labels.get('en_US', '')}".rstrip()
    about = tool.spec.description.strip().partition("\n")[0]
    if about:
        yield f"  {shorten(about, _LINE)}"
    yield from _describe_parameters(tool.spec.parameters)
    yield from (f"  note: {note}" for note in notes)


def _describe_parameters(schema: Mapping[str, JsonValue]) -> Iterator[str]:
    found, required = schema.get("properties"), schema.get("required")
    for name, shape in found.items() if isinstance(found, dict) else ():
        shape = shape if isinstance(shape, dict) else {}
        needed = ", required" if isinstance(required, list) and name in required else ""
        about = shape.get("description")
        about = f": {shorten(about, _LINE)}" if isinstance(about, str) else ""
        yield f"  {name} ({_name_kind(shape)}{needed}){about}"


def _name_kind(shape: Mapping[str, JsonValue]) -> str:
    choices, kinds = shape.get("enum"), shape.get("type")
    if isinstance(choices, list):
        return " | ".join([msgspec.json.encode(choice).decode() for choice in choices])
    if isinstance(kinds, list):
        return " | ".join(map(str, kinds))
    return kinds if isinstance(kinds, str) else "any"
