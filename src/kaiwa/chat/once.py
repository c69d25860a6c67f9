"""Something that happens once, and those who wait for it."""

import asyncio


class Once:
    """As `asyncio.Event`, which never is unset here.

    That one holds 760 bytes for those who may wait; a turn has four, and hardly anybody waits.
    """

    __slots__ = ("_happened", "_waiting")

    def __init__(self) -> None:
        self._happened = False
        self._waiting: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        return self._happened

    def set(self) -> None:
        """It has happened; whoever waits goes on."""
        self._happened = True
        waiting, self._waiting = self._waiting, None
        for future in waiting or ():
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Until it has happened."""
        if self._happened:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = [*(self._waiting or ()), future]
        try:
            await future
        finally:
            if self._waiting:
                self._waiting.remove(future)
