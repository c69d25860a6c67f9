"""The command line. Every command works while a server runs; errors are one sentence and exit 1."""

import hashlib
import logging
import secrets
import string
import sys
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import anyio
import click
from msgspec import structs

from kaiwa import __version__
from kaiwa.app import House, data_folder, new_id, now, open_database
from kaiwa.domain.app import ApiKey, App
from kaiwa.domain.dsl import read_dsl
from kaiwa.errors import KaiwaError, OperatorError
from kaiwa.serve import claim_folder, open_socket, serve
from kaiwa.settings import Settings, load_settings
from kaiwa.store.apps import apply_app, delete_app, find_app, has_had_apps, list_apps
from kaiwa.store.db import Database
from kaiwa.store.keys import create_key, list_keys, revoke_key
from kaiwa.talk import talk

T = TypeVar("T")
_ALPHABET = string.ascii_letters + string.digits
_SHOWN = 8
_TIME = "%Y-%m-%d %H:%M"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", metavar="DIR", help="The folder that holds everything.  [./data]")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="KAIWA_CONFIG",
    help="The settings file.  [./kaiwa.toml, if there is one]",
)
@click.version_option(__version__, prog_name="kaiwa")
@click.pass_context
def cli(context: click.Context, data: str | None, config: Path | None) -> None:
    """Kaiwa serves chat applications.

    Every setting can stand in kaiwa.toml or in a KAIWA_… variable.
    """
    context.obj = partial(load_settings, config, given={"data": data})


@cli.command("serve")
@click.option("--host", help="The address to serve on.  [127.0.0.1]")
@click.option("--port", type=int, help="The port to serve on.  [8000]")
@click.pass_obj
def serve_command(settings: Callable[[], Settings], host: str | None, port: int | None) -> None:
    """Serve the API; the first start makes a demo app and a key for it."""
    found = _with_address(settings(), host, port)
    _run(partial(_serve, found), found)


@cli.group()
def app() -> None:
    """Apps: apply, list, delete."""


@app.command("apply")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def apply_command(settings: Callable[[], Settings], files: Sequence[Path]) -> None:
    """Create or update an app from each FILE and print its id."""
    found = settings()
    for file in files:
        text = _read_text(file)
        applied, reports = _with_database(found, partial(_apply, text, str(file)))
        for report in reports:
            click.echo(f"{file}: {report}", err=True)
        click.echo(applied.id)


@app.command("list")
@click.pass_obj
def list_command(settings: Callable[[], Settings]) -> None:
    """List the apps: id, mode, name."""
    for found in _with_database(settings(), list_apps):
        click.echo(f"{found.id}  {found.mode:<10}  {found.name}")


@app.command("delete")
@click.argument("app", metavar="APP")
@click.pass_obj
def delete_command(settings: Callable[[], Settings], app: str) -> None:
    """Delete the app of this id or name; its keys stop working at once."""

    async def delete(db: Database) -> App:
        found = await _get_app(db, app)
        await delete_app(db, found.id, now())
        return found

    deleted = _with_database(settings(), delete)
    click.echo(f"Deleted {deleted.name} ({deleted.id}).", err=True)


@cli.group()
def key() -> None:
    """Keys of an app's API: create, list, revoke."""


@key.command("create")
@click.argument("app", metavar="APP")
@click.pass_obj
def create_key_command(settings: Callable[[], Settings], app: str) -> None:
    """Make a key for the app of this id or name and print it, this once."""

    async def create(db: Database) -> str:
        return await _make_key(db, await _get_app(db, app))

    click.echo(_with_database(settings(), create))


@key.command("list")
@click.argument("app", metavar="[APP]", required=False)
@click.pass_obj
def list_keys_command(settings: Callable[[], Settings], app: str | None) -> None:
    """List keys by their first characters; the whole key is shown only when it is made."""

    async def listed(db: Database) -> list[ApiKey]:
        return await list_keys(db, (await _get_app(db, app)).id if app else None)

    for found in _with_database(settings(), listed):
        revoked = f"revoked {found.revoked_at:{_TIME}}" if found.revoked_at else "works"
        click.echo(f"{found.prefix}…  {found.created_at:{_TIME}}  {revoked:<24}  {found.app_name}")


