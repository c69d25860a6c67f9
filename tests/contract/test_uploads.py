"""Uploads over the real wire: what is taken, and that nothing stays of what is refused."""

import asyncio
from collections.abc import AsyncGenerator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import pytest
from aiohttp import ClientSession, FormData
from msgspec import structs
from PIL import Image

from kaiwa.store.files import find_file
from tests.support.apps import app_file
from tests.support.client import Client
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

_FILES = {
    "enabled": True,
    "allowed_file_types": ["image", "document"],
    "allowed_file_upload_methods": ["local_file", "remote_url"],
    "number_limits": 3,
}


def picture(kind: str = "PNG", side: int = 8) -> bytes:
    made = BytesIO()
    Image.new("RGB", (side, side), (200, 30, 30)).save(made, kind)
    return made.getvalue()


@pytest.fixture
async def server(tmp_path: Path, engine: str) -> AsyncGenerator[TestServer]:
    async with serving(tmp_path, image_limit=20_000, document_limit=50_000) as found:
        yield found


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(file_upload=_FILES))


class Answer(msgspec.Struct):
    status: int
    body: Any


async def upload(
    client: Client, content: bytes, name: str = "a.png", mime_type: str = "image/png", **more: str
) -> Answer:
    form = FormData(quote_fields=False)
    form.add_field("file", content, filename=name, content_type=mime_type)
    for key, value in more.items():
        form.add_field(key, value)
    return await send(client, form)


async def send(client: Client, form: FormData) -> Answer:
    headers = {"Authorization": f"Bearer {client.key}"}
    async with (
        ClientSession() as session,
        session.post(f"{client.base}/files/upload", data=form, headers=headers) as response,
    ):
        return Answer(response.status, await response.json())


async def stored(server: TestServer) -> list[str]:
    return [key async for key, _ in server.house.blobs.list_keys()]


