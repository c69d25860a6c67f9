"""Looks at an installation and says how it is; leaves everything as it was."""

import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import msgspec
from anyio import to_thread
from msgspec import Struct

from kaiwa import __version__
from kaiwa.app import (
    find_storage,
    list_guard_notes,
    make_catalog,
    name_folder,
    open_database,
    read_schema,
)
from kaiwa.bases import KnowledgeState, examine_bases
from kaiwa.domain.app import AppConfig
from kaiwa.errors import KaiwaError, OperatorError
from kaiwa.files.links import check_secret
from kaiwa.plain import say
from kaiwa.providers.blobs.opening import FILES
from kaiwa.providers.catalog import Catalog, ServerState
from kaiwa.providers.extensions import Extensions, ExtensionState
from kaiwa.providers.http import Operator
from kaiwa.providers.openai_server import find_server
from kaiwa.providers.tools.services import Services, ServiceState
from kaiwa.providers.tools.web_search import check_search
from kaiwa.providers.transcription.opening import name_transcriber, open_transcriber
from kaiwa.providers.voices import choose_voice, open_voice
from kaiwa.settings import Settings
from kaiwa.store.apps import get_config, list_apps
from kaiwa.store.db import measure
from kaiwa.store.keys import list_keys
from kaiwa.store.tables import SCHEMA

_MASK = "***"
_OPEN_OPTIONS = {
    "kind", "base_url", "aliases", "retry_wait", "organization", "project", "timeout", "endpoint",
}  # fmt: skip
"""Options of model servers and of services that hold no secret."""


class Setting(Struct, frozen=True):
    """A value in force, its secrets masked."""

    value: object
    source: str


class Folder(Struct, frozen=True):
    """The data folder."""

    path: str
    exists: bool
    free_bytes: int | None


class DatabaseState(Struct, frozen=True, kw_only=True):
    """The database as it was found."""

    engine: str
    reachable: bool
    schema: str | None = None
    up_to_date: bool = False
    size_bytes: int | None = None
    journal: str | None = None
    apps: int | None = None
    speaking_apps: int = 0
    keys: int | None = None


class Storage(Struct, frozen=True):
    """Where files lie."""

    place: str
    state: str
    """`usable`, `not usable` or `not there yet`."""


class Report(Struct, frozen=True):
    """All that was found."""

    version: str
    python: str
    settings: dict[str, Setting]
    data: Folder
    database: DatabaseState
    storage: Storage
    model_servers: list[ServerState]
    default_model: str | None
    search_engine: str
    """`reachable`, `not reachable` or `not set up`."""
    voice: str
    """`espeak`, a `provider/model`, or `none`."""
    services: list[ServiceState]
    """The operator's own, that offer tools."""
    listener: str
    """What writes down recordings, as `provider/model`; empty when nothing does."""
    extensions: list[ExtensionState]
    """The operator's own, that moderate and fill variables."""
    knowledge: KnowledgeState | None
    """None when it cannot be looked at."""
    problems: list[str]
    """What has to be mended."""


async def examine(settings: Settings, sources: Mapping[str, str]) -> Report:
    """`sources` tells where settings that are not the default stand. Raises `OperatorError`."""
    problems: list[str] = []
    folder = await to_thread.run_sync(_look_at, name_folder(settings), settings, problems)
    database = await _examine_database(settings, problems)
    storage = await _examine_storage(settings, problems)
    servers, default_model, listener = await _examine_servers(settings, problems)
    search = await _examine_search(settings, problems)
    voice = await _examine_voice(settings, database.speaking_apps, problems)
    services = await _examine_services(settings, problems)
    extensions = await _examine_extensions(settings, problems)
    knowledge = await _examine_knowledge(settings, database, problems)
    shown = {
        name: Setting(_masked(name, getattr(settings, name)), sources.get(name, "default"))
        for name in settings.__struct_fields__
    }
    python = platform.python_version()
    return Report(
        __version__,
        python,
        shown,
        folder,
        database,
        storage,
        servers,
        default_model,
        search,
        voice,
        services,
        listener,
        extensions,
        knowledge,
        problems,
    )


def tell(report: Report) -> str:
    """The report as a screen of text."""
    return "\n".join(_lines(report))


def _look_at(folder: Path, settings: Settings, problems: list[str]) -> Folder:
    try:
        if not settings.secret_key:
            check_secret(folder)
    except OperatorError as error:
        problems.append(say(error))
    try:
        exists = folder.is_dir()
        if folder.exists() and not exists:
            problems.append(f"The data folder {folder} is a file; name a folder.")
        elif exists and not settings.database_url and not os.access(folder, os.W_OK | os.X_OK):
            problems.append(f"The data folder {folder} may not be written.")
        there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        return Folder(str(folder), exists, shutil.disk_usage(there).free)
    except OSError as error:
        problems.append(f"The data folder {folder} cannot be read: {error.strerror}.")
        return Folder(str(folder), False, None)


