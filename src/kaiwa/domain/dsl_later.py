"""What Dify's format can switch on and Kaiwa does not do yet: told, never dropped in silence."""

from typing import Final

from kaiwa.domain.dsl_yaml import Block

_SWITCHES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "annotation_reply": (
        "annotation replies are not honoured yet",
        ("id", "score_threshold", "embedding_model"),
    ),
}


def note_what_is_later(config: Block) -> None:
    """Take these keys of `model_config`; note those that are switched on."""
    for key, (reason, details) in _SWITCHES.items():
        switch = config.block(key)
        if switch.flag("enabled", default=False):
            config.note(key, reason)
        _pass(switch, details)
    more = config.block("more_like_this")
    if more.flag("enabled", default=False):
        config.note("more_like_this", "more like this is not honoured yet, only told to clients")


def _pass(block: Block, known: tuple[str, ...]) -> None:
    for key in known:
        block.find(key)
    block.note_rest()
