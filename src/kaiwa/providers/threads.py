"""Few threads for work that is heavy and may wait; what is due first goes first."""

import asyncio
import heapq
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Final, TypeVar

T = TypeVar("T")

_NICENESS: Final = 19
"""Of the threads, and of the processes that they start: words that are read go before sound."""


class Threads:
    """Of one event loop."""

    def __init__(self, most: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(most, name, _give_way)
        self._free = most
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    @property
    def waiting(self) -> int:
        """How much work waits for a thread."""
        return len(self._waiting)

    async def run(self, due: float, work: Callable[[], T]) -> asyncio.Future[T]:
        """Begin the work when a thread is free for it, and give what it will come to.

        The thread is busy until the work has ended, whether or not someone still waits for it.
        """
        loop = asyncio.get_running_loop()
        if not self._free:
            turn = loop.create_future()
            heapq.heappush(self._waiting, (due, next(self._numbers), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._free += 1
                    self._call()
                raise
        else:
            self._free -= 1
        future = loop.run_in_executor(self._pool, work)
        future.add_done_callback(self._release)
        return future

    def _release(self, future: asyncio.Future[T]) -> None:
        self._free += 1
        self._call()

    def _call(self) -> None:
        while self._free and self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                turn.set_result(None)


def _give_way() -> None:
    with suppress(OSError):  # a system may not know priorities of threads
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
