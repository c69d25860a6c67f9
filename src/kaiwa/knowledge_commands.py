"""The commands about knowledge bases, and the worker."""

import sys
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import anyio
import click
from click._termui_impl import ProgressBar
from msgspec.structs import replace

from kaiwa.app import House, now
from kaiwa.commanding import Given, run_work, set_up_logging, with_database, with_house
from kaiwa.domain.knowledge import ChunkRule, Document, KnowledgeBase
from kaiwa.domain.text import shorten
from kaiwa.errors import BaseInUse, KaiwaError, OperatorError
from kaiwa.library import (
    Adding,
    Source,
    ask,
    create,
    get_base_of,
    get_document_of,
    list_sources,
    make_knowledge_key,
    revoke_key_of,
    wait_for,
)
from kaiwa.plain import printable, say
from kaiwa.serve import Signals, open_signals
from kaiwa.settings import Settings
from kaiwa.store.db import Database
from kaiwa.store.documents import delete_document, list_documents
from kaiwa.store.knowledge import delete_base, list_apps_of, list_bases, list_knowledge_keys
from kaiwa.store.tables import DEFAULT_WORKSPACE

_TIME = "%Y-%m-%d %H:%M"
_LINE = 200


@click.group()
def knowledge() -> None:
    """Knowledge bases: create, list, add, status, search, delete, key."""


@knowledge.command("create")
@click.argument("name", metavar="NAME")
@click.option("--description", default="", help="What is in it; a model chooses by this.")
@click.option("--economy", is_flag=True, help="Found by its words alone.")
@click.option(
    "--embedding",
    metavar="PROVIDER/MODEL",
    help="What compares by meaning.  [the setting embedding_model]",
)
@click.pass_obj
def create_command(
    settings: Given, name: str, description: str, economy: bool, embedding: str | None
) -> None:
    """Make an empty knowledge base and print its id."""
    found = settings()
    wanted = found.embedding_model if embedding is None else embedding

    async def make(db: Database) -> KnowledgeBase:
        return await create(db, name, description, wanted, economy=economy)

    base = with_database(found, make)
    if not base.embeds and not economy:
        click.echo("There is no embedding model, so it is found by its words alone.", err=True)
    click.echo(base.id)


@knowledge.command("list")
@click.pass_obj
def list_command(settings: Given) -> None:
    """List the knowledge bases, newest first: id, documents, how they are compared, name."""

    async def listed(db: Database) -> Sequence[KnowledgeBase]:
        return (await list_bases(db, DEFAULT_WORKSPACE))[0]

    for base in with_database(settings(), listed):
        model = f"{base.embedding_provider}/{base.embedding_model}" if base.embeds else "words"
        click.echo(f"{base.id}  {base.document_count:>6}  {model}  {printable(base.name)}")


@knowledge.command("add")
@click.argument("base", metavar="BASE")
@click.argument("sources", metavar="FILE|FOLDER|URL…", nargs=-1, required=True)
@click.option("--separator", help="Cut at this text; \\n is a new line.  [at the best places]")
@click.option("--max-tokens", type=click.IntRange(50, 4000), default=500, show_default=True)
@click.option("--overlap", type=click.IntRange(0, 2000), default=50, show_default=True)
@click.option("--keep-spaces", is_flag=True, help="Leave runs of spaces and lines as they are.")
@click.option("--remove-urls", is_flag=True, help="Take addresses and e-mails out of the text.")
@click.option("--qa", is_flag=True, help="Each row of a sheet is a question and its answer.")
@click.option("--no-wait", is_flag=True, help="Leave the work to a server or a worker.")
@click.pass_context
def add_command(
    context: click.Context, base: str, sources: Sequence[str], no_wait: bool, **rule: object
) -> None:
    """Put documents into the knowledge base of this id or name, and wait until they are found.

    Of a folder, all files below it that can be read are taken. What is there already is left as
    it is; what has changed is replaced when its new version is ready. Exits with 1 when a document
    could not be added; the others are.
    """
    found: Settings = context.obj()
    at_once = 0 if no_wait else found.ingest_at_once or 1
    work = partial(_add, base=base, names=sources, rule=_read_rule(rule), wait=not no_wait)
    fine = with_house(replace(found, ingest_at_once=at_once), work)
    context.exit(0 if fine else 1)


def _read_rule(given: dict[str, object]) -> ChunkRule:
    separator, most, overlap = given["separator"], given["max_tokens"], given["overlap"]
    assert isinstance(most, int)
    assert isinstance(overlap, int)
    return ChunkRule(
        mode="automatic" if separator is None else "custom",
        separator=str(separator or ChunkRule().separator),
        max_tokens=most,
        overlap=overlap,
        remove_extra_spaces=not given["keep_spaces"],
        remove_urls_emails=bool(given["remove_urls"]),
        form="qa_model" if given["qa"] else "text_model",
    )


async def _add(
    house: House, *, base: str, names: Sequence[str], rule: ChunkRule, wait: bool
) -> bool:
    db = house.context.db
    target = await get_base_of(db, base)
    sources = list(dict.fromkeys(list_sources(names)))
    if not sources:
        raise OperatorError("There is nothing in there that can be read.")
    adding = Adding(house, target, rule)
    counts = {"added": 0, "replaced": 0, "same": 0, "failed": 0}
    waiting: dict[UUID, Source] = {}
    with _open_bar(len(sources), "Adding") as bar:
        for source in sources:
            try:
                taken, document = await adding.take(source)
            except (KaiwaError, OperatorError) as error:
                counts["failed"] += 1
                _tell_failure(source.origin, say(error))
            else:
                counts[taken] += 1
                if document.status != "completed":
                    waiting[document.id] = source
            house.workshop.wake()
            bar.update(1)
    if wait and waiting:
        with _open_bar(len(waiting), "Indexing") as bar:
            done = await wait_for(db, [*waiting], bar.update)
        for document in done:
            if document.status == "error":
                counts["failed"] += 1
                _tell_failure(waiting[document.id].origin, document.error or "")
    click.echo(
        "{added} added, {replaced} replaced, {same} unchanged, {failed} failed.".format(**counts),
        err=True,
    )
    return not counts["failed"]


