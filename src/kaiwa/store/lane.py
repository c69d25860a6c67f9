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


class _Asked(Struct, eq=False):
    unit: Unit
    future: asyncio.Future[Any]
    dropped: bool = False
    """Set when it took too long: it need not begin any more."""

    def drop(self) -> None:
        self.dropped = True
        if not self.future.done():
            self.future.set_exception(StoreUnavailable("The database takes too long to answer."))


class Lane:
    """Made on the event loop it answers to."""

    def __init__(
        self, name: str, runs: Sequence[Run], portion: int, patience: float | None = None
    ) -> None:
        """One thread for each of `runs`, which get at most `portion` units and answer every one.

        `patience`: how many seconds an answer may take.
        """
        self._portion = portion
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Asked | None] = SimpleQueue()
        self._closed = False
        self._threads = [
            Thread(target=self._work, args=(run,), name=f"{name}-{number}", daemon=True)
            for number, run in enumerate(runs, 1)
        ]
        for thread in self._threads:
            thread.start()

    async def ask(self, unit: Callable[[Connection], T]) -> T:
        """Its result; the unit runs even when the caller no longer waits.

        Raises `StoreUnavailable` when it takes too long. Then it does not begin, but one that has
        begun may still end well.
        """
        if self._closed:
            raise StoreUnavailable("The database is closed.")
        future: asyncio.Future[T] = self._loop.create_future()
        asked = _Asked(unit, future)
        self._queue.put(asked)
        if self._patience is None:
            return await future
        limit = self._loop.call_later(self._patience, asked.drop)
        try:
            return await future
        finally:
            limit.cancel()

    async def close(self) -> bool:
        """Refuse new units, finish those that wait; False if that takes too long."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        for thread in self._threads:
            await to_thread.run_sync(thread.join, self._patience)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, run: Run) -> None:
        while batch := self._take():
            batch = [asked for asked in batch if not asked.dropped]
            if not batch:
                continue
            results = _answer(run, [asked.unit for asked in batch])
            futures = [asked.future for asked in batch]
            try:
                self._loop.call_soon_threadsafe(_deliver, futures, results)
            except RuntimeError:
                _log.debug("the event loop ended before its database")

    def _take(self) -> list[_Asked]:
        """All that waits, at least one; nothing once the lane is closed and empty."""
        batch: list[_Asked] = []
        while item := self._queue.get():
            batch.append(item)
            if len(batch) == self._portion or self._queue.empty():
                return batch
        self._queue.put(None)  # to be met again, by this thread and the others
        return batch


class Lanes:
    """The `Database` whose units run on two lanes."""

    def __init__(
        self,
        writes: Lane,
        reads: Lane,
        release: Callable[[], None],
        fix: Callable[[Unit], Unit] = lambda unit: unit,
    ) -> None:
        """`release`, on a thread of its own, frees what the lanes used.

        `fix` makes a unit that sees one state of one that need not.
        """
        self._writes = writes
        self._reads = reads
        self._release = release
        self._fix = fix

    async def read(self, unit: Callable[[Connection], T]) -> T:
        return await self._reads.ask(unit)

    async def snapshot(self, unit: Callable[[Connection], T]) -> T:
        return await self._reads.ask(self._fix(unit))

    async def write(self, unit: Callable[[Connection], T]) -> T:
        return await self._writes.ask(unit)

    async def close(self) -> None:
        ended = [await lane.close() for lane in (self._writes, self._reads)]
        if all(ended):
            await to_thread.run_sync(self._release)
        else:
            _log.error("the database does not answer; its connections are left open")


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
