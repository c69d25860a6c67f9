"""A thread for one connection: units go in, in order; results come back to the event loop.

It knows neither engine nor transactions: `run` gets all units that wait and answers each.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from anyio import to_thread
from msgspec import Struct
from sqlalchemy import Connection

from kaiwa.errors import StoreUnavailable

T = TypeVar("T")
Unit = Callable[[Connection], Any]

_log = logging.getLogger(__name__)


class Done(Struct, frozen=True):
    """What a unit returned."""

    value: Any


class Failed(Struct, frozen=True):
    """What a unit raised, or what kept it from running."""

    error: BaseException


Result = Done | Failed
Asked = tuple[Unit, asyncio.Future[Any]]


class Lane:
    """Made on the event loop it answers to."""

    def __init__(
        self, name: str, run: Callable[[Sequence[Unit]], Sequence[Result]], portion: int
    ) -> None:
        """`run` gets at most `portion` units at once and answers every one."""
        self._run = run
        self._portion = portion
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Asked | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def ask(self, unit: Callable[[Connection], T]) -> T:
        """Its result; the unit runs even when the caller no longer waits."""
        if self._closed:
            raise StoreUnavailable("The database is closed.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((unit, future))
        return await future

    async def close(self) -> None:
        """Refuse new units, finish those that wait."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await to_thread.run_sync(self._thread.join)

    def _work(self) -> None:
        while batch := self._take():
            results = self._answer([unit for unit, _ in batch])
            futures = [future for _, future in batch]
            try:
                self._loop.call_soon_threadsafe(_deliver, futures, results)
            except RuntimeError:
                _log.debug("the event loop ended before its database")

    def _answer(self, units: Sequence[Unit]) -> Sequence[Result]:
        try:
            return self._run(units)
        except BaseException as error:  # else those who wait would wait for ever
            return [Failed(error) for _ in units]

    def _take(self) -> list[Asked]:
        """All that waits, at least one; nothing once the lane is closed and empty."""
        batch: list[Asked] = []
        while item := self._queue.get():
            batch.append(item)
            if len(batch) == self._portion or self._queue.empty():
                return batch
        if batch:
            self._queue.put(None)  # to be met again, with nothing before it
        return batch


def _deliver(futures: Sequence[asyncio.Future[Any]], results: Sequence[Result]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.done():  # its waiter was cancelled
            continue
        match result:
            case Done(value):
                future.set_result(value)
            case Failed(StopIteration() as error):  # which no future may carry
                future.set_exception(RuntimeError(f"A unit raised {error!r}"))
            case Failed(error):
                future.set_exception(error)
