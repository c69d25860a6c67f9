"""Models on the network: reading any stream, every fault, asking again, keeping secrets."""

import time
import traceback

import anyio
import pytest

from kaiwa.domain.events import TextDelta, UsageDelta
from kaiwa.errors import (
    CompletionFailed,
    KaiwaError,
    ModelNotSupported,
    PromptTooLong,
    ProviderNotInitialized,
    ProviderQuotaExceeded,
)
from kaiwa.providers.http import Operator
from kaiwa.providers.registry import create_model
from tests.providers.asking import (
    CANARY,
    NETWORK_KINDS,
    Heard,
    hear,
    hear_first,
    hear_into,
    network_model,
    question,
)
from tests.support.model_server import (
    Behaviour,
    ModelServer,
    drip,
    empty,
    endless_line,
    fail_within,
    half_json,
    hang,
    hang_after,
    invalid_utf8,
    nothing,
    raw,
    refuse,
    refuse_page,
    reset_after,
    speak,
    whole,
)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("kind", NETWORK_KINDS)]

ENDED = "[{kind}] Connection Error, the server ended in the middle of the answer"
CLOSED = "[{kind}] Connection Error, the server closed the connection"
LOST = f"{CLOSED} in the middle of the answer"


@pytest.mark.parametrize(
    "behaviour",
    [
        speak("Hello 世界 😀 world"),
        speak("Hello 世界 😀 world", group=100),
        speak("Hello 世界 😀 world", split=1),
        speak("Hello 世界 😀 world", group=2, split=7),
        speak("Hello 世界 😀 world", done=False),
        speak("Hello 世界 😀 world", finish=False),
        drip("Hello 世界 😀 world", pause=0),
        whole("Hello 世界 😀 world"),
    ],
)
async def test_the_answer_is_exact_however_it_comes(
    kind: str, behaviour: Behaviour, server: ModelServer, http: Operator
) -> None:
    server.play(behaviour)
    heard = await hear(network_model(kind, server, http))
    assert heard.text == "Hello 世界 😀 world"
    assert all(heard.items)
    assert len(server.requests) == 1


async def test_the_counts_of_the_server_are_reported(
    kind: str, server: ModelServer, http: Operator
) -> None:
    server.play(speak(usage=(11, 5)), whole(usage=(12, 6)), speak(usage=None))
    model = network_model(kind, server, http)
    assert (await hear(model)).usage == UsageDelta(11, 5)
    assert (await hear(model)).usage == UsageDelta(12, 6)
    assert (await hear(model)).usage is None


async def test_no_counts_are_reported_for_an_answer_that_was_cut(
    kind: str, server: ModelServer, http: Operator
) -> None:
    server.play(reset_after("Hello"))
    heard = Heard()
    with pytest.raises(CompletionFailed):
        await hear_into(heard, network_model(kind, server, http))
    assert heard.deltas == [TextDelta("Hello")]


async def test_reasoning_is_kept_apart(kind: str, server: ModelServer, http: Operator) -> None:
    server.play(speak("Yes", reasoning=["Let me", " think"]))
    heard = await hear(network_model(kind, server, http))
    assert (heard.reasoning, heard.text) == ("Let me think", "Yes")


async def test_one_network_read_gives_one_item(
    kind: str, server: ModelServer, http: Operator
) -> None:
    server.play(speak([str(i) for i in range(100)], group=100))
    heard = await hear(network_model(kind, server, http))
    assert heard.text == "".join(str(i) for i in range(100))
    assert len(heard.items) <= 4


