"""What the operator reads once the server listens; at the first start, with a demo app to ask."""

import shlex
import shutil
import sys
from pathlib import Path

from kaiwa import __version__
from kaiwa.app import House
from kaiwa.desk import apply_files, make_key, read_text
from kaiwa.settings import Settings
from kaiwa.store.apps import has_had_apps, list_apps

_PACKAGE = Path(__file__).parent
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def greet(house: House, port: int) -> str:
    """The text; makes the demo app and a key for it where there has never been an app."""
    db = house.context.db
    url = _url(house.settings.host, port)
    lines = [f"Kaiwa {__version__} serves {url}/v1", await _model_line(house)]
    command = _command(house.settings)
    if await has_had_apps(db):
        apps = await list_apps(db)
        name = shlex.quote(apps[0].name) if len(apps) == 1 else "APP"
        lines.append(f"Make a key with: {command} key create {name}")
        if len(apps) != 1:
            lines.append(f"List the apps with: {command} app list")
        return "\n".join(lines)
    [(_, demo, _)] = await apply_files(db, {"demo.yml": read_text(_demo_file())}, house.settings)
    key = await make_key(db, demo)
    lines += [
        f"Made the demo app {demo.name!r}; its key, shown this once: {key}",
        "Ask it something:",
        "",
        f"  curl -N {url}/v1/chat-messages \\",
        f"    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\",
        """    -d '{"query": "What is Kaiwa?", "user": "me", "response_mode": "streaming"}'""",
        "",
        f"Or talk to it in the terminal: {command} chat {shlex.quote(demo.name)}",
    ]
    return "\n".join(lines)


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


def _demo_file() -> Path:
    inside = _PACKAGE / "examples" / "demo.yml"
    return inside if inside.exists() else _PACKAGE.parents[1] / "examples" / "demo.yml"
