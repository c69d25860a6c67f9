"""One suite over every kind of voice, and what each of them alone has to do."""

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.lowlevel
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.text import count_tokens
from kaiwa.errors import (
    CompletionFailed,
    KaiwaError,
    OperatorError,
    ProviderNotInitialized,
    ProviderQuotaExceeded,
)
from kaiwa.ports import AudioFormat, Speaker
from kaiwa.providers import voices
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Operator
from kaiwa.providers.languages import find_language
from kaiwa.providers.openai_server import OpenAIServer
from kaiwa.providers.openai_speech import OpenAISpeaker, cut
from kaiwa.providers.registry import create_voice, list_voices
from kaiwa.providers.sound import WavReader, pcm, write_sound
from kaiwa.providers.speech.espeak import Espeak
from tests.providers.asking import CANARY
from tests.support.model_server import ModelServer, hang, refuse
from tests.support.sound import (
    SECONDS_A_LETTER,
    decode,
    reads_aloud,
    require_espeak,
    says_bytes,
    sounding,
    tone,
)

pytestmark = pytest.mark.anyio

FORMATS: list[AudioFormat] = ["wav", "mp3"]
SHORT = "Good morning."
LONG = "This goes on and on, for quite some time. " * 100
KINDS = [*list_voices(), "openai"]


@pytest.fixture(params=KINDS)
def voice(request: pytest.FixtureRequest, server: ModelServer, http: Operator) -> Speaker:
    if request.param == "openai":
        server.play(reads_aloud())
        return speaker(server, http)
    if request.param == "espeak":
        require_espeak()
    found = create_voice(request.param, "")
    assert found
    return found


def speaker(server: ModelServer, http: Operator, patience: float = 60) -> OpenAISpeaker:
    options = {"base_url": server.openai_url, "api_key": CANARY, "retry_wait": 0.01}
    return OpenAISpeaker(OpenAIServer(options, http), "m", patience)


async def hear(
    speaker: Speaker, text: str, audio: AudioFormat = "wav", voice: str = "", language: str = ""
) -> list[bytes]:
    return [piece async for piece in speaker.speak(text, voice, language, audio)]


# Every kind


@pytest.mark.parametrize("audio", FORMATS)
@pytest.mark.parametrize(
    "text", ["Good morning, how are you?", "你好，世界。", "おはようございます", "5"]
)
async def test_a_decoder_plays_what_is_said(voice: Speaker, text: str, audio: AudioFormat):
    pieces = await hear(voice, text, audio)
    assert all(pieces)
    sound = decode(b"".join(pieces))
    assert sound.kind == audio
    assert 0.01 <= sound.seconds < 5


@pytest.mark.parametrize("audio", FORMATS)
async def test_a_longer_text_takes_longer(voice: Speaker, audio: AudioFormat):
    short, long = [decode(b"".join(await hear(voice, text, audio))) for text in (SHORT, LONG)]
    assert long.seconds > 50 * short.seconds


@pytest.mark.parametrize("audio", FORMATS)
async def test_a_long_text_comes_in_pieces(voice: Speaker, audio: AudioFormat):
    assert len(await hear(voice, LONG, audio)) > 2


async def test_mp3_of_several_texts_joins_to_one_stream(voice: Speaker):
    texts = [SHORT, "And a good night, too.", SHORT]
    apart = [b"".join(await hear(voice, text, "mp3")) for text in texts]
    joined = decode(b"".join(apart))
    assert joined.kind == "mp3"
    seconds = sum([decode(each).seconds for each in apart])
    assert joined.seconds == pytest.approx(seconds, abs=0.2)


@pytest.mark.parametrize("wish", ["nobody+f1", "../../etc/passwd", "-v", "🎉", "x" * 1000])
async def test_a_voice_that_is_not_there_gives_way(voice: Speaker, wish: str):
    assert decode(b"".join(await hear(voice, SHORT, voice=wish))).seconds > 0.1


