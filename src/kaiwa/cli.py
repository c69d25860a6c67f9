"""The command line. Every command works while a server runs; errors are one sentence and exit 1."""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path

import click
import msgspec

from kaiwa import __version__
from kaiwa.app import House, data_folder, now, open_storage
from kaiwa.commanding import Given, run_work, set_up_logging, with_database
from kaiwa.desk import (
    apply_files,
    bring_up,
    check_up_to_date,
    each_file,
    get_app,
    make_key,
    read_text,
    revoke,
    sweep,
)
from kaiwa.doctor import examine, tell
from kaiwa.domain.app import ApiKey, App
from kaiwa.domain.file import ListedFile
from kaiwa.greeting import greet, make_demo
from kaiwa.knowledge_commands import knowledge, worker_command
from kaiwa.plain import PlainGroup, printable
from kaiwa.serve import claim_folder, open_signals, open_socket, serve
from kaiwa.settings import Settings, find_sources, load_settings
from kaiwa.store.apps import delete_app, list_apps
from kaiwa.store.archive import Counts
from kaiwa.store.backup import back_up, check_archive, restore
from kaiwa.store.db import Database
from kaiwa.store.keys import list_keys
from kaiwa.talk import talk
from kaiwa.workbench import describe_tools, get_equipped, save_file, try_tool

_TIME = "%Y-%m-%d %H:%M"


@click.group(cls=PlainGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", metavar="DIR", help="The folder that holds everything.  [./data]")
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="KAIWA_CONFIG",
    help="The settings file.  [./kaiwa.toml, if there is one]",
)
@click.version_option(__version__, prog_name="kaiwa", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, data: str | None, config: Path | None) -> None:
    """Kaiwa serves chat applications.

    Every setting can stand in kaiwa.toml or in a KAIWA_… variable; a variable is stronger. All
    commands work while the server runs.
    """

    def settings(**given: object) -> Settings:
        return load_settings(config, given={"data": data, **given})

    context.obj = settings


@cli.command("serve")
@click.option("--host", help="The address to serve on.  [127.0.0.1]")
@click.option("--port", type=int, help="The port to serve on; 0 takes a free one.  [8000]")
@click.pass_obj
def serve_command(settings: Given, host: str | None, port: int | None) -> None:
    """Serve the API; the first start makes a demo app and a key for it.

    Ctrl-C or SIGTERM lets the answers that are being written finish for a while, then ends them;
    a second one ends them at once. Whatever was said is kept.
    """
    found = settings(host=host, port=port)
    set_up_logging(found.log_level)
    run_work(partial(_serve, found))


@cli.group()
def app() -> None:
    """Apps: apply, list, delete."""


@app.command("apply")
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def apply_command(settings: Given, files: Sequence[Path]) -> None:
    """Create or update an app from each FILE and print its id.

    What a file asks for that Kaiwa does not do is reported on stderr.
    """
    found = settings()
    texts = {str(file): read_text(file) for file in files}
    applying = with_database(found, lambda db: apply_files(db, texts, found))
    for file, applied, reports in applying:
        for report in reports:
            click.echo(f"{file}: {report}", err=True)
        click.echo(applied.id)


@app.command("list")
@click.pass_obj
def list_command(settings: Given) -> None:
    """List the apps: id, mode, name."""
    for found in with_database(settings(), list_apps):
        click.echo(f"{found.id}  {found.mode:<10}  {found.name}")


@app.command("delete")
@click.argument("app", metavar="APP")
@click.pass_obj
def delete_command(settings: Given, app: str) -> None:
    """Delete the app of this id or name; its keys stop working at once."""

    async def delete(db: Database) -> App:
        found = await get_app(db, app)
        await delete_app(db, found.id, now())
        return found

    deleted = with_database(settings(), delete)
    click.echo(f"Deleted {deleted.name} ({deleted.id}).", err=True)


@cli.group()
def key() -> None:
    """Keys of an app's API: create, list, revoke."""


@key.command("create")
@click.argument("app", metavar="APP")
@click.pass_obj
def create_key_command(settings: Given, app: str) -> None:
    """Make a key for the app of this id or name and print it, this once."""

    async def create(db: Database) -> str:
        return await make_key(db, await get_app(db, app))

    click.echo(with_database(settings(), create))


@key.command("list")
@click.argument("app", metavar="[APP]", required=False)
@click.pass_obj
def list_keys_command(settings: Given, app: str | None) -> None:
    """List keys by their first characters; the whole key is shown only when it is made."""

    async def listed(db: Database) -> list[ApiKey]:
        return await list_keys(db, (await get_app(db, app)).id if app else None)

    for found in with_database(settings(), listed):
        revoked = f"revoked {found.revoked_at:{_TIME}}" if found.revoked_at else "works"
        made = f"{found.created_at:{_TIME}}"
        click.echo(f"{found.id}  {found.prefix}…  {made}  {revoked:<24}  {found.app_name}")


@key.command("revoke")
@click.argument("key", metavar="KEY")
@click.pass_obj
def revoke_key_command(settings: Given, key: str) -> None:
    """Revoke the key of this id, these first characters, or this whole text; it fails at once."""
    revoked = with_database(settings(), lambda db: revoke(db, key))
    click.echo(f"Revoked {revoked.prefix}… of {revoked.app_name}.", err=True)


@cli.group()
def files() -> None:
    """Files that were uploaded or fetched: list, sweep."""


@files.command("list")
@click.argument("app", metavar="[APP]", required=False)
@click.pass_obj
def list_files_command(settings: Given, app: str | None) -> None:
    """List files, oldest first: id, time, bytes, whether used, type, app, user and name."""

    async def listed(db: Database) -> None:
        app_id = (await get_app(db, app)).id if app else None
        async for found in each_file(db, app_id):
            click.echo(_file_line(found))

    with_database(settings(), listed)


