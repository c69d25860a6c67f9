"""Where the parts meet: opens and closes everything, in order."""

import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from uuid import UUID

import anyio
import anyio.to_thread
import uuid_utils.compat
from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.types import ASGIApp

from kaiwa.api import faults, openapi, routes
from kaiwa.api.guesses import Guesses
from kaiwa.api.headers import StampResponses
from kaiwa.api.site import ApiSettings, Listening, Site
from kaiwa.chat.agent import ToolLimits
from kaiwa.chat.files import FileRoom
from kaiwa.chat.guard import Checks
from kaiwa.chat.order import Context
from kaiwa.chat.running import Running, TurnLimits
from kaiwa.domain.app import AppConfig
from kaiwa.domain.file import StoredFile
from kaiwa.domain.knowledge import KnowledgeBase, Passage, RetrievalSettings
from kaiwa.domain.usage import Price
from kaiwa.errors import OperatorError
from kaiwa.files.extract import Extractor
from kaiwa.files.keeping import Keeper, SizeLimits
from kaiwa.files.kinds import UNKNOWN_MIME_TYPE, Kind
from kaiwa.files.links import Links, find_secret
from kaiwa.files.parsers.wire import Limits
from kaiwa.files.recordings import Recordings
from kaiwa.files.sounds.wire import Limits as SoundLimits
from kaiwa.knowledge.embedding import embed_written
from kaiwa.knowledge.ingest import Ingest
from kaiwa.knowledge.search import SearchMeans, search
from kaiwa.knowledge.shelf import Shelf
from kaiwa.knowledge.workshop import Workshop
from kaiwa.ports import BlobStore, Clock, Fetcher, Kit, Speaker, Transcriber
from kaiwa.providers.addresses import Network
from kaiwa.providers.blobs.opening import FILES, open_blobs
from kaiwa.providers.catalog import Catalog, price_per_million
from kaiwa.providers.comparing import Comparers, split_model
from kaiwa.providers.extensions import Extensions
from kaiwa.providers.guarded import Guarded
from kaiwa.providers.http import Operator
from kaiwa.providers.moderation.moderators import Moderators
from kaiwa.providers.tools.builtin import BuiltinTools
from kaiwa.providers.tools.means import Means
from kaiwa.providers.tools.services import Services, ServiceTools
from kaiwa.providers.tools.toolbox import Toolbox
from kaiwa.providers.transcription.opening import open_transcriber
from kaiwa.providers.voices import choose_voice, open_voice
from kaiwa.settings import PriceSetting, Settings
from kaiwa.store.db import Database
from kaiwa.store.messages import beat, checkpoint_messages
from kaiwa.store.postgres import open_postgres, read_postgres_schema
from kaiwa.store.sqlite import open_sqlite, read_sqlite_schema
from kaiwa.store.tables import SCHEMA
from kaiwa.web import pages
from kaiwa.worker import UpkeepSettings, keep_up

logger = logging.getLogger(__name__)

_FILE = "kaiwa.db"
DOCUMENT_LIMITS = Limits(seconds=300, text=50_000_000)
"""For documents that are to be searched: nobody waits for them with a question."""