async def _examine_database(settings: Settings, problems: list[str]) -> DatabaseState:
    engine = "PostgreSQL" if settings.database_url else "SQLite"
    try:
        schema = await read_schema(settings)
        if schema != SCHEMA:  # to open it would make or migrate it
            return DatabaseState(engine=engine, reachable=True, schema=schema)
        db = await open_database(settings)
        try:
            size, journal = await measure(db)
            apps, keys = await list_apps(db), await list_keys(db, None)
            configs = {app.name: await get_config(db, app.id, app.config_id) for app in apps}
        finally:
            await db.close()
    except (OperatorError, KaiwaError) as error:
        problems.append(say(error))
        return DatabaseState(engine=engine, reachable=False)
    await _examine_guards(configs, settings, problems)
    return DatabaseState(
        engine=engine,
        reachable=True,
        schema=schema,
        up_to_date=True,
        size_bytes=size,
        journal=journal,
        apps=len(apps),
        speaking_apps=sum(config.speech is not None for config in configs.values()),
        keys=sum(key.revoked_at is None for key in keys),
    )


async def _examine_guards(
    configs: Mapping[str, AppConfig], settings: Settings, problems: list[str]
) -> None:
    try:
        for name, config in configs.items():
            notes = await list_guard_notes(settings, config)
            problems += [f"In the app {name}, {note}." for note in notes]
    except OperatorError:
        return  # told where model servers and extensions are looked at


async def _examine_storage(settings: Settings, problems: list[str]) -> Storage:
    place = _masked_url(settings.storage_url) or str(name_folder(settings) / FILES)
    try:
        blobs = await to_thread.run_sync(find_storage, settings)
        if blobs is None:
            return Storage(place, "not there yet")
        await blobs.check()
    except (OperatorError, KaiwaError) as error:
        problems.append(say(error))
        return Storage(place, "not usable")
    return Storage(place, "usable")


async def _examine_servers(
    settings: Settings, problems: list[str]
) -> tuple[list[ServerState], str | None, str]:
    """How the model servers are; the default model; what listens."""
    http = Operator(settings.connect_timeout)
    try:
        catalog = make_catalog(settings, http)
        await catalog.open_servers()
        states = await catalog.check_servers()
        default_model = await catalog.default_name()
        listener = await _examine_listener(settings, catalog, http, problems)
    except OperatorError as error:
        problems.append(say(error))
        return [], None, ""
    finally:
        await http.close()
    full_names = (
        settings.image_model,
        settings.speech_model,
        settings.transcription_model,
        settings.embedding_model,
        settings.rerank_model,
    )
    named = {catalog.find_entry(each.partition("/")[0]) for each in full_names if each}
    problems += [
        f"The model server {state.name} cannot be used: {state.problem}."
        for state in states
        if state.problem and (state.needed or state.name in named)
    ]
    if settings.image_model:
        try:
            find_server(catalog, http, "image_model", settings.image_model)
        except OperatorError as error:
            problems.append(say(error))
    return states, default_model, listener


async def _examine_listener(
    settings: Settings, catalog: Catalog, http: Operator, problems: list[str]
) -> str:
    try:
        await open_transcriber(settings.transcription_model, catalog, http)
    except OperatorError as error:
        problems.append(say(error))
        return ""
    return name_transcriber(settings.transcription_model, catalog)


async def _examine_search(settings: Settings, problems: list[str]) -> str:
    address, key = settings.search_url, settings.search_api_key
    if not address and not key:
        return "not set up"
    http = Operator(settings.connect_timeout)
    try:
        problem = await check_search(http, address, key)
    finally:
        await http.close()
    if problem is None:
        return "reachable"
    problems.append(f"The search engine cannot be used: {problem}.")
    return "not reachable"


async def _examine_voice(settings: Settings, speaking: int, problems: list[str]) -> str:
    """`speaking`: how many apps need one."""
    http = Operator(settings.connect_timeout)
    try:
        catalog = make_catalog(settings, http)
        name = await choose_voice(settings.speech_model, catalog)
        if name:
            await open_voice(name, catalog, http)
        elif speaking:
            problems.append(
                f"There is no voice for the apps that speak ({speaking}): install espeak-ng"
                " (apt-get install espeak-ng), set OPENAI_API_KEY, or name a voice as speech_model."
            )
    except OperatorError as error:
        if (problem := say(error)) not in problems:  # one of the servers themselves is told above
            problems.append(problem)
        return "none"
    finally:
        await http.close()
    return name or "none"


