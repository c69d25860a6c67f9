"""A conversation in the terminal, streamed; the same turns as over HTTP, in this process."""

import getpass
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from io import TextIOWrapper
from uuid import UUID, uuid4

import click
from anyio.from_thread import BlockingPortal, start_blocking_portal
from msgspec import Struct

from kaiwa.app import House
from kaiwa.chat.order import Order, check_approval, check_order
from kaiwa.chat.running import Cut, Live
from kaiwa.chat.turn import start_turn
from kaiwa.desk import get_app
from kaiwa.domain.app import FILE_KINDS, App, AppConfig, FormField
from kaiwa.domain.events import (
    TurnCanned,
    TurnEvent,
    TurnFile,
    TurnReplaced,
    TurnText,
    TurnThought,
)
from kaiwa.domain.inputs import new_inputs
from kaiwa.domain.message import Inputs, JsonValue, Message
from kaiwa.domain.request import render
from kaiwa.domain.text import shorten
from kaiwa.domain.thought import Decision, Thought
from kaiwa.errors import KaiwaError
from kaiwa.plain import printable
from kaiwa.store.apps import get_config

with suppress(ImportError):  # where there is none, a line is edited as the terminal does it
    import readline as readline

_SOURCE = "terminal"
_LOOK_AGAIN_SECONDS = 0.2
_NOTE_LENGTH = 160


class _Talk(Struct, frozen=True):
    """Who talks to what."""

    portal: BlockingPortal
    house: House
    app: App
    config: AppConfig
    user: str
    inputs: Inputs


def talk(house: House, ref: str) -> None:
    """Ask and answer until the input ends. Raises `OperatorError` when there is no such app."""
    _tolerate_any_bytes()
    backend = {"use_uvloop": True}
    with (
        start_blocking_portal(backend_options=backend) as portal,
        portal.wrap_async_context_manager(house),
    ):
        db = house.context.db
        app = portal.call(get_app, db, ref)
        config = portal.call(get_config, db, app.id, app.config_id)
        with suppress(EOFError):
            given = _fill_in(config) if sys.stdin.isatty() else {}
            _converse(_Talk(portal, house, app, config, _user(), given))


def _tolerate_any_bytes() -> None:
    """What the terminal cannot say or show becomes a question mark, not an error."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return _SOURCE


def _fill_in(config: AppConfig) -> Inputs:
    """The app's form, but for files, asked for in the terminal until each answer is valid."""
    not_asked = ("external_data_tool", *FILE_KINDS)
    fields = [field for field in config.form if field.kind not in not_asked]
    return {field.variable: _ask_for(field) for field in fields}


def _ask_for(field: FormField) -> JsonValue:
    choices = field.options or (("yes", "no") if field.kind == "checkbox" else ())
    hint = f" ({' / '.join(choices)})" if choices else ""
    while True:
        try:
            text = input(f"{field.variable}{hint}: ").strip()
            value: object = text
            if field.kind == "checkbox":
                value = {"yes": True, "no": False}.get(text.lower(), text or None)
            elif field.kind == "json_object":
                value = text or None
            return new_inputs([field], {field.variable: value})[field.variable]
        except KaiwaError as error:
            _complain(error)
        except KeyboardInterrupt:
            raise EOFError from None


def _converse(talk: _Talk) -> None:
    if talk.config.opening_statement and sys.stdin.isatty():
        click.secho(render(talk.config.opening_statement, talk.inputs), fg="cyan")
    conversation_id: UUID | None = None
    while True:
        query = _ask()
        if query.strip():
            live = _answer(talk, query, conversation_id)
            while live and live.message:
                conversation_id = live.message.conversation_id
                if not live.message.waits or not sys.stdin.isatty():
                    break
                live = _answer(talk, query, conversation_id, live.message)


def _ask() -> str:
    """The next question; raises `EOFError` at the end of the input."""
    if not sys.stdin.isatty():
        return input()
    while True:
        try:
            return input("> ")
        except KeyboardInterrupt:
            click.echo("\nCtrl-D ends the talk.", err=True)
        except EOFError:
            click.echo()
            raise


