"""Files as a way to do harm: slow and endless forms, readers that take nothing, what is deleted."""

import asyncio
from collections.abc import AsyncGenerator
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import FormData
from yarl import URL

from tests.contract.test_uploads import get, picture, stored, upload
from tests.support.apps import app_file
from tests.support.client import Client
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

_FILES = {"enabled": True, "allowed_file_types": ["image", "audio"]}
_WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0".ljust(27_000_000, b"\0")


@pytest.fixture
async def server(tmp_path: Path, engine: str) -> AsyncGenerator[TestServer]:
    async with serving(tmp_path, write_timeout=0.3) as found:
        yield found


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(file_upload=_FILES))


def head_of(client: Client, path: str, *lines: str) -> bytes:
    wanted = ["Host: x", f"Authorization: Bearer {client.key}", *lines]
    return "\r\n".join([f"{path} HTTP/1.1", *wanted, "", ""]).encode()


async def test_pictures_that_come_slowly_keep_no_others_out(
    server: TestServer, client: Client
) -> None:
    kind = "Content-Type: multipart/form-data; boundary=x"
    head = head_of(client, "POST /v1/files/upload", "Content-Length: 900000", kind)
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    held: list[asyncio.StreamWriter] = []
    try:
        for _ in range(8):
            _, writer = await asyncio.open_connection("127.0.0.1", URL(server.url).port)
            held.append(writer)
            writer.write(head + part + picture().ljust(8000, b"\0"))
            await writer.drain()
        await anyio.sleep(0.2)  # so that they are under way, if they can be
        with anyio.fail_after(10):
            assert (await upload(client, picture())).status == 201
    finally:
        for writer in held:
            writer.transport.abort()


async def test_a_form_without_end_is_refused(server: TestServer, client: Client) -> None:
    sent = 0

    async def body() -> AsyncGenerator[bytes]:
        nonlocal sent
        for name in ("a", "b"):
            part = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}.png"'
            yield f"{part}\r\n\r\n".encode() + picture() + b"\r\n"
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="c.png"\r\n\r\n'
        for _ in range(300):
            sent += 1
            yield bytes(1_000_000)

    headers = client.headers | {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await client.call("POST", "/files/upload", data=body(), headers=headers)
    assert (reply.status, reply.body["code"]) == (413, "request_entity_too_large")
    assert sent < 150
    assert await stored(server) == []


async def test_a_reader_that_takes_nothing_is_given_up(server: TestServer, client: Client) -> None:
    form = FormData({"user": client.user})
    form.add_field("file", BytesIO(_WAV), filename="a.wav", content_type="audio/wav")
    file = (await client.call("POST", "/files/upload", data=form)).body["id"]
    path = f"GET /v1/files/{file}/preview?user={client.user}"
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(server.url).port, limit=1024)
    try:
        writer.write(head_of(client, path))
        assert await reader.readexactly(12) == b"HTTP/1.1 200"
        await anyio.sleep(1.5)  # five times as long as it may take nothing
        taken = 0
        with anyio.fail_after(20):
            try:
                while piece := await reader.read(1 << 16):
                    taken += len(piece)
            except ConnectionError:
                pass
        assert taken < len(_WAV) - 1_000_000
    finally:
        writer.transport.abort()


async def test_files_of_a_deleted_conversation_are_gone_at_once(client: Client) -> None:
    user = client.user
    one, two = [(await upload(client, picture(), user=user)).body for _ in range(2)]

    async def ask(*ids: str) -> Any:
        files = [
            {"type": "image", "transfer_method": "local_file", "upload_file_id": file_id}
            for file_id in ids
        ]
        return (await client.ask("What?", files=files)).body["conversation_id"]

    gone = await ask(one["id"], two["id"])
    await ask(two["id"])
    for file in (one, two):
        assert (await get(file["source_url"]))[0] == 200
    await client.delete(f"/conversations/{gone}")
    assert (await get(one["source_url"]))[0] == 404
    assert (await client.get(f"/files/{one['id']}/preview")).status == 404
    # The other conversation still has it.
    assert (await get(two["source_url"]))[0] == 200
    assert (await client.get(f"/files/{two['id']}/preview")).status == 200


async def test_a_file_that_is_known_is_not_sent_again(client: Client) -> None:
    link = (await upload(client, picture())).body["source_url"]
    _, _, headers = await get(link)
    status, body, _ = await get(link, **{"If-None-Match": headers["etag"]})
    assert (status, body) == (304, b"")
    for condition, expected in ((headers["etag"], 206), ('"other"', 200)):
        assert (await get(link, Range="bytes=0-3", **{"If-Range": condition}))[0] == expected
    assert (await get(link, Range="bytes=9-2"))[0] == 200