async def test_an_empty_answer_is_an_answer(kind: str, server: ModelServer, http: Operator) -> None:
    server.play(empty())
    heard = await hear(network_model(kind, server, http))
    assert heard.text == ""
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (reset_after("Hello", " world"), LOST),
        (half_json("Hello", " world"), ENDED),
        (raw(tokens=["Hello", " world"]), ENDED),
        (
            invalid_utf8("Hello", " world"),
            "[{kind}] Server Unavailable Error, the server sent an answer that cannot be read:"
            " the stream is not valid UTF-8",
        ),
        (
            endless_line("Hello", " world"),
            "[{kind}] Server Unavailable Error, the server sent an answer that cannot be read:"
            " a line or an event is longer than 1048576 bytes",
        ),
        (
            raw(b"data: {]}\n\n", tokens=["Hello", " world"]),
            "[{kind}] Server Unavailable Error, the server sent an answer that is not valid JSON"
            " of its kind",
        ),
        (
            raw(b"data: " + b"[" * 200_000 + b"\n\n", tokens=["Hello", " world"]),
            "[{kind}] Server Unavailable Error, the server sent an answer that is not valid JSON"
            " of its kind",
        ),
        (
            fail_within("Hello", " world", message=f"overloaded {CANARY}", kind="api_error"),
            "[{kind}] Server Unavailable Error, overloaded ***",
        ),
    ],
)
async def test_a_fault_in_the_middle_keeps_what_was_said_and_asks_once(
    kind: str, behaviour: Behaviour, message: str, server: ModelServer, http: Operator
) -> None:
    server.play(behaviour)
    heard = Heard()
    with pytest.raises(CompletionFailed) as caught:
        await hear_into(heard, network_model(kind, server, http))
    assert caught.value.message == message.format(kind=kind)
    assert caught.value.__cause__ is not None
    assert heard.text == "Hello world"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (refuse(500, "boom"), "[{kind}] Server Unavailable Error, boom"),
        (refuse(502), "[{kind}] Server Unavailable Error, no"),
        (refuse(503), "[{kind}] Server Unavailable Error, no"),
        (refuse(504), "[{kind}] Server Unavailable Error, no"),
        (refuse(529, kind="overloaded_error"), "[{kind}] Server Unavailable Error, no"),
        (refuse(429, "slow down"), "[{kind}] Rate Limit Error, slow down"),
        (refuse(429, headers={"Retry-After": "0.01"}), "[{kind}] Rate Limit Error, no"),
        (
            refuse_page(502),
            "[{kind}] Server Unavailable Error, the server sent a web page instead of an answer",
        ),
        (fail_within(kind="rate_limit_error"), "[{kind}] Rate Limit Error, no"),
        (fail_within(kind="overloaded_error"), "[{kind}] Server Unavailable Error, no"),
        (nothing(), ENDED),
        (half_json(), ENDED),
        (reset_after(), LOST),
        (reset_after(headers=False), CLOSED),
    ],
)
async def test_passing_trouble_before_the_first_word_is_tried_three_times(
    kind: str, behaviour: Behaviour, message: str, server: ModelServer, http: Operator
) -> None:
    server.play(behaviour)
    with pytest.raises(CompletionFailed) as caught:
        await hear(network_model(kind, server, http))
    assert caught.value.message == message.format(kind=kind)
    assert len(server.requests) == 3

    server.play(behaviour, behaviour, speak())
    assert (await hear(network_model(kind, server, http))).text == "Hello world"
    assert len(server.requests) == 6


AUTH = "Incorrect API key provided"
TOO_LONG = "Query or prefix prompt is too long"


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        (refuse(401, f"bad key {CANARY}", kind="authentication_error"), CompletionFailed, AUTH),
        (refuse(403, kind="permission_error"), CompletionFailed, AUTH),
        (refuse(402, kind="billing_error"), ProviderQuotaExceeded, "The quota of"),
        (
            refuse(400, "Your credit balance is too low to access the API."),
            ProviderQuotaExceeded,
            "The quota of",
        ),
        (refuse(429, "Insufficient balance"), ProviderQuotaExceeded, "The quota of"),
        (
            refuse(404, "The model `gpt-9` does not exist", kind="not_found_error"),
            ModelNotSupported,
            "[{kind}] The model `gpt-9` does not exist",
        ),
        (refuse(400, "model x does not exist"), ModelNotSupported, "[{kind}] model x does not"),
        (refuse(400, "prompt is too long: 210000 tokens"), PromptTooLong, TOO_LONG),
        (refuse(400, "This model's maximum context length is 8"), PromptTooLong, TOO_LONG),
        (refuse(413, kind="request_too_large"), PromptTooLong, TOO_LONG),
        (
            refuse(400, "temperature: must be below 2"),
            CompletionFailed,
            "[{kind}] Bad Request Error, temperature: must be below 2",
        ),
        (
            refuse(429, "later", headers={"Retry-After": "3600"}),
            CompletionFailed,
            "[{kind}] Rate Limit Error, later",
        ),
        (
            refuse(429, "later", headers={"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"}),
            CompletionFailed,
            "[{kind}] Rate Limit Error, later",
        ),
        (
            refuse(307, "moved", headers={"Location": "http://127.0.0.1:9/"}),
            CompletionFailed,
            "[{kind}] Bad Request Error, moved",
        ),
        (
            raw(b"<html>login</html>", content_type="text/html"),
            CompletionFailed,
            "[{kind}] Server Unavailable Error, the server sent a web page",
        ),
        (
            raw(b"[1]", content_type="application/json"),
            CompletionFailed,
            "[{kind}] Server Unavailable Error, the server sent an answer that is not valid JSON",
        ),
        (invalid_utf8(), CompletionFailed, "[{kind}] Server Unavailable Error, the server sent"),
        (endless_line(), CompletionFailed, "[{kind}] Server Unavailable Error, the server sent"),
        (fail_within(kind="authentication_error"), CompletionFailed, AUTH),
        (fail_within(kind="billing_error"), ProviderQuotaExceeded, "The quota of"),
    ],
)
async def test_lasting_trouble_is_named_and_not_tried_again(
    kind: str,
    behaviour: Behaviour,
    error: type[KaiwaError],
    message: str,
    server: ModelServer,
    http: Operator,
) -> None:
    server.play(behaviour)
    with pytest.raises(KaiwaError) as caught:
        await hear(network_model(kind, server, http))
    assert type(caught.value) is error
    assert caught.value.message.startswith(message.format(kind=kind))
    assert caught.value.__cause__ is not None
    assert len(server.requests) == 1


