"""Turn events → server-sent frames, byte for byte.

A data frame is `data: `, one line of ASCII JSON and a blank line. What is the same in every text
frame of a turn is built once; per token only the text is escaped and spliced in.
"""

from base64 import b64encode
from collections.abc import Sequence
from json import dumps
from json.encoder import encode_basestring_ascii

from msgspec import to_builtins

from kaiwa.api.wire import Link, file_event, metadata, thought_event
from kaiwa.domain.events import (
    TurnAudio,
    TurnCanned,
    TurnEnded,
    TurnEvent,
    TurnFailed,
    TurnFile,
    TurnOpened,
    TurnReplaced,
    TurnSpoken,
    TurnText,
    TurnThought,
)

PING = b"event: ping\n\n"
_SELECTOR: dict[str, object] = {"from_variable_selector": None}


class Frames:
    """The frames of one turn; `TurnOpened` must come first, unless the turn is refused."""

    def __init__(self, task_id: str, link: Link) -> None:
        """`link` signs links to the files that tools make."""
        self._link = link
        self._common: dict[str, object] = {"task_id": task_id}
        self.speaks = False
        """Whether `TurnSpoken` is the last event, not the turn's end."""
        self._id = ""
        self._before_text = ""
        self._after_text = ""

    def encode(self, events: Sequence[TurnEvent]) -> bytes:
        """One frame per event, in order; `TurnOpened` has none."""
        frames: list[str] = []
        for event in events:
            if isinstance(event, TurnText):  # before the match, which is slower
                escaped = encode_basestring_ascii(event.text)
                frames.append(f"{self._before_text}{escaped}{self._after_text}")
                continue
            frames.append(self._encode(event))
        return "".join(frames).encode("ascii")

    def _encode(self, event: TurnEvent) -> str:
        match event:
            case TurnOpened():
                self._open(event)
                return ""
            case TurnText(text):
                return f"{self._before_text}{encode_basestring_ascii(text)}{self._after_text}"
            case TurnCanned() | TurnReplaced():
                return self._encode_whole(event)
            case TurnAudio(audio):
                return self._frame("tts_message", audio=b64encode(audio).decode())
            case TurnSpoken():
                return self._frame("tts_message_end", audio="")
            case TurnThought(thought):
                return self._frame("agent_thought", **thought_event(thought))
            case TurnFile(file):
                link = self._link(file.file, made=True)
                return self._frame("message_file", **file_event(file, link))
            case TurnEnded():
                body = to_builtins(metadata(event.usage, event.message.citations))
                return self._frame("message_end", id=self._id, metadata=body, files=None)
            case TurnFailed(code, status, message):
                return self._frame("error", code=code, status=status, message=message)

    def _encode_whole(self, event: TurnCanned | TurnReplaced) -> str:
        if isinstance(event, TurnReplaced):
            return self._frame("message_replace", id=self._id, answer=event.text, reason="")
        # A plain message, also where an agent answers.
        return self._frame("message", id=self._id, answer=event.text, **_SELECTOR)

    def _open(self, event: TurnOpened) -> None:
        self._id = str(event.message_id)
        self.speaks = event.speaks
        self._common = {
            "conversation_id": str(event.conversation_id),
            "message_id": self._id,
            "created_at": int(event.created_at.timestamp()),
            "task_id": event.task_id,
        }
        kind, more = ("agent_message", {}) if event.agent else ("message", _SELECTOR)
        whole = self._frame(kind, id=self._id, answer="\0", **more)
        self._before_text, self._after_text = whole.split('"\\u0000"')

    def _frame(self, event: str, **own: object) -> str:
        return f"data: {dumps({'event': event, **self._common, **own})}\n\n"
