"""Answers that are spoken while they are written: what a client hears, and when."""

import asyncio
import socket
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from bench.load import post
from yarl import URL

from tests.support.apps import agent_file, app_file, calls, fails, says
from tests.support.client import Frame, Stream, text_of
from tests.support.server import TestServer, serving
from tests.support.voices import SECONDS_PER_CHARACTER, ToneSpeaker, seconds_of

pytestmark = pytest.mark.anyio

AUTO_PLAY = {"enabled": True, "voice": "nova", "language": "en-US", "autoPlay": "enabled"}
PATIENCE = 0.4


@pytest.fixture(scope="module")
async def loud(engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestServer]:
    """A server whose voice is patient for a short time."""
    folder: Path = tmp_path_factory.mktemp("loud")
    async with serving(folder, speech_patience=PATIENCE, ping_interval=0.1) as server:
        yield server


@pytest.fixture
def speaker(loud: TestServer) -> ToneSpeaker:
    loud.house.speaker = found = ToneSpeaker()
    return found


def speaking(*steps: dict[str, Any], **config: Any) -> str:
    return app_file(*steps, text_to_speech=AUTO_PLAY, **config)


def audio_of(frames: list[Frame]) -> bytes:
    return b"".join(b64decode(f.data["audio"]) for f in frames if f.event == "tts_message")


def events_of(frames: list[Frame]) -> list[str]:
    """Their kinds, each run of one kind as one."""
    kinds = [frame.event for frame in frames]
    return [kind for i, kind in enumerate(kinds) if kinds[i - 1 : i] != [kind]]


def check_end(frames: list[Frame], end: str = "message_end") -> None:
    kinds = [frame.event for frame in frames]
    assert [kinds.count(kind) for kind in (end, "tts_message_end")] == [1, 1]
    assert kinds[-1] == "tts_message_end"
    assert "message" not in kinds[kinds.index(end) :]
    assert frames[-1].data["audio"] == ""
    for frame in frames:
        assert list(frame.data)[:5] == [
            "event", "conversation_id", "message_id", "created_at", "task_id",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "sentences",
    [
        ["Hello there.", "How are you today?", "I am fine!"],
        ["你好。", "今天天气怎么样？", "很好！"],
        ["こんにちは。", "「元気です。」", "はい！"],
    ],
)
async def test_an_answer_is_spoken_sentence_by_sentence(
    loud: TestServer, speaker: ToneSpeaker, sentences: list[str]
) -> None:
    text = " ".join(sentences)
    client = await loud.client(speaking(says(*text, pace=0.001)))
    frames = await client.stream("Hi")
    check_end(frames)
    assert text_of(frames) == text
    assert speaker.texts == sentences
    assert speaker.asked == {("nova", "en-US", "mp3")}
    expected = sum(map(len, sentences)) * SECONDS_PER_CHARACTER
    assert seconds_of(audio_of(frames)) == pytest.approx(expected, abs=0.1 * len(sentences) + 0.1)


