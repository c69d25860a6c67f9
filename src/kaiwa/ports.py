"""All that Kaiwa asks of the outside, on one page."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from msgspec import Struct

from kaiwa.domain.events import Delta, TurnEvent
from kaiwa.domain.message import Inputs, JsonValue
from kaiwa.domain.prompt import ModelRequest, ToolSpec
from kaiwa.domain.usage import Price

Clock = Callable[[], datetime]
"""The time now: aware, UTC."""

NewId = Callable[[], UUID]
"""A fresh UUIDv7."""

Rest = Callable[[], Awaitable[None]]
"""What is still to be done before one goes on."""

Emit = Callable[[Sequence[TurnEvent]], Rest | None]
"""Says the events to whoever listens; None when they are on their way, or nobody listens."""

Take = Callable[[Sequence[Delta]], Rest | None]
"""Takes the deltas of one network read, in order, never none; None when it wants more at once."""


class DeltaStream(Protocol):
    """What a model says."""

    async def pour(self, take: Take) -> None:
        """Have all of it taken, read by read; what `take` leaves to be done is done in between.

        `take` may be called from within the event loop's own reading. What it raises ends the
        stream and is raised here.
        """
        ...


class Sight(Struct, frozen=True):
    """What a server's models can look at, and how large pictures may be; larger ones are fitted."""

    able: bool | None = None
    """None when it is not known: the server then says so itself."""
    longest_side: int = 2048
    """In pixels."""
    most_bytes: int = 15_000_000


class ChatModel(Protocol):
    """A server of language models."""

    @property
    def generative(self) -> bool:
        """Whether it can follow instructions; one that cannot is never asked for a title."""
        ...

    @property
    def sight(self) -> Sight:
        """What it can look at."""
        ...

    @property
    def calls_tools(self) -> bool | None:
        """Whether its models can call tools; None when it is not known: it then says so itself."""
        ...

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Ask; entering sends the request, leaving closes the connection at once.

        Raises, on entering or while pouring: `ProviderNotInitialized`, `ProviderQuotaExceeded`,
        `ModelNotSupported`, `PromptTooLong`, `PicturesNotSupported`, `ToolsNotSupported`,
        `CompletionFailed`.
        Retries only before the first delta.
        """
        ...


class ModelChoice(Struct, frozen=True):
    """A model by name on a server, and what is known about it."""

    server: ChatModel
    provider: str
    name: str
    context_size: int | None
    """In tokens; None when it is not known."""
    price: Price | None


class ToolFile(Struct, frozen=True):
    """A file that a tool has made."""

    name: str
    mime_type: str
    data: bytes


class ToolOutput(Struct, frozen=True):
    """What came of a call."""

    text: str
    """For the model, and shown to the end user as the observation."""
    files: tuple[ToolFile, ...] = ()
    """Shown to the end user; the model is only told in `text` that there are some."""


class Tool(Protocol):
    """Something that a model can have done."""

    @property
    def spec(self) -> ToolSpec: ...

    @property
    def labels(self) -> Mapping[str, str]:
        """Its name for people, by language: `en_US`, `zh_Hans`."""
        ...

    @property
    def icon(self) -> str | Mapping[str, str]:
        """A link, or an emoji as `content` on a `background`."""
        ...

    async def run(self, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        """Do it; the arguments fit its schema.

        Raises `ToolFailed` with a sentence for the model. It may be cancelled: who runs it limits
        its time.
        """
        ...


AudioFormat = Literal["mp3", "wav"]


class Speaker(Protocol):
    """A voice."""

    def speak(
        self, text: str, voice: str, language: str, audio: AudioFormat, due: float = 0
    ) -> AsyncGenerator[bytes]:
        """The text spoken, in pieces as they are made; MP3 of several texts joins to one stream.

        `text` is plain prose, never empty. `voice` and `language` may be empty, and a voice it does
        not have gives way to its own. Where not all can be spoken at once, what is `due` first, by
        the monotonic clock, goes first. Closing the generator ends the work at once. Raises, also
        between pieces, `CompletionFailed`, `ProviderNotInitialized`, `ProviderQuotaExceeded` and
        `ModelNotSupported`.
        """
        ...


class Transcriber(Protocol):
    """An ear."""

    @property
    def takes(self) -> frozenset[str]:
        """How names of recordings it takes may end; any other one becomes WAV, 16 kHz, mono."""
        ...

    async def transcribe(self, name: str, mime_type: str, audio: bytes) -> str:
        """What is said in it, "" when nothing is.

        `audio` is sound of a kind that was checked; `name` ends as its kind does. Raises what
        `Speaker.speak` raises, `AudioTooLarge` and `ListeningNotSupported`. It may be cancelled.
        """
        ...


class Verdict(Struct, frozen=True):
    """What a moderator has found in a text or in what an end user sent."""

    flagged: bool = False
    preset: str = ""
    """Said instead, when it is not empty; else what the app says."""
    query: str | None = None
    """Goes on instead of what was sent, which is then not refused; None: it is refused."""
    inputs: Inputs = {}
    """Beside `query`: those that change."""
    text: str | None = None
    """Goes on instead of an answer's text; None: it is refused."""


