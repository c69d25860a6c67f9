"""The server process: its socket, its lock, its signals.

SIGTERM or Ctrl-C: new questions are refused, live answers may finish for a while, then they end
with what was said; a second signal ends them at once.
"""

import fcntl
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio
import uvicorn

from kaiwa.api.connection import Connection
from kaiwa.app import House, build
from kaiwa.chat.running import Running
from kaiwa.errors import OperatorError

logger = logging.getLogger(__name__)

_UNSENT_BYTES = 1 << 14
"""What the system may hold for a client that does not read; else it would be megabytes."""
_CLOSE_SECONDS = 3
_GARBAGE = 10_000
"""So many more objects than before are looked through for those that only hold each other."""
_LAST_WORDS_SECONDS = 2
"""How long clients may take to hear the end of answers that were cut."""

Signals = AsyncIterator[signal.Signals]


class Server(uvicorn.Server):
    """Uvicorn without its signal handlers; says when it listens."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are ours: see `_stop_on_signals`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    def hang_up(self) -> None:
        """Break all connections and do not wait for them."""
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def open_signals() -> AbstractContextManager[Signals]:
    """The signals that end a server; those that come before it listens are not lost."""
    return anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT)


@contextmanager
def claim_folder(folder: Path) -> Generator[None]:
    """Hold the data folder for one server. Raises `OperatorError` when another one has it.

    The folder itself is locked, so that no lock file stays behind.
    """
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OperatorError(
            f"The data folder {folder} cannot be opened: {error.strerror}."
        ) from error
    try:
        _lock(held, folder)
        yield
    finally:
        os.close(held)


def _lock(held: int, folder: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OperatorError(
            f"Another Kaiwa server is already using the data folder {folder}."
        ) from error
    except OSError as error:
        raise OperatorError(
            f"The data folder {folder} cannot be locked: {error.strerror}."
        ) from error


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `OperatorError` when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Inherited by every connection; asyncio sets the first only where the protocol is named.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        return listener
    except socket.gaierror as error:
        raise OperatorError(f"Cannot listen on {host}: there is no such address.") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OperatorError(f"Cannot listen on {host} port {port}: {reason}.") from error
    except (ValueError, OverflowError) as error:
        raise OperatorError(f"Cannot listen on {host!r} port {port}: {error}.") from error


async def serve(
    house: House,
    listener: socket.socket,
    signals: Signals,
    announce: Callable[[], Coroutine[object, object, None]],
) -> None:
    """Serve until a signal comes, then stop in order; `announce` runs beside it once it listens."""
    config = uvicorn.Config(
        build(house),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_CLOSE_SECONDS,
    )
    async with anyio.create_task_group() as tasks:

        def begin() -> None:
            tasks.start_soon(announce)

        server = Server(config, begin)
        _settle_memory()
        tasks.start_soon(_stop_on_signals, signals, server, house)
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()


def _settle_memory() -> None:
    """What the start has made stays: to look through all of it again takes some 60 ms each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 50)


async def _stop_on_signals(signals: Signals, server: Server, house: House) -> None:
    running = house.context.running
    seconds = house.settings.drain_timeout
    async with anyio.create_task_group() as tasks:
        async for _ in signals:
            if seconds and (count := len(running)):
                logger.warning(
                    "stopping; %d answers may still finish, for %g seconds", count, seconds
                )
            tasks.start_soon(_stop, server, running, seconds)
            seconds = 0


async def _stop(server: Server, running: Running, seconds: float) -> None:
    """Stop after so many seconds at the latest; clients that take nothing are hung up on."""
    with anyio.move_on_after(seconds + _LAST_WORDS_SECONDS):
        await running.drain(seconds)
    if len(running):
        server.hang_up()
        await running.drain(0)
    server.should_exit = True
    # Every answer is kept by now, but its end may still be on its way out; we are cancelled when
    # the last one has gone.
    await anyio.sleep(_LAST_WORDS_SECONDS)
    server.hang_up()
