"""Listening over the real wire: real recordings, a real service, everything that is refused."""

import asyncio
from collections.abc import AsyncGenerator
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import FormData
from yarl import URL

from tests.contract.test_uploads import picture, stored
from tests.support.apps import app_file
from tests.support.client import Client, Reply
from tests.support.listening_server import ListeningServer, Said
from tests.support.server import TestServer, serving
from tests.support.sounds import KINDS, make_film, make_sound, measure

pytestmark = pytest.mark.anyio

SECRET = "canary-44ab12-never-to-be-seen"
LIMIT = 200_000
ON: dict[str, Any] = {"speech_to_text": {"enabled": True}}


@pytest.fixture
async def service() -> AsyncGenerator[ListeningServer]:
    async with ListeningServer() as found:
        yield found


@pytest.fixture
async def server(
    tmp_path: Path, engine: str, service: ListeningServer
) -> AsyncGenerator[TestServer]:
    openai = {"kind": "openai", "base_url": service.url, "api_key": SECRET}
    async with serving(
        tmp_path, providers={"openai": openai}, transcription_limit=LIMIT, first_token_timeout=20
    ) as found:
        yield found


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(**ON))


async def listen(
    client: Client,
    data: bytes,
    name: str = "audio.mp3",
    mime_type: str | None = "audio/mp3",
    **more: str,
) -> Reply:
    form = FormData(quote_fields=False)
    form.add_field("file", BytesIO(data), filename=name, content_type=mime_type)
    for key, value in more.items():
        form.add_field(key, value)
    reply = await client.call("POST", "/audio-to-text", data=form)
    assert SECRET not in str(reply.body)
    return reply


def refused(reply: Reply) -> tuple[int, str]:
    assert reply.body["status"] == reply.status
    return reply.status, reply.body["code"]


async def test_what_is_said_comes_back_as_text(
    server: TestServer, client: Client, service: ListeningServer
) -> None:
    service.text = "你好,\u3000Kaiwa!"
    reply = await listen(client, make_sound(), user="ann")
    assert (reply.status, reply.body) == (200, {"text": "你好,\u3000Kaiwa!"})
    heard = service.heard[-1]
    assert heard.fields == {"model": "whisper-1", "response_format": "json"}
    assert heard.headers["Authorization"] == f"Bearer {SECRET}"
    assert heard.data == make_sound()
    assert await stored(server) == []
    parameters = (await client.get("/parameters")).body
    assert parameters["speech_to_text"] == {"enabled": True}


@pytest.mark.parametrize(
    ("kind", "name", "codec"),
    [
        ("mp3", "audio.mp3", "mp3"),
        ("mpga", "audio.mp3", "mp3"),
        ("m4a", "audio.m4a", "aac"),
        ("mp4", "audio.mp4", "aac"),
        ("webm", "audio.webm", "opus"),
        ("wav", "audio.wav", "pcm_s16le"),
        ("ogg", "audio.ogg", "opus"),
        ("flac", "audio.flac", "flac"),
        ("amr", "audio.wav", "pcm_s16le"),
        ("mpeg", "audio.wav", "pcm_s16le"),
        ("aac", "audio.wav", "pcm_s16le"),
        ("mkv", "audio.wav", "pcm_s16le"),
    ],
)
async def test_every_kind_arrives_as_one_the_service_takes(
    client: Client, service: ListeningServer, kind: str, name: str, codec: str
) -> None:
    reply = await listen(client, make_sound(kind), f"voice.{kind}", KINDS[kind].mime_type)
    assert reply.status == 200, reply.body
    heard = service.heard[-1]
    assert (heard.name, heard.codec) == (name, codec)
    assert 0.95 < heard.seconds < 1.2
    assert heard.mime_type.partition("/")[0] in ("audio", "video")


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("a.mp3", "application/octet-stream"),
        ("a.mp3", None),
        ("a", "audio/mpeg"),
        ("a.wav", "audio/wav"),
        ("a.mp3", "audio/mpga; rate=8000"),
        ("声音.mp3", "AUDIO/X-MP3"),
        ("a.bin", "video/mp4"),
    ],
)
async def test_bytes_say_what_it_is_whatever_its_sender_calls_it(
    client: Client, service: ListeningServer, name: str, mime_type: str | None
) -> None:
    assert (await listen(client, make_sound(), name, mime_type)).status == 200
    assert (service.heard[-1].name, service.heard[-1].mime_type) == ("audio.mp3", "audio/mpeg")


