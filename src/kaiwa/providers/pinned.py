"""A session of aiohttp that contacts the addresses it is given and no others."""

import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kaiwa.providers.addresses import Address

_AddressInfo = tuple[int, int, int, str, tuple[object, ...]]


def open_pinned(
    addresses: Sequence[Address], tls: ssl.SSLContext | None, connect_timeout: float
) -> aiohttp.ClientSession:
    """For requests to one host, whose addresses these are; `connect_timeout` in seconds.

    It keeps no connection and no cookie, unpacks nothing, and knows no proxy.
    """
    connector = aiohttp.TCPConnector(
        resolver=_Pinned(addresses),
        socket_factory=_Sockets(addresses),
        use_dns_cache=False,
        force_close=True,
        ssl=True if tls is None else tls,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "kaiwa"},
        timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout),
        auto_decompress=False,
        trust_env=False,
    )


class _Pinned(AbstractResolver):
    """Answers with what was found and checked, whatever it is asked."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


class _Sockets:
    """The last check before a connection: aiohttp asks no resolver about a literal address."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    def __call__(self, info: _AddressInfo) -> socket.socket:
        family, kind, protocol, _, where = info
        if ip_address(str(where[0])) not in self._addresses:
            raise OSError("an address that was not checked")
        return socket.socket(family, kind, protocol)
