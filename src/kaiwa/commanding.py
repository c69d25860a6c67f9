"""What the commands share: their settings, an event loop, the database, and what they log."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from kaiwa.app import House, open_database
from kaiwa.settings import Settings
from kaiwa.store.db import Database

T = TypeVar("T")

Given = Callable[..., Settings]
"""Reads the settings; its keywords are what a command was told on top."""


def with_database(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    async def run() -> T:
        db = await open_database(settings)
        try:
            return await work(db)
        finally:
            await db.close()

    set_up_logging("debug" if settings.log_level == "debug" else "error")
    return run_work(run)


def with_house(settings: Settings, work: Callable[[House], Awaitable[T]]) -> T:
    """For what needs more than the database."""

    async def run() -> T:
        async with House(settings) as house:
            return await work(house)

    set_up_logging("debug" if settings.log_level == "debug" else "error")
    return run_work(run)


def run_work(work: Callable[[], Awaitable[T]]) -> T:
    return anyio.run(work, backend_options={"use_uvloop": True})


def set_up_logging(level: str) -> None:
    """Our own words at `level`; other libraries' only when they warn, or all for `debug`.

    A command that is not the server says what is wrong in its one sentence: it logs errors alone.
    """
    logging.basicConfig(
        level="WARNING" if level == "info" else level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("kaiwa").setLevel(level.upper())
