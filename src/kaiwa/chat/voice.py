"""An ear of a turn that speaks what it hears: sentence by sentence, while the text goes on.

What the turn says goes out first; then it is heard, by plain calls that never wait. All that waits,
for a voice or for a slow client, is in the voice's own task, which may outlast the turn.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from time import monotonic

import anyio
from anyio.abc import TaskGroup

from kaiwa.chat.once import Once
from kaiwa.domain.app import SpeechConfig
from kaiwa.domain.events import (
    TurnAudio,
    TurnCanned,
    TurnEnded,
    TurnEvent,
    TurnFailed,
    TurnReplaced,
    TurnSpoken,
    TurnText,
    TurnThought,
)
from kaiwa.domain.sentences import Sentences
from kaiwa.domain.spoken import speakable
from kaiwa.errors import KaiwaError
from kaiwa.ports import Emit, Rest, Speaker

logger = logging.getLogger(__name__)

_AT_ONCE = 3
_SECONDS = 2.0
"""That a sentence takes to hear, at least as a rule: the next one is due so much later."""
_MOST_WAITING = 1000
"""Sentences; a voice that is so far behind is told no more."""
_MOST_PIECES = 8
"""Of the sentences ahead, each: then they wait for their turn."""
_MOST_FAILURES = 3
"""Sentences in a row; then the voice gives up for this turn."""


class Voice:
    """Speaks one turn's answer."""

    def __init__(
        self,
        emit: Emit,
        speaker: Speaker,
        speech: SpeechConfig,
        ended: Once,
        patience: float,
    ) -> None:
        """`ended` is the turn's; a speaker silent for `patience` seconds has failed."""
        self._emit = emit
        self._speaker = speaker
        self._speech = speech
        self._ended = ended
        self._patience = patience
        self._sentences = Sentences()
        self._waiting: deque[str] = deque()
        self._ahead: deque[_Utterance] = deque()
        """Being spoken, in the order of the text; the first is passed on as it comes."""
        self._due = 0.0
        self._failures = 0
        self._heard_all = False
        self._mute = False
        self._more = asyncio.Event()
        """Set when there may be something to pass on."""
        self._tasks: TaskGroup | None = None
        self._scope = anyio.CancelScope()

    def emit(self, events: Sequence[TurnEvent]) -> Rest | None:
        """Say the events, and hear them. The end of a turn does not wait for a slow client."""
        rest = self._emit(events)
        for event in events:
            self._hear(event)
        if rest and self._heard_all:
            if self._tasks:
                self._tasks.start_soon(_wait, rest)
            return None
        return rest

    def hush(self) -> None:
        """Speak no more."""
        self._mute = True
        self._scope.cancel()

    async def run(self) -> None:
        """Speak until all is spoken or the voice fails; say so when the turn has ended."""
        try:
            with self._scope:
                await self._speak_all()
        finally:
            self._mute, self._tasks = True, None
            with anyio.CancelScope(shield=True):
                await self._ended.wait()
                self._emit([TurnSpoken()])

    def _hear(self, event: TurnEvent) -> None:
        match event:
            case TurnEnded() | TurnFailed():
                self._add(self._sentences.finish())
                self._heard_all = True
                self._more.set()
            case TurnText(text) | TurnCanned(text) if not self._mute:
                self._add(self._sentences.feed(text))
            case TurnThought() if not self._mute:  # a round's words stand on lines of their own
                self._add(self._sentences.feed("\n"))
            case TurnReplaced(text):
                self._drop()
                self._add(self._sentences.feed(text))
            case _:
                pass

    def _add(self, sentences: Sequence[str]) -> None:
        room = 0 if self._mute else _MOST_WAITING - len(self._waiting)
        if sentences and room > 0:
            self._waiting += sentences[:room]
            self._begin()

    def _drop(self) -> None:
        self._sentences = Sentences()
        self._waiting.clear()
        for one in self._ahead:
            one.drop()
        self._ahead.clear()

    def _begin(self) -> None:
        """Begin as many sentences as may be spoken at once."""
        while self._tasks and self._waiting and len(self._ahead) < _AT_ONCE:
            self._due = max(self._due + _SECONDS, monotonic())
            one = _Utterance(self._waiting.popleft(), self._due)
            self._ahead.append(one)
            self._tasks.start_soon(self._speak, one)
        self._more.set()

    async def _speak_all(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            self._begin()
            while not self._mute:
                if self._ahead:
                    await self._deliver(self._ahead[0])
                    self._begin()
                elif self._heard_all:
                    break
                else:
                    self._more.clear()
                    await self._more.wait()
            self._tasks.cancel_scope.cancel()

    async def _deliver(self, one: "_Utterance") -> None:
        """Pass it on to its end; a slow client makes its speaker wait."""
        while not one.passed:
            with anyio.move_on_after(self._patience) as limit:
                piece = await one.pieces.get()
                if piece and not one.dropped:
                    one.said = True
                    limit.deadline = float("inf")
                    if rest := self._emit([TurnAudio(piece)]):
                        await rest()
            if limit.cancelled_caught:
                logger.warning("a sentence is not spoken: its voice fell silent")
                one.fail()
                self._mute = self._mute or self._heard_all
        if self._ahead and self._ahead[0] is one:
            self._ahead.popleft()
        self._judge(one)

    def _judge(self, one: "_Utterance") -> None:
        if one.failed:
            self._failures += 1
        elif one.said:
            self._failures = 0
        if self._failures >= _MOST_FAILURES and not self._mute:
            logger.warning("the rest of an answer is not spoken: its voice has failed too often")
            self._mute = True

    async def _speak(self, one: "_Utterance") -> None:
        with one.scope:
            try:
                if text := speakable(one.sentence):
                    speaking = self._speaker.speak(
                        text, self._speech.voice, self._speech.language, "mp3", one.due
                    )
                    async with aclosing(speaking) as pieces:
                        async for piece in pieces:
                            await one.pieces.put(piece)
            except KaiwaError as error:
                logger.warning("a sentence is not spoken: %s", error.message)
                one.failed = True
            except Exception:  # a voice: whatever is wrong with it, the text goes on
                logger.exception("a sentence is not spoken")
                one.failed = True
        one.end()


async def _wait(rest: Rest) -> None:
    await rest()


class _Utterance:
    """One sentence, and what is spoken of it and not passed on yet."""

    def __init__(self, sentence: str, due: float) -> None:
        self.sentence = sentence
        self.due = due
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue(_MOST_PIECES)
        """An empty one says nothing."""
        self.scope = anyio.CancelScope()
        self.said = False
        self.failed = False
        self.dropped = False
        self._over = False

    @property
    def passed(self) -> bool:
        """Whether there is nothing more to pass on."""
        return self.dropped or (self._over and self.pieces.empty())

    def end(self) -> None:
        """No piece comes any more; whoever waits for one is told."""
        self._over = True
        if self.pieces.empty():
            self.pieces.put_nowait(b"")

    def drop(self) -> None:
        """It is not to be spoken after all."""
        self.dropped = True
        self.scope.cancel()

    def fail(self) -> None:
        """It took too long."""
        self.failed = True
        self.drop()
