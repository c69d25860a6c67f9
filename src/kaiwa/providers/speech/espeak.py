"""espeak-ng, a small voice for a hundred languages that needs no network.

It is a program of its own, under the GPL: it is started for each text, hears it by its standard
input and answers with WAV; nothing of it is linked. It is killed when nobody listens any more.
"""

import logging
import os
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from shutil import which
from subprocess import DEVNULL, PIPE
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream, Process

from kaiwa.errors import CompletionFailed, OperatorError, ProviderNotInitialized
from kaiwa.ports import AudioFormat, Speaker
from kaiwa.providers.languages import find_language
from kaiwa.providers.sound import NICENESS, SoundWriter, WavReader, write_sound

logger = logging.getLogger(__name__)

_PROGRAM: Final = "espeak-ng"
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "ESPEAK_DATA_PATH")
"""Of our environment; the rest may hold secrets."""
_PATIENCE: Final = 20.0
"""Seconds for its next piece; it makes minutes of sound in one."""
_VARIANT: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_MOST_VOICES: Final = 1_000_000
"""Bytes of their list."""


def create(model: str) -> Speaker:
    """Raises `OperatorError` when the program is not there."""
    program = find_espeak()
    if program is None:
        raise OperatorError(
            "The program espeak-ng is not found; install it (apt-get install espeak-ng),"
            " or name another voice in the setting speech_model."
        )
    return Espeak(program)


def find_espeak() -> str | None:
    """Where the program is."""
    return which(_PROGRAM)


class Espeak:
    """The program's voices."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._voices: dict[str, str] = {}
        """By what they are called, in small letters, as the program wants to be told."""

    async def speak(
        self, text: str, voice: str, language: str, audio: AudioFormat
    ) -> AsyncGenerator[bytes]:
        chosen = await self._choose(text, voice, language)
        child = await self._start("--stdin", "--stdout", "-b", "1", "-v", chosen)
        try:
            await _tell(child, text)
            reader, writer = WavReader(), None
            while piece := await _hear(child):
                samples = _read(reader, piece)
                if not samples or reader.format is None:
                    continue
                writer = writer or write_sound(audio, reader.format)
                if made := await writer.take(samples):
                    yield made
            if made := await _finish(child, writer):
                yield made
        finally:
            await _end(child)

    async def _choose(self, text: str, voice: str, language: str) -> str:
        voices = await self._list()
        name, _, variant = voice.partition("+")
        known = voices.get(name.strip().lower())
        if known is None:
            return find_language(text, language, voices)
        return f"{known}+{variant}" if _VARIANT.fullmatch(variant) else known

    async def _list(self) -> dict[str, str]:
        if not self._voices:
            child = await self._start("--voices")
            said = b""
            try:
                await _tell(child, "")
                while len(said) < _MOST_VOICES and (piece := await _hear(child)):
                    said += piece
                await child.wait()
            finally:
                await _end(child)
            self._voices = _read_voices(said.decode(errors="replace"))
        return self._voices

    async def _start(self, *arguments: str) -> Process:
        """Its own session keeps the terminal's signals from it."""
        child = None
        try:
            with anyio.CancelScope(shield=True):  # so that no child is started that nobody knows
                child = await anyio.open_process(
                    [self._program, *arguments],
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=DEVNULL,
                    env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                    start_new_session=True,
                )
        except OSError as error:
            logger.error("espeak-ng cannot be started: %s", error.strerror)
            raise ProviderNotInitialized("The voice espeak-ng cannot be started.") from error
        assert child
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
        return child


async def _tell(child: Process, text: str) -> None:
    """It reads all before it speaks; a line's end is a pause, and `[[` would begin phonemes."""
    assert child.stdin
    told = text.replace("\n", "\n\n").replace("[[", "[ [").encode(errors="replace")
    with suppress(OSError, anyio.BrokenResourceError), anyio.move_on_after(_PATIENCE):
        if told:
            await child.stdin.send(told)
        await child.stdin.aclose()


async def _hear(child: Process) -> bytes:
    """What it says next; empty at its end."""
    stdout: ByteReceiveStream | None = child.stdout
    assert stdout
    try:
        with anyio.fail_after(_PATIENCE):
            return await stdout.receive()
    except anyio.EndOfStream:
        return b""
    except TimeoutError as error:
        raise CompletionFailed("The voice espeak-ng does not answer.") from error


def _read(reader: WavReader, piece: bytes) -> bytes:
    try:
        return reader.feed(piece)
    except ValueError as error:
        raise CompletionFailed("The voice espeak-ng has said something else than sound.") from error


async def _finish(child: Process, writer: SoundWriter | None) -> bytes:
    """The end of the sound. Raises `CompletionFailed` when it was not made to its end."""
    code = await child.wait()
    if code != 0 or writer is None:
        logger.error("espeak-ng has failed: exit code %d", code)
        raise CompletionFailed("The voice espeak-ng has failed.")
    return await writer.end()


async def _end(child: Process) -> None:
    with anyio.CancelScope(shield=True):
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
        await child.aclose()


def _read_voices(said: str) -> dict[str, str]:
    """Languages, and voices by their names: `5  en-us  --/M  English_(America)  gmw/en-US`."""
    voices: dict[str, str] = {}
    for line in said.splitlines()[1:]:
        columns = line.split()
        if len(columns) >= 5:
            voices |= {name.lower(): columns[1] for name in (columns[3], columns[1])}
    return voices