async def get(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    async with ClientSession() as session, session.get(url, headers=headers) as response:
        found = {name.lower(): value for name, value in response.headers.items()}
        return response.status, await response.read(), found


async def test_an_upload_answers_what_it_kept(server: TestServer, client: Client) -> None:
    answer = await upload(client, picture(), "Sonne 太阳.PNG", user="ann")
    assert answer.status == 201
    body = answer.body
    assert list(body) == [
        "id", "name", "size", "extension", "mime_type", "created_by", "created_at",
        "preview_url", "source_url",
    ]  # fmt: skip
    assert (body["name"], body["extension"], body["mime_type"]) == (
        "Sonne 太阳.PNG",
        "png",
        "image/png",
    )
    assert body["size"] == len(picture())
    assert UUID(body["created_by"])
    kept = await find_file(server.house.context.db, UUID(body["id"]))
    assert kept
    assert await stored(server) == [kept.key]
    assert await server.house.blobs.read(kept.key) == picture()


async def test_a_signed_link_shows_the_file_and_nothing_else(client: Client) -> None:
    link = (await upload(client, picture())).body["source_url"]
    status, body, headers = await get(link)
    assert (status, body, headers["content-type"]) == (200, picture(), "image/png")
    assert headers["content-disposition"].startswith("inline")
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    for wrong in (
        link.replace("sign=", "sign=A"),
        link.replace("nonce=", "nonce=0"),
        link.replace("/image-preview?", "/file-preview?"),
        link.replace(link.split("/")[4], "019aa1d2-0000-7000-8000-000000000000"),
    ):
        status, body, _ = await get(wrong)
        assert status == 404, wrong
        assert b"File not found or signature is invalid" in body
    status, body, _ = await get(link.partition("?")[0])
    assert (status, msgspec.json.decode(body)) == (400, {"content": "Invalid request."})


async def test_a_preview_of_pictures_shows_nothing_else(server: TestServer, client: Client) -> None:
    text = (await upload(client, b"text", "a.txt", "text/plain")).body
    kept = await find_file(server.house.context.db, UUID(text["id"]))
    assert kept
    # Signed as for a picture, which it is not.
    now = server.house.clock().timestamp()
    link = server.house.links.make(server.url, structs.replace(kept, type="image"), now)
    assert "/image-preview?" in link
    status, body, _ = await get(link)
    assert status == 404
    assert b"File not found or signature is invalid" in body


async def test_a_part_of_a_file_can_be_asked_for(client: Client) -> None:
    text = b"0123456789" * 10
    link = (await upload(client, text, "a.txt", "text/plain")).body["source_url"]
    for asked, status, expected in (
        ("bytes=0-9", 206, text[:10]),
        ("bytes=95-", 206, text[95:]),
        ("bytes=-5", 206, text[-5:]),
        ("bytes=90-1000", 206, text[90:]),
        ("bytes=100-", 416, b""),
        ("bytes=0-1,5-6", 200, text),
        (f"bytes=0-{'9' * 5000}", 200, text),
    ):
        found, body, headers = await get(link, Range=asked)
        assert (found, body) == (status, expected), asked
        assert headers["content-length"] == str(len(expected))
    _, _, headers = await get(link, Range="bytes=0-9")
    assert headers["content-range"] == "bytes 0-9/100"


async def test_what_a_browser_might_run_is_only_saved(client: Client) -> None:
    page = b"<!doctype html><script>alert(1)</script>"
    link = (await upload(client, page, 'a".html', "text/html")).body["source_url"]
    _, body, headers = await get(link)
    assert body == page
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment; ")
    assert '"a_.html"' in headers["content-disposition"]


@pytest.mark.parametrize(
    ("content", "name", "mime_type", "status", "code"),
    [
        (b"", "a.png", "image/png", 415, "unsupported_file_type"),
        (picture()[:40], "a.png", "image/png", 415, "unsupported_file_type"),
        (picture(), "a.jpg", "image/jpeg", 415, "unsupported_file_type"),
        (b"MZ" + bytes(100), "a.png", "image/png", 415, "unsupported_file_type"),
        (picture() + b"<script>", "a.png", "image/png", 415, "unsupported_file_type"),
        (b"RIFF" + bytes(100), "a.wav", "audio/wav", 415, "unsupported_file_type"),
        (b"x" * 50_001, "a.txt", "text/plain", 413, "file_too_large"),
        (picture("BMP", 200), "a.bmp", "image/bmp", 415, "unsupported_file_type"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    server: TestServer,
    client: Client,
    content: bytes,
    name: str,
    mime_type: str,
    status: int,
    code: str,
) -> None:
    answer = await upload(client, content, name, mime_type)
    assert (answer.status, answer.body["code"], answer.body["status"]) == (status, code, status)
    assert await stored(server) == []


async def test_a_picture_over_its_limit_is_told_the_limit(
    server: TestServer, client: Client
) -> None:
    made = BytesIO()
    Image.effect_noise((200, 200), 80).save(made, "PNG")
    answer = await upload(client, made.getvalue())
    assert (answer.status, answer.body["code"]) == (413, "file_too_large")
    assert answer.body["message"].startswith("File size exceeded. ")
    assert answer.body["message"].endswith(" > 20000")
    assert await stored(server) == []


async def test_forms_without_one_file_are_refused(client: Client) -> None:
    nothing = FormData({"user": "ann"})
    nothing.add_field("other", "x", content_type="text/plain")
    answer = await send(client, nothing)
    assert (answer.status, answer.body["code"]) == (400, "no_file_uploaded")
    two = FormData()
    two.add_field("file", picture(), filename="a.png", content_type="image/png")
    two.add_field("second", picture(), filename="b.png", content_type="image/png")
    answer = await send(client, two)
    assert (answer.status, answer.body["code"]) == (400, "too_many_files")
    unnamed = FormData(quote_fields=False)
    unnamed.add_field("file", picture(), filename=" ", content_type="image/png")
    answer = await send(client, unnamed)
    assert (answer.status, answer.body["code"]) == (400, "filename_not_exists_error")
    headers = {"Authorization": f"Bearer {client.key}"}
    for data, kind in ((b"{}", "application/json"), (b"--x\r\n", "multipart/form-data")):
        async with (
            ClientSession() as session,
            session.post(
                f"{client.base}/files/upload",
                data=data,
                headers=headers | {"Content-Type": kind},
            ) as response,
        ):
            assert response.status == 400


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(
    server: TestServer, client: Client
) -> None:
    address = urlsplit(client.base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"POST /v1/files/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 40000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    )
    writer.write(head.encode() + b"x" * 20_000)
    await writer.drain()
    writer.write_eof()
    await reader.read()
    writer.close()
    assert await stored(server) == []


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ("filename*=UTF-8''%E5%A4%AA%E9%98%B3.png", "太阳.png"),
        ("filename*=utf-8'de'S%C3%BC%C3%9F%20%25.png", "Süß %.png"),
        # As .NET and others send it: the plain one is for whoever does not know the other.
        ("filename=\"=?utf-8?B?5aSq?=.txt\"; filename*=utf-8''%E5%A4%AA.png", "太.png"),
        ("filename*=UTF-8''..%2F..%2Fetc%2Fa.png", "a.png"),
        ("filename=\"b.png\"; filename*=klingon''x", "b.png"),
    ],
)
async def test_a_name_may_be_written_as_rfc_5987_has_it(
    client: Client, names: str, kept: str
) -> None:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; {names}\r\n\r\n'
    reply = await client.call(
        "POST",
        "/files/upload",
        data=head.encode() + picture() + b"\r\n--b--\r\n",
        headers=client.headers | {"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert (reply.status, reply.body["name"]) == (201, kept)


async def test_what_says_that_it_is_too_large_is_refused_unread(client: Client) -> None:
    address = urlsplit(client.base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"POST /v1/files/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 105857601\r\n\r\n"
    )
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"file_too_large"' in answer
    assert b"File size exceeded. 105857601 > 104857600" in answer


async def test_fields_may_come_after_the_file_and_the_first_of_two_files_counts(
    server: TestServer, client: Client
) -> None:
    form = FormData()
    form.add_field("file", picture(), filename="a.png", content_type="application/octet-stream")
    form.add_field("file", picture("JPEG"), filename="b.jpg", content_type="image/jpeg")
    form.add_field("user", "zoe")
    answer = await send(client, form)
    assert (answer.status, answer.body["name"], answer.body["mime_type"]) == (
        201,
        "a.png",
        "image/png",
    )
    mine = f"{client.base}/files/{answer.body['id']}/preview"
    key = {"Authorization": f"Bearer {client.key}"}
    assert (await get(f"{mine}?user=zoe", **key))[0] == 200
    status, body, _ = await get(f"{mine}?user=ann", **key)
    assert (status, msgspec.json.decode(body)["code"]) == (404, "file_not_found")
    assert (await get(f"{mine}?user=zoe"))[0] == 401


async def test_documents_are_measured_and_other_files_are_not(client: Client) -> None:
    text = await upload(client, "一二三四 five".encode(), "a.txt", "text/plain", user="ann")
    reply = await client.post(f"/files/{text.body['id']}/estimate", user="ann")
    assert reply.status == 200
    assert reply.body["pages"] is None
    assert reply.body["characters"] == 9
    assert reply.body["tokens"] > 0
    shown = await upload(client, picture(), user="ann")
    reply = await client.post(f"/files/{shown.body['id']}/estimate", user="ann")
    assert (reply.status, reply.body["code"]) == (400, "unsupported_estimate")
    page = await upload(client, b"<html></html>", "a.html", "text/html", user="ann")
    reply = await client.get(f"/files/{page.body['id']}/preview", user="ann")
    assert (reply.status, reply.body["code"]) == (400, "unsupported_preview")


async def test_an_app_without_files_takes_pictures_alone(server: TestServer) -> None:
    plain = await server.client(app_file())
    assert (await upload(plain, picture())).status == 201
    answer = await upload(plain, b"text", "a.txt", "text/plain")
    assert (answer.status, answer.body["code"]) == (415, "unsupported_file_type")


async def test_limits_and_rules_are_shown(client: Client) -> None:
    found = (await client.get("/parameters")).body
    assert found["file_upload"]["enabled"] is True
    assert found["file_upload"]["image"] == {
        "enabled": True,
        "number_limits": 3,
        "detail": "high",
        "transfer_methods": ["local_file", "remote_url"],
    }
    assert found["system_parameters"]["video_file_size_limit"] == 100
