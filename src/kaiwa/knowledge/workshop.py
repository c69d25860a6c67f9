"""Where documents are worked on, a few at once: in a server, in a worker, or in a command.

Any number of processes may do so on one database: each claims what nobody else works on, and
takes over what a process that died has left.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

import anyio
from anyio import CancelScope

from kaiwa.domain.knowledge import Document
from kaiwa.errors import StoreUnavailable
from kaiwa.knowledge.ingest import Ingest
from kaiwa.ports import Clock, NewId
from kaiwa.store.db import Database
from kaiwa.store.documents import (
    DocumentLost,
    beat_documents,
    claim_document,
    is_work_waiting,
    release_documents,
)

logger = logging.getLogger(__name__)

_GOODBYE_SECONDS: Final = 3
"""How long the database may take to hear that a document is left to others."""


class Workshop:
    """Works on whatever waits."""

    def __init__(
        self,
        db: Database,
        ingest: Ingest,
        clock: Clock,
        new_id: NewId,
        *,
        at_once: int = 2,
        silence: float = 30,
        look: float = 1.0,
    ) -> None:
        """`silence`: seconds after which a worker that is not heard of counts as dead.

        `look`: after so many seconds it looks again whether there is something to do, unawakened.
        """
        self._db = db
        self._ingest = ingest
        self._clock = clock
        self._new_id = new_id
        self._seats = anyio.Semaphore(at_once)
        self._silence = timedelta(seconds=silence)
        self._look_seconds = look
        self._beat_seconds = min(5.0, silence / 4)
        self._news = anyio.Event()

    def wake(self) -> None:
        """There is something to do: look at once."""
        self._news.set()

    async def run(self) -> None:
        """Until it is cancelled; what is not done by then is left to others at once."""
        async with anyio.create_task_group() as workers:
            while True:
                await self._seats.acquire()
                document, owner = await self._take()
                workers.start_soon(self._work, document, owner)

    async def _take(self) -> tuple[Document, UUID]:
        """The next document, and who we are while we work on it: a new worker each time."""
        while True:
            self._news = anyio.Event()
            try:
                if await is_work_waiting(self._db, self._silence):
                    owner = self._new_id()
                    if found := await self._claim(owner):
                        return found, owner
            except StoreUnavailable as error:
                logger.warning("documents have to wait: %s", error.message)
            with anyio.move_on_after(self._look_seconds):
                await self._news.wait()

    async def _claim(self, owner: UUID) -> Document | None:
        """Whatever happens meanwhile: a claim that nobody hears of would keep others waiting."""
        found = None
        with CancelScope(shield=True):
            found = await claim_document(self._db, owner, self._silence, self._clock())
        return found

    async def _work(self, document: Document, owner: UUID) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._beat, document.id, owner, group.cancel_scope.cancel)
                await self._run(document, owner)
                group.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(_GOODBYE_SECONDS, shield=True):
                await self._release(owner)
            raise
        finally:
            self._seats.release()

    async def _run(self, document: Document, owner: UUID) -> None:
        try:
            await self._ingest.run(document, owner)
        except DocumentLost:
            logger.debug("the document %s is somebody else's now, or gone", document.id)

    async def _beat(self, document_id: UUID, owner: UUID, lose: Callable[[], None]) -> None:
        """So that nobody else begins with it; when somebody did, it is lost at once."""
        while True:
            await anyio.sleep(self._beat_seconds)
            try:
                if not await beat_documents(self._db, owner, [document_id]):
                    return lose()
            except StoreUnavailable as error:
                logger.warning("a document's worker is not heard: %s", error.message)

    async def _release(self, owner: UUID) -> None:
        try:
            await release_documents(self._db, owner)
        except StoreUnavailable as error:
            logger.warning("a document is left to others later: %s", error.message)
