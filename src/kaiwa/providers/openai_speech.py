"""Any server that speaks OpenAI's API for speech, `POST …/audio/speech`.

It is asked for each part of a text that is too long for it, one after the other, and handed on as
it answers. What language a text is in, such servers find out themselves.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Final

import anyio
import msgspec

from kaiwa.domain.text import count_tokens
from kaiwa.errors import CompletionFailed
from kaiwa.ports import AudioFormat
from kaiwa.providers.http import Answer
from kaiwa.providers.openai_server import OpenAIServer
from kaiwa.providers.sound import SoundFormat, SoundWriter, WavReader, write_sound

_PATH: Final = "/audio/speech"
_OWN_VOICE: Final = "alloy"
_LONGEST: Final = 4096
"""Characters of one text."""
_MOST_TOKENS: Final = 1900
"""Of one text; `gpt-4o-mini-tts` takes 2,000, and a Chinese character may be one."""
_SENTENCES: Final = re.compile(r".*(?:[.!?…][\s\"')\]]+|[。！？]+[」』”）]?|\n)", re.DOTALL)
_SILENT: Final = "The speech server does not answer."
_NO_SOUND: Final = "The speech server has sent something that is no sound of the kind asked for."
_MP3: Final = re.compile(rb"ID3|\xff[\xe0-\xff]", re.DOTALL)


class OpenAISpeaker:
    """A model that speaks, on its server."""

    def __init__(self, server: OpenAIServer, model: str, patience: float = 60.0) -> None:
        """`patience`: seconds for the next piece of an answer."""
        self._server = server
        self._model = model
        self._patience = patience

    async def speak(
        self, text: str, voice: str, language: str, audio: AudioFormat, due: float = 0
    ) -> AsyncGenerator[bytes]:
        joiner = _Joiner(audio)
        for part in cut(text):
            joiner.begin()
            async with AsyncExitStack() as stack:
                answer = await self._ask(stack, part, voice or _OWN_VOICE, audio)
                while piece := await self._hear(answer):
                    if made := joiner.take(piece):
                        yield made
            joiner.end()

    async def _ask(
        self, stack: AsyncExitStack, text: str, voice: str, audio: AudioFormat
    ) -> Answer:
        """A voice that the server refuses gives way to the one that all of them know."""
        try:
            return await self._open(stack, text, voice, audio)
        except CompletionFailed as error:
            if voice == _OWN_VOICE or "voice" not in error.message.lower():
                raise
        return await self._open(stack, text, _OWN_VOICE, audio)

    async def _open(
        self, stack: AsyncExitStack, text: str, voice: str, audio: AudioFormat
    ) -> Answer:
        body = msgspec.json.encode(
            {"model": self._model, "input": text, "voice": voice, "response_format": audio}
        )
        try:
            with anyio.fail_after(self._patience):
                asking = self._server.ask(_PATH, body, self._model)
                return await stack.enter_async_context(asking)
        except TimeoutError as error:
            raise CompletionFailed(_SILENT) from error

    async def _hear(self, answer: Answer) -> bytes:
        try:
            with anyio.fail_after(self._patience):
                return await answer.receive()
        except TimeoutError as error:
            raise CompletionFailed(_SILENT) from error


def cut(text: str) -> list[str]:
    """Parts that the API takes, cut at the ends of sentences, else of words; none is blank."""
    parts: list[str] = []
    while text := text.strip():
        longest = _LONGEST if count_tokens(text[:_LONGEST]) <= _MOST_TOKENS else _MOST_TOKENS
        part = text
        if len(text) > longest:
            window = text[:longest]
            sentences = _SENTENCES.match(window)
            part = sentences[0] if sentences else window.rpartition(" ")[0] or window
        parts.append(part.rstrip())
        text = text[len(part) :]
    return parts


class _Joiner:
    """Makes one sound of those of several parts. Raises `CompletionFailed` for what is none."""

    def __init__(self, audio: AudioFormat) -> None:
        self._audio = audio
        self._format: SoundFormat | None = None
        self._writer: SoundWriter | None = None
        self._reader = WavReader()
        self._start: bytes | None = b""
        """Of an MP3, while it is too short to be known as one."""
        self._heard = False

    def begin(self) -> None:
        """Another part comes."""
        self._reader, self._start, self._heard = WavReader(), b"", False

    def take(self, piece: bytes) -> bytes:
        """What is to be handed on."""
        made = self._take_mp3(piece) if self._audio == "mp3" else self._take_wav(piece)
        self._heard = self._heard or bool(made)
        return made

    def end(self) -> None:
        """The part has come to its end."""
        if not self._heard:
            raise CompletionFailed("The speech server has sent no sound.")

    def _take_mp3(self, piece: bytes) -> bytes:
        if self._start is None:
            return piece
        self._start += piece
        if len(self._start) < 3:
            return b""
        piece, self._start = self._start, None
        if not _MP3.match(piece):
            raise CompletionFailed(_NO_SOUND)
        return piece

    def _take_wav(self, piece: bytes) -> bytes:
        try:
            samples = self._reader.feed(piece)
        except ValueError as error:
            raise CompletionFailed(_NO_SOUND) from error
        if not samples or self._reader.format is None:
            return b""
        if self._writer is None:
            self._format = self._reader.format
            self._writer = write_sound("wav", self._format)
        if self._reader.format != self._format:
            raise CompletionFailed("The speech server has changed the form of its sound.")
        return self._writer.take(samples)
