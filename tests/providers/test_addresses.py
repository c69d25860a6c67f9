"""Which addresses are public, and which spellings mean which address."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from kaiwa.providers.addresses import (
    follow,
    is_allowed,
    is_public,
    read_literal,
    read_url,
    unmap,
)
from kaiwa.providers.http1 import OutboundError

CLOUDS_OWN = [ip_network(text) for text in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")]
"""What `ipaddress` takes for global, all or in part, and we do not."""


def spell(number: int, parts: int, bases: list[str], dot: str) -> str:
    """An IPv4 address as `parts` numbers, each in its base."""
    numbers = [number >> (24 - 8 * i) & 0xFF for i in range(parts - 1)]
    numbers.append(number & ((1 << (8 * (5 - parts))) - 1))
    forms = {"decimal": "{}", "octal": "0{:o}", "hex": "0x{:x}", "HEX": "0X00{:X}"}
    return ".".join(forms[base].format(n) for base, n in zip(bases, numbers, strict=False)) + dot


@given(
    number=st.integers(0, 2**32 - 1),
    parts=st.integers(1, 4),
    bases=st.lists(st.sampled_from(["decimal", "octal", "hex", "HEX"]), min_size=4, max_size=4),
    dot=st.sampled_from(["", "."]),
)
@example(number=0x7F000001, parts=1, bases=["decimal"] * 4, dot="")
@example(number=0x08080808, parts=2, bases=["octal"] * 4, dot=".")
@example(number=0xE0000001, parts=4, bases=["decimal"] * 4, dot="")
def test_every_spelling_of_an_address_is_judged_as_that_address(
    number: int, parts: int, bases: list[str], dot: str
):
    address = IPv4Address(number)
    host = spell(number, parts, bases, dot)
    assert read_literal(host) == address
    assert read_url(f"http://{host}/a?b").raw_host == str(address)
    expected = address.is_global and not address.is_multicast
    if not any(address in network for network in CLOUDS_OWN):
        assert is_public(address) == expected


@given(st.integers(0, 2**32 - 1))
def test_an_embedded_address_is_judged_like_the_one_it_embeds(number: int):
    inner = IPv4Address(number)
    assert unmap(IPv6Address(f"::ffff:{inner}")) == inner
    assert is_public(IPv6Address(f"64:ff9b::{inner}")) == is_public(inner)
    assert read_literal(f"::ffff:{inner}") == inner


@given(st.integers(0, 2**128 - 1))
def test_no_address_is_public_that_is_not_global(number: int):
    address = IPv6Address(number)
    assert not is_public(address) or address.is_global


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_what_is_not_public(text: str):
    assert not is_public(unmap(ip_address(text)))


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
    ],
)
def test_what_is_public(text: str):
    assert is_public(unmap(ip_address(text)))


def test_an_operator_can_allow_networks_and_no_more():
    also = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    assert is_allowed(ip_address("10.1.2.3"), also)
    assert is_allowed(ip_address("fd12::1"), also)
    assert is_allowed(ip_address("8.8.8.8"), also)
    assert not is_allowed(ip_address("10.2.0.1"), also)
    assert not is_allowed(ip_address("64:ff9b::10.1.2.3"), also)
    assert not is_allowed(ip_address("::1"), also)


@pytest.mark.parametrize(
    ("host", "literal"),
    [
        ("example.com", None),
        ("example.com.", None),
        ("localhost", None),
        ("a_b.example", None),
        ("xn--bcher-kva.example", None),
        ("0xg.example", None),
        ("1.2.3.4.example", None),
        ("0x7f.1", "127.0.0.1"),
        ("0x", "0.0.0.0"),
        ("1.2.3.4.", "1.2.3.4"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_names_and_literals_are_told_apart(host: str, literal: str | None):
    assert read_literal(host) == (None if literal is None else ip_address(literal))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "picture.png",
        "/picture.png",
        "//example.com/",
        "http:",
        "http://",
        "http:///x",
        "http:example.com",
        "http:/example.com",
        "https://:443/",
        "http:/\\/127.0.0.1/",
        "http:\\\\127.0.0.1\\",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/a\\b",
        "http://exam\tple.com/",
        "http://example.com/a\nb",
        "http://example.com/\r\nX-A: b",
        "ht\ntp://example.com/",
        "\x00http://example.com/",
        "http://exa mple.com/",
        "http://a..b/",
        "http://.a/",
        "http://a../",
        "http://a,b/",
        "http://*.a/",
        "http://" + "a" * 64 + "/",
        "http://" + "a." * 127 + "a/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.0.1%2f@a/",
        "http://127.0.0.1%00.example.com/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://1.2.3.256/",
        "http://1.2.65536/",
        "http://4294967296/",
        "http://09.1.1.1/",
        "http://a.1/",
        "http://a.0x1/",
        "http://1..1/",
        "http://[::1/",
        "http://::1/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1%25lo]/",
        "http://[1.2.3.4]:x/",
        "http://[:::]/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:80:80/",
        "http://good＠127.0.0.1/",
        "http://a／b/",
        "http://example.com/" + "a" * 8000,
        "http://me@example.com/",
        "http://me:secret@example.com/",
        "http://good@127.0.0.1/",
        "http://@example.com/",
        "http://:@example.com/",
        "http://example.com:80@127.0.0.1/",
        "file:///etc/passwd",
        "file://example.com/a",
        "gopher://example.com/",
        "ftp://example.com/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "unix:///run/a.sock",
        "tcp://example.com:80/",
        "ws://example.com/",
    ],
)
def test_what_is_no_address_of_a_file(url: str):
    with pytest.raises(OutboundError):
        read_url(url)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://example.com", "http://example.com/"),
        (" HTTPS://Example.COM:443/A?b=c#d ", "https://example.com/A?b=c"),
        ("http://example.com:8080/ä b", "http://example.com:8080/%C3%A4%20b"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://example.com#@127.0.0.1/", "http://example.com/"),
        ("http://example.com?@127.0.0.1/", "http://example.com/?@127.0.0.1/"),
        ("http://example.com/@a", "http://example.com/@a"),
        ("http://127.0.0.1#@good/", "http://127.0.0.1/"),
        ("http://①②⑦.0.0.1/", "http://127.0.0.1/"),
        ("http://127。0。0。1/", "http://127.0.0.1/"),
        ("http://0177.0.0.1:81/", "http://127.0.0.1:81/"),
        ("http://[::ffff:127.0.0.1]:81/", "http://127.0.0.1:81/"),
        ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"),
        ("http://example.com/a%0d%0ab", "http://example.com/a%0D%0Ab"),
    ],
)
def test_an_address_is_read_in_one_way(url: str, read: str):
    found = read_url(url)
    assert (found.raw_host, found.port) == (URL(read).raw_host, URL(read).port)
    assert (found.scheme, found.raw_path_qs) == (URL(read).scheme, URL(read).raw_path_qs)
    assert str(read_url(str(found))) == str(found)


@given(st.text(alphabet="htps:/\\.@#?[]%0127x① \tafe-_", max_size=30).map("http://".__add__))
def test_whatever_is_written_is_refused_or_read_the_same_again(text: str):
    try:
        url = read_url(text)
    except OutboundError:
        return
    assert url.scheme == "http"
    assert url.user is None
    assert url.raw_fragment == ""
    assert str(read_url(str(url))) == str(url)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("b.png", "http://a.example/x/b.png"),
        ("/b c.png", "http://a.example/b%20c.png"),
        ("?q", "http://a.example/x/y?q"),
        ("//b.example/z#f", "http://b.example/z"),
        ("https://b.example/", "https://b.example/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("", "http://a.example/x/y"),
    ],
)
def test_a_redirect_leads_where_its_location_says(location: str, target: str):
    assert str(follow(URL("http://a.example/x/y"), location)) == target


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://a.example/",
        "//me@127.0.0.1/",
        "\\\\127.0.0.1\\",
        "http://a\tb/",
        "http://[::1",
        "http://a.example:0/",
        "//a.example/" + "a" * 8000,
    ],
)
def test_a_redirect_is_refused_like_an_address(location: str):
    with pytest.raises(OutboundError):
        follow(URL("http://a.example/x/y"), location)
