"""A conversation in the terminal, streamed; the same turns as over HTTP, in this process."""

import getpass
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from uuid import UUID, uuid4

import click
from anyio.from_thread import BlockingPortal, start_blocking_portal

from kaiwa.app import House
from kaiwa.chat.running import Live
from kaiwa.chat.turn import Order, check_order, start_turn
from kaiwa.domain.app import App
from kaiwa.domain.events import TurnEvent, TurnText
from kaiwa.errors import KaiwaError, OperatorError
from kaiwa.store.apps import find_app, get_config

_SOURCE = "terminal"


def talk(house: House, ref: str) -> None:
    """Ask and answer until the input ends. Raises `OperatorError` when there is no such app."""
    backend = {"use_uvloop": True}
    with (
        start_blocking_portal(backend_options=backend) as portal,
        portal.wrap_async_context_manager(house),
    ):
        app = portal.call(find_app, house.context.db, ref)
        if app is None:
            raise OperatorError(f"There is no app {ref!r}; kaiwa app list shows the apps.")
        _converse(portal, house, app)


def _converse(portal: BlockingPortal, house: House, app: App) -> None:
    config = portal.call(get_config, house.context.db, app.id, app.config_id)
    if config.opening_statement and sys.stdin.isatty():
        click.secho(config.opening_statement, fg="cyan")
    conversation_id: UUID | None = None
    while (query := _ask()) is not None:
        if not query.strip():
            continue
        task_id = str(uuid4())
        user = getpass.getuser()
        order = Order(
            app=app,
            config=config,
            key_id=None,
            user=user,
            source=_SOURCE,
            query=query,
            inputs={},
            conversation_id=conversation_id,
            auto_name=True,
            task_id=task_id,
        )
        answered = portal.start_task_soon(_answer, house, order)
        live = _wait(portal, house, order, answered)
        if live and live.message:
            conversation_id = live.message.conversation_id


def _ask() -> str | None:
    """The next question; None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        click.echo()
        return None


async def _answer(house: House, order: Order) -> Live:
    async def emit(events: Sequence[TurnEvent]) -> None:
        for event in events:
            if isinstance(event, TurnText):
                click.echo(event.text, nl=False)

    ready = await check_order(order, house.context)
    live = start_turn(ready, house.context, emit)
    await live.ended.wait()
    return live


def _wait(
    portal: BlockingPortal, house: House, order: Order, answered: "Future[Live]"
) -> Live | None:
    """Wait for the end of the answer; Ctrl-C stops it and keeps what was said."""
    running = house.context.running
    while True:
        try:
            live = answered.result()
        except KeyboardInterrupt:
            portal.call(running.stop, order.task_id, order.app.id, order.user)
            continue
        except KaiwaError as error:
            click.secho(f"Error: {error.message}", fg="red", err=True)
            return None
        click.echo()
        if failure := live.refusal or live.failure:
            click.secho(f"Error: {failure.message}", fg="red", err=True)
        return live