def now() -> datetime:
    """The time, aware and UTC."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid_utils.compat.uuid7()


def data_folder(settings: Settings) -> Path:
    """The data folder, made when it is missing. Raises `OperatorError`."""
    folder = name_folder(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OperatorError(f"The data folder {settings.data} is a file; name a folder.") from error
    except OSError as error:
        raise OperatorError(
            f"The data folder {settings.data} cannot be made: {error.strerror}."
        ) from error
    except ValueError as error:  # a name no file can have
        raise OperatorError(f"The data folder {settings.data!r} cannot be: {error}.") from error
    return folder


def name_folder(settings: Settings) -> Path:
    """Where the data folder is or would be. Raises `OperatorError`."""
    try:
        return Path(settings.data).expanduser()
    except RuntimeError as error:  # an unknown ~user
        raise OperatorError(f"The data folder {settings.data!r} cannot be: {error}.") from error


async def open_database(settings: Settings, *, patience: float | None = None) -> Database:
    """The database of this installation, at the newest schema; a unit may take `patience` seconds.

    Raises `OperatorError`.
    """
    if settings.database_url:
        return await open_postgres(
            settings.database_url,
            writers=settings.database_writers,
            readers=settings.database_readers,
            patience=patience,
        )
    return await open_sqlite(data_folder(settings) / _FILE, patience=patience)


def _model_links(settings: Settings, house: "House") -> Callable[[StoredFile], str] | None:
    """Raises `OperatorError`."""
    if settings.send_pictures != "links":
        return None
    if not settings.public_url:
        raise OperatorError("The setting send_pictures = links needs public_url to be set too.")
    base = settings.public_url.rstrip("/")
    return lambda file: house.links.make(base, file, house.clock().timestamp())


async def _find_key(settings: Settings) -> str:
    """What signs links to files. Raises `OperatorError`."""
    if settings.secret_key:
        return settings.secret_key
    return await anyio.to_thread.run_sync(find_secret, data_folder(settings))


def _read_networks(settings: Settings) -> list[Network]:
    try:
        return [ip_network(name) for name in settings.fetch_networks]
    except ValueError as error:
        raise OperatorError(f"The setting fetch_networks is wrong: {error}.") from error


def open_storage(settings: Settings) -> BlobStore:
    """Where this installation's files lie; nothing is asked of it yet. Raises `OperatorError`."""
    folder = name_folder(settings) if settings.storage_url else data_folder(settings)
    return open_blobs(settings.storage_url, folder)


def find_storage(settings: Settings) -> BlobStore | None:
    """The same with nothing made: None when it is a folder that is not there yet."""
    if not settings.storage_url and not os.path.exists(name_folder(settings) / FILES):
        return None
    return open_storage(settings)


async def read_schema(settings: Settings) -> str | None:
    """The schema of the database as it is, nothing made or migrated; None when there is none yet.

    Raises `OperatorError`, also for a schema that only a newer Kaiwa knows.
    """
    if settings.database_url:
        found = await read_postgres_schema(settings.database_url)
    else:
        found = await anyio.to_thread.run_sync(read_sqlite_schema, name_folder(settings) / _FILE)
    if found is not None and found > SCHEMA:
        raise OperatorError(
            f"The database has the schema {found}, which this version of Kaiwa does not know; use"
            " the newer version that wrote it."
        )
    return found


