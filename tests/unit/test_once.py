"""What happens once: those who wait, those who give up, and those who come late."""

import asyncio

import pytest

from kaiwa.chat.once import Once

pytestmark = pytest.mark.anyio


async def test_all_who_wait_go_on_and_nobody_waits_later() -> None:
    once = Once()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(once.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not once.is_set()
        assert not any(task.done() for task in waiting)
        once.set()
        once.set()
    assert once.is_set()
    await once.wait()


async def test_one_who_gives_up_takes_nobody_along() -> None:
    once = Once()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        leaving, staying = [tasks.create_task(once.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        once.set()
    assert leaving.cancelled()
    assert not staying.cancelled()


async def test_one_who_gives_up_as_it_happens_is_let_go() -> None:
    once = Once()
    task = asyncio.create_task(once.wait())  # noqa: TID251 – it is cancelled within this test
    await asyncio.sleep(0)
    once.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert once.is_set()
