"""From the tools that an app lists to those that a turn can be given."""

import logging
from collections.abc import Mapping
from typing import Protocol

import msgspec
from cachetools import LRUCache

from kaiwa.domain.app import AgentConfig, ToolEntry
from kaiwa.errors import OperatorError
from kaiwa.ports import Tool

logger = logging.getLogger(__name__)

_REMEMBERED = 1000


class Source(Protocol):
    """Where the tools of one type come from."""

    async def open(self, entry: ToolEntry) -> Tool:
        """The tool, named as the entry is.

        Raises `OperatorError`, with a part of a sentence that says why it cannot be used.
        """
        ...

    async def list_notes(self, entry: ToolEntry) -> list[str]:
        """Parts of sentences about all in the entry that is not honoured."""
        ...


class Toolbox:
    """The tools of this installation."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        """`sources` go by the type of the entries they open."""
        self._sources = sources
        self._told: LRUCache[bytes, str] = LRUCache(_REMEMBERED)

    async def open(self, agent: AgentConfig) -> tuple[Tool, ...]:
        """Its tools whose entries can be used; of several under one name, the first."""
        tools: dict[str, Tool] = {}
        for entry in agent.tools:
            tool = await self._open(entry)
            if tool is not None:
                tools.setdefault(tool.spec.name, tool)
        return tuple(tools.values())

    async def examine(self, entry: ToolEntry) -> tuple[Tool | None, list[str]]:
        """The tool, None when it cannot be used; and all that is not honoured, as by a `Source`."""
        source = self._sources.get(entry.type)
        if source is None:
            return None, [_no_source(entry)]
        notes = await source.list_notes(entry)
        try:
            return await source.open(entry), notes
        except OperatorError as error:
            return None, notes or [str(error)]

    async def list_notes(self, agent: AgentConfig) -> list[str]:
        """Lines for whoever applies the app, about all that is not honoured."""
        notes: list[str] = []
        for entry in agent.tools:
            source = self._sources.get(entry.type)
            found = await source.list_notes(entry) if source else [_no_source(entry)]
            notes += [f"the tool {entry.provider}/{entry.name}: {note}" for note in found]
        names = [entry.name for entry in agent.tools]
        twice = dict.fromkeys(name for name in names if names.count(name) > 1)
        return notes + [f"the tool {name} is there twice; the first is used" for name in twice]

    async def _open(self, entry: ToolEntry) -> Tool | None:
        source = self._sources.get(entry.type)
        try:
            if source is not None:
                return await source.open(entry)
            problem = _no_source(entry)
        except OperatorError as error:
            problem = str(error)
        key = msgspec.json.encode(entry)
        if self._told.get(key) != problem:
            self._told[key] = problem
            logger.warning("tool %s/%s skipped: %s", entry.provider, entry.name, problem)
        return None


def _no_source(entry: ToolEntry) -> str:
    return f"tools of the type {entry.type} are not supported"
