"""espeak-ng, a small voice for a hundred languages that needs no network.

It is a program of its own, under the GPL: it is started for each text, hears it by its standard
input and answers with WAV; nothing of it is linked. It is killed when nobody listens any more.
"""

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from shutil import which
from subprocess import DEVNULL, PIPE, Popen
from typing import Final

import anyio

from kaiwa.errors import CompletionFailed, OperatorError, ProviderNotInitialized
from kaiwa.ports import AudioFormat, Speaker
from kaiwa.providers.languages import find_language
from kaiwa.providers.sound import SoundWriter, WavReader, write_sound
from kaiwa.providers.threads import Threads

logger = logging.getLogger(__name__)

_PROGRAM: Final = "espeak-ng"
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "ESPEAK_DATA_PATH")
"""Of our environment; the rest may hold secrets."""
_PATIENCE: Final = 20.0
"""Seconds for its next step; it makes minutes of sound in one."""
_STEP: Final = 65_536
"""Bytes of one step: a second and a half."""
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
        self._threads = Threads(os.cpu_count() or 1, "kaiwa-sound")
        self._voices: dict[str, str] = {}
        """By what they are called, in small letters, as the program wants to be told."""

    async def speak(
        self, text: str, voice: str, language: str, audio: AudioFormat, due: float = 0
    ) -> AsyncGenerator[bytes]:
        chosen = await self._choose(text, voice, language)
        work = _Work(self._program, ("--stdin", "--stdout", "-b", "1", "-v", chosen), text)
        maker = _Maker(work, audio)
        try:
            while not maker.whole:
                if made := await self._do(work, maker.go_on, due):
                    yield made
        finally:
            work.end()

    async def _do(self, work: "_Work", step: Callable[[], bytes], due: float) -> bytes:
        """A step of the work, which has ended on return."""
        doing = await self._threads.run(due, step)
        try:
            with anyio.fail_after(_PATIENCE):
                return await asyncio.shield(doing)
        except BaseException as error:
            work.stop()
            with anyio.CancelScope(shield=True):
                await asyncio.gather(doing, return_exceptions=True)
            if isinstance(error, TimeoutError):
                raise CompletionFailed("The voice espeak-ng does not answer.") from error
            raise

    async def _choose(self, text: str, voice: str, language: str) -> str:
        voices = await self._list()
        name, _, variant = voice.partition("+")
        known = voices.get(name.strip().lower())
        if known is None:
            return find_language(text, language, voices)
        return f"{known}+{variant}" if _VARIANT.fullmatch(variant) else known

    async def _list(self) -> dict[str, str]:
        if not self._voices:
            work = _Work(self._program, ("--voices",), "")
            try:
                said = await self._do(work, lambda: work.hear(_MOST_VOICES), 0)
            finally:
                work.end()
            self._voices = _read_voices(said.decode(errors="replace"))
        return self._voices


class _Work:
    """One run of the program. Its steps wait for it, so they are for threads."""

    def __init__(self, program: str, arguments: tuple[str, ...], text: str) -> None:
        self._command = [program, *arguments]
        self._text = text
        self._child: Popen[bytes] | None = None
        self.stopped = False
        """Whether it has been killed; how it ended says nothing then."""

    def hear(self, most: int) -> bytes:
        """What it says next, of `most` bytes as many as there are; fewer at its end."""
        child = self._child = self._child or self._start()
        assert child.stdout
        said = bytearray()
        while not self.stopped and (piece := child.stdout.read(most - len(said))):
            said += piece
        return bytes(said)

    def wait(self) -> int:
        """Its exit code."""
        assert self._child
        return self._child.wait()

    def stop(self) -> None:
        """Kill it, so that a step that waits for it ends soon."""
        self.stopped = True
        if self._child:
            self._child.kill()

    def end(self) -> None:
        """Kill it and forget it; no step is under way."""
        self.stop()
        if child := self._child:
            child.wait()
            assert child.stdout
            child.stdout.close()

    def _start(self) -> Popen[bytes]:
        """It reads all before it speaks. Its own group keeps the terminal's signals from it.

        It goes on as its thread does, behind all that is more urgent; in a session of its own the
        system would give it as much as all of Kaiwa.
        """
        try:
            child = Popen(
                self._command,
                bufsize=0,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                process_group=0,
            )
        except OSError as error:
            logger.error("espeak-ng cannot be started: %s", error.strerror)
            raise ProviderNotInitialized("The voice espeak-ng cannot be started.") from error
        self._child = child
        if self.stopped:  # meanwhile
            child.kill()
        assert child.stdin
        # A line's end is a pause, and `[[` would begin phonemes.
        told = self._text.replace("\n", "\n\n").replace("[[", "[ [").encode(errors="replace")
        with suppress(OSError):  # its exit code says why it left
            child.stdin.write(told)
        with suppress(OSError):
            child.stdin.close()
        return child


class _Maker:
    """Makes a sound of what the program says, step by step."""

    def __init__(self, work: _Work, audio: AudioFormat) -> None:
        self.whole = False
        self._work = work
        self._audio: AudioFormat = audio
        self._reader = WavReader()
        self._writer: SoundWriter | None = None

    def go_on(self) -> bytes:
        """The next of it. Raises `CompletionFailed` when it was not made to its end."""
        piece = self._work.hear(_STEP)
        made = self._write(piece)
        if len(piece) == _STEP:
            return made
        self.whole = True
        code = self._work.wait()
        if self._work.stopped:
            return b""
        if code != 0 or self._writer is None:
            logger.error("espeak-ng has failed: exit code %d", code)
            raise CompletionFailed("The voice espeak-ng has failed.")
        return made + self._writer.end()

    def _write(self, piece: bytes) -> bytes:
        try:
            samples = self._reader.feed(piece)
        except ValueError as error:
            raise CompletionFailed(
                "The voice espeak-ng has said something else than sound."
            ) from error
        if not samples or self._reader.format is None:
            return b""
        self._writer = self._writer or write_sound(self._audio, self._reader.format)
        return self._writer.take(samples)


def _read_voices(said: str) -> dict[str, str]:
    """Languages, and voices by their names: `5  en-us  --/M  English_(America)  gmw/en-US`."""
    voices: dict[str, str] = {}
    for line in said.splitlines()[1:]:
        columns = line.split()
        if len(columns) >= 5:
            voices |= {name.lower(): columns[1] for name in (columns[3], columns[1])}
    return voices