@files.command("sweep")
@click.pass_obj
def sweep_command(settings: Given) -> None:
    """Remove now what nothing uses, as the server does every hour.

    These are files that no message has taken for a while, and files in the storage that the
    database does not know of. Not while a backup is being restored.
    """
    found = settings()
    blobs = open_storage(found)
    days = found.unused_files_after_days
    unused, orphans = with_database(found, lambda db: sweep(db, blobs, days))
    click.echo(
        f"Removed {unused.files} unused files ({unused.size:,} bytes)"
        f" and {orphans.files} that were left over ({orphans.size:,} bytes).",
        err=True,
    )


@cli.group()
def tools() -> None:
    """Tools that an app's agent has: list, call."""


@tools.command("list")
@click.argument("app", metavar="APP")
@click.pass_obj
def list_tools_command(settings: Given, app: str) -> None:
    """List the tools of the app of this id or name, with the parameters a model is asked for.

    Each begins with a line: name, type and provider, label, or why it is left out.
    """
    found = settings()
    equipped = with_database(found, lambda db: get_equipped(db, app))
    for line in run_work(partial(describe_tools, found, equipped)):
        click.echo(line)


@tools.command("call")
@click.argument("app", metavar="APP")
@click.argument("tool", metavar="TOOL")
@click.argument("arguments", metavar="[JSON]", default="")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Save the files that it makes there.",
)
@click.pass_obj
def call_tool_command(
    settings: Given, app: str, tool: str, arguments: str, out: Path | None
) -> None:
    """Run a tool of the app as its model would, with a JSON object of arguments.

    What a model would be told is printed; files are named on stderr.
    """
    found = settings()
    equipped = with_database(found, lambda db: get_equipped(db, app))
    output = run_work(partial(try_tool, found, equipped, tool, arguments))
    click.echo(printable(output.text, but="\n\t"))
    for file in output.files:
        named = f"Saved {save_file(file, out)}" if out else f"Made {printable(file.name)}"
        click.echo(f"{named} ({file.mime_type}, {len(file.data):,} bytes).", err=True)


@cli.command("chat")
@click.argument("app", metavar="APP")
@click.pass_obj
def chat_command(settings: Given, app: str) -> None:
    """Talk to the app of this id or name; Ctrl-C stops an answer, Ctrl-D ends the talk."""
    found = settings()
    set_up_logging("error")
    talk(House(found), app)


@cli.command("backup")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
@click.pass_obj
def backup_command(settings: Given, file: Path, force: bool) -> None:
    """Write all data of one moment, and all files, into FILE, which either engine reads."""
    found = settings()
    run_work(partial(check_up_to_date, found))
    blobs = open_storage(found)
    counts = with_database(
        found, lambda db: back_up(db, blobs, file, __version__, now(), force=force)
    )
    click.echo(f"Backed up {_told(counts)} into {file}.", err=True)


@cli.command("restore")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace all that the database holds.")
@click.pass_obj
def restore_command(settings: Given, file: Path, force: bool) -> None:
    """Put the data of a backup into an empty database, and its files into the storage."""
    found = settings()
    check_archive(file)  # before a database is made
    blobs = open_storage(found)
    counts = with_database(found, lambda db: restore(db, blobs, file, force=force))
    click.echo(f"Restored {_told(counts)} from {file}.", err=True)


@cli.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if it would.")
@click.pass_context
def migrate_command(context: click.Context, check: bool) -> None:
    """Bring the database to the newest schema, as the server does when it starts."""
    done, sentence = run_work(partial(bring_up, context.obj(), check=check))
    click.echo(sentence)
    context.exit(0 if done else 1)


@cli.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def doctor_command(context: click.Context, as_json: bool) -> None:
    """Tell how this installation is; exit 1 if something has to be mended."""
    found: Settings = context.obj()
    top = context.find_root().params
    sources = find_sources(top["config"], given={"data": top["data"]})
    set_up_logging("error")
    report = run_work(partial(examine, found, sources))
    click.echo(msgspec.json.encode(report).decode() if as_json else tell(report))
    context.exit(1 if report.problems else 0)


cli.add_command(knowledge)
cli.add_command(worker_command)


def main() -> None:
    """The entry point, which ends the process itself.

    Libraries may have threads at work: one that comes back while the interpreter is taken down
    complains loudly, or takes the process with it.
    """
    try:
        cli()
    except SystemExit as end:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # whoever listened may have left
                stream.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


def _told(counts: Counts) -> str:
    tables = ("apps", "conversations", "messages", "upload_files")
    return "{} apps, {} conversations, {} messages and {} files".format(
        *map(counts.__getitem__, tables)
    )


def _file_line(found: ListedFile) -> str:
    file = found.file
    used = "used" if found.used else "unused"
    whose = f"{printable(found.app_name)}  {printable(found.user)}  {printable(file.name)}"
    made = f"{file.created_at:{_TIME}}"
    return f"{file.id}  {made}  {file.size:>11}  {used:<6}  {file.type:<8}  {whose}"


async def _serve(settings: Settings) -> None:
    with (
        open_signals() as signals,
        open_socket(settings.host, settings.port) as listener,
        _claim(settings),
    ):
        async with House(settings) as house:
            port = listener.getsockname()[1]
            greeting = await greet(house, port)

            async def announce() -> None:
                click.echo(greeting)
                if told := await make_demo(house, port):
                    click.echo(told)

            await serve(house, listener, signals, announce)


def _claim(settings: Settings) -> AbstractContextManager[None]:
    """An SQLite file is one server's; a PostgreSQL database may have several."""
    return nullcontext() if settings.database_url else claim_folder(data_folder(settings))
