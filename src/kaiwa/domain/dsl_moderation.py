"""What an app must not say or hear, in its file, and what the operator's extensions fill in.

Moderation that is asked for and cannot be had is a fault, never only told.
"""

from typing import Final, Literal, cast

from kaiwa.domain.app import ExternalDataTool, ModerationConfig, ModerationSide
from kaiwa.domain.dsl_yaml import Block

_KINDS: Final = ("keywords", "openai_moderation", "api")
_MOST_KEYWORDS: Final = 10_000
_LONGEST_KEYWORD: Final = 200
_MOST_CHARACTERS: Final = 200_000
"""Of all keywords together: what they take in memory is some thirty times as much."""


def read_moderation(config: Block, ours: Block) -> ModerationConfig | None:
    """None when nothing is checked. Raises `OperatorError`."""
    block = config.block("sensitive_word_avoidance")
    details = block.block("config")
    down = ours.find("moderation_down")
    when_down = down.choice(("open", "closed")) if down else "closed"
    if not block.flag("enabled", default=False):
        return None
    kind = block.need("type").choice(_KINDS)
    moderation = ModerationConfig(
        kind=cast("Literal['keywords', 'openai_moderation', 'api']", kind),
        inputs=_side(details.block("inputs_config"), kind),
        outputs=_side(details.block("outputs_config"), kind),
        keywords=_keywords(details) if kind == "keywords" else (),
        extension=details.need("api_based_extension_id").text() if kind == "api" else "",
        when_down=cast("Literal['open', 'closed']", when_down),
    )
    if not moderation.inputs and not moderation.outputs:
        raise details.node.fault("must check the inputs, the outputs or both")
    for known in ("keywords", "api_based_extension_id"):
        details.find(known)
    details.note_rest()
    block.find("configs")
    block.note_rest()
    return moderation


def _side(block: Block, kind: str) -> ModerationSide | None:
    preset = block.find("preset_response")
    text = preset.text().strip() if preset else ""
    enabled = block.flag("enabled", default=False)
    block.note_rest()
    if not enabled:
        return None
    if not text and kind != "api":  # whose service has an answer of its own
        raise (preset or block.need("preset_response")).fault("must not be empty")
    return ModerationSide(text)


def _keywords(details: Block) -> tuple[str, ...]:
    node = details.need("keywords")
    words = (
        [item.text() for item in node.items()]
        if isinstance(node.value, list)
        else (node.text().splitlines())
    )
    found = tuple(dict.fromkeys([word for line in words if (word := line.strip())]))
    if not found:
        raise node.fault("must have at least one word, each on a line of its own")
    if len(found) > _MOST_KEYWORDS:
        raise node.fault(f"must have at most {_MOST_KEYWORDS} words")
    if sum(map(len, found)) > _MOST_CHARACTERS:
        raise node.fault(f"must have at most {_MOST_CHARACTERS:,} characters in all")
    if long := next((word for word in found if len(word) > _LONGEST_KEYWORD), None):
        raise node.fault(f"{long[:20]!r}… is longer than {_LONGEST_KEYWORD} characters")
    return found


def read_external_data_tools(config: Block) -> tuple[ExternalDataTool, ...]:
    """Those of the list and those of the form, which are the same thing. Raises `OperatorError`."""
    blocks = [Block(item, config.notes) for item in config.items("external_data_tools")]
    for field in config.items("user_input_form"):
        for kind, node in field.mapping().items():
            if kind == "external_data_tool":
                blocks.append(Block(node, config.notes))
    found = [tool for block in blocks if (tool := _read_tool(block))]
    return tuple({tool.variable: tool for tool in found}.values())


def _read_tool(block: Block) -> ExternalDataTool | None:
    """None for one that is switched off or that we cannot have, which is noted."""
    if not block.flag("enabled", default=True):
        return None
    kind = block.text("type")
    if kind != "api":
        block.note("type", f"external data tools of the type {kind!r} are not honoured")
        return None
    extension = block.block("config").need("api_based_extension_id").text()
    return ExternalDataTool(block.need("variable").text(), extension)