@pytest.mark.parametrize("language", ["en-US", "zh-Hans", "ja-JP", "tlh-Latn", "", "-", "../x"])
async def test_any_language_is_no_fault(voice: Speaker, language: str):
    assert decode(b"".join(await hear(voice, SHORT, language=language))).seconds > 0.1


async def test_closing_in_the_middle_is_no_fault(voice: Speaker):
    async with aclosing(voice.speak(LONG, "", "", "wav")) as pieces:
        assert await anext(pieces)


async def test_many_may_be_heard_at_once(voice: Speaker):
    sounds: list[bytes] = []

    async def one() -> None:
        sounds.append(b"".join(await hear(voice, SHORT)))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(one)
    assert len(set(sounds)) == 1


# espeak-ng


@pytest.fixture
def espeak() -> Speaker:
    require_espeak()
    found = create_voice("espeak", "")
    assert found
    return found


def children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and child.name().startswith("espeak")
    ]


async def test_espeak_is_heard_not_silent(espeak: Speaker):
    assert decode(b"".join(await hear(espeak, SHORT))).loudness > 0.1


async def test_espeak_takes_the_voice_and_language_it_is_told(espeak: Speaker):
    said = {
        b"".join(await hear(espeak, "Die Sonne scheint.", voice=voice, language=language))
        for voice, language in [("", ""), ("", "de-DE"), ("", "fr"), ("de+f3", ""), ("Greek", "")]
    }
    assert len(said) == 5


async def test_espeak_says_phonemes_of_nobody(espeak: Speaker):
    """`[[…]]` would be read as espeak-ng's own signs for sounds."""
    plain = decode(b"".join(await hear(espeak, "a [ [ h@l'oU ] ]")))
    assert decode(b"".join(await hear(espeak, "a [[h@l'oU]]"))).seconds >= plain.seconds * 0.5


async def test_espeak_is_gone_when_nobody_listens(espeak: Speaker):
    pieces = espeak.speak(LONG * 20, "", "", "wav")
    await anext(pieces)
    assert len(children()) == 1
    await pieces.aclose()
    assert children() == []


async def test_espeak_is_gone_when_its_listener_is_cancelled(espeak: Speaker):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear, espeak, LONG * 20, "mp3")
        while not children():
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert children() == []


async def test_an_espeak_that_dies_is_an_error_of_ours(espeak: Speaker):
    pieces = espeak.speak(LONG * 20, "", "", "wav")
    await anext(pieces)
    [child] = children()
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(CompletionFailed, match="espeak-ng has failed"):
        async for _ in pieces:
            pass


def program(folder: Path, script: str) -> Speaker:
    """A program in the place of espeak-ng."""
    path = folder / "espeak-ng"
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return Espeak(str(path))


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("exit 1", "has failed"),
        ("exit 0", "has failed"),
        ("cat >/dev/null; echo no sound at all", "something else than sound"),
        ("printf RIFF", "has failed"),
    ],
)
async def test_a_broken_espeak_is_an_error_of_ours(tmp_path: Path, script: str, fault: str):
    with pytest.raises(CompletionFailed, match=fault):
        await hear(program(tmp_path, script), SHORT)


async def test_an_espeak_that_was_removed_is_an_error_of_ours(tmp_path: Path):
    with pytest.raises(ProviderNotInitialized):
        await hear(Espeak(str(tmp_path / "espeak-ng")), SHORT)


async def test_espeak_gets_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    seen = tmp_path / "seen"
    with pytest.raises(CompletionFailed):
        await hear(program(tmp_path, f"env >>{seen}"), SHORT)
    assert CANARY not in seen.read_text("utf-8")


