"""A model in a folder, run by onnxruntime on this machine: `kaiwa[onnx]`.

The folder is one of sentence-transformers with `model.onnx` in it or in `onnx/`: beside it
`tokenizer.json`, and what says how its tokens become one vector and what stands before questions.
"""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct

from kaiwa.errors import OperatorError
from kaiwa.ports import Embedder

T = TypeVar("T")

_BATCH: Final = 16
_LONGEST: Final = 512
"""Tokens of a text, where the folder says nothing; what is longer is cut."""


class _Pooling(Struct, frozen=True):
    pooling_mode_cls_token: bool = False


class _Prompts(Struct, frozen=True):
    prompts: dict[str, str] = {}


class _Length(Struct, frozen=True):
    max_seq_length: int = _LONGEST


class OnnxEmbedder:
    """The model, opened; one batch at a time, in a thread."""

    def __init__(self, folder: Path) -> None:
        """Reads files. Raises `OperatorError`."""
        self._numpy = _load("numpy")
        self._session, self._tokenizer = _open(folder)
        self._first_token = _read(folder / "1_Pooling" / "config.json", _Pooling())
        self._prompts = _read(folder / "config_sentence_transformers.json", _Prompts()).prompts
        self._inputs = {one.name for one in self._session.get_inputs()}
        self._turn = anyio.Lock()

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        prompt = self._prompts.get("query" if query else "passage", "")
        vectors: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            batch = [prompt + text for text in texts[start : start + _BATCH]]
            async with self._turn:
                vectors += await anyio.to_thread.run_sync(partial(self._run, batch))
        return vectors

    def _run(self, texts: list[str]) -> list[list[float]]:
        np = self._numpy
        encoded = self._tokenizer.encode_batch(texts)
        mask = np.array([one.attention_mask for one in encoded], np.int64)
        given = {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
        }
        wanted = {name: value for name, value in given.items() if name in self._inputs}
        made = self._session.run(None, wanted)[0].astype(np.float32)
        if made.ndim == 3:
            made = self._pool(made, mask.astype(np.float32)[:, :, None])
        length = np.linalg.norm(made, axis=1, keepdims=True)
        return (made / np.maximum(length, 1e-9)).tolist()

    def _pool(self, made: Any, mask: Any) -> Any:
        """One vector of all tokens of each text: the first one's, or their mean."""
        if self._first_token.pooling_mode_cls_token:
            return made[:, 0]
        return (made * mask).sum(axis=1) / self._numpy.maximum(mask.sum(axis=1), 1)


def create(model: str) -> Embedder:
    """`model` is the folder; reads files. Raises `OperatorError`."""
    return OnnxEmbedder(Path(model).expanduser())


def _open(folder: Path) -> tuple[Any, Any]:
    runtime, tokenizers = _load("onnxruntime"), _load("tokenizers")
    paths = [folder / "model.onnx", folder / "onnx" / "model.onnx"]
    path = next((one for one in paths if one.is_file()), None)
    if path is None or not (folder / "tokenizer.json").is_file():
        missing = "model.onnx" if path is None else "tokenizer.json"
        raise OperatorError(f"The folder {folder} of the embedding model has no {missing}.")
    try:
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        session = runtime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # neither library names what it raises
        raise OperatorError(f"The embedding model in {folder} cannot be read: {error}.") from error
    longest = _read(folder / "sentence_bert_config.json", _Length()).max_seq_length
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding()
    return session, tokenizer


def _load(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise OperatorError(
            "Embedding models in folders need more packages: pip install 'kaiwa[onnx]'."
        ) from error


def _read(path: Path, default: T) -> T:
    """A file of settings beside the model; what is not there stays as it is usual."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type(default))
    except FileNotFoundError:
        return default
    except (OSError, msgspec.DecodeError) as error:
        raise OperatorError(f"The file {path} cannot be read: {error}.") from error
