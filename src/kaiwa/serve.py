"""The server process: its socket, its lock, its signals.

SIGTERM or Ctrl-C: new questions are refused, live answers may finish for a while, then they end
with what was said; a second signal ends them at once.
"""

import fcntl
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import uvicorn

from kaiwa.app import House, build
from kaiwa.chat.running import Cut
from kaiwa.errors import OperatorError

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 5


class Server(uvicorn.Server):
    """Uvicorn without its signal handlers; says when it listens."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are ours: see `_stop_on_signal`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


@contextmanager
def claim_folder(folder: Path) -> Generator[None]:
    """Hold the data folder for one server. Raises `OperatorError` when another one has it."""
    try:
        with (folder / "serve.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OperatorError(
                    f"Another Kaiwa server is already using the data folder {folder}."
                ) from error
            yield
    except PermissionError as error:
        raise OperatorError(f"The data folder {folder} cannot be written.") from error


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `OperatorError` when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OperatorError(f"Cannot listen on {host} port {port}: {reason}.") from error


async def serve(house: House, listener: socket.socket, announce: Callable[[], None]) -> None:
    """Serve until a signal comes, then stop in order."""
    config = uvicorn.Config(
        build(house),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_CLOSE_SECONDS,
    )
    server = Server(config, announce)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, signals, server, house)
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()


async def _stop_on_signal(
    signals: AsyncIterator[signal.Signals], server: Server, house: House
) -> None:
    running = house.context.running

    async def stop() -> None:
        await running.drain(house.settings.drain_timeout)
        server.should_exit = True

    async with anyio.create_task_group() as tasks:
        stopping = False
        async for _ in signals:
            if stopping:
                running.cut_all(Cut.SHUTDOWN)
                continue
            stopping = True
            if count := len(running):
                logger.warning("stopping; %d answers may still finish", count)
            tasks.start_soon(stop)
