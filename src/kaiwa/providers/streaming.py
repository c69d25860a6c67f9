"""What all model servers on the network share: ask, ask again, and read the answer as it comes.

A vendor's module says how a question and an answer look on its wire (`Vendor`, `Reading`).
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import msgspec
from anyio import to_thread
from cachetools import TTLCache
from msgspec import Struct
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from kaiwa.domain.events import Delta
from kaiwa.domain.prompt import ModelRequest, ToolCall
from kaiwa.domain.sse import SseEvent, SseFault, SseParser
from kaiwa.errors import KaiwaError, PicturesNotSupported, ToolsNotSupported
from kaiwa.ports import DeltaStream, Rest, Sight, Take
from kaiwa.providers.http import Answer, Operator, OutboundError
from kaiwa.providers.refusals import Asked, Interpreter, Refusal, Refused

_ATTEMPTS: Final = 3
_REMEMBERED: Final = 1000
_REMEMBERED_SECONDS: Final = 3600.0
"""For a server may learn."""
_LACKS: Final = (PicturesNotSupported, ToolsNotSupported)
_LONGEST_WAIT: Final = 20.0
_ERROR_BODY: Final = 1 << 16
_WHOLE_BODY: Final = 16 << 20
_SMALL_PICTURES: Final = 1 << 18
_DRAIN: Final = 0.05
_LOST: Final = "the server closed the connection in the middle of the answer"
_ENDED: Final = "the server ended in the middle of the answer"


class Call(Struct, frozen=True):
    """A request as it goes out."""

    url: str
    headers: dict[str, str]
    body: bytes


class ErrorEvent(Exception):
    """A vendor's stream says that it failed; `body` is what it says."""

    def __init__(self, body: bytes) -> None:
        super().__init__("the stream says that it failed")
        self.body = body


_UNREADABLE: Final = (
    ErrorEvent,
    SseFault,
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
)


class Reading(Protocol):
    """Reads one answer.

    Both methods add to `deltas`; they raise `ErrorEvent` and msgspec's `DecodeError`.
    """

    finished: bool
    """The end marker has come."""
    complete: bool
    """Nothing is missing, even if the end marker never comes."""

    def read(self, event: SseEvent, deltas: list[Delta]) -> None: ...

    def read_whole(self, body: bytes, deltas: list[Delta]) -> None:
        """The answer of a server that does not stream."""
        ...


class Vendor(Protocol):
    """The wire of one vendor."""

    def write(self, request: ModelRequest) -> Call: ...

    def start_reading(self) -> Reading: ...

    def learn(self, call: Call, refusal: Refusal) -> bool:
        """Whether the next `write` avoids what was refused in `call`."""
        ...


def is_object(text: str) -> bool:
    """Whether it is JSON of an object, as the arguments of a tool are when they are whole."""
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def write_arguments(call: ToolCall) -> str:
    """JSON of an object, which servers insist on, also when the model wrote none."""
    if is_object(call.arguments):
        return call.arguments
    broken = {"INVALID_JSON": call.arguments} if call.arguments.strip() else {}
    return msgspec.json.encode(broken).decode()


class _Nonsense(Exception):
    """The answer makes no sense; the message is the part of a sentence that says why."""


class _Cut(Exception):
    """The answer ended before it was complete."""


_FAILURES = (Refused, OutboundError, _Nonsense, _Cut)


