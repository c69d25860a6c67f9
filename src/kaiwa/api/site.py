"""What every handler is given."""

from collections.abc import Awaitable, Callable, Sequence

from anyio import Semaphore
from litestar import Request
from litestar.datastructures import State
from msgspec import Struct

from kaiwa.api.guesses import Guesses
from kaiwa.api.wire import Link
from kaiwa.chat.order import Context
from kaiwa.domain.app import AgentConfig
from kaiwa.domain.file import StoredFile
from kaiwa.domain.knowledge import KnowledgeBase, Passage, RetrievalSettings
from kaiwa.files.extract import Extractor
from kaiwa.files.keeping import Keeper
from kaiwa.files.links import Links
from kaiwa.files.recordings import Recordings
from kaiwa.ports import BlobStore, Speaker, Tool, Transcriber
from kaiwa.store.db import Database

ApiRequest = Request[object, object, State]


SearchKnowledge = Callable[
    [str, Sequence[KnowledgeBase], RetrievalSettings], Awaitable[list[Passage]]
]
Embed = Callable[[KnowledgeBase, Sequence[str]], Awaitable[list[bytes | None]]]
"""Vectors as they are kept; None where the base has none."""


class ApiSettings(Struct, frozen=True):
    """The settings that the contract's handlers need; times in seconds."""

    ping: float = 10
    patience: float = 10
    """How long one write to a client may take before it counts as one that has left."""
    public_url: str = ""
    """The server's address as browsers see it, without a slash at its end; may be empty."""
    presigned: bool = False
    """Whether links to files lead straight to the store."""
    longest_speech: int = 20_000
    """Characters of one text that is read aloud."""


class Listening(Struct, frozen=True):
    """Who listens to recordings, if anybody does, and for how long in seconds."""

    recordings: Recordings
    transcriber: Transcriber | None
    seconds: float

    @property
    def takes(self) -> frozenset[str]:
        return self.transcriber.takes if self.transcriber else frozenset()


class Site(Struct, frozen=True):
    """The running server, as its handlers see it."""

    context: Context
    settings: ApiSettings
    guesses: Guesses
    keeper: Keeper
    blobs: BlobStore
    links: Links
    extractor: Extractor
    listening: Listening
    open_tools: Callable[[AgentConfig], Awaitable[tuple[Tool, ...]]]
    speaker: Speaker | None
    """None when there is no voice."""
    speaking: Semaphore
    """How many texts may still be begun to be read aloud."""
    search_knowledge: SearchKnowledge
    embed: Embed
    wake_workshop: Callable[[], None]
    """Have documents that wait be worked on at once."""
    embedding: tuple[str, str] = ("", "")
    """Provider and model of new bases that name none; empty: they are found by words alone."""

    @property
    def db(self) -> Database:
        return self.context.db


def base_of(request: ApiRequest) -> str:
    """The server's address, as the one who asks sees it."""
    return site_of(request).settings.public_url or str(request.base_url).rstrip("/")


def linking(request: ApiRequest) -> Link:
    """Makes links to files for the one who asks."""
    site = site_of(request)

    def link(file: StoredFile, *, made: bool = False) -> str:
        now = site.context.clock().timestamp()
        return site.links.make(base_of(request), file, now, made=made)

    return link


def site_of(request: ApiRequest) -> Site:
    """The running server behind a request."""
    site = request.app.state.site
    assert isinstance(site, Site)
    return site
