"""The browser pages over real HTTP: what they carry, and what they must not."""

import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest
from aiohttp import ClientSession
from yarl import URL

from kaiwa import __version__
from tests.support.server import serving

pytestmark = pytest.mark.anyio

PAGES = ["/", "/docs"]
STATIC = {
    "kaiwa.css": "text/css; charset=utf-8",
    "home.js": "text/javascript; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "kaiwa.svg": "image/svg+xml",
}
NO_FILES = [
    "",
    "missing.js",
    "KAIWA.CSS",
    "kaiwa.css%00",
    "kaiwa.css/x",
    "../pages.py",
    "..%2fpages.py",
    "%2e%2e/pages.py",
    "%2e%2e%2fpages.py",
    "..%5cpages.py",
    "./../../__init__.py",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "....//pages.py",
    "..%252fpages.py",
]
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
}


class Site:
    """A served Kaiwa and a browser's plainest means."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.url = url
        self._session = session

    async def get(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers in lower case, body; the path is sent as it is written here."""
        url = URL(self.url + path, encoded=True)
        async with self._session.request(
            method, url, headers=headers, allow_redirects=False
        ) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            return response.status, found, await response.text()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path) as server, ClientSession() as session:
        yield Site(server.url, session)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_html_that_lets_nothing_else_in(site: Site, path: str) -> None:
    status, headers, body = await site.get(path)
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert set(headers["content-security-policy"].split("; ")) == POLICY
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers
    assert f"Version {__version__}" in body
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?! src=\"/static/)", body)


@pytest.mark.parametrize("path", PAGES)
async def test_every_link_of_a_page_leads_somewhere_on_this_server(site: Site, path: str) -> None:
    _, _, body = await site.get(path)
    links = set(re.findall(r'(?:href|src)="([^"]*)"', body))
    assert "/openapi.json" in links
    for link in links:
        assert link.startswith("/")
        status, _, _ = await site.get(link)
        assert status == 200, link


async def test_the_first_page_tells_how_to_begin(site: Site) -> None:
    _, _, body = await site.get("/")
    assert {"/docs", "/openapi.json", "/healthz", "/readyz"} <= set(
        re.findall(r'href="(.*?)"', body)
    )
    text = re.sub(r"<[^>]*>", "", body)
    assert "kaiwa key create APP" in text
    assert "curl -N http://localhost:8000/v1/chat-messages" in text
    assert "Bearer app-…" in text


async def test_the_host_a_client_names_is_not_on_the_page(site: Site) -> None:
    named = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    for path in PAGES:
        status, _, body = await site.get(path, headers=named)
        assert status == 200
        assert "evil" not in body


@pytest.mark.parametrize("name", STATIC)
async def test_a_static_file_has_its_type(site: Site, name: str) -> None:
    status, headers, body = await site.get(f"/static/{name}")
    assert status == 200
    assert headers["content-type"] == STATIC[name]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "set-cookie" not in headers
    assert body.encode() == files("kaiwa.web").joinpath("static", name).read_bytes()


def test_every_static_file_is_served() -> None:
    assert {file.name for file in files("kaiwa.web").joinpath("static").iterdir()} == set(STATIC)


@pytest.mark.parametrize("path", [*PAGES, "/static/docs.js"])
async def test_a_browser_that_has_a_file_is_not_sent_it_again(site: Site, path: str) -> None:
    _, headers, _ = await site.get(path)
    assert headers["cache-control"] == "no-cache"
    status, again, body = await site.get(
        path, headers={"If-None-Match": f'"other", W/{headers["etag"]}'}
    )
    assert (status, body) == (304, "")
    assert again["etag"] == headers["etag"]
    status, _, _ = await site.get(path, headers={"If-None-Match": '"other"'})
    assert status == 200


@pytest.mark.parametrize("path", [*PAGES, "/static/docs.js"])
async def test_head_is_get_without_the_body(site: Site, path: str) -> None:
    _, whole, body = await site.get(path)
    status, headers, nothing = await site.get(path, "HEAD")
    assert (status, nothing) == (200, "")
    assert headers["etag"] == whole["etag"]
    assert int(headers["content-length"]) == len(body.encode())


async def test_no_other_name_is_a_file(site: Site) -> None:
    for name in NO_FILES:
        status, headers, body = await site.get(f"/static/{name}")
        assert status == 404, name
        assert headers["content-type"].startswith("application/json"), name
        assert '"not_found"' in body, name


@pytest.mark.parametrize("path", [*PAGES, "/static/docs.js"])
async def test_a_page_is_only_read(site: Site, path: str) -> None:
    status, _, _ = await site.get(path, "POST")
    assert status == 405


async def test_without_scripts_the_reference_names_its_document(site: Site) -> None:
    _, _, body = await site.get("/docs")
    hint = re.search(r"<noscript>.*?</noscript>", body, re.DOTALL)
    assert hint
    assert 'href="/openapi.json"' in hint[0]