class ModelServer:
    """A `ChatModel` on the network."""

    def __init__(
        self,
        vendor: Vendor,
        http: Operator,
        interpreter: Interpreter,
        retry_wait: float,
        sight: Sight,
        calls_tools: bool | None,
    ) -> None:
        """`retry_wait`: seconds before the second attempt; the third waits about twice as long."""
        self._vendor = vendor
        self._http = http
        self._interpreter = interpreter
        self._sight = sight
        self._calls_tools = calls_tools
        self._unable: TTLCache[tuple[str, type[KaiwaError]], KaiwaError] = TTLCache(
            _REMEMBERED, _REMEMBERED_SECONDS
        )
        """Models that have refused pictures or tools: they are spared the next ones."""
        self._back_off = wait_exponential_jitter(multiplier=retry_wait, jitter=retry_wait)

    @property
    def generative(self) -> bool:
        return True

    @property
    def calls_tools(self) -> bool | None:
        return self._calls_tools

    @property
    def sight(self) -> Sight:
        return self._sight

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[DeltaStream]:
        """Entering waits for the first deltas: until they are here, asking again does no harm."""
        answer = await self._ask(request)
        del request  # else a long prompt lives as long as the answer takes
        try:
            yield answer
        finally:
            answer.close()

    async def _ask(self, request: ModelRequest) -> "_AnswerStream":
        self._check_able(request)
        first: Exception | None = None
        try:  # nearly always; to set up trying again costs a tenth of a short answer
            return await self._ask_once(request)
        except _FAILURES as error:
            first = error
        try:
            return await self._ask_again(request, first)
        except _FAILURES as error:
            explained = _explain(error, self._interpreter)
            if isinstance(explained, _LACKS):
                self._unable[request.model, type(explained)] = explained
            raise explained from error

    def _check_able(self, request: ModelRequest) -> None:
        if not self._unable:
            return
        wanted = (PicturesNotSupported, request.pictured), (ToolsNotSupported, request.tools)
        for lack, needed in wanted:
            if needed and (known := self._unable.get((request.model, lack))):
                raise lack(known.message)

    async def _ask_again(self, request: ModelRequest, first: Exception) -> "_AnswerStream":
        """As long as what failed may pass; `first` is how the first attempt did."""
        failed = [first]

        async def ask() -> _AnswerStream:
            if failed:
                raise failed.pop()
            return await self._ask_once(request)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=self._wait,
            retry=retry_if_exception(_is_passing),
            reraise=True,
        )
        return await retrying(ask)

    async def _ask_once(self, request: ModelRequest) -> "_AnswerStream":
        asked = Asked(request.model, request.pictured, bool(request.tools))
        call = await self._write(request, asked)
        try:
            return await self._send(call, asked)
        except Refused as refused:
            if not self._vendor.learn(call, refused.refusal):
                raise
        return await self._send(await self._write(request, asked), asked)

    async def _write(self, request: ModelRequest, asked: Asked) -> Call:
        """Large pictures in a thread: in base64 and JSON each megabyte takes some milliseconds."""
        if not asked.pictured or request.picture_bytes <= _SMALL_PICTURES:
            return self._vendor.write(request)
        return await to_thread.run_sync(self._vendor.write, request)

    async def _send(self, call: Call, asked: Asked) -> "_AnswerStream":
        answer = await self._http.post(call.url, call.headers, call.body)
        try:
            if not 200 <= answer.status < 300:
                body = await answer.read(_ERROR_BODY)
                read = self._interpreter.read
                raise Refused(read(asked, answer.status, body, answer.retry_after))
            reading = self._vendor.start_reading()
            stream = _AnswerStream(answer, reading, self._interpreter, asked)
            await stream.hear_first()
        except BaseException:
            answer.close()
            raise
        return stream

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.refusal.retry_after if isinstance(error, Refused) else None
        return max(asked or 0.0, self._back_off(state))


