"""The `BlobStore` of ports.py on any of obstore's stores."""

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import obstore
from anyio import CancelScope, create_task_group
from obstore.exceptions import BaseError
from obstore.store import S3Store

from kaiwa.errors import BlobsUnavailable, KaiwaError, NotFound
from kaiwa.providers.blobs.faults import FAULTS, Fault, explain, is_past_the_end
from kaiwa.providers.blobs.links import sign_again
from kaiwa.providers.blobs.parts import PART, GivenUp, Parts

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

_KEY: Final = re.compile(r"[A-Za-z0-9.-]+(?:/[A-Za-z0-9.-]+)*")
_LONGEST_KEY: Final = 500
_READ: Final = 256 * 1024
"""In bytes: about how much a piece of `get` has."""
_PAGE: Final = 1000
_LONGEST_LINK: Final = 7 * 24 * 3600
"""In seconds: S3 signs for no longer."""


class _Sending:
    """How far an object has come."""

    def __init__(self, part: int) -> None:
        self.parts = Parts(part)
        self.stored = False
        self.fault: Fault | None = None


class Objects:
    """A store of objects; `secret` is S3's secret key, for links."""

    part = PART
    """In bytes: about three of them are held for each object on its way in."""

    def __init__(self, store: "ObjectStore", secret: str = "") -> None:
        self._store = store
        self._secret = secret

    async def put(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        check_key(key)
        await self._look()
        sending = _Sending(self.part)
        size, broken = 0, None
        try:
            async with create_task_group() as group:
                group.start_soon(self._send, key, sending)
                size = await sending.parts.fill(pieces)
        except BaseExceptionGroup as several:
            # What the pieces raised is alone in it: the task beside them raises nothing.
            broken = several.exceptions[0]
        except BaseException:
            await self._take_back(key, sending)
            raise
        if broken or sending.fault:
            await self._take_back(key, sending)
        if broken:
            raise broken
        if sending.fault:
            raise explain(sending.fault, writing=True) from None
        return size

    async def get(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        check_key(key)
        if end is not None and end <= start:
            return
        try:
            found = await obstore.get_async(self._store, key, options=_range(start, end))
            async for piece in found.stream(min_chunk_size=_READ):
                yield piece
        except FAULTS as fault:
            if isinstance(fault, BaseError) and is_past_the_end(fault):
                return
            raise await self._explain(fault) from None

    async def read(self, key: str) -> bytes:
        check_key(key)
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except FAULTS as fault:
            raise await self._explain(fault) from None

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            check_key(key)
        try:
            await obstore.delete_async(self._store, list(keys))
        except FAULTS as fault:
            await self._allow_absence(fault)
            # Some stores end at the first that is not there.
            for key in keys if len(keys) > 1 else ():
                await self.delete([key])

    async def list_keys(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        if prefix:
            check_key(prefix)
        await self._look()
        try:
            async for page in self._list(prefix):
                for found in page:
                    yield found["path"], found["size"]
        except FAULTS as fault:
            raise explain(fault, writing=True) from None

    async def link(self, key: str, seconds: int, content_type: str, disposition: str) -> str | None:
        check_key(key)
        if not self._secret or not isinstance(self._store, S3Store):
            return None
        lasting = timedelta(seconds=min(seconds, _LONGEST_LINK))
        try:
            link = await obstore.sign_async(self._store, "GET", key, lasting)
        except FAULTS as fault:
            raise explain(fault, writing=True) from None
        answer = {
            "response-content-type": content_type,
            "response-content-disposition": disposition,
        }
        return sign_again(link, answer, self._secret)

    async def check(self) -> None:
        key = f"check/{secrets.token_hex(8)}"
        await self.put(key, _once(b"ok"))
        try:
            listed = [found async for found, _ in self.list_keys("check")]
            if key not in listed or await self.read(key) != b"ok":
                raise BlobsUnavailable("The file storage does not give back what it was given.")
        finally:
            await self.delete([key])

    async def tidy(self, before: datetime) -> int:
        return 0

    async def _send(self, key: str, sending: _Sending) -> None:
        """Never cancelled: when the caller is, its pieces break off, and obstore cleans up."""
        with CancelScope(shield=True):
            try:
                await self._store_parts(key, sending.parts)
                sending.stored = True
                await self._settle(key)
            except GivenUp:
                pass
            except FAULTS as fault:
                sending.fault = fault
            finally:
                sending.parts.close()

    async def _store_parts(self, key: str, parts: Parts) -> None:
        first = await parts.first()
        if len(first) < parts.size:
            if await parts.next() is None:
                await obstore.put_async(self._store, key, first, use_multipart=False)
            return
        await obstore.put_async(
            self._store, key, parts.after(first), chunk_size=parts.size, max_concurrency=1
        )

    async def _take_back(self, key: str, sending: _Sending) -> None:
        if sending.stored:
            with CancelScope(shield=True), suppress(KaiwaError):
                await self.delete([key])

    def _list(self, prefix: str) -> AsyncIterator[Sequence["ObjectMeta"]]:
        # Its other forms give tables of a library that is not here.
        return obstore.list(  # pyright: ignore[reportUnknownMemberType]
            self._store, prefix or None, chunk_size=_PAGE
        )

    async def _allow_absence(self, fault: Fault) -> None:
        error = await self._explain(fault)
        if not isinstance(error, NotFound):
            raise error from None

    async def _explain(self, fault: Fault) -> KaiwaError:
        """Tell a file that is not there from a store that is not there."""
        error = explain(fault)
        if isinstance(error, NotFound):
            await self._look()
        return error

    async def _look(self) -> None:
        """Raise when the place where all objects lie is not there; where asking is cheap."""

    async def _settle(self, key: str) -> None:
        """Make sure that a loss of power does not take the object away."""


def check_key(key: str) -> None:
    """Raises `ValueError` when it is not a path as ports.py describes it."""
    parts = key.split("/")
    if len(key) > _LONGEST_KEY or not _KEY.fullmatch(key) or "." in parts or ".." in parts:
        raise ValueError(f"not a key of a blob: {key!r}")


def _range(start: int, end: int | None) -> "GetOptions | None":
    if end is not None:
        return {"range": (start, end)}
    return {"range": {"offset": start}} if start else None


async def _once(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
