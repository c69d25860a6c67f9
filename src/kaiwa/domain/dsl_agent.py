"""The `agent_mode` of an app's file: how it thinks, and which tools it has."""

from typing import Final, Literal, cast

from kaiwa.domain.app import AgentConfig, ToolEntry
from kaiwa.domain.dsl_yaml import Block, Node
from kaiwa.domain.message import JsonValue

_STRATEGIES: Final[dict[str, Literal["function_call", "react"]]] = {
    "function_call": "function_call",
    "react": "react",
    "cot": "react",
}
_MOST_ROUNDS: Final = 99
_TYPES: Final = ("builtin", "api", "mcp")
_PASSED: Final = ("provider_id", "isDeleted", "notAuthor", "credential_id", "plugin_id", "extra")


def read_agent(
    config: Block, ours: Block, *, wanted: bool
) -> tuple[AgentConfig | None, list[Node]]:
    """None for an app that only talks; `wanted` by its mode. Raises `OperatorError`.

    Chat apps have the block too, with the strategy of a router or none. Beside it, the ids of the
    knowledge bases among its tools.
    """
    bases: list[Node] = []
    mode = config.block("agent_mode")
    enabled = mode.flag("enabled", default=False)
    strategy = mode.find("strategy")
    named = strategy.text() if strategy and strategy.value is not None else ""
    prompt = mode.block("prompt")
    agent = AgentConfig(
        strategy=_STRATEGIES.get(named, "function_call"),
        max_iteration=_rounds(mode.find("max_iteration")),
        tools=_read_tools(mode, bases),
        first_prompt=prompt.text("first_prompt"),
        next_iteration=prompt.text("next_iteration"),
        approve=tuple([node.text() for node in ours.items("approve")]),
    )
    prompt.note_rest()
    mode.note_rest()
    if wanted or (enabled and named in _STRATEGIES):
        return agent, bases
    if agent.tools and enabled:
        config.note("agent_mode", "tools are used by agents alone; the mode of this app is chat")
    return None, bases


def _rounds(node: Node | None) -> int:
    if node is None or node.value is None:
        return AgentConfig().max_iteration
    return min(node.whole(1), _MOST_ROUNDS)


def _read_tools(mode: Block, bases: list[Node]) -> tuple[ToolEntry, ...]:
    found: dict[str, ToolEntry] = {}
    for item in mode.items("tools"):
        block = Block(item, mode.notes)
        entry = _read_tool(block, bases)
        if entry is None:
            continue
        if entry.name in found:
            raise item.fault(f"the tool {entry.name!r} is there twice")
        found[entry.name] = entry
    return tuple(found.values())


def _read_tool(block: Block, bases: list[Node]) -> ToolEntry | None:
    """None for one that is switched off or that we cannot have, which is noted."""
    if "tool_name" not in block:  # the older way: its name is the only key
        for name, node in block.node.mapping().items():
            older = Block(node, block.notes)
            if not older.flag("enabled", default=True):
                continue
            if name == "dataset":
                bases.append(older.need("id"))
            else:
                block.notes.append(f"{block.node.key}: such tools are not honoured")
        return None
    enabled = block.flag("enabled", default=True)
    kind = block.text("provider_type", "builtin")
    provider, name = block.text("provider_name"), block.need("tool_name").text()
    entry = ToolEntry(
        type=cast("Literal['builtin', 'api', 'mcp']", kind),
        provider=provider or block.text("provider_id"),
        name=name,
        label=block.text("tool_label"),
        parameters=_parameters(block.find("tool_parameters")),
    )
    for key in _PASSED:
        block.find(key)
    block.note_rest()
    if enabled and kind not in _TYPES:
        block.notes.append(f"{block.node.key}: tools of the type {kind!r} are not honoured")
    return entry if enabled and kind in _TYPES else None


def _parameters(node: Node | None) -> dict[str, JsonValue]:
    """Those that the app sets; the others are the model's."""
    if node is None or node.value is None:
        return {}
    given = {name: child.json() for name, child in node.mapping().items()}
    return {name: value for name, value in given.items() if value not in (None, "")}