async def test_the_first_audio_comes_while_the_text_goes_on(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    steps = (says("Hello there.", " And"), says(" so on.", silence=0.5))
    frames = await (await loud.client(speaking(*steps))).stream("Hi")
    assert events_of(frames)[:3] == ["message", "tts_message", "message"]
    check_end(frames)


async def test_a_blocking_answer_and_one_that_is_not_to_be_spoken_are_silent(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    reply = await (await loud.client(speaking(says("Hello there.")))).ask("Hi")
    assert reply.body["answer"] == "Hello there."
    for voice in ({"enabled": False, "autoPlay": "enabled"}, {"enabled": True}):
        frames = await (await loud.client(app_file(text_to_speech=voice))).stream("Hi")
        assert frames[-1].event == "message_end"
        assert "tts_message" not in events_of(frames)
    assert speaker.texts == []


async def test_without_a_voice_an_answer_is_silent(loud: TestServer) -> None:
    loud.house.speaker = None
    frames = await (await loud.client(speaking(says("Hello there.")))).stream("Hi")
    assert frames[-1].event == "message_end"


async def test_code_and_thoughts_are_not_spoken(loud: TestServer, speaker: ToneSpeaker) -> None:
    text = "Look:\n```py\nx = 1. Y\n```\nThat **is** it."
    steps = (says(*text), says("!", reasoning="Hm. So."))
    frames = await (await loud.client(speaking(*steps))).stream("Hi")
    check_end(frames)
    assert speaker.texts[:2] == ["Look:", "That is it."]
    assert "Hm. So." in text_of(frames)


async def test_text_in_one_piece_is_spoken_in_order(loud: TestServer, speaker: ToneSpeaker) -> None:
    sentences = [f"This is sentence {'x' * (12 - n)}." for n in range(12)]
    frames = await (await loud.client(speaking(says(" ".join(sentences))))).stream("Hi")
    check_end(frames)
    assert speaker.texts == sentences
    assert speaker.most == 3
    whole = seconds_of(audio_of(frames))
    assert whole == pytest.approx(sum(map(len, sentences)) * SECONDS_PER_CHARACTER, rel=0.15)


async def test_sentences_that_fail_are_left_out(loud: TestServer, speaker: ToneSpeaker) -> None:
    steps = says("This one fails. ", "This is fine. ", "This one breaks soon after. ", "End.")
    frames = await (await loud.client(speaking(steps))).stream("Hi")
    check_end(frames)
    assert len(speaker.texts) == 4
    assert seconds_of(audio_of(frames), broken=1) > 0.5


async def test_a_voice_that_always_fails_is_asked_no_more(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    steps = says(*["This one fails. "] * 20, pace=0.005)
    frames = await (await loud.client(speaking(steps))).stream("Hi")
    check_end(frames)
    assert text_of(frames) == "This one fails. " * 20
    assert 3 <= len(speaker.texts) <= 6
    assert audio_of(frames) == b""


async def test_a_voice_that_hangs_delays_neither_text_nor_end(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    steps = says("This one hangs. ", "Fine. ", "Yes.")
    client = await loud.client(speaking(steps))
    async with client.streaming("Hi") as stream:
        frames = await _until(stream, "message_end")
        # The seat is free: the next question of the conversation does not wait for the voice.
        later = await client.ask("So?", conversation_id=frames[0].data["conversation_id"])
        assert later.status == 200
        assert "tts_message_end" not in events_of(frames)
        frames += await stream.rest()
    check_end(frames)
    assert audio_of(frames) == b""
    assert stream.pings > 0
    assert speaker.speaking == 0


async def test_a_hanging_sentence_in_the_middle_is_left_out(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    steps = (says("This one hangs. ", "Fine. "), says("Good. Yes.", silence=2 * PATIENCE))
    frames = await (await loud.client(speaking(*steps))).stream("Hi")
    check_end(frames)
    assert speaker.texts == ["This one hangs.", "Fine.", "Good.", "Yes."]
    assert seconds_of(audio_of(frames)) > 0.5


async def test_a_slow_voice_is_waited_for_while_it_speaks(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    text = "This is said very slowly and takes longer than a voice may be silent. " * 2
    frames = await (await loud.client(speaking(says(text)))).stream("Hi")
    check_end(frames)
    whole = seconds_of(audio_of(frames))
    assert whole == pytest.approx(len(text) * SECONDS_PER_CHARACTER, rel=0.1)


async def test_a_stop_ends_the_voice_with_the_text(loud: TestServer, speaker: ToneSpeaker) -> None:
    steps = (says("This one hangs. ", "And"), {"hang": True})
    client = await loud.client(speaking(*steps))
    async with client.streaming("Hi") as stream:
        first = await anext(stream.frames())
        await speaker.asked_for.wait()
        await client.post(f"/chat-messages/{first.data['task_id']}/stop")
        frames = await stream.rest()
    check_end(frames)
    assert speaker.speaking == 0
    [message] = await client.messages(first.data["conversation_id"])
    assert message["outcome"] == "stopped"


async def test_a_stop_after_the_text_ends_the_voice(loud: TestServer, speaker: ToneSpeaker) -> None:
    speaker.pace = 0.1
    client = await loud.client(speaking(says("This takes a long time to say, too long. " * 10)))
    async with client.streaming("Hi") as stream:
        frames = await _until(stream, "message_end")
        await client.post(f"/chat-messages/{frames[0].data['task_id']}/stop")
        frames += await stream.rest()
    check_end(frames)
    assert len(speaker.texts) < 10
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert message["outcome"] == "normal"


async def test_a_client_that_leaves_ends_the_voice_and_not_the_answer(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    speaker.pace = 0.05
    steps = (says("This takes a long time to say. " * 5), says("Done.", silence=0.3))
    client = await loud.client(speaking(*steps))
    async with client.streaming("Hi") as stream:
        frames = await _until(stream, "tts_message")
        stream.response.close()
    conversation_id = frames[0].data["conversation_id"]
    with anyio.fail_after(5):
        await speaker.silent.wait()
        asked = len(speaker.texts)
        for _ in range(1000):
            [message] = await client.messages(conversation_id)
            if message["answer"].endswith("Done."):
                break
            await anyio.sleep(0.005)
        else:
            raise AssertionError("the answer does not go on")
    assert len(speaker.texts) == asked


async def test_what_was_said_before_an_error_is_spoken(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    frames = await (await loud.client(speaking(says("Hello there. ", "Now"), fails()))).stream("Hi")
    check_end(frames, "error")
    assert speaker.texts == ["Hello there.", "Now"]
    assert seconds_of(audio_of(frames)) > 0.5


async def test_a_refused_question_has_no_tail(loud: TestServer, speaker: ToneSpeaker) -> None:
    client = await loud.client(speaking(says("Hello.")))
    reply = await client.post("/chat-messages", query="", response_mode="streaming")
    assert reply.status == 400
    assert reply.body["code"] == "invalid_param"


async def test_two_turns_at_once_are_spoken_each_to_its_client(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    found: dict[str, list[Frame]] = {}

    async def ask(text: str) -> None:
        found[text] = await (await loud.client(speaking(says(text)))).stream("Hi")

    texts = ["A short one.", "A much longer one, which takes its time. And more."]
    async with anyio.create_task_group() as tasks:
        for text in texts:
            tasks.start_soon(ask, text)
    for text, frames in found.items():
        check_end(frames)
        expected = len(text) * SECONDS_PER_CHARACTER
        assert seconds_of(audio_of(frames)) == pytest.approx(expected, abs=0.3)


async def test_an_agents_answer_is_spoken_and_not_its_observations(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    dsl = agent_file(
        calls("current_time", text="Let me look"),
        says("It is late", "."),
        tools=["time/current_time"],
        text_to_speech=AUTO_PLAY,
    )
    frames = await (await loud.client(dsl)).stream("When?")
    check_end(frames)
    assert speaker.texts == ["Let me look", "It is late."]


async def test_a_client_that_reads_slowly_holds_the_voice(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    """The audio of this answer is much more than sockets take."""
    sentence = f"{'This is a long sentence ' * 10}."
    client = await loud.client(speaking(says(f"{sentence} " * 200)))
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", URL(client.base).port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=16_384)
    body: dict[str, object] = {
        "query": "Hi",
        "inputs": {},
        "user": "ann",
        "response_mode": "streaming",
    }
    writer.write(post("/v1/chat-messages", client.key, body))
    with anyio.fail_after(30):
        before = -1
        while speaker.pieces != before or not before:
            before = speaker.pieces
            await anyio.sleep(0.3)
        assert len(speaker.texts) < 100
        assert speaker.speaking <= 3
        heard = b""
        while b'"tts_message_end"' not in heard:
            heard = heard[-100:] + await reader.read(65_536)
    writer.close()
    assert speaker.texts == [sentence] * 200


async def _until(stream: Stream, event: str) -> list[Frame]:
    """The frames up to the first of this kind."""
    frames: list[Frame] = []
    async for frame in stream.frames():
        frames.append(frame)
        if frame.event == event:
            break
    return frames


async def test_what_moderation_says_instead_is_spoken(
    loud: TestServer, speaker: ToneSpeaker
) -> None:
    side = {"enabled": True, "preset_response": "Not that."}
    words = {"keywords": "hush", "inputs_config": side, "outputs_config": side}
    guard = {"enabled": True, "type": "keywords", "config": words}
    file = speaking(says("It is", " hush", "ed up. More."), sensitive_word_avoidance=guard)
    client = await loud.client(file)
    frames = await client.stream("Hi")
    check_end(frames)
    assert "message_replace" in events_of(frames)
    frames = await client.stream("Why hush?")
    check_end(frames)
    assert text_of(frames) == "Not that."
    assert speaker.texts == ["Not that.", "Not that."]