async def test_the_server_says_when_to_ask_again(
    kind: str, server: ModelServer, http: Operator
) -> None:
    server.play(refuse(429, headers={"Retry-After": "0.2"}), speak())
    assert (await hear(network_model(kind, server, http))).text == "Hello world"
    first, second = server.requests
    assert second.at - first.at >= 0.2


async def test_a_server_that_is_not_there_is_named_after_three_attempts(
    kind: str, server: ModelServer, http: Operator
) -> None:
    options = {"base_url": "http://127.0.0.1:1", "api_key": CANARY, "retry_wait": 0.001}
    model = create_model(kind, {**options, "name": "my-server"}, http)
    with pytest.raises(CompletionFailed) as caught:
        await hear(model)
    expected = "[my-server] Connection Error, the server could not be reached"
    assert caught.value.message == expected


async def test_without_a_key_the_vendors_own_server_is_not_asked(
    kind: str, http: Operator, server: ModelServer
) -> None:
    with pytest.raises(ProviderNotInitialized) as caught:
        await hear(create_model(kind, {}, http))
    assert caught.value.message == "Model model-1 credentials is not initialized."


async def test_without_a_key_another_server_is_asked_and_may_refuse(
    kind: str, server: ModelServer, http: Operator
) -> None:
    model = network_model(kind, server, http, api_key=None)
    assert (await hear(model)).text == "Hello world"
    assert "authorization" not in server.requests[0].headers
    assert "x-api-key" not in server.requests[0].headers
    server.play(refuse(401, "who are you?"))
    with pytest.raises(ProviderNotInitialized):
        await hear(model)


@pytest.mark.parametrize("behaviour", [hang_after("Hello"), speak("a b c d e f", pace=0.2)])
async def test_leaving_closes_the_connection_at_once(
    kind: str, behaviour: Behaviour, server: ModelServer, http: Operator
) -> None:
    server.play(behaviour)
    async with network_model(kind, server, http).stream(question()) as stream:
        await hear_first(stream)
    left = anyio.current_time()
    assert await server.wait_left() - left < 0.1


@pytest.mark.parametrize("behaviour", [hang(), hang_after(), hang_after("Hello")])
async def test_cancelling_closes_the_connection_at_once(
    kind: str, behaviour: Behaviour, server: ModelServer, http: Operator
) -> None:
    server.play(behaviour)
    cancelled = 0.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear, network_model(kind, server, http))
        await server.wait_asked()
        await anyio.sleep(0.05)
        cancelled = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert await server.wait_left() - cancelled < 0.1
    assert len(server.requests) == 1


async def test_a_connection_is_used_again_after_a_whole_answer(
    kind: str, server: ModelServer, http: Operator
) -> None:
    model = network_model(kind, server, http)
    for _ in range(3):
        await hear(model)
    assert len({request.connection for request in server.requests}) == 1
    assert server.left == []


async def test_an_end_marker_ends_the_answer_even_if_the_body_goes_on(
    kind: str, server: ModelServer, http: Operator
) -> None:
    server.play(speak(end=False))
    started = time.monotonic()
    assert (await hear(network_model(kind, server, http))).text == "Hello world"
    assert time.monotonic() - started < 1
    await server.wait_left()


@pytest.mark.parametrize(
    "behaviour",
    [
        refuse(400, f"bad {CANARY} key, see Authorization: Bearer {CANARY}"),
        refuse(404, f"no model for {CANARY}"),
        refuse(400, "x" * 490 + CANARY),
        refuse_page(500, f"<html>{CANARY}</html>"),
        refuse(500, f"header value other-secret-value-1234 and {CANARY}"),
        fail_within("Hello", message=f"key {CANARY}"),
        fail_within(message=f"x-api-key: {CANARY}"),
    ],
)
async def test_no_secret_is_in_any_error(
    kind: str, behaviour: Behaviour, server: ModelServer, http: Operator
) -> None:
    server.play(behaviour)
    headers = {"X-Other": "other-secret-value-1234"}
    with pytest.raises(KaiwaError) as caught:
        await hear(network_model(kind, server, http, headers=headers))
    assert server.requests[0].headers["x-other"] == "other-secret-value-1234"
    told = "".join(traceback.format_exception(caught.value))
    assert "canary" not in caught.value.message + told.replace("CANARY", "")
    assert "other-secret" not in caught.value.message
    assert len(caught.value.message) < 600