NAMES = {
    name: name for name in ("en-us", "en-gb", "cmn", "yue", "ja", "ko", "ru", "uk", "de", "pt")
}


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("Hello", "", "en-us"),
        ("Hello", "en-GB", "en-gb"),
        ("Hello", "en-AU", "en-us"),
        ("Hallo", "de-DE", "de"),
        ("Olá", "pt_PT", "pt"),
        ("Hello", "xx", "en-us"),
        ("你好", "", "cmn"),
        ("你好", "zh-Hans", "cmn"),
        ("你好", "zh-TW", "cmn"),
        ("你好", "zh-HK", "yue"),
        ("你好", "en-US", "cmn"),
        ("东京", "ja-JP", "ja"),
        ("東京は日本の首都です", "", "ja"),
        ("東京は日本の首都です", "zh-Hans", "ja"),
        ("안녕하세요", "", "ko"),
        ("Привет", "", "ru"),
        ("Привіт", "uk-UA", "uk"),
        ("Привет", "en-US", "ru"),
        ("The word 你好 means hello in Chinese.", "en-US", "en-us"),
        ("请运行命令 kaiwa serve", "en-US", "cmn"),
        ("Γεια", "en-US", "en-us"),
        ("5", "", "en-us"),
    ],
)
def test_a_text_is_read_in_its_own_language(text: str, language: str, found: str):
    assert find_language(text, language, NAMES) == found


# Servers that speak OpenAI's API


async def test_what_an_openai_server_is_asked(server: ModelServer, http: Operator):
    server.play(reads_aloud())
    await hear(speaker(server, http), SHORT, "mp3", "nova", "en-US")
    [request] = server.requests
    assert request.path == "/v1/audio/speech"
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert request.body == {
        "model": "m", "input": SHORT, "voice": "nova", "response_format": "mp3",
    }  # fmt: skip


@pytest.mark.parametrize("audio", FORMATS)
async def test_a_text_too_long_for_the_api_is_said_in_parts(
    server: ModelServer, http: Operator, audio: AudioFormat
):
    server.play(reads_aloud())
    text = LONG * 3
    sound = decode(b"".join(await hear(speaker(server, http), text, audio)))
    inputs = [request.body["input"] for request in server.requests]
    assert len(inputs) > 2
    assert all(len(each) <= 4096 and each.endswith("time.") for each in inputs)
    assert sound.kind == audio
    assert sound.seconds == pytest.approx(len(text) * SECONDS_A_LETTER, rel=0.02)


async def test_pieces_are_handed_on_before_the_last_is_made(server: ModelServer, http: Operator):
    whole = sounding(1, "wav")
    server.play(says_bytes(whole[:9000], waits=True))
    async with aclosing(speaker(server, http).speak(SHORT, "", "", "wav")) as pieces:
        assert len(await anext(pieces)) > 5000
    await server.wait_left()


async def test_a_voice_the_server_refuses_gives_way_to_its_own(server: ModelServer, http: Operator):
    message = "[{'loc': ('body', 'voice'), 'msg': \"Input should be 'nova' or 'alloy'\"}]"
    server.play(refuse(400, message), reads_aloud())
    assert await hear(speaker(server, http), SHORT, voice="mimo")
    assert [request.body["voice"] for request in server.requests] == ["mimo", "alloy"]


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (refuse(401, f"Incorrect API key provided: {CANARY}"), CompletionFailed),
        (refuse(429, "slow down"), CompletionFailed),
        (refuse(429, "You exceeded your quota", code="insufficient_quota"), ProviderQuotaExceeded),
        (refuse(500, "down"), CompletionFailed),
        (says_bytes(), CompletionFailed),
        (says_bytes(b'{"error": "no"}'), CompletionFailed),
        (says_bytes(b"RI"), CompletionFailed),
        (says_bytes(b"RIFF\0\0\0\0WAVEdata\0\0\0\0"), CompletionFailed),
        (says_bytes(b"RIFF\0\0\0\0WAVE", b"LIST\xff\xff\xff\0" + b"\0" * 100), CompletionFailed),
        (says_bytes(b"RIFF", breaks=True), CompletionFailed),
        (hang(), CompletionFailed),
    ],
)
@pytest.mark.parametrize("audio", FORMATS)
async def test_what_goes_wrong_at_a_server_is_an_error_of_ours(
    server: ModelServer,
    http: Operator,
    audio: AudioFormat,
    behaviour: Callable[..., Awaitable[None]],
    error: type[KaiwaError],
):
    server.play(behaviour)
    with pytest.raises(error) as found:
        await hear(speaker(server, http, patience=0.3), SHORT, audio)
    assert CANARY not in found.value.message


