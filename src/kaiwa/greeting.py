"""What the operator reads once the server listens; at the first start, with a demo app to ask."""

import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Final
from uuid import UUID

import anyio

from kaiwa import __version__
from kaiwa.app import House
from kaiwa.desk import apply_files, make_key, read_text
from kaiwa.domain.knowledge import ChunkRule, KnowledgeBase
from kaiwa.errors import KaiwaError, OperatorError
from kaiwa.library import Adding, Source, create, wait_for
from kaiwa.plain import say
from kaiwa.settings import Settings
from kaiwa.store.apps import has_had_apps, list_apps
from kaiwa.store.documents import list_standing
from kaiwa.store.knowledge import find_base_by_name
from kaiwa.store.tables import DEFAULT_WORKSPACE

_PACKAGE = Path(__file__).parent
_BASE: Final = "Kaiwa guide"
_PARAGRAPHS: Final = ChunkRule(mode="custom")
"""Each of the short text's is found by itself."""
_PATIENCE_SECONDS: Final = 5
"""How long the first words wait for the guide to be indexed."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def greet(house: House, port: int) -> str:
    """What is said as soon as the server listens."""
    db = house.context.db
    lines = [f"Kaiwa {__version__} serves {_url(house.settings.host, port)}/v1"]
    lines.append(await _model_line(house))
    if await has_had_apps(db):
        command = _command(house.settings)
        apps = await list_apps(db)
        name = shlex.quote(apps[0].name) if len(apps) == 1 else "APP"
        lines.append(f"Make a key with: {command} key create {name}")
        if len(apps) != 1:
            lines.append(f"List the apps with: {command} app list")
    return "\n".join(lines)


async def make_demo(house: House, port: int) -> str:
    """Where there has never been an app: one that answers from the guide, and a key for it.

    What is said about it; empty where there is nothing to do. What a start that was broken off has
    made is taken up by the next one.
    """
    db = house.context.db
    try:
        if await has_had_apps(db):
            return ""
        documents = await _fill(house, await _open_base(house))
        text = read_text(_find("examples", "demo.yml"))
        [(_, demo, _)] = await apply_files(db, {"demo.yml": text}, house.settings)
        key = await make_key(db, demo)
    except (KaiwaError, OperatorError) as error:
        return f"The demo app cannot be made; the next start tries again. {say(error)}"
    url, command = _url(house.settings.host, port), _command(house.settings)
    lines = [
        f"Made the demo app {demo.name!r}; its key, shown this once: {key}",
        *_delay_lines(documents, house.settings),
        "Ask it something:",
        "",
        f"  curl -N {url}/v1/chat-messages \\",
        f"    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\",
        """    -d '{"query": "What is Kaiwa?", "user": "me", "response_mode": "streaming"}'""",
        "",
        f"Or talk to it in the terminal: {command} chat {shlex.quote(demo.name)}",
    ]
    return "\n".join(lines)


async def _open_base(house: House) -> KnowledgeBase:
    """It is found by words alone, so that it needs no model."""
    db = house.context.db
    if found := await find_base_by_name(db, DEFAULT_WORKSPACE, _BASE):
        return found
    return await create(db, _BASE, "How to use Kaiwa.", "", economy=True)


async def _fill(house: House, base: KnowledgeBase) -> Counter[str]:
    """How its documents stand after a while: how many have which status."""
    db, about = house.context.db, _find("examples", "about.md")
    ids: list[UUID] = []
    for file in (about, *sorted(_find("docs", "guide").glob("*.md"))):
        adding = Adding(house, base, _PARAGRAPHS if file == about else ChunkRule())
        _, document = await adding.take(Source(str(file.resolve()), file))
        ids.append(document.id)
        house.workshop.wake()
    if house.settings.ingest_at_once:
        with anyio.move_on_after(_PATIENCE_SECONDS):
            await wait_for(db, ids, lambda _: None)
    return Counter([one.status for one in (await list_standing(db, ids)).values()])


def _delay_lines(found: Counter[str], settings: Settings) -> list[str]:
    """Why it does not know everything yet, and what is to be done."""
    command = _command(settings)
    if failed := found["error"]:
        return [f"{failed} of its documents failed: {command} knowledge status {_BASE!r} says why."]
    if found.total() == found["completed"]:
        return []
    if settings.ingest_at_once:
        return ["Its documents are still being indexed; until then it does not find everything."]
    return [f"Its documents wait for a worker, as ingest_at_once is 0: {command} worker"]


async def _model_line(house: House) -> str:
    model = await house.catalog.default_name()
    if model == "quoting/quoting":
        return (
            "No model is connected, so apps answer by quoting their own text;"
            " set OPENAI_API_KEY or start Ollama for a real one."
        )
    return f"Default model: {model}"


def _url(host: str, port: int) -> str:
    host = _EVERYWHERE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _command(settings: Settings) -> str:
    """How to call this program again, for the same data."""
    program = sys.argv[0]
    if shutil.which("kaiwa") == str(Path(program).absolute()):
        program = "kaiwa"
    given = ["--data", settings.data] if settings.data != Settings().data else []
    return shlex.join([program, *given])


def _find(*parts: str) -> Path:
    """A file that ships with the package, or stands beside it in a checkout."""
    inside = _PACKAGE.joinpath(*parts)
    return inside if inside.exists() else _PACKAGE.parents[1].joinpath(*parts)
