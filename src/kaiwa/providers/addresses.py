"""Which addresses somebody else may name: read in every spelling, and public or not.

Pure; nothing is looked up here. `guarded` asks it about every address it is about to contact.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from yarl import URL

from kaiwa.providers.http1 import OutboundError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_VALID: Final = "the server's address is not valid"

_LONGEST_URL: Final = 8000
_LONGEST_NAME: Final = 253
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_AUTHORITY: Final = re.compile(r"[^:/?#]*://([^/?#]*)")
_NAME: Final = re.compile(r"(?:[a-z0-9_][a-z0-9_-]{0,62}\.)*[a-z0-9_][a-z0-9_-]{0,62}")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DIGITS: Final = re.compile(r"0x(?P<hex>[0-9a-f]*)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*)")

# Spelled out, because `is_global` differs between versions of Python, and because it takes
# multicast, the ends of old tunnels and addresses that clouds keep for themselves for global.
_NEVER: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own, and some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's own services, the same in every virtual network
        "169.254.0.0/16",  # link local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # Teredo and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
_UNICAST: Final = IPv6Network("2000::/3")
"""All of IPv6 that anybody is given; loopback, mapped, local and multicast lie outside."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether it belongs to the internet at large, the address that it may embed too."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _UNICAST:
            return False
    return address.is_global and not any(address in network for network in _NEVER)


def is_allowed(address: Address, also: Sequence[Network]) -> bool:
    """Whether it is public, or in one of the networks that are allowed besides."""
    return is_public(address) or any(address in network for network in also)


def unmap(address: Address) -> Address:
    """An IPv4 address in the clothes of IPv6 without them: the kernel contacts it as such."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def read_url(text: str) -> URL:
    """An address of http or https: no user, no fragment, a literal host in its usual spelling.

    Raises `OutboundError` for anything else, and for what programs read in different ways.
    """
    text = text.strip(" ")
    if len(text) > _LONGEST_URL or _FORBIDDEN.search(text):
        raise OutboundError(NOT_VALID)
    try:
        url = URL(text).with_fragment(None)
    except ValueError as error:
        raise OutboundError(NOT_VALID) from error
    if url.scheme not in ("http", "https"):
        raise OutboundError("its address has to begin with http:// or https://")
    authority = _AUTHORITY.match(text)
    if authority is None or not url.raw_host or not 0 < (url.port or 0) < 65536:
        raise OutboundError(NOT_VALID)
    if "@" in authority[1]:
        raise OutboundError("its address must not contain a user or a password")
    address = read_literal(url.raw_host)
    return url if address is None else url.with_host(str(address))


def follow(url: URL, location: str) -> URL:
    """Where a redirect leads, checked as `read_url` does. Raises `OutboundError`."""
    if _FORBIDDEN.search(location):
        raise OutboundError(NOT_VALID)
    try:
        joined = str(url.join(URL(location.strip(" "))))
    except ValueError as error:
        raise OutboundError(NOT_VALID) from error
    return read_url(joined)


def read_literal(host: str) -> Address | None:
    """The address that the host of a URL is, IPv6 without brackets; None when it is a name.

    IPv4 is read as browsers and the C library do: one to four numbers, decimal, octal or
    hexadecimal. Raises `OutboundError` for what is neither an address nor a name.
    """
    host = host.lower()
    if ":" in host:
        if "%" in host:  # a zone means something on this machine alone
            raise OutboundError(NOT_VALID)
        try:
            return unmap(IPv6Address(host))
        except ValueError as error:
            raise OutboundError(NOT_VALID) from error
    host = host.removesuffix(".")
    if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host):
        raise OutboundError(NOT_VALID)
    labels = host.split(".")
    return _read_numbers(labels) if _NUMBER.fullmatch(labels[-1]) else None


def _read_numbers(labels: Sequence[str]) -> IPv4Address:
    *leading, last = [_read_number(label) for label in labels]
    if len(leading) > 3 or max(leading, default=0) > 255 or last >= 256 ** (4 - len(leading)):
        raise OutboundError(NOT_VALID)
    whole = last
    for i, number in enumerate(leading):
        whole += number << (24 - 8 * i)
    return IPv4Address(whole)


def _read_number(label: str) -> int:
    match = _DIGITS.fullmatch(label)
    if match is None:
        raise OutboundError(NOT_VALID)
    if match["hex"] is not None:
        return int(match["hex"] or "0", 16)
    return int(label, 8 if match["octal"] else 10)