async def test_a_connection_that_breaks_in_the_middle_is_an_error(
    server: ModelServer, http: Operator
):
    whole = sounding(1, "wav")
    server.play(says_bytes(whole[:9000], breaks=True))
    pieces = speaker(server, http).speak(SHORT, "", "", "wav")
    assert await anext(pieces)
    with pytest.raises(CompletionFailed):
        await anext(pieces)


async def test_a_server_that_changes_its_sound_between_parts_is_found_out(
    server: ModelServer, http: Operator
):
    server.play(says_bytes(sounding(0.1, "wav")), says_bytes(sounding(0.1, "wav", 8000)))
    with pytest.raises(CompletionFailed, match="changed"):
        await hear(speaker(server, http), LONG)


@given(st.text(st.sampled_from("ab .。!\n中"), max_size=60).map(lambda text: text * 500))
def test_parts_fit_the_api_and_lose_nothing(text: str):
    parts = cut(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part.strip() and len(part) <= 4096 and count_tokens(part) < 2000 for part in parts)


# WAV


@given(st.integers(0, 3000), st.lists(st.integers(1, 400), min_size=1), st.booleans())
async def test_samples_are_found_however_the_file_is_cut(
    frames: int, sizes: list[int], whole_length: bool
):
    samples = tone(1)[: frames * 2]
    writer = write_sound("wav", pcm(16_000))
    file = writer.take(samples)
    if whole_length and samples:
        head = file[: -len(samples)]
        file = head[:-4] + len(samples).to_bytes(4, "little") + samples + b"LIST\4\0\0\0abcd"
    reader, found, at = WavReader(), b"", 0
    while at < len(file):
        size = sizes[len(found) % len(sizes)]
        found += reader.feed(file[at : at + size])
        at += size
    assert found == samples


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_the_reader(data: bytes, headed: bool):
    reader = WavReader()
    try:
        reader.feed((b"RIFF\0\0\0\0WAVE" if headed else b"") + data)
    except ValueError:
        assert reader.format is None


# Which voice it is


def catalog(http: Operator, **environment: str) -> Catalog:
    own = {"own": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}}
    return Catalog(http, own, environment)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


async def test_openai_speaks_where_there_is_a_key(http: Operator, path: Path):
    program(path, "")
    found = catalog(http, OPENAI_API_KEY="k")
    assert await voices.choose_voice("", found) == "openai/gpt-4o-mini-tts"
    assert isinstance(await voices.open_voice("openai/gpt-4o-mini-tts", found, http), OpenAISpeaker)


async def test_else_espeak_speaks_where_it_is_installed(http: Operator, path: Path):
    assert await voices.choose_voice("", catalog(http)) == ""
    program(path, "")
    assert await voices.choose_voice("", catalog(http)) == "espeak"
    assert isinstance(await voices.open_voice("espeak", catalog(http), http), Espeak)


async def test_the_setting_goes_before(http: Operator, path: Path):
    found = catalog(http, OPENAI_API_KEY="k")
    assert await voices.choose_voice("own/kokoro", found) == "own/kokoro"
    assert isinstance(await voices.open_voice("own/kokoro", found, http), OpenAISpeaker)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("espeak", "espeak-ng is not found"),
        ("festival", "must be espeak, silent or a provider/model"),
        ("nobody/tts", "names 'nobody'"),
        ("anthropic/x", "names 'anthropic'"),
    ],
)
async def test_a_voice_that_cannot_be_had_is_the_operators_to_mend(
    http: Operator, path: Path, name: str, sentence: str
):
    found = catalog(http, ANTHROPIC_API_KEY="k")
    with pytest.raises(OperatorError, match=sentence):
        await voices.open_voice(name, found, http)
