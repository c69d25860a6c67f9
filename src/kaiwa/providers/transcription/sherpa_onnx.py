"""Speech recognition on this machine, by sherpa-onnx and a model that the operator has put there.

The library is the extra `kaiwa[sherpa]`; the model is loaded when somebody first speaks. As the
library ends its process when it does not like a model, another process tries it first.
"""

import logging
import os
import subprocess
import sys
import wave
from array import array
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final, Protocol, cast

import anyio
import anyio.to_thread
import sherpa_onnx  # pyright: ignore[reportMissingImports]
from anyio import CapacityLimiter

from kaiwa.errors import CompletionFailed, OperatorError
from kaiwa.ports import Transcriber
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Operator
from kaiwa.providers.transcription.cutting import cut_quietly, join_texts

logger = logging.getLogger(__name__)

_THREADS: Final = 2
_TRIAL: Final = (
    "import sys; from pathlib import Path\n"
    "from kaiwa.providers.transcription.sherpa_onnx import try_model; try_model(Path(sys.argv[1]))"
)
_TRIAL_SECONDS: Final = 300
_RATE: Final = 16_000
_TYPE: Final = b"model_type\x12"
"""How the entry begins within a model that says what it is; then its length and the word."""

Make = Callable[[], "Recognizer"]


class Result(Protocol):
    text: str


class Stream(Protocol):
    """One piece of sound, and what was heard in it."""

    @property
    def result(self) -> Result: ...

    def accept_waveform(self, rate: int, samples: list[float]) -> None: ...


class Recognizer(Protocol):
    """What we use of the library's `OfflineRecognizer`."""

    def create_stream(self) -> Stream: ...

    def decode_stream(self, stream: Stream) -> None: ...


_library = cast(Any, sherpa_onnx).OfflineRecognizer


def create(folder: str, catalog: Catalog, http: Operator) -> Transcriber:
    """`folder` holds a model as it is published for sherpa-onnx. Raises `OperatorError`."""
    found = _find_folder(folder)
    return _Sherpa(found, find_model(found))


def try_model(folder: Path) -> None:
    """Load the model there, and have it listen to a second of silence."""
    _recognize(find_model(folder)(), array("h", bytes(2 * _RATE)), _RATE)


def _find_folder(name: str) -> Path:
    try:
        folder = Path(name).expanduser()
    except RuntimeError as error:  # an unknown ~user
        raise OperatorError(f"The folder {name!r} of speech models cannot be: {error}.") from error
    if not folder.is_dir():
        raise OperatorError(
            f"The setting transcription_model names the folder {name}, which is not there."
        )
    return folder


def find_model(folder: Path) -> Make:
    """How the model there is loaded, by the files that are there. Raises `OperatorError`."""
    tokens = _find(folder, "*tokens.txt")
    encoder, decoder, joiner, single = [
        _find(folder, pattern)
        for pattern in ("*encoder*.onnx", "*decoder*.onnx", "*joiner*.onnx", "*model*.onnx")
    ]
    shared: dict[str, object] = {"tokens": tokens, "num_threads": _THREADS}
    if tokens and encoder and decoder and joiner:
        kind = "nemo_transducer" if "encdec" in _read_type(encoder) else "transducer"
        parts = {"encoder": encoder, "decoder": decoder, "joiner": joiner, "model_type": kind}
        return lambda: _library.from_transducer(**parts, **shared)
    if tokens and encoder and decoder:
        parts = {"encoder": encoder, "decoder": decoder, "language": ""}
        return lambda: _library.from_whisper(**parts, **shared)
    if tokens and single and (make := _find_single(single, shared)):
        return make
    raise OperatorError(
        f"The folder {folder} holds no model of a kind that is known: beside tokens.txt there must"
        " be an encoder and a decoder (Whisper), these and a joiner (transducer), or one"
        " model.onnx (SenseVoice, Paraformer, Zipformer CTC, NeMo CTC)."
    )


def _find_single(model: str, shared: dict[str, object]) -> Make | None:
    kind = _read_type(model)
    if "sense" in kind:
        return lambda: _library.from_sense_voice(model=model, use_itn=True, **shared)
    if "paraformer" in kind:
        return lambda: _library.from_paraformer(paraformer=model, **shared)
    if "zipformer" in kind:
        return lambda: _library.from_zipformer_ctc(model=model, **shared)
    if "encdec" in kind or "nemo" in kind:
        return lambda: _library.from_nemo_ctc(model=model, **shared)
    return None


def _find(folder: Path, pattern: str) -> str:
    """The file of this kind, empty without one; of several the smaller and faster one."""
    found = sorted(folder.glob(pattern), key=lambda path: (".int8." not in path.name, path.name))
    return str(found[0]) if found else ""


def _read_type(model: str) -> str:
    """What the model says it is, and its folder, for not all say it; in lower case."""
    path = Path(model)
    word = b""
    if path.stat().st_size:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            at = data.rfind(_TYPE)
            if at >= 0:
                at += len(_TYPE)
                word = data[at + 1 : at + 1 + data[at]]
    return f"{word.decode('ascii', 'replace')} {path.parent.name}".lower()


class _Sherpa:
    """Hears one piece at a time, whoever it is from; so a long recording keeps no short one out."""

    def __init__(self, folder: Path, make: Make) -> None:
        self._folder = folder
        self._make = make
        self._recognizer: Recognizer | None = None
        self._limiter = CapacityLimiter(1)

    @property
    def takes(self) -> frozenset[str]:
        return frozenset()

    async def transcribe(self, name: str, mime_type: str, audio: bytes) -> str:
        samples, rate = await anyio.to_thread.run_sync(_read_wave, audio)
        cuts = await anyio.to_thread.run_sync(cut_quietly, samples, rate)
        texts = [
            await anyio.to_thread.run_sync(
                self._hear, samples[start:end], rate, limiter=self._limiter
            )
            for start, end in pairwise(cuts)
        ]
        return join_texts(texts)

    def _hear(self, samples: "array[int]", rate: int) -> str:
        try:
            if self._recognizer is None:
                _try_apart(self._folder)
                self._recognizer = self._make()
            return _recognize(self._recognizer, samples, rate)
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            logger.exception("the speech model has failed")
            raise CompletionFailed("The speech model on this server has failed.") from error


def _try_apart(folder: Path) -> None:
    """Raises `RuntimeError` with what the library said."""
    paths = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    environment = {"PYTHONPATH": paths} | {
        name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=_TRIAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"the model in {folder} could not be tried: {error}") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"the model in {folder} cannot be used: {said[:500]}")


def _recognize(recognizer: Recognizer, samples: "array[int]", rate: int) -> str:
    stream = recognizer.create_stream()
    stream.accept_waveform(rate, [*_as_floats(samples)])
    recognizer.decode_stream(stream)
    return stream.result.text


def _read_wave(audio: bytes) -> "tuple[array[int], int]":
    with wave.open(BytesIO(audio)) as file:
        samples = array("h", file.readframes(file.getnframes()))
        return samples, file.getframerate()


def _as_floats(samples: "array[int]") -> Iterator[float]:
    return (sample / 32768 for sample in samples)
