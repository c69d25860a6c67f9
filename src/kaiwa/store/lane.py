"""Threads that run units, each with a connection of its own; results come back to the event loop.

It knows neither engine nor transactions: a thread's `run` gets all units that wait and answers
each. With one thread the units run in the order they were asked for.
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
Run = Callable[[Sequence[Unit]], Sequence[Result]]
Asked = tuple[Unit, asyncio.Future[Any]]


class Lane:
    """Made on the event loop it answers to."""

    def __init__(self, name: str, runs: Sequence[Run], portion: int) -> None:
        """One thread for each of `runs`, which get at most `portion` units and answer every one."""
        self._portion = portion
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Asked | None] = SimpleQueue()
        self._closed = False
        self._threads = [
            Thread(target=self._work, args=(run,), name=f"{name}-{number}", daemon=True)
            for number, run in enumerate(runs, 1)
        ]
        for thread in self._threads:
            thread.start()

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
        for thread in self._threads:
            await to_thread.run_sync(thread.join)

    def _work(self, run: Run) -> None:
        while batch := self._take():
            results = _answer(run, [unit for unit, _ in batch])
            futures = [future for _, future in batch]
            try:
                self._loop.call_soon_threadsafe(_deliver, futures, results)
            except RuntimeError:
                _log.debug("the event loop ended before its database")

    def _take(self) -> list[Asked]:
        """All that waits, at least one; nothing once the lane is closed and empty."""
        batch: list[Asked] = []
        while item := self._queue.get():
            batch.append(item)
            if len(batch) == self._portion or self._queue.empty():
                return batch
        self._queue.put(None)  # to be met again, by this thread and the others
        return batch


def _answer(run: Run, units: Sequence[Unit]) -> Sequence[Result]:
    try:
        return run(units)
    except BaseException as error:  # else those who wait would wait for ever
        return [Failed(error) for _ in units]


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
