"""Few threads: what is due first goes first, and whoever leaves keeps no thread."""

import asyncio
import os
import threading

import anyio
import anyio.lowlevel
import pytest

from kaiwa.providers.threads import Threads

pytestmark = pytest.mark.anyio


async def held(threads: Threads) -> threading.Event:
    """One thread is busy until the event is set."""
    begun, done = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert done.wait(20)

    await threads.run(0, work)
    await begun.wait()
    return done


async def test_what_is_due_first_goes_first():
    threads = Threads(1, "test")
    done, order = await held(threads), list[float]()

    async def one(due: float) -> None:
        await (await threads.run(due, lambda: order.append(due)))

    async with anyio.create_task_group() as tasks:
        for due in (3.0, 1.0, 2.0, 0.0):
            tasks.start_soon(one, due)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        done.set()
    assert order == [0.0, 1.0, 2.0, 3.0]


async def test_no_more_work_than_threads_at_once():
    threads = Threads(2, "test")
    lock, at_once = threading.Lock(), [0, 0]

    def work() -> None:
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        os.sched_yield()
        with lock:
            at_once[0] -= 1

    async def one() -> None:
        await (await threads.run(0, work))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(one)
    assert at_once[0] == 0
    assert at_once[1] <= 2


async def test_who_leaves_the_queue_keeps_no_thread_from_others():
    threads = Threads(1, "test")
    done = await held(threads)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(threads.run, 0, lambda: None)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    done.set()
    with anyio.fail_after(20):
        assert await (await threads.run(0, lambda: "free")) == "free"


async def test_who_is_called_and_leaves_at_that_moment_keeps_no_thread_from_others():
    threads = Threads(1, "test")
    done = await held(threads)
    said = list[str]()

    async def other() -> None:
        said.append(await (await threads.run(1, lambda: "free")))

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(other)
            async with anyio.create_task_group() as called:
                called.start_soon(threads.run, 0, lambda: None)
                while threads.waiting < 2:
                    await anyio.lowlevel.checkpoint()
                done.set()
                while threads.waiting == 2:
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
    assert said == ["free"]


async def test_a_fault_of_the_work_is_told_and_frees_its_thread():
    threads = Threads(1, "test")

    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await (await threads.run(0, fails))
    assert await (await threads.run(0, lambda: 1)) == 1