class _AnswerStream:
    """A `DeltaStream` over one HTTP answer."""

    def __init__(
        self, answer: Answer, reading: Reading, interpreter: Interpreter, asked: Asked
    ) -> None:
        self._answer = answer
        self._reading = reading
        self._interpreter = interpreter
        self._asked = asked
        self._parser = SseParser()
        self._first: list[Delta] = []
        self._over = False
        self._failure: Exception | None = None

    def close(self) -> None:
        self._answer.close()

    async def hear_first(self) -> None:
        """Read until there is something to say, or the end. Raises one of `_FAILURES`."""
        if "text/html" in self._answer.content_type:
            raise _Nonsense("the server sent a web page instead of an answer")
        if "json" in self._answer.content_type:
            await self._read_whole()
            return
        while not self._first and not self._over:
            try:
                chunk = await self._answer.receive()
            except OutboundError as error:
                self._lose(error)
                break
            if chunk:
                self._first = self._hear(chunk)
            else:
                self._first = self._end()
        if not self._first and self._failure:
            raise self._failure

    async def pour(self, take: Take) -> None:
        try:
            await self._pour(take)
        except _FAILURES as error:
            raise _explain(error, self._interpreter) from error

    async def _pour(self, take: Take) -> None:
        def hear(chunk: bytes) -> Rest | None:
            deltas = self._hear(chunk)
            return take(deltas) if deltas else None

        await _take(take, self._first)
        if not self._over:
            try:
                await self._answer.pour(hear)
            except OutboundError as error:
                self._lose(error)
            if not self._over:
                await _take(take, self._end())
        if self._failure:
            raise self._failure
        if self._reading.finished:
            await self._answer.drain(_DRAIN)

    async def _read_whole(self) -> None:
        body = await self._answer.read(_WHOLE_BODY)
        self._over = True
        try:
            self._reading.read_whole(body, self._first)
        except _UNREADABLE as error:
            raise self._understand(error) from error

    def _hear(self, chunk: bytes) -> list[Delta]:
        """The deltas of one read; those before a fault are given, and the fault is kept."""
        deltas: list[Delta] = []
        try:
            self._read(chunk, deltas)
        except _UNREADABLE as error:
            self._fail(self._understand(error), error)
        if self._over:
            self._answer.stop()
        return deltas

    def _end(self) -> list[Delta]:
        """The body is at its end."""
        deltas: list[Delta] = []
        try:
            self._read(b"", deltas)
        except _UNREADABLE as error:
            self._fail(_Cut(_ENDED), error)
        if not self._over and not self._reading.complete:
            self._fail(_Cut(_ENDED))
        self._over = True
        return deltas

    def _lose(self, error: OutboundError) -> None:
        self._over = True
        if not self._reading.complete:
            self._fail(_Cut(_LOST), error)

    def _fail(self, failure: Exception, cause: Exception | None = None) -> None:
        failure.__cause__ = cause
        self._over, self._failure = True, failure

    def _read(self, chunk: bytes, deltas: list[Delta]) -> None:
        fault: SseFault | None = None
        try:
            events = self._parser.feed(chunk) if chunk else self._parser.finish()
        except SseFault as error:
            events, fault = error.events, error
        for event in events:
            self._reading.read(event, deltas)
            if self._reading.finished:
                self._over = True
                return
        if fault is not None:
            raise fault

    def _understand(self, error: Exception) -> Exception:
        match error:
            case ErrorEvent():
                return Refused(self._interpreter.read(self._asked, 0, error.body))
            case UnicodeDecodeError():
                sentence = "the server sent an answer that cannot be read"
                return _Nonsense(f"{sentence}: the stream is not valid UTF-8")
            case SseFault():
                return _Nonsense(f"the server sent an answer that cannot be read: {error}")
            case _:
                return _Nonsense("the server sent an answer that is not valid JSON of its kind")


async def _take(take: Take, deltas: Sequence[Delta]) -> None:
    if deltas and (rest := take(deltas)):
        await rest()


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, Refused):
        return error.refusal.passing and (error.refusal.retry_after or 0) <= _LONGEST_WAIT
    return isinstance(error, OutboundError | _Cut)


def _explain(error: Exception, interpreter: Interpreter) -> KaiwaError:
    if isinstance(error, Refused):
        return error.refusal.to_error()
    kind = "Server Unavailable Error" if isinstance(error, _Nonsense) else "Connection Error"
    return interpreter.fail(kind, str(error))