class Moderator(Protocol):
    """Knows what must not be said, and takes its time."""

    async def check_input(self, app_id: UUID, inputs: Inputs, query: str) -> Verdict:
        """Raises `ModerationFailed` when it cannot be asked."""
        ...

    async def check_output(self, app_id: UUID, text: str) -> Verdict:
        """The whole answer so far. Raises `ModerationFailed` when it cannot be asked."""
        ...


class Extension(Protocol):
    """A service of the operator's that fills variables."""

    async def fill(self, app_id: UUID, variable: str, inputs: Inputs, query: str) -> str:
        """The variable's value. Raises `CompletionFailed` when it cannot be had."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors whose closeness is closeness of meaning."""

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """One vector of length 1 for each, all of the same dimensions.

        `query`: they are questions, which some models treat otherwise than passages. `texts` may be
        more than a server takes at once. Raises what `Speaker.speak` raises.
        """
        ...


class Reranker(Protocol):
    """Tells how well passages answer a question."""

    async def rerank(self, query: str, passages: Sequence[str]) -> list[float]:
        """A score from 0 to 1 for each passage. Raises what `Speaker.speak` raises."""
        ...


class Kit(Struct, frozen=True):
    """The ports one turn is given."""

    model: ModelChoice
    side_model: ModelChoice
    """Asked for titles and suggestions."""
    tools: tuple[Tool, ...] = ()
    """Their names differ."""
    speaker: Speaker | None = None
    """None for an app whose answers are not spoken while they are written."""
    moderator: Moderator | None = None
    """None for an app that asks no service; keywords need none."""
    extensions: Mapping[str, Extension] = {}
    """Those that fill its variables, by variable."""


class BlobStore(Protocol):
    """Where the bytes of files lie, by key: a path of ASCII letters, digits, `-`, `.` and `/`.

    Every method raises `BlobsUnavailable` when the store cannot be reached, is full or does not
    answer in time, `BlobsForbidden` when it does not let us in, and `ValueError` for what is no
    key. It needs no closing.
    """

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep the pieces, joined, under a new key, as they come; how many bytes they were.

        It never holds more than a few megabytes of them, and returns when they would outlast a
        loss of power. When `pieces` raises, or the caller is cancelled, nothing is kept and what
        it raised is raised here. Raises `BlobTooLarge` too.
        """
        ...

    def get(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, or up to their end, piece by piece.

        Raises `NotFound`, before the first piece.
        """
        ...

    async def read(self, key: str) -> bytes:
        """All of it at once, for what is known to be small. Raises `NotFound`."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove them; those that are not there are no error."""
        ...

    def list_keys(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """Every key below the prefix, which ends where a part of the key does, and its bytes.

        They are asked for as they are taken, a thousand at a time.
        """
        ...

    async def link(self, key: str, seconds: int, content_type: str, disposition: str) -> str | None:
        """An address where a browser gets it straight from the store for so long, if it has any.

        It answers with these headers. Whether the key is there is not asked.
        """
        ...

    async def check(self) -> None:
        """Find out whether the store can be used, writing and removing a small object."""
        ...

    async def tidy(self, before: datetime) -> int:
        """Remove what is left of uploads a dead process began before this time; how many.

        Cloud stores do this by a rule of the bucket, and nothing is removed here.
        """
        ...


class Fetched(Protocol):
    """A file at somebody's address, its head known, its body still to come."""

    @property
    def url(self) -> str:
        """Where it was found in the end, after redirects."""
        ...

    @property
    def content_type(self) -> str:
        """As the server says, in lower case without parameters; "" when it does not."""
        ...

    @property
    def name(self) -> str:
        """As the server or the address says, without directories, else unchecked; may be ""."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, once.

        Raises `FetchRefused` when it is slow or broken, and `FileTooLarge`.
        """
        ...


class Fetcher(Protocol):
    """The way to an address that the operator did not choose."""

    def fetch(self, url: str, limit: int) -> AbstractAsyncContextManager[Fetched]:
        """Ask for the file there, of at most `limit` bytes; leaving closes the connection.

        Raises `FetchRefused`, with a sentence that can be shown to whoever named the address, when
        it is not public or not valid, or cannot be reached, and `FileTooLarge` when its server says
        that it has more bytes.
        """
        ...
