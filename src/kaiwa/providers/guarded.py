"""The guarded door: the way to an address that a user, a document or a model named.

It contacts public addresses alone, and those the operator allows besides. A name is looked up once,
all that it means is checked, and only what was checked is contacted.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import Final

import aiohttp
from yarl import URL

from kaiwa.errors import FetchRefused, FileTooLarge
from kaiwa.ports import Fetched
from kaiwa.providers.addresses import (
    Address,
    Network,
    follow,
    is_allowed,
    read_literal,
    read_url,
    unmap,
)
from kaiwa.providers.file_names import name_file
from kaiwa.providers.http import explain
from kaiwa.providers.http1 import OutboundError
from kaiwa.providers.pinned import open_pinned

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""All addresses of a name, as text. Raises `OSError` when it has none."""

_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_ADDRESSES: Final = 3
"""Of each family; a name with hundreds would make us knock at hundreds of doors."""
_THREADS: Final = 8

# The same for a private address, a name without any and a closed port: whoever may name addresses
# is not to find out by our answers what there is within the operator's network.
_UNREACHED: Final = "the server could not be reached"


class Guarded:
    """The door for addresses the operator did not choose: no cookies, no credentials, no proxies.

    A proxy would look names up for us. Any port may be asked, from 1 to 65535.
    """

    def __init__(
        self,
        also: Sequence[Network] = (),
        *,
        resolve: Resolve | None = None,
        total_timeout: float = 30.0,
        connect_timeout: float = 10.0,
        at_once: int = 64,
    ) -> None:
        """`also`: networks to be treated as public.

        Seconds: `total_timeout` for a whole fetch, its redirects, its wait for one of the `at_once`
        seats and the time its pieces take to be used; `connect_timeout` for looking a name up, and
        then for connecting and the TLS handshake.
        """
        self._also = tuple(also)
        # Threads of our own: names that take long to be looked up must not hold up others.
        self._threads = ThreadPoolExecutor(_THREADS, "kaiwa-names")
        self._resolve = resolve or self._look_up
        self._total_timeout = total_timeout
        self._connect_timeout = connect_timeout
        self._seats = asyncio.Semaphore(at_once)
        self._tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def fetch(self, url: str, limit: int) -> AsyncGenerator[Fetched]:
        """See `ports.Fetcher`."""
        deadline = asyncio.get_running_loop().time() + self._total_timeout
        async with AsyncExitStack() as stack:
            with _refusing(self._total_timeout):
                async with asyncio.timeout_at(deadline):
                    await stack.enter_async_context(self._seats)
                    response = await self._follow(read_url(url), stack)
                _check_head(response, limit)
            yield _Arriving(response, limit, deadline, self._total_timeout)

    async def close(self) -> None:
        """End the threads; one that still looks a name up ends with that."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self, url: URL, stack: AsyncExitStack) -> aiohttp.ClientResponse:
        """The answer at the end of the redirects; `stack` closes it."""
        for _ in range(_MOST_REDIRECTS + 1):
            async with AsyncExitStack() as hop:
                response = await self._ask(url, hop)
                location = response.headers.get("location")
                if response.status not in _REDIRECTS or location is None:
                    stack.push_async_exit(hop.pop_all())
                    return response
            url = follow(url, location)
        raise OutboundError(f"its address leads on more than {_MOST_REDIRECTS} times")

    async def _ask(self, url: URL, hop: AsyncExitStack) -> aiohttp.ClientResponse:
        addresses = await self._find(url.raw_host or "")
        tls = await self._find_tls() if url.scheme == "https" else None
        session = open_pinned(addresses, tls, self._connect_timeout)
        await hop.enter_async_context(session)
        try:
            return await hop.enter_async_context(session.get(url, allow_redirects=False))
        except TimeoutError as error:
            raise OutboundError(_UNREACHED) from error

    async def _find(self, host: str) -> list[Address]:
        """What to contact. Raises `OutboundError` unless all that the host means is allowed."""
        literal = read_literal(host)
        found = [literal] if literal is not None else await self._name_addresses(host)
        if not found or not all(is_allowed(address, self._also) for address in found):
            raise OutboundError(_UNREACHED)
        chosen: list[Address] = []
        for address in dict.fromkeys(found):
            if sum(other.version == address.version for other in chosen) < _MOST_ADDRESSES:
                chosen.append(address)
        return chosen

    async def _name_addresses(self, host: str) -> list[Address]:
        try:
            async with asyncio.timeout(self._connect_timeout):
                return [unmap(ip_address(text)) for text in await self._resolve(host)]
        except (OSError, ValueError) as error:
            raise OutboundError(_UNREACHED) from error

    async def _look_up(self, host: str) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        )
        return [str(address[0]) for *_, address in found]

    async def _find_tls(self) -> ssl.SSLContext:
        """Made when first needed, apart: reading all authorities takes a while."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


class _Arriving:
    """A file whose head has come."""

    def __init__(
        self, response: aiohttp.ClientResponse, limit: int, deadline: float, total_timeout: float
    ) -> None:
        self._content = response.content
        self._limit = limit
        self._deadline = deadline
        self._total_timeout = total_timeout
        self.url = str(response.url)
        said = response.headers.get("content-type", "")
        self.content_type = said.partition(";")[0].strip().lower()
        disposition = response.headers.get("content-disposition", "")
        self.name = name_file(disposition, response.url.raw_path)

    async def pieces(self) -> AsyncIterator[bytes]:
        size = 0
        while piece := await self._receive():
            size += len(piece)
            if size > self._limit:
                raise FileTooLarge.over(self._limit, size)
            yield piece

    async def _receive(self) -> bytes:
        with _refusing(self._total_timeout):
            async with asyncio.timeout_at(self._deadline):
                return await self._content.readany()


def _check_head(response: aiohttp.ClientResponse, limit: int) -> None:
    if not 200 <= response.status < 300:
        raise OutboundError(f"the server answered with HTTP {response.status}")
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise OutboundError("the server sent it packed, which it was not asked for")
    if (length := response.content_length or 0) > limit:
        raise FileTooLarge.over(limit, length)


@contextmanager
def _refusing(total_timeout: float) -> Generator[None]:
    """What fails inside becomes a `FetchRefused`."""
    try:
        yield
    except OutboundError as error:
        raise FetchRefused(_tell(error)) from error
    except TimeoutError as error:
        raise FetchRefused(_tell(f"it did not arrive in {total_timeout:g} seconds")) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchRefused(_tell(explain(error))) from error


def _tell(reason: object) -> str:
    return f"The file cannot be fetched: {reason}."