@key.command("revoke")
@click.argument("key", metavar="KEY")
@click.pass_obj
def revoke_key_command(settings: Callable[[], Settings], key: str) -> None:
    """Revoke the key of this id, these first characters, or this whole text; it fails at once."""
    ref = key.removesuffix("…")
    ref = ref[:_SHOWN] if ref.startswith("app-") else ref
    revoked = _with_database(settings(), lambda db: revoke_key(db, ref, now()))
    click.echo(f"Revoked {revoked.prefix}… of {revoked.app_name}.", err=True)


@cli.command("chat")
@click.argument("app", metavar="APP")
@click.pass_obj
def chat_command(settings: Callable[[], Settings], app: str) -> None:
    """Talk to the app of this id or name; Ctrl-C stops an answer, Ctrl-D ends the talk."""
    found = settings()
    _set_up_logging("error")
    with _one_sentence():
        talk(House(found), app)


def main() -> None:
    """The entry point; a mistake of the operator becomes one sentence."""
    with _one_sentence():
        cli(standalone_mode=True)


@contextmanager
def _one_sentence() -> Generator[None]:
    """Says what the operator has to mend, and exits with 1."""
    try:
        yield
    except* (OperatorError, KaiwaError) as group:
        click.echo(f"Error: {_first(group)}", err=True)
        sys.exit(1)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


async def _serve(settings: Settings) -> None:
    listener = open_socket(settings.host, settings.port)
    with listener, claim_folder(data_folder(settings)):
        async with House(settings) as house:
            greeting = await _greet(house, listener.getsockname()[1])
            await serve(house, listener, lambda: click.echo(greeting))


async def _greet(house: House, port: int) -> str:
    """What the operator reads once the server listens; makes the demo app at the first start."""
    settings = house.settings
    host = settings.host if settings.host not in ("0.0.0.0", "::") else "127.0.0.1"
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    db = house.context.db
    model = await house.catalog.default_name()
    lines = [f"Kaiwa {__version__} serves {url}/v1", f"Default model: {model}"]
    if await has_had_apps(db):
        lines.append("Make a key with: kaiwa key create APP   (kaiwa app list shows the apps)")
        return "\n".join(lines)
    demo, _ = await _apply(_read_text(_demo_file()), "demo.yml", db)
    made = await _make_key(db, demo)
    lines += [
        f"Made the demo app {demo.name!r}; its key, shown this once: {made}",
        "Ask it something:",
        "",
        f"  curl -N {url}/v1/chat-messages \\",
        f"    -H 'Authorization: Bearer {made}' -H 'Content-Type: application/json' \\",
        """    -d '{"query": "What is Kaiwa?", "user": "me", "response_mode": "streaming"}'""",
        "",
    ]
    return "\n".join(lines)


async def _apply(text: str, file: str, db: Database) -> tuple[App, list[str]]:
    draft, reports = read_dsl(text, file)
    applied, _ = await apply_app(db, draft, new_id, now())
    return applied, reports


async def _get_app(db: Database, ref: str) -> App:
    found = await find_app(db, ref)
    if found is None:
        raise OperatorError(f"There is no app {ref!r}; kaiwa app list shows the apps.")
    return found


async def _make_key(db: Database, app: App) -> str:
    made = "app-" + "".join(secrets.choice(_ALPHABET) for _ in range(24))
    digest = hashlib.sha256(made.encode()).digest()
    await create_key(db, app.id, digest, made[:_SHOWN], new_id, now())
    return made


def _demo_file() -> Path:
    package = Path(__file__).parent
    inside = package / "examples" / "demo.yml"
    return inside if inside.exists() else package.parents[1] / "examples" / "demo.yml"


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise OperatorError(f"The file {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise OperatorError(f"The file {file} is not UTF-8 text.") from error


def _with_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    given = {"host": host, "port": port}
    return structs.replace(settings, **{k: v for k, v in given.items() if v is not None})


def _with_database(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    async def run() -> T:
        db = await open_database(settings)
        try:
            return await work(db)
        finally:
            await db.close()

    return _run(run, settings)


def _run(work: Callable[[], Awaitable[T]], settings: Settings) -> T:
    _set_up_logging(settings.log_level)
    return anyio.run(work, backend_options={"use_uvloop": True})


def _set_up_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
