"""Links that lead to the store itself: its bytes come back, and nothing that runs is shown."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession
from anyio import to_thread

from tests.contract.test_uploads import get, picture, upload
from tests.support.apps import app_file
from tests.support.client import Client
from tests.support.object_server import Bucket, object_server
from tests.support.server import serving

pytestmark = pytest.mark.anyio

_FILES = {"enabled": True, "allowed_file_types": ["image", "document", "custom"]}
_FILES["allowed_file_extensions"] = ["svg"]
_SECRET = "canary-8d1f60-never-to-be-seen"


@pytest.fixture(scope="module")
def objects() -> Generator[str]:
    with object_server() as origin:
        yield origin


@pytest.fixture
async def bucket(objects: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _SECRET)
    return await to_thread.run_sync(Bucket, objects)


@pytest.fixture
async def client(bucket: Bucket, tmp_path: Path, engine: str) -> AsyncGenerator[Client]:
    async with serving(tmp_path, storage_url=bucket.url, presigned_links=True) as server:
        yield await server.client(app_file(file_upload=_FILES))


async def lead(url: str) -> str:
    """Where the link leads."""
    async with ClientSession() as session, session.get(url, allow_redirects=False) as response:
        assert (response.status, await response.read()) == (302, b"")
        return response.headers["location"]


async def test_a_link_in_a_message_leads_to_the_store(client: Client, bucket: Bucket) -> None:
    file = (await upload(client, picture(), "Sonne 太阳.png", user=client.user)).body["id"]
    given = {"type": "image", "transfer_method": "local_file", "upload_file_id": file}
    conversation = (await client.ask("What?", files=[given])).body["conversation_id"]
    page = await client.get("/messages", conversation_id=conversation)
    [listed] = page.body["data"][0]["message_files"]
    link = await lead(listed["url"])
    assert link.startswith(f"{bucket.origin}/{bucket.name}/some/prefix/")
    assert _SECRET not in link
    status, body, headers = await get(link)
    assert (status, body, headers["content-type"]) == (200, picture(), "image/png")
    assert headers["content-disposition"].startswith("inline; ")
    assert "filename*=UTF-8''Sonne%20%E5%A4%AA%E9%98%B3.png" in headers["content-disposition"]
    forged = listed["url"].replace("sign=", "sign=A")
    assert (await get(forged))[0] == 404


@pytest.mark.parametrize(
    ("name", "mime_type", "content"),
    [
        ("a.svg", "image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'),
        ("a.html", "text/html", b"<!doctype html><script>alert(1)</script>"),
    ],
)
async def test_what_a_browser_might_run_is_only_saved_from_there_too(
    client: Client, name: str, mime_type: str, content: bytes
) -> None:
    answer = await upload(client, content, name, mime_type, user=client.user)
    assert answer.status == 201
    link = await lead(answer.body["source_url"])
    status, body, headers = await get(link)
    assert (status, body) == (200, content)
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment; ")
    assert "response-content-disposition=attachment" in urlsplit(link).query  # so it is signed


async def test_by_key_it_leads_there_too(client: Client, bucket: Bucket) -> None:
    file = (await upload(client, picture(), user=client.user)).body["id"]
    path = f"{client.base}/files/{file}/preview?user={client.user}"
    async with (
        ClientSession() as session,
        session.get(f"{path}&as_attachment=true", headers=client.headers) as response,
    ):
        assert str(response.url).startswith(bucket.origin)
        assert await response.read() == picture()
        assert response.headers["content-disposition"].startswith("attachment; ")
