"""Reads server-sent events as model servers write them, from bytes that arrive in any pieces.

It knows the framing alone; what an event says is its reader's business.
"""

from typing import Final

from msgspec import Struct

_BOM: Final = b"\xef\xbb\xbf"


class SseEvent(Struct, frozen=True, gc=False):
    """One event; `event` is `message` when the server named none."""

    event: str
    data: bytes


class SseFault(ValueError):
    """The bytes are no event stream we accept; `events` came whole before the fault."""

    def __init__(self, sentence: str, events: list[SseEvent]) -> None:
        super().__init__(sentence)
        self.events = events


class SseParser:
    """Turns the bytes of one stream into events; any split of the bytes gives the same ones."""

    def __init__(self, limit: int = 1 << 20) -> None:
        """`limit`: the most bytes one line, and the data of one event, may have."""
        self._limit = limit
        self._pieces: list[bytes] = []
        self._pending = 0
        self._after_cr = False
        self._first_line = True
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that `chunk` completes.

        Raises `SseFault` for a line or an event beyond the limit.
        """
        if found := self._read_plain(chunk):
            return found
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        lines = chunk.split(b"\n")
        rest = lines.pop()
        events: list[SseEvent] = []
        try:
            if lines and self._pieces:
                lines[0] = b"".join(self._pieces) + lines[0]
                self._pieces.clear()
                self._pending = 0
            for line in lines:
                self._read_line(line, events)
            if rest:
                self._pieces.append(rest)
                self._pending += len(rest)
                self._check(self._pending - len(_BOM))  # its line may yet lose one
        except ValueError as error:
            raise SseFault(str(error), events) from error
        return events

    def finish(self) -> list[SseEvent]:
        """The event a server left without its closing blank line, at the end of the stream.

        Raises `SseFault` as `feed` does.
        """
        return self.feed(b"\n\n")

    def _read_plain(self, chunk: bytes) -> list[SseEvent]:
        """The events of a chunk that is whole events of one line of data each, as nearly always.

        None of them when it is anything else. Line by line, an event costs three times as much.
        """
        if (
            self._pieces
            or self._data
            or self._event
            or self._after_cr
            or len(chunk) > self._limit
            or not (chunk.startswith(b"data: ") and chunk.endswith(b"\n\n"))
            or b"\r" in chunk
        ):
            return []
        found = chunk[6:-2].split(b"\n\ndata: ")
        if chunk.count(b"\n") != 2 * len(found):
            return []
        self._first_line = False
        return [SseEvent("message", data) for data in found]

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """CR and CRLF become LF, also when CR and LF came in different reads."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if chunk.endswith(b"\r"):
            self._after_cr = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read_line(self, line: bytes, events: list[SseEvent]) -> None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            self._complete(events)
            return
        self._check(len(line))
        if line.startswith(b"data:"):
            self._add(line[6:] if line.startswith(b" ", 5) else line[5:])
            return
        field, _, value = line.partition(b":")
        if field == b"data":
            self._add(value)
        elif field == b"event":
            self._event = value.removeprefix(b" ").decode(errors="replace")

    def _add(self, value: bytes) -> None:
        self._size += len(value) + 1
        self._check(self._size - 1)
        self._data.append(value)

    def _complete(self, events: list[SseEvent]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(SseEvent(self._event or "message", data))
            self._data = []
            self._size = 0
        self._event = ""

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise ValueError(f"a line or an event is longer than {self._limit} bytes")