FLAC_HEAD = b"fLaC\x00\x00\x00\x22"
HOSTILE = {
    "nothing": b"",
    "text": b"this is no sound at all, only letters",
    "html": b"<!doctype html><script>alert(1)</script>",
    "a picture": picture(),
    "a zip of zeros": b"PK\x03\x04" + bytes(50_000),
    "zeros": bytes(50_000),
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a list of files": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "an MP4 cut off": make_sound("m4a")[:4000],
    "an MP4 without sound": make_film(),
    "a head of MP4 alone": make_sound("m4a")[:24],
    "a head of WAV alone": make_sound("wav")[:44],
    "a head of FLAC alone": FLAC_HEAD + bytes(34),
    "noise after a tag": b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\x55" * 60_000,
    "noise after AMR's head": b"#!AMR\n" + b"\xff" * 6_000,
    "noise after Ogg's head": b"OggS" + b"\x81" * 6_000,
    "noise after EBML's head": b"\x1a\x45\xdf\xa3" + b"\x81" * 6_000,
    "an endless box": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42mp41\x7f\xff\xff\xffmoov",
    "a tag in the place of sound": b"ID3\x04" + b"\x7f" * 20_000,
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_what_is_no_sound_is_refused(
    client: Client, service: ListeningServer, case: str
) -> None:
    reply = await listen(client, HOSTILE[case])
    assert refused(reply) == (415, "unsupported_audio_type"), reply.body
    assert reply.body["message"] == "Audio type not allowed."
    assert service.heard == []


@pytest.mark.parametrize("mime_type", ["text/plain", "image/png", "application/pdf", "a", "x/y"])
async def test_what_is_declared_as_something_else_is_refused(
    client: Client, mime_type: str
) -> None:
    reply = await listen(client, make_sound(), "a.mp3", mime_type)
    assert refused(reply) == (415, "unsupported_audio_type")


async def test_a_recording_cut_off_is_heard_as_far_as_it_goes(
    client: Client, service: ListeningServer
) -> None:
    for kind in ("mp3", "wav", "ogg", "amr", "webm"):
        whole = make_sound(kind, 2.0)
        reply = await listen(client, whole[: len(whole) // 2], f"a.{kind}", f"audio/{kind}")
        assert reply.status == 200, kind
        assert 0.5 < measure(service.heard[-1].data)[1] < 1.6, kind


async def test_a_form_without_a_recording_is_refused(client: Client) -> None:
    unnamed = FormData({"user": "ann", "file": "no file"})
    unnamed.add_field("other", "x", content_type="text/plain")
    reply = await client.call("POST", "/audio-to-text", data=unnamed)
    assert refused(reply) == (400, "no_audio_uploaded")
    assert reply.body["message"] == "Please upload your audio."
    assert refused(await client.post("/audio-to-text")) == (400, "no_audio_uploaded")
    assert refused(await client.call("POST", "/audio-to-text")) == (400, "no_audio_uploaded")
    two = FormData()
    two.add_field("file", make_sound(), filename="a.mp3", content_type="audio/mp3")
    two.add_field("second", make_sound(), filename="b.mp3", content_type="audio/mp3")
    reply = await client.call("POST", "/audio-to-text", data=two)
    assert refused(reply) == (400, "too_many_files")


async def test_an_app_that_does_not_listen_says_so(server: TestServer) -> None:
    deaf = await server.client(app_file())
    for data in (make_sound(), b"no sound", bytes(2 * LIMIT), bytes(LIMIT + 2_000_000)):
        reply = await listen(deaf, data)
        assert refused(reply) == (400, "invalid_param")
        assert reply.body["message"] == "Speech to text is not enabled"
    assert refused(await deaf.call("POST", "/audio-to-text")) == (400, "no_audio_uploaded")


async def test_a_recording_over_the_limit_is_refused_with_the_limit(
    client: Client, service: ListeningServer
) -> None:
    sound = make_sound("wav", 8.0)
    assert LIMIT < len(sound) < LIMIT + 1_000_000
    sentence = f"Audio size larger than 0.1907 MB ({LIMIT} bytes)"
    for data in (sound, sound * 10):
        reply = await listen(client, data, "a.wav", "audio/wav")
        assert refused(reply) == (413, "audio_too_large")
        assert reply.body["message"] == sentence
    assert service.heard == []
    padded = make_sound("wav", 6.0)
    padded += bytes(LIMIT - len(padded))
    assert (await listen(client, padded, "a.wav", "audio/wav")).status == 200
    assert (await listen(client, padded + b"\0", "a.wav", "audio/wav")).status == 413


def head_of(client: Client, length: int) -> bytes:
    lines = (
        "POST /v1/audio-to-text HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {client.key}",
        "Content-Type: multipart/form-data; boundary=b",
        f"Content-Length: {length}",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


PART = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n"
)


async def connect(server: TestServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", URL(server.url).port)


async def test_what_says_that_it_is_too_large_is_refused_unread(
    server: TestServer, client: Client
) -> None:
    reader, writer = await connect(server)
    writer.write(head_of(client, LIMIT + 1_000_001))
    with anyio.fail_after(5):
        answer = await reader.readuntil(b"}")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"audio_too_large"' in answer


async def test_what_is_no_sound_is_refused_before_all_of_it_has_come(
    server: TestServer, client: Client
) -> None:
    reader, writer = await connect(server)
    writer.write(head_of(client, LIMIT) + PART + b"only text, and it goes on")
    with anyio.fail_after(5):
        answer = await reader.readuntil(b"}")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 415 ")


async def test_a_form_without_end_is_refused(client: Client) -> None:
    sent = 0

    async def body() -> AsyncGenerator[bytes]:
        nonlocal sent
        yield PART + make_sound("wav")
        for _ in range(3000):
            sent += 1
            yield bytes(100_000)

    headers = client.headers | {"Content-Type": "multipart/form-data; boundary=b"}
    reply = await client.call("POST", "/audio-to-text", data=body(), headers=headers)
    assert refused(reply) == (413, "audio_too_large")
    assert sent < 1500


async def test_clients_that_are_slow_or_leave_keep_no_others_out(
    server: TestServer, client: Client, service: ListeningServer
) -> None:
    held: list[asyncio.StreamWriter] = []
    try:
        for _ in range(8):
            _, writer = await connect(server)
            held.append(writer)
            writer.write(head_of(client, 190_000) + PART + make_sound("wav")[:8000])
            await writer.drain()
        reader, writer = await connect(server)
        writer.write(head_of(client, 190_000) + PART + make_sound("wav")[:8000])
        writer.write_eof()
        with anyio.fail_after(10):
            answer = await reader.read()
            assert b"HTTP/1.1 400 " in answer or answer == b""
            assert (await listen(client, make_sound())).status == 200
        writer.close()
    finally:
        for writer in held:
            writer.transport.abort()
    assert len(service.heard) == 1


@pytest.mark.parametrize(
    ("said", "status", "code", "sentence"),
    [
        (Said(401, b'{"error": {"message": "no"}}'), 400, "completion_request_error", "Incorrect"),
        (Said(402), 400, "provider_quota_exceeded", "quota"),
        (
            Said(429, b'{"error": {"code": "insufficient_quota"}}'),
            400,
            "provider_quota_exceeded",
            "quota",
        ),
        (
            Said(
                404, b'{"error": {"message": "The model x is unknown", "code": "model_not_found"}}'
            ),
            400,
            "model_currently_not_support",
            "The model x",
        ),
        (Said(404, b"Not Found"), 400, "provider_not_support_speech_to_text", "not support speech"),
        (Said(405), 400, "provider_not_support_speech_to_text", "not support speech"),
        (Said(501), 400, "provider_not_support_speech_to_text", "not support speech"),
        (Said(413), 413, "audio_too_large", "larger than the service takes"),
        (
            Said(400, b'{"error": {"message": "Too long, sk-1234567890"}}'),
            400,
            "completion_request_error",
            "[openai] Bad Request Error, Too long, ***",
        ),
        (Said(200, b"<html>"), 400, "completion_request_error", "cannot be read"),
        (Said(200, b""), 400, "completion_request_error", "cannot be read"),
        (Said(200, b"[]"), 400, "completion_request_error", "cannot be read"),
        (Said(200, b'{"text": 7}'), 400, "completion_request_error", "cannot be read"),
        (Said(200, b'{"text": "\xff"}'), 400, "completion_request_error", "cannot be read"),
        (
            Said(200, b'{"text": "' + b"a" * 5_000_000 + b'"}'),
            400,
            "completion_request_error",
            "too long",
        ),
        (Said(302, headers={"Location": "/v1/x"}), 400, "completion_request_error", "Bad Request"),
    ],
)
async def test_what_the_service_says_is_told_in_the_contracts_codes(
    client: Client, service: ListeningServer, said: Said, status: int, code: str, sentence: str
) -> None:
    service.play(said, said)
    reply = await listen(client, make_sound())
    assert refused(reply) == (status, code), reply.body
    assert sentence in reply.body["message"]
    assert len(service.heard) == 1, "asking again would not help"


@pytest.mark.parametrize(
    "said",
    [
        Said(503, b"busy"),
        Said(429, b"slowly", {"Retry-After": "1"}),
        Said(500, b'{"error": {"message": "oops"}}'),
    ],
)
async def test_what_may_pass_is_asked_a_second_time(
    client: Client, service: ListeningServer, said: Said
) -> None:
    service.play(said)
    reply = await listen(client, make_sound())
    assert (reply.status, reply.body["text"]) == (200, "Hello there.")
    assert len(service.heard) == 2
    service.play(said, said)
    reply = await listen(client, make_sound())
    assert refused(reply) == (400, "completion_request_error")
    assert len(service.heard) == 4
    service.play(Said(429, b"slowly", {"Retry-After": "60"}))
    assert (await listen(client, make_sound())).status == 400
    assert len(service.heard) == 5


async def test_a_connection_that_breaks_is_made_anew(
    client: Client, service: ListeningServer
) -> None:
    broken = Said(breaks=True)
    service.play(broken)
    assert (await listen(client, make_sound())).status == 200
    service.play(*[broken] * 9)
    reply = await listen(client, make_sound())
    assert refused(reply) == (400, "completion_request_error")
    assert reply.body["message"].startswith("[openai] Connection Error, ")
    assert len(service.heard) <= 6


async def test_a_service_that_says_nothing_is_given_up(
    tmp_path: Path, service: ListeningServer
) -> None:
    openai = {"kind": "openai", "base_url": service.url, "api_key": SECRET}
    async with serving(tmp_path, providers={"openai": openai}, first_token_timeout=0.5) as server:
        client = await server.client(app_file(**ON))
        service.play(Said(waits=True))
        reply = await listen(client, make_sound())
        assert refused(reply) == (400, "completion_request_error")
        assert reply.body["message"] == "Nothing was heard within 0.5 seconds."
        with anyio.fail_after(5):
            await service.left.wait()


async def test_a_service_that_is_not_there_is_no_fault_of_ours(tmp_path: Path) -> None:
    gone = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": SECRET}
    async with serving(tmp_path, providers={"openai": gone}) as server:
        reply = await listen(await server.client(app_file(**ON)), make_sound())
        assert refused(reply) == (400, "completion_request_error")
        assert reply.body["message"].startswith("[openai] Connection Error, ")


async def test_without_anything_that_listens_it_is_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        client = await server.client(app_file(**ON))
        reply = await listen(client, make_sound())
        assert refused(reply) == (400, "provider_not_initialize")
        assert reply.body["message"] == "Default model not found for speech2text"
        assert refused(await listen(client, b"no sound")) == (415, "unsupported_audio_type")


async def test_a_server_without_a_key_says_that_it_has_none(tmp_path: Path) -> None:
    async with ListeningServer() as service:
        local = {"kind": "openai", "base_url": service.url}
        async with serving(
            tmp_path, providers={"local": local}, transcription_model="local/small/one"
        ) as server:
            client = await server.client(app_file(**ON))
            assert (await listen(client, make_sound())).status == 200
            assert service.heard[-1].fields["model"] == "small/one"
            service.play(Said(401))
            reply = await listen(client, make_sound())
            assert refused(reply) == (400, "provider_not_initialize")


async def test_a_scripted_ear_hears_without_a_network(tmp_path: Path) -> None:
    async with serving(tmp_path, transcription_model="scripted/Good morning / hello") as server:
        client = await server.client(app_file(**ON))
        reply = await listen(client, make_sound("amr"), "a.amr", "audio/amr")
        assert (reply.status, reply.body) == (200, {"text": "Good morning / hello"})


async def test_users_are_read_as_everywhere(client: Client) -> None:
    reply = await listen(client, make_sound(), user="x" * 513)
    assert refused(reply) == (400, "invalid_param")
    wrong = Client(client.session, client.base, "app-wrong", "ann")
    assert refused(await listen(wrong, make_sound())) == (401, "unauthorized")


async def test_many_at_once_are_all_heard(client: Client, service: ListeningServer) -> None:
    replies: list[int] = []

    async def one(kind: str) -> None:
        replies.append((await listen(client, make_sound(kind), f"a.{kind}", None)).status)

    async with anyio.create_task_group() as tasks:
        for kind in ("mp3", "wav", "amr", "ogg", "m4a") * 4:
            tasks.start_soon(one, kind)
    assert replies == [200] * 20
    assert len(service.heard) == 20
