"""The operator's door: faults in plain words, proxies, and no secrets in sentences."""

import asyncio
import json
import socket

import pytest

from kaiwa.providers.http import Operator, OutboundError, redact
from tests.providers.asking import hear, network_model
from tests.support.model_server import ModelServer, refuse, reset_after

SECRET = "my-very-own-secret"


def assert_secret_free(error: BaseException | None) -> None:
    while error is not None:
        assert SECRET not in repr(error)
        error = error.__cause__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key {SECRET} is wrong", "key *** is wrong"),
        ("Incorrect API key provided: sk-proj-abc***xyz9.", "Incorrect API key provided: ***"),
        ("sent Bearer abcdefgh12345678, sorry", "sent ***, sorry"),
        ("header x-api-key: abc123 refused", "header *** refused"),
        ('{"api_key": "abc123", "a": 1}', '{"***", "a": 1}'),
        ("GET /v1?api_key=abc123&b=2", "GET /v1?***&b=2"),
        ("a task-specific risk-adjusted word", "a task-specific risk-adjusted word"),
        ("two\n lines\tof  text", "two lines of text"),
        ("<!DOCTYPE html><h1>no</h1>", "the server sent a web page instead of an answer"),
        ("\n<html>", "the server sent a web page instead of an answer"),
        ("x" * 490 + SECRET, "x" * 490 + "***"),
        ("x" * 501, "x" * 500 + "…"),
        ("ok is no secret", "ok is no secret"),
    ],
)
def test_redaction(text: str, expected: str) -> None:
    assert redact(text, [SECRET, "ok", ""]) == expected


def test_the_longer_secret_goes_first() -> None:
    assert redact("abcdefgh-1234", ["abcdefgh", "abcdefgh-1234"]) == "***"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:1/", "the server could not be reached"),
        ("https://127.0.0.1:1/", "the server could not be reached"),
        ("http://", "the server's address is not valid"),
        ("http://127.0.0.1:99999/", "the server's address is not valid"),
    ],
)
async def test_what_fails_on_the_way_is_said_in_plain_words(
    url: str, sentence: str, http: Operator
) -> None:
    with pytest.raises(OutboundError) as caught:
        await http.post(url, {}, b"")
    assert str(caught.value) == sentence


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scheme", "sentence"),
    [
        ("https", "the server could not be reached safely: its certificate or TLS is not valid"),
        ("http", "the server did not answer in HTTP"),
    ],
)
async def test_a_server_of_another_protocol_is_named(
    scheme: str, sentence: str, http: Operator
) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ready\r\n\r\n")
        await writer.drain()
        writer.close()

    mail = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with mail:
        port = mail.sockets[0].getsockname()[1]
        with pytest.raises(OutboundError) as caught:
            await http.post(f"{scheme}://127.0.0.1:{port}/", {"x-api-key": SECRET}, b"")
    assert str(caught.value) == sentence
    assert_secret_free(caught.value)


@pytest.mark.anyio
async def test_connecting_has_a_time_limit() -> None:
    http = Operator(connect_timeout=0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        with pytest.raises(OutboundError) as caught:
            await http.post(f"http://127.0.0.1:{address[1]}/", {}, b"")
        for client in waiting:
            client.close()
    await http.close()
    assert str(caught.value) == "the server did not accept a connection in 0.05 seconds"


@pytest.mark.anyio
async def test_get_reads_a_limited_body(server: ModelServer, http: Operator) -> None:
    server.models.append("llama")
    body = await http.get(f"{server.openai_url}/models", limit=1000)
    assert json.loads(body)["data"][0]["id"] == "llama"
    assert await http.get(f"{server.openai_url}/models", limit=5) == body[:5]


@pytest.mark.anyio
async def test_the_key_is_not_in_the_chain_of_a_broken_answer(
    server: ModelServer, http: Operator
) -> None:
    server.play(reset_after(headers=False))
    with pytest.raises(OutboundError) as caught:
        await http.post(f"{server.url}/x/messages", {"x-api-key": SECRET}, b"{}")
    assert_secret_free(caught.value)


@pytest.mark.anyio
async def test_the_proxy_of_the_environment_is_used(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://me:secret@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    http = Operator()
    model = network_model("openai", server, http, base_url="http://model.example/v1")
    assert (await hear(model)).text == "Hello world"
    assert server.requests[0].path == "http://model.example/v1/chat/completions"
    assert server.requests[0].headers["proxy-authorization"].startswith("Basic ")
    assert (await hear(network_model("openai", server, http))).text == "Hello world"
    assert server.requests[1].path == "/v1/chat/completions"
    await http.close()


@pytest.mark.anyio
async def test_it_can_be_closed_unused_and_twice(server: ModelServer) -> None:
    http = Operator()
    await http.close()
    server.play(refuse(500))
    answer = await http.post(f"{server.openai_url}/completions", {}, b"{}")
    assert answer.status == 500
    answer.close()
    await http.close()
    await http.close()


@pytest.mark.anyio
async def test_a_body_of_megabytes_is_sent(http: Operator) -> None:
    body = json.dumps({"text": "0123456789" * 300_000}).encode()
    async with ModelServer() as server:
        answer = await http.post(f"{server.openai_url}/chat/completions", {}, body)
        answer.close()
        assert server.requests[0].body == json.loads(body)