class House:
    """Everything that is open while Kaiwa runs; an async context manager."""

    context: Context
    catalog: Catalog
    blobs: BlobStore
    links: Links
    keeper: Keeper
    extractor: Extractor
    toolbox: Toolbox
    speaker: Speaker | None
    """None when there is no voice."""
    transcriber: Transcriber | None
    moderators: Moderators
    comparers: Comparers
    search: SearchMeans
    workshop: Workshop
    fetcher: Fetcher

    def __init__(
        self,
        settings: Settings,
        timer: Callable[[], float] = time.monotonic,
        clock: Clock = now,
    ) -> None:
        """`timer` in seconds, never running back; `clock` may leap."""
        self.settings = settings
        self.clock = clock
        self.timer = timer
        self._open = AsyncExitStack()

    async def __aenter__(self) -> "House":
        try:
            await self._enter()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def _enter(self) -> None:
        settings = self.settings
        db = await open_database(settings, patience=settings.database_timeout)
        self._open.push_async_callback(db.close)
        http = Operator(settings.connect_timeout)
        self._open.push_async_callback(http.close)
        self.blobs = open_storage(settings)
        self.fetcher = guarded = Guarded(_read_networks(settings))
        self._open.push_async_callback(guarded.close)
        limits = SizeLimits(
            settings.image_limit,
            settings.document_limit,
            settings.audio_limit,
            settings.video_limit,
        )
        self.links = Links(await _find_key(settings), settings.file_link_seconds)
        self.keeper = Keeper(db, self.blobs, guarded, limits, self.clock, new_id)
        self.extractor = Extractor(Limits())
        self.catalog = make_catalog(settings, http)
        self.moderators = make_moderators(settings, self.catalog, http)
        await self.catalog.open_servers()
        self.speaker = await find_speaker(settings, self.catalog, http)
        self.transcriber = await open_transcriber(settings.transcription_model, self.catalog, http)
        self.comparers = Comparers(self.catalog, http, settings.rerank_model)
        self.search = SearchMeans(
            db,
            Shelf(settings.knowledge_memory),
            self.comparers.embedder,
            self.comparers.reranker,
        )
        services = await self._open.enter_async_context(Services(settings.tools, http))
        self.toolbox = make_toolbox(
            settings, self.catalog, services, self.extractor, http, guarded, self.clock
        )

        running = Running(
            _turn_limits(settings), partial(checkpoint_messages, db), partial(beat, db)
        )
        upkeep = await self._open.enter_async_context(anyio.create_task_group())
        self._open.callback(upkeep.cancel_scope.cancel)
        wanted = _upkeep_settings(settings)
        upkeep.start_soon(keep_up, db, self.blobs, self.clock, wanted, running.message_ids)
        self.workshop = self._make_workshop(db)
        if settings.ingest_at_once:
            upkeep.start_soon(self.workshop.run)
        await self._open.enter_async_context(running)
        room = FileRoom(
            self.keeper, self.blobs, self.extractor, new_id, _model_links(settings, self)
        )
        self.context = Context(
            db, self.clock, new_id, new_id(), running, self.kit_for, room,
            ToolLimits(settings.tool_timeout), settings.speech_patience,
            Checks(settings.moderation_timeout, settings.log_flagged), self.search,
        )  # fmt: skip

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    def _make_workshop(self, db: Database) -> Workshop:
        # Documents that people wait for in a conversation do not wait for these.
        at_once = self.settings.ingest_at_once or 1
        extractor = Extractor(DOCUMENT_LIMITS, at_once, 0)
        ingest = Ingest(db, self.blobs, extractor, self.comparers.embedder, self.clock, new_id)
        silence = self.settings.abandoned_after
        return Workshop(db, ingest, self.clock, new_id, at_once=at_once, silence=silence)

    async def kit_for(self, config: AppConfig) -> Kit:
        """The ports for one turn with this configuration. Raises `ProviderNotInitialized`."""
        model = await self.catalog.choose(config.model.provider, config.model.name)
        side = model
        if self.settings.default_model:
            side = await self.catalog.choose_default()
        tools = await self.toolbox.open(config.agent) if config.agent else ()
        speaks = config.speech is not None and config.speech.auto_play
        return Kit(
            model,
            side,
            tools,
            speaker=self.speaker if speaks else None,
            moderator=self.moderators.open(config.moderation),
            extensions=self.moderators.open_sources(config),
        )


def build(house: House) -> ASGIApp:
    """The ASGI app of an open house."""
    settings = house.settings
    guesses = Guesses(settings.failed_keys, settings.failed_keys_window, house.timer)
    app = Litestar(
        route_handlers=[*routes.handlers(), openapi.handler(), *pages.handlers()],
        exception_handlers=faults.handlers(),
        cors_config=CORSConfig(
            allow_origins=list(settings.origins),
            allow_methods=["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"],
            allow_headers=["Content-Type", "Authorization", "X-App-Code"],
            expose_headers=["X-Version", "X-Request-Id", "X-Task-Id", "Retry-After"],
        ),
        openapi_config=None,
        request_max_body_size=settings.body_limit,
        state=State({"site": _site(house, guesses)}),
        logging_config=None,
    )
    return StampResponses(app)


def _site(house: House, guesses: Guesses) -> Site:
    settings = house.settings
    return Site(
        context=house.context,
        settings=ApiSettings(
            ping=settings.ping_interval,
            patience=settings.write_timeout,
            public_url=settings.public_url.rstrip("/"),
            presigned=settings.presigned_links,
            longest_speech=settings.speech_limit,
        ),
        guesses=guesses,
        keeper=house.keeper,
        blobs=house.blobs,
        links=house.links,
        extractor=house.extractor,
        listening=Listening(
            Recordings(settings.transcription_limit, SoundLimits()),
            house.transcriber,
            settings.first_token_timeout,
        ),
        open_tools=house.toolbox.open,
        search_knowledge=partial(_search, house.search),
        embed=partial(embed_written, open_embedder=house.comparers.embedder),
        wake_workshop=lambda: house.workshop.wake(),
        embedding=split_model(settings.embedding_model),
        speaker=house.speaker,
        speaking=anyio.Semaphore(settings.speeches_at_once),
    )