def _open_bar(length: int, label: str) -> "ProgressBar[int]":
    """Only for a terminal; it says nothing elsewhere."""
    hidden = not sys.stderr.isatty()
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden)


def _tell_failure(origin: str, sentence: str) -> None:
    click.echo(f"{printable(origin)}: {printable(sentence)}", err=True)


@knowledge.command("status")
@click.argument("base", metavar="BASE")
@click.pass_obj
def status_command(settings: Given, base: str) -> None:
    """List the documents of a base, newest first: id, status, segments done and in all, name."""

    async def listed(db: Database) -> Sequence[Document]:
        return (await list_documents(db, (await get_base_of(db, base)).id))[0]

    for one in with_database(settings(), listed):
        count = f"{one.segments_done}/{one.segment_count}"
        error = f": {printable(one.error)}" if one.error else ""
        click.echo(f"{one.id}  {one.display_status:<9}  {count:>11}  {printable(one.name)}{error}")


@knowledge.command("search")
@click.argument("base", metavar="BASE")
@click.argument("question", metavar="QUESTION")
@click.pass_obj
def search_command(settings: Given, base: str, question: str) -> None:
    """Search a base as an app would, and print what is found: score, document, passage."""

    async def run(house: House) -> None:
        for found in await ask(house, await get_base_of(house.context.db, base), question):
            name, at = printable(found.document_name), found.segment.position
            click.echo(f"{found.score:.3f}  {name} #{at}")
            click.echo(f"  {printable(shorten(found.segment.told, _LINE))}")

    with_house(replace(settings(), ingest_at_once=0), run)


@knowledge.command("delete")
@click.argument("base", metavar="BASE")
@click.option("--document", metavar="DOCUMENT", help="Only this one, by its id, name or origin.")
@click.pass_obj
def delete_command(settings: Given, base: str, document: str | None) -> None:
    """Delete a knowledge base, or one document of it; nothing of it is found from then on."""

    async def delete(db: Database) -> str:
        found = await get_base_of(db, base)
        if document is None:
            await _delete(db, found)
            return f"{found.name} ({found.id})"
        one = await get_document_of(db, found, document)
        await delete_document(db, DEFAULT_WORKSPACE, one, now())
        return f"{one.name} ({one.id}) from {found.name}"

    click.echo(f"Deleted {printable(with_database(settings(), delete))}.", err=True)


async def _delete(db: Database, base: KnowledgeBase) -> None:
    try:
        await delete_base(db, DEFAULT_WORKSPACE, base.id, now())
    except BaseInUse as error:
        names = ", ".join(await list_apps_of(db, base))
        told = printable(f"{base.name} is not deleted, because apps answer from it: {names}.")
        raise OperatorError(f"{told} Apply them without it first, or delete them.") from error


@knowledge.group("key")
def key() -> None:
    """Keys of the knowledge API, for all bases: create, list, revoke."""


@key.command("create")
@click.pass_obj
def create_key_command(settings: Given) -> None:
    """Make a key for the knowledge API and print it, this once."""
    click.echo(with_database(settings(), make_knowledge_key))


@key.command("list")
@click.pass_obj
def list_keys_command(settings: Given) -> None:
    """List the keys by their first characters; the whole key is shown only when it is made."""
    for found in with_database(settings(), lambda db: list_knowledge_keys(db, DEFAULT_WORKSPACE)):
        revoked = f"revoked {found.revoked_at:{_TIME}}" if found.revoked_at else "works"
        click.echo(f"{found.id}  {found.prefix}…  {found.created_at:{_TIME}}  {revoked}")


@key.command("revoke")
@click.argument("key", metavar="KEY")
@click.pass_obj
def revoke_key_command(settings: Given, key: str) -> None:
    """Revoke the key of this id, these first characters, or this whole text; it fails at once."""
    revoked = with_database(settings(), lambda db: revoke_key_of(db, key))
    click.echo(f"Revoked {revoked.prefix}….", err=True)


@click.command("worker")
@click.option("--at-once", type=click.IntRange(1, 100), help="Documents at once.  [ingest_at_once]")
@click.pass_obj
def worker_command(settings: Given, at_once: int | None) -> None:
    """Index documents beside the servers on the same data, without serving anything.

    Ctrl-C or SIGTERM ends it; what it was at is left to others at once, who go on from there.
    """
    found = settings(ingest_at_once=at_once)
    set_up_logging(found.log_level)
    run_work(partial(_work, replace(found, ingest_at_once=found.ingest_at_once or 1)))


async def _work(settings: Settings) -> None:
    with open_signals() as signals:
        async with House(settings), anyio.create_task_group() as group:
            click.echo("Kaiwa works on documents; Ctrl-C ends it.")
            group.start_soon(_end_on_signal, signals, group.cancel_scope)


async def _end_on_signal(signals: Signals, scope: anyio.CancelScope) -> None:
    async for _ in signals:
        return scope.cancel()