async def _examine_services(settings: Settings, problems: list[str]) -> list[ServiceState]:
    http = Operator(settings.connect_timeout)
    try:
        async with Services(settings.tools, http) as services:
            states = await services.check()
    except OperatorError as error:
        problems.append(say(error))
        return []
    finally:
        await http.close()
    problems += [
        f"The service {one.name} cannot be used: {one.problem}." for one in states if one.problem
    ]
    return states


async def _examine_extensions(settings: Settings, problems: list[str]) -> list[ExtensionState]:
    http = Operator(settings.connect_timeout)
    try:
        states = await Extensions(settings.extensions, http, settings.tool_timeout).check()
    except OperatorError as error:
        problems.append(say(error))
        return []
    finally:
        await http.close()
    problems += [
        f"The extension {one.name} cannot be used: {one.problem}." for one in states if one.problem
    ]
    return states


async def _examine_knowledge(
    settings: Settings, database: DatabaseState, problems: list[str]
) -> KnowledgeState | None:
    try:
        return await examine_bases(settings, problems, there=database.up_to_date)
    except (OperatorError, KaiwaError) as error:
        problems.append(say(error))
        return None


def _masked(name: str, value: object) -> object:
    if name in ("secret_key", "search_api_key") and value:
        return _MASK
    if name in ("database_url", "storage_url", "search_url"):
        return _masked_url(str(value))
    if name in ("providers", "tools", "extensions"):
        entries = cast("Mapping[str, Mapping[str, object]]", value)
        return {
            entry: {option: _shown(option, given) for option, given in options.items()}
            for entry, options in entries.items()
        }
    return msgspec.to_builtins(value)


def _shown(option: str, given: object) -> object:
    if option not in _OPEN_OPTIONS:
        return _MASK
    return _masked_url(given) if isinstance(given, str) else given


def _masked_url(text: str) -> str:
    text = re.sub(r"(://[^:@/]*:).*@", rf"\1{_MASK}@", text)
    return re.sub(r"(password=)[^&]*", rf"\1{_MASK}", text, flags=re.IGNORECASE)


def _lines(report: Report) -> Iterator[str]:
    yield f"Kaiwa {report.version}, Python {report.python}"
    yield "\nSettings"
    width = max(map(len, report.settings))
    for name, setting in report.settings.items():
        text = setting.value
        shown = text if isinstance(text, str) else msgspec.json.encode(text).decode()
        yield f"  {name:<{width}}  {shown or 'none'}  ({setting.source})"
    state = "" if report.data.exists else ", not there yet"
    yield f"\nData folder {report.data.path}{state}; {_size(report.data.free_bytes)} free"
    yield _database_line(report.database)
    yield f"Files in {report.storage.place}: {report.storage.state}"
    yield "\nModel servers"
    for server in report.model_servers:
        yield f"  {server.name}: {server.problem or server.state}"
    yield f"  default model: {report.default_model or 'unknown'}"
    yield f"Search engine: {report.search_engine}"
    yield f"Voice: {report.voice}"
    yield f"Listens: {report.listener or 'nothing'}"
    for service in report.services:
        yield f"Service {service.name} ({service.kind}): {service.problem or 'reachable'}"
    for extension in report.extensions:
        yield f"Extension {extension.name}: {extension.problem or 'reachable'}"
    if report.knowledge:
        yield from _knowledge_lines(report.knowledge)
    yield ""
    yield from (f"Problem: {problem}" for problem in report.problems)
    if not report.problems:
        yield "Nothing needs mending."


def _knowledge_lines(found: KnowledgeState) -> Iterator[str]:
    failed = f", {found.failed} of them failed" if found.failed else ""
    yield f"Knowledge: {found.bases} bases, {found.documents} documents{failed}"
    alone = "nothing: new bases are found by the words they share with a question, not by meaning"
    yield f"  compares by meaning: {found.embeds or alone}"
    yield f"  ranks: {found.ranks or 'nothing'}"


def _database_line(found: DatabaseState) -> str:
    start = f"Database {found.engine}"
    if not found.reachable:
        return f"{start}: cannot be used"
    if found.schema is None:
        return f"{start}: not there yet; the first start makes it"
    if not found.up_to_date:
        return f"{start}: schema {found.schema}; the next start or kaiwa migrate brings it up"
    journal = f", journal {found.journal}" if found.journal else ""
    return (
        f"{start}: reachable, schema {found.schema} is current, {_size(found.size_bytes)}{journal};"
        f" {found.apps} apps, {found.keys} working keys"
    )


def _size(count: int | None) -> str:
    if count is None:
        return "unknown"
    if count < 1_000_000_000:
        return f"{count / 1_000_000:.1f} MB"
    return f"{count / 1_000_000_000:.1f} GB"
