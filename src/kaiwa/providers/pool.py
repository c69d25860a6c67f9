"""Connections to model servers: made when they are needed, and used again while they are free.

It knows neither proxies nor redirects: `http` decides who is asked this way.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import aiohappyeyeballs
from cachetools import TTLCache
from yarl import URL

from kaiwa.providers.http1 import Connection, OutboundError, Response

_IDLE_SECONDS: Final = 15.0
_IDLE_MOST: Final = 256
_RESOLVED_SECONDS: Final = 10.0
_UNSAFE: Final = "the server could not be reached safely: its certificate or TLS is not valid"


class Target(NamedTuple):
    """Where a request goes."""

    tls: bool
    host: str
    port: int
    path: str
    headers: dict[str, str]
    """Those that follow from the address, and ours; what a request says itself comes first."""

    @property
    def origin(self) -> tuple[bool, str, int]:
        return self[:3]


@lru_cache(256)
def find_target(url: str) -> Target:
    """Raises `OutboundError` for what is no address of a server."""
    try:
        found = URL(url)
        if found.scheme not in ("http", "https") or not found.raw_host:
            raise ValueError(url)
        if not 0 < (port := found.port or 0) < 65536:
            raise ValueError(url)
    except ValueError as error:
        raise OutboundError("the server's address is not valid") from error
    headers = {
        "host": found.host_port_subcomponent or "",
        "accept-encoding": "identity",
        "user-agent": "kaiwa",
    }
    if found.user:
        pair = f"{found.user}:{found.password or ''}".encode()
        headers["authorization"] = f"Basic {b64encode(pair).decode()}"
    path = found.raw_path_qs or "/"
    return Target(found.scheme == "https", found.raw_host, port, path, headers)


def write_request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """A POST. Raises `OutboundError` for a header that would end early."""
    found = target.headers | {name.lower(): value for name, value in headers.items()}
    found["content-length"] = str(len(body))
    found.pop("transfer-encoding", None)
    lines = "".join([f"{name}: {value}\r\n" for name, value in found.items()])
    try:
        head = f"POST {target.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        # Not from the error, which holds the whole head, and in it the key.
        raise OutboundError("a header of the request is not valid") from None
    if lines.count("\r") + lines.count("\n") != 2 * len(found):
        raise OutboundError("a header of the request is not valid")
    return head + body


class Pool:
    """Connections to many servers; those that are free are used again for a while."""

    def __init__(self, connect_timeout: float) -> None:
        """`connect_timeout`: seconds for finding the address, connecting and the TLS handshake."""
        self._connect_timeout = connect_timeout
        self._free: dict[tuple[bool, str, int], list[Connection]] = {}
        self._addresses: TTLCache[tuple[str, int], list[Any]] = TTLCache(1000, _RESOLVED_SECONDS)
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Response:
        """The answer, its head known. Raises `OutboundError`. The caller closes it."""
        request = write_request(target, headers, body)
        if connection := self._find_free(target):
            response = connection.ask(request)
            try:
                await self._wait_head(response)
                return response
            except OutboundError:
                if response.begun:
                    raise
                # Most likely closed while it was idle; asked once more, on a new one, and no more.
        response = (await self._connect(target)).ask(request)
        await self._wait_head(response)
        return response

    async def close(self) -> None:
        """Close the free connections; those in use close with their answers."""
        self._closed = True
        for connections in self._free.values():
            for connection in connections:
                connection.abort()
        self._free.clear()

    async def _wait_head(self, response: Response) -> None:
        try:
            await response.wait_head()
        except BaseException:
            response.close()
            raise

    def _find_free(self, target: Target) -> Connection | None:
        free = self._free.get(target.origin)
        now = asyncio.get_running_loop().time()
        while free:
            connection = free.pop()
            if connection.usable and now - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def _keep(self, origin: tuple[bool, str, int], connection: Connection) -> None:
        free = self._free.setdefault(origin, [])
        if self._closed or len(free) >= _IDLE_MOST:
            connection.abort()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        free.append(connection)

    async def _connect(self, target: Target) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await self._open(target)
        except TimeoutError as error:
            seconds = f"{self._connect_timeout:g} seconds"
            raise OutboundError(f"the server did not accept a connection in {seconds}") from error
        except socket.gaierror as error:
            raise OutboundError("the server's address could not be found") from error
        except ssl.SSLError as error:
            raise OutboundError(_UNSAFE) from error
        except (OSError, UnicodeError) as error:
            raise OutboundError("the server could not be reached") from error

    async def _open(self, target: Target) -> Connection:
        loop = asyncio.get_running_loop()
        where = (target.host, target.port)
        addresses = self._addresses.get(where)
        if addresses is None:
            addresses = await loop.getaddrinfo(*where, type=socket.SOCK_STREAM)
            self._addresses[where] = addresses
        found = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]
            addresses, happy_eyeballs_delay=0.25
        )
        try:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if target.tls and self._tls is None:
                self._tls = ssl.create_default_context()
            _, connection = await loop.create_connection(
                lambda: Connection(lambda free: self._keep(target.origin, free)),
                sock=found,
                ssl=self._tls if target.tls else None,
                server_hostname=target.host if target.tls else None,
            )
        except BaseException:
            found.close()
            raise
        return connection