def _decide() -> Decision:
    """Whether what has just been shown may be done; raises `EOFError` at the end of the input."""
    while True:
        try:
            text = input("Do this? (yes / no): ").strip().lower()
        except KeyboardInterrupt:
            click.echo()
            return "decline"
        if text in ("yes", "no"):
            return "approve" if text == "yes" else "decline"


def _answer(
    talk: _Talk, query: str, conversation_id: UUID | None, waiting: Message | None = None
) -> Live | None:
    """Show the answer as it comes; Ctrl-C stops it and keeps what was said.

    A `waiting` message goes on as is decided now.
    """
    decided = (waiting, _decide()) if waiting else None
    order = Order(
        app=talk.app,
        config=talk.config,
        key_id=None,
        user=talk.user,
        source=_SOURCE,
        query=query,
        inputs=talk.inputs,
        conversation_id=conversation_id,
        auto_name=True,
        task_id=str(uuid4()),
    )
    try:
        screen = _Screen()
        answered = talk.portal.start_task_soon(_run, talk.house, order, decided, screen)
        live = _wait(talk, order, answered)
    except KaiwaError as error:
        _complain(error)
        return None
    screen.end()
    if live.message:
        _name_sources(live.message)
    if live.cut_by is Cut.STOPPED:
        click.secho("(stopped)", dim=True, err=True)
    if failure := live.refusal or live.failure:
        _complain(failure)
    return live


def _name_sources(message: Message) -> None:
    """The documents that the answer cites, each once, best first."""
    names = dict.fromkeys([cited.document_name for cited in message.citations])
    for number, name in enumerate(names, 1):
        click.secho(printable(shorten(f"[{number}] {name}", _NOTE_LENGTH)), dim=True, err=True)


class _Screen:
    """An answer as it grows; beside it, dim and on lines of its own, what an agent does."""

    def __init__(self) -> None:
        self._within_line: bool | None = None
        """None as long as nothing is shown."""
        self._told: set[tuple[UUID, int, bool]] = set()

    def show(self, event: TurnEvent) -> None:
        match event:
            case TurnText(text) | TurnCanned(text):
                click.echo(text, nl=False)
                self._within_line = True
            case TurnReplaced(text):
                self._note("(taken back; it is now:)")
                click.echo(text, nl=False)
                self._within_line = True
            case TurnThought(thought):
                self._show_calls(thought)
            case TurnFile(made):
                self._note(f"+ {made.file.name} ({made.file.mime_type}, {made.file.size:,} bytes)")
            case _:
                pass

    def end(self) -> None:
        if self._within_line is not False:
            click.echo()

    def _show_calls(self, thought: Thought) -> None:
        for number, call in enumerate(thought.calls):
            done = call.observation is not None
            if (thought.id, number, done) not in self._told:
                self._told.add((thought.id, number, done))
                came_of_it = f"← {call.tool}: {call.observation}"
                self._note(came_of_it if done else f"→ {call.tool} {call.arguments}")

    def _note(self, text: str) -> None:
        if self._within_line:
            click.echo()
        self._within_line = False
        click.secho(printable(shorten(text, _NOTE_LENGTH)), dim=True, err=True)


async def _run(
    house: House, order: Order, decided: tuple[Message, Decision] | None, screen: _Screen
) -> Live:
    def emit(events: Sequence[TurnEvent]) -> None:
        with suppress(OSError):  # nobody reads any more: the next line we print says so
            for event in events:
                screen.show(event)

    if decided:
        ready = await check_approval(order, *decided, house.context)
    else:
        ready = await check_order(order, house.context)
    live = start_turn(ready, house.context, emit)
    await live.ended.wait()
    return live


def _wait(talk: _Talk, order: Order, answered: "Future[Live]") -> Live:
    """Looks again and again: a Ctrl-C may come just before a wait, a stop before the turn."""
    stop = False
    while True:
        try:
            if stop:
                talk.portal.call(
                    talk.house.context.running.stop, order.task_id, order.app.id, order.user
                )
            return answered.result(_LOOK_AGAIN_SECONDS)
        except TimeoutError:
            continue
        except KeyboardInterrupt:
            stop = True


def _complain(error: KaiwaError) -> None:
    click.secho(f"Error: {error.message}", fg="red", err=True)
