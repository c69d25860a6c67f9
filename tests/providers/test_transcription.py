"""What listens: how the setting names it, where long sound is cut, and speech models on disk.

The tests with the library of `kaiwa[sherpa]` run where it is installed, without a real model.
"""

import importlib.util
import logging
from array import array
from collections.abc import AsyncGenerator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.errors import CompletionFailed, OperatorError
from kaiwa.ports import Transcriber
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Operator
from kaiwa.providers.transcription.cutting import cut_quietly, join_texts
from kaiwa.providers.transcription.opening import name_transcriber, open_transcriber
from tests.support.sounds import make_sound
from tests.support.tiny_model import HEARD, MODEL, write_model

pytestmark = pytest.mark.anyio

THERE = importlib.util.find_spec("sherpa_onnx") is not None
with_sherpa = pytest.mark.skipif(not THERE, reason="needs kaiwa[sherpa]")
RATE = 100


@pytest.fixture
async def http() -> AsyncGenerator[Operator]:
    found = Operator()
    yield found
    await found.close()


def catalog(http: Operator, environment: Mapping[str, str], **entries: dict[str, Any]) -> Catalog:
    return Catalog(http, entries, environment)


async def opened(http: Operator, setting: str, **entries: dict[str, Any]) -> Transcriber | None:
    return await open_transcriber(setting, catalog(http, {}, **entries), http)


async def refusal(http: Operator, setting: str, **entries: dict[str, Any]) -> str:
    with pytest.raises(OperatorError) as refused:
        await opened(http, setting, **entries)
    return str(refused.value)


@pytest.mark.parametrize(
    ("environment", "entries", "name"),
    [
        ({}, {}, ""),
        ({"OPENAI_API_KEY": "sk-1"}, {}, "openai/whisper-1"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, {}, ""),
        ({}, {"openai": {"kind": "openai", "headers": {"X-Api-Key": "1"}}}, "openai/whisper-1"),
        ({"OPENAI_API_KEY": "sk-1"}, {"openai": {"kind": "anthropic"}}, ""),
        ({"ANTHROPIC_API_KEY": "sk-1"}, {}, ""),
    ],
)
async def test_without_a_setting_openai_listens_when_its_key_is_there(
    http: Operator, environment: dict[str, str], entries: dict[str, dict[str, Any]], name: str
):
    found = catalog(http, environment, **entries)
    assert name_transcriber("", found) == name
    assert (await open_transcriber("", found, http) is None) == (name == "")
    assert name_transcriber("local/x", found) == "local/x"


async def test_a_server_that_is_not_set_up_is_named(http: Operator):
    sentence = "which is no model server of the kind openai that is set up."
    for setting in ("nobody/x", "anthropic/x", "quoting/x"):
        found = await refusal(http, setting, anthropic={"kind": "anthropic", "api_key": "1"})
        assert found.startswith("The setting transcription_model names ")
        assert found.endswith(sentence)


async def test_a_scripted_ear_hears_its_text(http: Operator):
    found = await opened(http, "scripted/one / two")
    assert found
    assert await found.transcribe("a.wav", "audio/wav", b"") == "one / two"
    assert found.takes == frozenset()


@pytest.mark.skipif(THERE, reason="needs that kaiwa[sherpa] is not there")
async def test_a_missing_extra_is_named(http: Operator):
    assert await refusal(http, "sherpa_onnx/models") == (
        "The setting transcription_model = sherpa_onnx/models needs packages that are not installed"
        " (No module named 'sherpa_onnx'); install kaiwa[sherpa], or run make install-sherpa."
    )


@with_sherpa
async def test_a_folder_that_is_not_there_or_holds_no_model_is_named(
    http: Operator, tmp_path: Path
):
    assert await refusal(http, f"sherpa_onnx/{tmp_path}/gone") == (
        f"The setting transcription_model names the folder {tmp_path}/gone, which is not there."
    )
    for files in ((), ("tokens.txt",), ("model.onnx",), ("encoder.onnx", "tokens.txt")):
        folder = tmp_path / f"with {len(files)} {''.join(files)}"
        folder.mkdir()
        for name in files:
            (folder / name).write_bytes(b"")
        found = await refusal(http, f"sherpa_onnx/{folder}")
        assert found.startswith(f"The folder {folder} holds no model of a kind that is known: ")


@with_sherpa
async def test_a_model_on_this_machine_hears_the_whole_of_a_recording(
    http: Operator, tmp_path: Path
):
    found = await opened(http, f"sherpa_onnx/{write_model(tmp_path / 'model')}")
    assert found
    assert found.takes == frozenset()
    assert await found.transcribe("a.wav", "audio/wav", make_sound("wav", 1.0)) == HEARD
    minute = make_sound("wav", 60.0, silent=True)
    assert await found.transcribe("a.wav", "audio/wav", minute) == " ".join([HEARD] * 3)


@with_sherpa
@pytest.mark.parametrize(
    ("files", "said"),
    [
        # For these the library would end the process of the server.
        (["sense_voice.model.onnx"], "'vocab_size' does not exist in the metadata"),
        (["tiny-encoder.onnx", "tiny-decoder.onnx"], "'n_mels' does not exist in the metadata"),
        (["encoder.onnx", "decoder.onnx", "joiner.onnx"], "cannot be used"),
    ],
)
async def test_a_model_the_library_does_not_like_fails_alone(
    http: Operator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    files: list[str],
    said: str,
):
    folder = tmp_path / "model"
    folder.mkdir()
    bare = MODEL.replace(b"vocab_size", b"vocab_gone").replace(b"zipformer2_ctc", b"sense_voicectc")
    for name in files:
        (folder / name).write_bytes(bare)
    (folder / "tokens.txt").write_text("<blk> 0\n")
    found = await opened(http, f"sherpa_onnx/{folder}")
    assert found
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(CompletionFailed, match=r"^The speech model on this server has failed\.$"),
    ):
        await found.transcribe("a.wav", "audio/wav", make_sound("wav"))
    assert said in caplog.text


@given(seconds=st.integers(0, 200), loud=st.lists(st.integers(-32768, 32767), min_size=1))
def test_sound_is_cut_without_losing_any(seconds: int, loud: list[int]):
    samples = array("h", (loud * (seconds * RATE))[: seconds * RATE])
    cuts = cut_quietly(samples, RATE)
    if not samples:
        assert cuts == []
        return
    assert (cuts[0], cuts[-1]) == (0, len(samples))
    pieces = [end - start for start, end in pairwise(cuts)]
    assert all(0 < piece <= 28 * RATE for piece in pieces)
    assert all(piece >= 18 * RATE for piece in pieces[:-1])


def test_sound_is_cut_where_it_is_quiet():
    samples = array("h", [9000] * 60 * RATE)
    samples[2200:2240] = array("h", [0] * 40)
    samples[4500:4540] = array("h", [0] * 40)
    first, second = cut_quietly(samples, RATE)[1:-1]
    assert 2200 <= first <= 2240
    assert 4500 <= second <= 4540


def test_texts_are_joined_as_their_script_is_written():
    assert join_texts([" Hello ", "", "world. "]) == "Hello world."
    assert join_texts(["你好。", "世界"]) == "你好。世界"
    assert join_texts(["そうです", "か"]) == "そうですか"
    assert join_texts(["안녕", "하세요"]) == "안녕 하세요"
    assert join_texts(["用", "Kaiwa", "吧"]) == "用 Kaiwa 吧"
    assert join_texts([]) == ""