async def _search(
    means: SearchMeans, query: str, bases: Sequence[KnowledgeBase], settings: RetrievalSettings
) -> list[Passage]:
    return await search(query, bases, settings, means, own_method=False)


def _turn_limits(settings: Settings) -> TurnLimits:
    return TurnLimits(
        first_token=settings.first_token_timeout,
        between_tokens=settings.token_timeout,
        turn=settings.turn_timeout,
        alive=settings.turns_at_once,
        waiting=settings.waiting_questions,
        wait=settings.waiting_timeout,
        checkpoint=settings.checkpoint_interval,
        beat=min(5.0, settings.abandoned_after / 4),
    )


def _upkeep_settings(settings: Settings) -> UpkeepSettings:
    return UpkeepSettings(
        settings.abandoned_after, settings.purge_after_days, settings.unused_files_after_days
    )


async def find_speaker(settings: Settings, catalog: Catalog, http: Operator) -> Speaker | None:
    """This installation's voice; one that cannot be had is none, for answers need none."""
    name = await choose_voice(settings.speech_model, catalog)
    if not name:
        logger.info("nothing is read aloud: neither OpenAI's key nor espeak-ng is there")
        return None
    try:
        return await open_voice(name, catalog, http)
    except OperatorError as error:
        logger.warning("nothing is read aloud: %s", error)
        return None


def make_toolbox(
    settings: Settings,
    catalog: Catalog,
    services: Services,
    extractor: Extractor,
    http: Operator,
    fetcher: Fetcher,
    clock: Clock,
) -> Toolbox:
    """The tools that agents of this installation can have. Raises `OperatorError`."""

    async def read_document(data: bytes, extension: str) -> str:
        kind = Kind("document", extension, UNKNOWN_MIME_TYPE)
        return (await extractor.extract(data, kind)).text

    means = Means(
        clock=clock,
        http=http,
        fetcher=fetcher,
        read_document=read_document,
        catalog=catalog,
        image_model=settings.image_model,
        search_url=settings.search_url,
        search_api_key=settings.search_api_key,
    )
    theirs = ServiceTools(services)
    return Toolbox({"builtin": BuiltinTools(means), "api": theirs, "mcp": theirs})


@asynccontextmanager
async def open_toolbox(settings: Settings) -> AsyncGenerator[Toolbox]:
    """The same without a house. Raises `OperatorError`."""
    http, guarded = Operator(settings.connect_timeout), Guarded(_read_networks(settings))
    try:
        catalog = make_catalog(settings, http)
        async with Services(settings.tools, http) as services:
            extractor = Extractor(Limits())
            yield make_toolbox(settings, catalog, services, extractor, http, guarded, now)
    finally:
        await guarded.close()
        await http.close()


def make_moderators(settings: Settings, catalog: Catalog, http: Operator) -> Moderators:
    """Who moderates and fills variables in this installation. Raises `OperatorError`."""
    extensions = Extensions(settings.extensions, http, settings.tool_timeout)
    return Moderators(catalog, http, extensions)


async def list_guard_notes(settings: Settings, config: AppConfig) -> list[str]:
    """Lines about services that the app asks for and that are not set up.

    Raises `OperatorError`.
    """
    http = Operator(settings.connect_timeout)
    try:
        return make_moderators(settings, make_catalog(settings, http), http).list_notes(config)
    finally:
        await http.close()


def make_catalog(settings: Settings, http: Operator) -> Catalog:
    """The model servers of these settings and this environment. Raises `OperatorError`."""
    return Catalog(
        http,
        settings.providers,
        os.environ,
        settings.default_model,
        {name: _price(name, price) for name, price in settings.prices.items()},
        settings.context_sizes,
    )


def _price(name: str, price: PriceSetting) -> Price:
    try:
        return price_per_million(price.prompt, price.completion, price.currency)
    except ValueError as error:
        raise OperatorError(
            f"The price of {name} in the settings must be decimal numbers, not"
            f" {price.prompt!r} and {price.completion!r}."
        ) from error
