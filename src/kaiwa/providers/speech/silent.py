"""A voice that says nothing, for as long as the text would take: for tests and work offline."""

from collections.abc import AsyncGenerator
from typing import Final

from anyio import to_thread

from kaiwa.domain.text import count_tokens
from kaiwa.ports import AudioFormat, Speaker
from kaiwa.providers.sound import pcm, write_sound

_RATE: Final = 22_050
_SECONDS: Final = 0.25
"""For a token, which is four letters or one and a third of a Chinese character."""
_PIECE: Final = _RATE
"""Bytes: half a second."""


def create(model: str) -> Speaker:
    """There is but one, whatever it is called."""
    return Silent()


class Silent:
    """Says nothing."""

    async def speak(
        self, text: str, voice: str, language: str, audio: AudioFormat, due: float = 0
    ) -> AsyncGenerator[bytes]:
        writer = write_sound(audio, pcm(_RATE))
        left = 2 * round(silent_seconds(text) * _RATE)
        while left > 0:
            if made := await to_thread.run_sync(writer.take, bytes(min(left, _PIECE))):
                yield made
            left -= _PIECE
        if made := writer.end():
            yield made


def silent_seconds(text: str) -> float:
    """How long it keeps silent."""
    return _SECONDS * max(1, count_tokens(text))
