"""An answer while it grows: deltas in; text, reasoning, calls and usage out. On the hot path."""

from collections.abc import Sequence
from typing import Literal

from kaiwa.domain.events import (
    Delta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEvent,
    TurnReplaced,
    TurnText,
    UsageDelta,
)
from kaiwa.domain.keywords import KeywordFilter
from kaiwa.domain.prompt import ToolCall
from kaiwa.domain.text import clean

_OPEN = "<think>"
_CLOSE = "</think>"
_MOST_CALLS = 64
_LONGEST_CALL = 200_000
"""Characters of a call's arguments; what is longer is cut, and so is no JSON."""


class Answer:
    """Collects what a model says; every piece of visible text becomes an event of its own.

    With `answer`, reasoning that comes apart from the text is shown within `<think>` tags. With
    `hide`, it is kept out of the text, as is a `<think>` block that the text begins with.

    An agent's answer has several rounds; what is said in each stands on lines of its own.
    """

    def __init__(
        self,
        reasoning: Literal["answer", "hide"],
        words: KeywordFilter | None = None,
        preset: str = "",
    ) -> None:
        """The answer gives way to the `preset` when one of the `words` comes in it."""
        self.taken_back = False
        """Whether it has given way altogether; nothing more is said."""
        self.corrected = False
        """Whether any of it has."""
        self.usage: UsageDelta | None = None
        """The model's last report."""
        self._words = words
        self._preset = preset
        self._unsaid: str = ""
        """What was said in the round in which it was taken back."""
        self._hides = reasoning == "hide"
        self._tags = _ThinkTags()
        self._plain = not self._hides
        """Whether text is shown as it comes."""
        self._showing_thought = False
        self._parts: list[str] = []
        self._joined = 0
        """How many pieces fewer there are because they were joined."""
        self._thoughts: list[str] = []
        self._calls = _Calls()
        self._apart = False
        """Whether the next text begins a new line: it is the first of a later round."""
        self._text_before = 0
        self._thoughts_before = 0
        self._length_before = 0

    def feed(self, deltas: Sequence[Delta]) -> list[TurnEvent]:
        """What may be said now: one event for each delta with visible text, never an empty one."""
        events: list[TurnEvent] = []
        if self.taken_back:
            deltas = [delta for delta in deltas if isinstance(delta, UsageDelta)]
        for delta in deltas:
            if isinstance(delta, TextDelta):
                text = delta.text if self._plain else self._text_to_show(delta.text)
            else:
                text = self._take(delta)
            if "\0" in text or not text.isascii():  # for there may be what no database takes
                text = clean(text)
            if self._words:
                text = self._words.feed(text)
            if text:
                if self._apart:
                    self._begin_line()
                self._parts.append(text)
                events.append(TurnText(text))
        if self._words and self._words.hit and not self.taken_back:
            events.append(self.take_back(self._preset))
        return events

    def _take(self, delta: ReasoningDelta | ToolCallDelta | UsageDelta) -> str:
        """What is to be shown of something that is no text."""
        if isinstance(delta, ReasoningDelta):
            return self._thought_to_show(delta.text)
        if isinstance(delta, UsageDelta):
            self.usage = delta
        else:
            self._calls.take(delta)
        return ""

    def take_back(self, instead: str) -> TurnReplaced:
        """All of it gives way to this, and nothing more is said."""
        self._unsaid = self.round_text + (self._words.held if self._words else "")
        self.taken_back = True
        return self.correct(len(self.text), instead)

    def correct(self, count: int, instead: str) -> TurnReplaced:
        """Its first `count` characters give way to this; what has come since stays."""
        text = instead + self.text[count:]
        self.corrected = True
        self._joined += len(self._parts)  # so that it has grown
        self._parts = [text]
        self._text_before = min(self._text_before, len(text))
        return TurnReplaced(text)

    def recall(self, text: str, reasoning: str) -> None:
        """What was said before in an answer that now goes on."""
        self._parts = [text] if text else []
        self._thoughts = [reasoning] if reasoning else []

    def begin_round(self) -> None:
        """The model is asked once more; what it said before is finished."""
        self.usage = None
        self._tags = _ThinkTags()
        self._plain = not self._hides
        self._calls = _Calls()
        self._text_before = len(self.text)
        self._apart = self._text_before > 0
        self._thoughts_before = len(self._thoughts)
        self._length_before = self.length

    def _begin_line(self) -> None:
        self._apart = False
        self._parts.append("\n")
        self._text_before += 1

    def finish(self) -> list[TurnEvent]:
        """What was held back, or the end of reasoning that never ended; then nothing more."""
        if self._hides:
            text, thought = self._tags.finish()
            if thought:
                self._thoughts.append(thought)
        else:
            text = f"\n{_CLOSE}" if self._showing_thought else ""
        self._showing_thought = False
        self._plain = True
        if self.taken_back:
            return []
        if self._words:
            text = self._words.feed(text) + self._words.finish()
            if self._words.hit:
                return [self.take_back(self._preset)]
        if not text:
            return []
        if self._apart:
            self._begin_line()
        self._parts.append(text)
        return [TurnText(text)]

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """What the model wants to be run after this round, in its order."""
        return () if self.taken_back else self._calls.all()

    @property
    def round_text(self) -> str:
        """The text of this round."""
        return "" if self.taken_back else self.text[self._text_before :]

    @property
    def round_said(self) -> str:
        """The same with what was taken back."""
        return self._unsaid or self.round_text

    @property
    def round_reasoning(self) -> str:
        """What was kept out of it."""
        return clean("".join(self._thoughts[self._thoughts_before :])).strip()

    @property
    def text(self) -> str:
        """All that may be shown so far: the text of all events, as folded by a client."""
        if len(self._parts) > 1:
            self._joined += len(self._parts) - 1
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def reasoning(self) -> str:
        """What was kept out of the text."""
        return clean("".join(self._thoughts)).strip()

    @property
    def length(self) -> int:
        """Grows with every piece of text or reasoning; counts pieces, not characters."""
        return self._joined + len(self._parts) + len(self._thoughts)

    @property
    def begun(self) -> bool:
        """Whether the model has said anything at all in this round, shown yet or not."""
        return self.length > self._length_before or self._tags.begun or bool(self._calls.all())

    def _text_to_show(self, text: str) -> str:
        if not self._hides:
            if not text:
                return ""
            self._showing_thought = False
            self._plain = True
            return f"\n{_CLOSE}\n\n{text}"
        shown, thought = self._tags.feed(text)
        if thought:
            self._thoughts.append(thought)
        self._plain = self._tags.passed
        return shown

    def _thought_to_show(self, text: str) -> str:
        if not text:
            return ""
        if self._hides:
            self._thoughts.append(text)
            return ""
        if self._showing_thought:
            return text
        self._showing_thought = True
        self._plain = False
        return f"{_OPEN}\n{text}"


