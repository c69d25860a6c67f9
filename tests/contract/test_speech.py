"""Texts and answers read aloud, over real HTTP."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import anyio
import pytest
from aiohttp import ClientPayloadError, FormData

from kaiwa.domain.spoken import speakable
from kaiwa.providers.speech.silent import silent_seconds
from tests.support.apps import app_file, says
from tests.support.client import Client, Reply
from tests.support.model_server import ModelServer, refuse
from tests.support.networked import serving_models
from tests.support.server import TestServer, serving
from tests.support.sound import decode, reads_aloud, require_espeak, says_bytes, sounding

pytestmark = pytest.mark.anyio

PATH = "/text-to-audio"
TEXT = "**Good morning**, `alice`! How are you today?"
ON = {"enabled": True}


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(says(TEXT), text_to_speech=ON))


def sound_of(reply: Reply, kind: str = "wav", text: str = TEXT) -> float:
    """Checks that it is the text; its seconds."""
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"] == ("audio/wav" if kind == "wav" else "audio/mpeg")
    sound = decode(reply.body)
    assert sound.kind == kind
    assert sound.seconds == pytest.approx(silent_seconds(speakable(text)), abs=0.15)
    return sound.seconds


def check_refusal(reply: Reply, status: int, code: str, message: str = "") -> None:
    assert (reply.status, reply.body["code"]) == (status, code), reply.body
    assert message in reply.body["message"]


# What is read


async def test_a_text_is_read_aloud(client: Client) -> None:
    reply = await client.post(PATH, text=TEXT)
    sound_of(reply)
    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in reply.headers


async def test_an_answer_is_read_aloud_and_goes_before_a_text(client: Client) -> None:
    message_id = (await client.ask("Hello")).body["message_id"]
    sound_of(await client.post(PATH, message_id=message_id))
    sound_of(await client.post(PATH, message_id=message_id, text="A much longer text. " * 20))


@pytest.mark.parametrize(
    "fields",
    [{"message_id": ""}, {"message_id": None}, {"streaming": True}, {"voice": None}, {"x": {}}],
)
async def test_what_counts_for_nothing_is_passed_over(
    client: Client, fields: dict[str, Any]
) -> None:
    sound_of(await client.post(PATH, text=TEXT, **fields))


@pytest.mark.parametrize("text", [7, True, ["a"], {"a": 1}])
async def test_other_values_are_read_as_they_are_written(client: Client, text: object) -> None:
    sound_of(await client.post(PATH, text=text), text=str(text))


async def test_forms_are_taken_too(client: Client) -> None:
    message_id = (await client.ask("Hello")).body["message_id"]
    fields = {"user": client.user, "message_id": message_id, "streaming": "false"}
    sound_of(await client.call("POST", PATH, data=fields))
    form = FormData(fields, default_to_multipart=True)
    sound_of(await client.call("POST", PATH, data=form))
    sound_of(await client.call("POST", PATH, data={"text": TEXT}))


async def test_the_text_of_a_form_may_be_in_any_script(client: Client) -> None:
    text = "你好，世界。" * 20
    sound_of(await client.call("POST", PATH, data={"text": text}), text=text)
    form = FormData({"text": text}, default_to_multipart=True)
    sound_of(await client.call("POST", PATH, data=form), text=text)


async def test_without_a_user_it_is_the_shared_one(client: Client) -> None:
    shared = client.as_user("DEFAULT-USER")
    message_id = (await shared.ask("Hello")).body["message_id"]
    sound_of(await client.call("POST", PATH, json={"message_id": message_id}))


@pytest.mark.parametrize("text", ["```\ncode\n```", "🎉", "---", "<think>hm</think>"])
async def test_what_has_no_words_is_answered_with_null(server: TestServer, text: str) -> None:
    client = await server.client(app_file(says(text), text_to_speech=ON))
    message_id = (await client.ask("Hello")).body["message_id"]
    for fields in ({"text": text}, {"message_id": message_id}):
        reply = await client.post(PATH, **fields)
        assert (reply.status, reply.body) == (200, None)
        assert reply.headers["Content-Type"] == "application/json"


# How it is sent


@pytest.mark.parametrize(
    ("accept", "own", "kind"),
    [
        ("*/*", None, "wav"),
        ("", None, "wav"),
        ("*/*", "mp3", "mp3"),
        ("audio/mpeg", None, "mp3"),
        ("audio/MP3;q=0.9, */*;q=0.1", "wav", "mp3"),
        ("audio/wav", "mp3", "wav"),
        ("audio/x-wav", "mp3", "wav"),
        ("audio/wav, audio/mpeg", "mp3", "mp3"),
        ("audio/wav, audio/mpeg", None, "wav"),
        ("text/html", None, "wav"),
    ],
)
async def test_the_client_says_what_kind_of_sound_it_wants(
    server: TestServer, accept: str, own: str | None, kind: str
) -> None:
    kaiwa = {"audio": own} if own else {}
    client = await server.client(app_file(text_to_speech=ON, kaiwa=kaiwa))
    headers = {**client.headers, "Accept": accept}
    reply = await client.call("POST", PATH, json={"text": TEXT}, headers=headers)
    sound_of(reply, kind)


@pytest.fixture
async def speaking(tmp_path: Any) -> AsyncIterator[tuple[TestServer, ModelServer]]:
    options: dict[str, Any] = {"speech_model": "openai/tts", "write_timeout": 3}
    async with serving_models(tmp_path, **options) as found:
        yield found


async def speaking_client(server: TestServer, **speech: str) -> Client:
    return await server.client(app_file(text_to_speech=ON | speech))


async def test_a_server_of_openais_kind_speaks(
    speaking: tuple[TestServer, ModelServer],
) -> None:
    server, models = speaking
    models.play(reads_aloud())
    client = await speaking_client(server, voice="nova", language="en-US")
    for kind, mime_type in (("wav", "audio/wav"), ("mp3", "audio/mpeg")):
        headers = {**client.headers, "Accept": mime_type}
        reply = await client.call("POST", PATH, json={"text": TEXT}, headers=headers)
        assert decode(reply.body).kind == kind
        assert reply.headers["Content-Type"] == mime_type
    await client.post(PATH, text=TEXT, voice="onyx")
    asked = [request.body for request in models.requests]
    assert [body["voice"] for body in asked] == ["nova", "nova", "onyx"]
    assert [body["response_format"] for body in asked] == ["wav", "mp3", "wav"]
    assert {body["input"] for body in asked} == {"Good morning, alice! How are you today?"}


async def test_the_first_piece_is_sent_before_the_last_is_made(
    speaking: tuple[TestServer, ModelServer],
) -> None:
    server, models = speaking
    models.play(says_bytes((sounding(1, "wav"))[:9000], waits=True))
    client = await speaking_client(server)
    async with client.session.post(
        client.base + PATH, json={"text": TEXT}, headers=client.headers
    ) as response:
        assert response.status == 200
        assert (await response.content.readany()).startswith(b"RIFF")
        assert not models.left
    # And the client that leaves ends the work.
    await models.wait_left()


async def test_a_client_that_leaves_before_the_first_piece_ends_the_work(
    speaking: tuple[TestServer, ModelServer],
) -> None:
    server, models = speaking
    models.play(says_bytes(waits=True))
    client = await speaking_client(server)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post(PATH, text=TEXT))
        await models.wait_asked()
        tasks.cancel_scope.cancel()
    await models.wait_left()


async def test_an_error_before_the_first_piece_keeps_its_status(
    speaking: tuple[TestServer, ModelServer],
) -> None:
    server, models = speaking
    models.play(refuse(500, "The voice is hoarse."))
    reply = await (await speaking_client(server)).post(PATH, text=TEXT)
    check_refusal(reply, 400, "completion_request_error", "The voice is hoarse.")
    models.play(says_bytes(b"nothing to be heard"))
    reply = await (await speaking_client(server)).post(PATH, text=TEXT)
    check_refusal(reply, 400, "completion_request_error", "no sound")


async def test_an_error_later_ends_the_connection(
    speaking: tuple[TestServer, ModelServer],
) -> None:
    server, models = speaking
    models.play(says_bytes((sounding(1, "wav"))[:9000], breaks=True))
    client = await speaking_client(server)
    async with client.session.post(
        client.base + PATH, json={"text": TEXT}, headers=client.headers
    ) as response:
        assert response.status == 200
        with pytest.raises(ClientPayloadError):
            await response.read()


async def test_a_client_that_takes_nothing_ends_the_work(
    tmp_path: Any,
) -> None:
    text = "A long text. " * 1500
    async with serving(tmp_path, write_timeout=0.2, speeches_at_once=1) as server:
        client = await speaking_client(server)
        async with client.session.post(
            client.base + PATH, json={"text": text}, headers=client.headers
        ) as response:
            assert response.status == 200
            reply = await client.post(PATH, text=TEXT)
            check_refusal(reply, 429, "too_many_requests")
            assert reply.headers["Retry-After"] == "2"
            with anyio.fail_after(10):
                while (await client.post(PATH, text=TEXT)).status != 200:
                    await anyio.lowlevel.checkpoint()


async def test_espeak_speaks(tmp_path: Any) -> None:
    require_espeak()
    async with serving(tmp_path, speech_model="espeak") as server:
        client = await speaking_client(server, language="en-US")
        for kind in ("audio/wav", "audio/mpeg"):
            headers = {**client.headers, "Accept": kind}
            reply = await client.call("POST", PATH, json={"text": TEXT}, headers=headers)
            sound = decode(reply.body)
            assert sound.loudness > 0.1
            assert 1.5 < sound.seconds < 5


# What is refused


async def test_an_app_that_does_not_speak_says_so(server: TestServer) -> None:
    client = await server.client(app_file())
    reply = await client.post(PATH, text=TEXT)
    check_refusal(reply, 400, "invalid_param", "TTS is not enabled")


@pytest.mark.parametrize("fields", [{}, {"text": ""}, {"text": " \n"}, {"text": None}])
async def test_there_has_to_be_something_to_read(client: Client, fields: dict[str, Any]) -> None:
    check_refusal(await client.post(PATH, **fields), 400, "invalid_param", "Text is required")


async def test_a_message_of_nobody_is_not_found(client: Client) -> None:
    reply = await client.post(PATH, message_id=str(uuid4()), text=TEXT)
    check_refusal(reply, 404, "not_found", "Message Not Exists.")
    reply = await client.post(PATH, message_id="nonsense", text=TEXT)
    check_refusal(reply, 400, "invalid_param", "nonsense is not a valid uuid.")


async def test_a_text_has_a_limit(client: Client, server: TestServer) -> None:
    longest = server.house.settings.speech_limit
    code = "```\n" + "x" * longest + "\n```\n"
    sound_of(await client.post(PATH, text=code + TEXT))
    for text in ("x" * (longest + 1), code * 11):
        reply = await client.post(PATH, text=text)
        check_refusal(reply, 400, "invalid_param", f"longer than {longest} characters")
    reply = await client.post(PATH, text=TEXT, voice="x" * 201)
    check_refusal(reply, 400, "invalid_param", "voice is longer than 200")


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("text/plain", b"text=hello", 415),
        ("", b"text=hello", 415),
        ("application/json", b"{", 400),
        ("multipart/form-data", b"text=hello", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken", 400),
        ("multipart/form-data; boundary=" + "x" * 300, b"", 400),
        ("application/x-www-form-urlencoded", b"a=1&" * 100, 400),
        ("application/x-www-form-urlencoded", b"\xff\xfe=%ff", 400),
        ("application/x-www-form-urlencoded", b"", 400),
    ],
)
async def test_a_body_that_is_neither_json_nor_a_form_is_refused(
    client: Client, kind: str, data: bytes, status: int
) -> None:
    headers = {**client.headers, "Content-Type": kind}
    reply = await client.call("POST", PATH, data=data, headers=headers)
    assert reply.status == status, reply.body
    assert reply.body["message"]


async def test_without_a_voice_it_is_refused(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for number, name in enumerate(("", "espeak", "nobody/tts")):
        async with serving(tmp_path / str(number), speech_model=name) as server:
            client = await server.client(
                app_file(says("Hi."), text_to_speech=ON | {"autoPlay": "enabled"})
            )
            reply = await client.post(PATH, text=TEXT)
            message = "Default model not found for tts"
            check_refusal(reply, 400, "provider_not_initialize", message)
            assert (await client.ask("Hello")).body["answer"] == "Hi."
