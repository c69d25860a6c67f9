"""How an app listens and speaks, in its file."""

from typing import Literal

from kaiwa.domain.app import SpeechConfig
from kaiwa.domain.dsl_yaml import Block


def read_speech(config: Block, ours: Block) -> SpeechConfig | None:
    """None when answers are not spoken. Raises `OperatorError`."""
    block = config.block("text_to_speech")
    play = block.find("autoPlay")
    plays = play is not None and play.value != "" and _is_on(play.choice(("enabled", "disabled")))
    speech = SpeechConfig(
        voice=block.text("voice").strip(),
        language=block.text("language").strip(),
        auto_play=plays,
        format=_format(ours),
    )
    enabled = block.flag("enabled", default=False)
    block.note_rest()
    return speech if enabled else None


def _is_on(word: str) -> bool:
    return word == "enabled"


def _format(ours: Block) -> Literal["wav", "mp3"]:
    node = ours.find("audio")
    return "mp3" if node and node.choice(("wav", "mp3")) == "mp3" else "wav"