class _Calls:
    """Calls of tools while they come in pieces."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._arguments: dict[int, list[str]] = {}
        self._lengths: dict[int, int] = {}

    def take(self, delta: ToolCallDelta) -> None:
        index = delta.index
        if index not in self._arguments:
            if len(self._arguments) == _MOST_CALLS:
                return
            self._ids[index], self._names[index], self._arguments[index] = delta.id, delta.name, []
            self._lengths[index] = 0
        # Some servers say the name again with each piece.
        self._ids[index] = self._ids[index] or delta.id
        self._names[index] = self._names[index] or delta.name
        room = _LONGEST_CALL - self._lengths[index]
        if delta.arguments and room > 0:
            self._arguments[index].append(delta.arguments[:room])
            self._lengths[index] += len(delta.arguments)

    def all(self) -> tuple[ToolCall, ...]:
        return tuple(
            [
                ToolCall(clean(self._ids[index]), clean(self._names[index]), clean("".join(pieces)))
                for index, pieces in sorted(self._arguments.items())
            ]
        )


class _ThinkTags:
    """Parts a `<think>` block at the start from the text behind it, however the text is split."""

    def __init__(self) -> None:
        self.passed = False
        """Whether all that follows is plain text."""
        self._inside = False
        self._closed = False
        self._held: str = ""

    def feed(self, text: str) -> tuple[str, str]:
        """Visible text and thought; an end that may still become a tag is held back."""
        if self.passed:
            return text, ""
        text = self._held + text
        self._held = ""
        if self._inside:
            return self._feed_inside(text)
        if self._closed:
            text = text.lstrip()
            self.passed = bool(text)
            return text, ""
        start = text.lstrip()
        if start.startswith(_OPEN):
            self._inside = True
            return self._feed_inside(start[len(_OPEN) :])
        if _OPEN.startswith(start):
            self._held = text
            return "", ""
        self.passed = True
        return text, ""

    @property
    def begun(self) -> bool:
        """Whether something was held back or taken for a tag."""
        return bool(self._held) or self._inside or self._closed

    def finish(self) -> tuple[str, str]:
        """What is still held, as text or as thought."""
        held, self._held = self._held, ""
        self.passed = True
        return ("", held) if self._inside else (held, "")

    def _feed_inside(self, text: str) -> tuple[str, str]:
        thought, tag, rest = text.partition(_CLOSE)
        if tag:
            self._inside = False
            self._closed = True
            shown, _ = self.feed(rest)
            return shown, thought
        kept = _tag_begun(text)
        self._held = text[len(text) - kept :]
        return "", text[: len(text) - kept]


def _tag_begun(text: str) -> int:
    """How many characters at the end could be the beginning of the closing tag."""
    for length in range(min(len(_CLOSE) - 1, len(text)), 0, -1):
        if _CLOSE.startswith(text[-length:]):
            return length
    return 0
