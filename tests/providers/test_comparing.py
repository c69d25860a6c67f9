"""Models that embed and rank, asked over HTTP, with the faults such servers have."""

from collections.abc import AsyncIterator
from math import sqrt
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.errors import CompletionFailed, OperatorError, ProviderNotInitialized
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.comparing import Comparers, split_model
from kaiwa.providers.embeddings.hashed import DIMENSIONS, HashedEmbedder, create
from kaiwa.providers.embeddings.openai import OpenAIEmbedder
from kaiwa.providers.http import Operator
from kaiwa.providers.openai_server import OpenAIServer
from kaiwa.providers.registry import load_embedder
from kaiwa.providers.rerank.jina import JinaReranker
from tests.support.comparing_server import ComparingServer, Fault, error, vector_of

pytestmark = pytest.mark.anyio

load_embedder("hashed")  # reads files

TINY_MODEL = Path(__file__).parent / "tiny_model"


@pytest.fixture
async def comparing(anyio_backend: str) -> AsyncIterator[ComparingServer]:
    async with ComparingServer() as opened:
        yield opened


@pytest.fixture
def embedder(comparing: ComparingServer, http: Operator) -> OpenAIEmbedder:
    server = OpenAIServer({"name": "own", "base_url": comparing.url, "api_key": "sk-x"}, http)
    return OpenAIEmbedder(server, "small", patience=5, wait=0.001)


@pytest.fixture
def reranker(comparing: ComparingServer, http: Operator) -> JinaReranker:
    server = OpenAIServer({"name": "own", "base_url": comparing.url, "api_key": "sk-x"}, http)
    return JinaReranker(server, "ranks", patience=5, wait=0.001)


def unit(text: str) -> Any:
    vector = vector_of(text)
    length = sqrt(sum(value * value for value in vector))
    return pytest.approx([value / length for value in vector], abs=1e-6)


async def test_vectors_come_in_the_order_of_the_texts_and_of_length_1(
    comparing: ComparingServer, embedder: OpenAIEmbedder
):
    texts = ["a", "bb", "aaa", ""]
    found = await embedder.embed(texts)
    assert found == [unit("a"), unit("bb"), unit("aaa"), unit(" ")]
    (asked,) = comparing.asked
    assert asked == {
        "model": "small",
        "input": ["a", "bb", "aaa", " "],
        "encoding_format": "base64",
    }
    assert await embedder.embed([]) == []


async def test_many_texts_go_in_batches_by_count_and_by_size(
    comparing: ComparingServer, embedder: OpenAIEmbedder
):
    texts = [f"{number}" for number in range(150)]
    assert await embedder.embed(texts) == [unit(text) for text in texts]
    assert [len(one["input"]) for one in comparing.asked] == [64, 64, 22]
    comparing.asked.clear()
    await embedder.embed(["x" * 60_000] * 3)
    assert [len(one["input"]) for one in comparing.asked] == [1, 1, 1]


async def test_a_server_that_takes_fewer_texts_gets_fewer_from_then_on(
    comparing: ComparingServer, embedder: OpenAIEmbedder
):
    def at_most_10(body: dict[str, Any]) -> web.Response | None:
        many = len(body["input"]) > 10
        return error(400, "batch size is invalid, at most 10") if many else None

    comparing.always = at_most_10
    texts = [f"{number}" for number in range(64)]
    assert await embedder.embed(texts) == [unit(text) for text in texts]
    comparing.asked.clear()
    assert await embedder.embed(texts) == [unit(text) for text in texts]
    assert {len(one["input"]) for one in comparing.asked} == {8}


async def test_a_server_without_base64_is_asked_for_numbers(
    comparing: ComparingServer, embedder: OpenAIEmbedder
):
    def plain(body: dict[str, Any]) -> web.Response | None:
        compact = body["encoding_format"] == "base64"
        return error(400, "encoding_format base64 is not supported") if compact else None

    comparing.always = plain
    assert await embedder.embed(["a", "b"]) == [unit("a"), unit("b")]
    assert await embedder.embed(["c"]) == [unit("c")]
    assert [one["encoding_format"] for one in comparing.asked] == ["base64", "float", "float"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_passes_is_asked_again(
    comparing: ComparingServer, embedder: OpenAIEmbedder, status: int
):
    busy: Fault = lambda body: error(status, "busy")  # noqa: E731
    comparing.faults = [busy, busy]
    assert await embedder.embed(["a"]) == [unit("a")]
    comparing.faults = [busy, busy, busy]
    with pytest.raises(CompletionFailed, match="busy"):
        await embedder.embed(["a"])


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (401, "no such key", "Incorrect API key"),
        (404, "no such model", "no such model|does not"),
        (400, "input is too long", "too long"),
        (429, "come back tomorrow", "come back tomorrow"),
    ],
)
async def test_what_does_not_pass_is_told_at_once(
    comparing: ComparingServer, embedder: OpenAIEmbedder, status: int, said: str, words: str
):
    comparing.always = lambda body: error(status, said, **{"Retry-After": "9999"})
    with pytest.raises(Exception, match=words):
        await embedder.embed(["a"])
    assert len(comparing.asked) == 1


ODD: list[tuple[dict[str, Any], str]] = [
    ({"data": []}, "0 vectors for 2 texts"),
    ({"data": [{"index": 0, "embedding": [1, 0]}] * 2}, "which vector is of which text"),
    (
        {"data": [{"index": 0, "embedding": [1, 0]}, {"index": 1, "embedding": [1]}]},
        "different dimensions",
    ),
    ({"data": [{"index": i, "embedding": [0, 0]} for i in (0, 1)]}, "no length"),
    ({"data": [{"index": i, "embedding": []} for i in (0, 1)]}, "no length"),
    ({"data": [{"index": i, "embedding": "AAA="} for i in (0, 1)]}, "cut off"),
    ({"data": [{"index": i, "embedding": "?"} for i in (0, 1)]}, "not in base64"),
    ({"data": [{"index": i, "embedding": ["x"]} for i in (0, 1)]}, "answer is wrong"),
    ({"error": "none"}, "answer is wrong"),
]


@pytest.mark.parametrize(("answer", "words"), ODD)
async def test_an_answer_that_does_not_fit_is_an_error(
    comparing: ComparingServer, embedder: OpenAIEmbedder, answer: object, words: str
):
    comparing.always = lambda body: web.json_response(answer)
    with pytest.raises(CompletionFailed, match=words):
        await embedder.embed(["a", "b"])


async def test_a_server_that_is_away_is_told(http: Operator):
    server = OpenAIServer({"name": "own", "base_url": "http://127.0.0.1:9/v1"}, http)
    with pytest.raises(CompletionFailed, match=r"own.*could not be reached"):
        await OpenAIEmbedder(server, "small", wait=0.001).embed(["a"])


async def test_passages_are_scored_in_their_order(
    comparing: ComparingServer, reranker: JinaReranker
):
    assert await reranker.rerank("q", ["a", "aaa", ""]) == [0.1, 0.3, 0.0]
    assert await reranker.rerank("q", []) == []
    (asked,) = comparing.asked
    assert (asked["query"], asked["top_n"]) == ("q", 3)


async def test_scores_that_are_no_shares_become_some(
    comparing: ComparingServer, reranker: JinaReranker
):
    results = [{"index": i, "relevance_score": score} for i, score in enumerate((-900.0, 0, 5))]
    comparing.always = lambda body: web.json_response({"results": results})
    low, half, high = await reranker.rerank("q", ["a", "b", "c"])
    assert 0 <= low < half == 0.5 < high <= 1


@pytest.mark.parametrize(
    "results",
    [
        [],
        [{"index": 0, "relevance_score": 1}],
        [{"index": 7, "relevance_score": 1}],
        [{"index": 0, "relevance_score": "high"}],
    ],
)
async def test_scores_that_do_not_fit_are_an_error(
    comparing: ComparingServer, reranker: JinaReranker, results: object
):
    comparing.always = lambda body: web.json_response({"results": results})
    with pytest.raises(CompletionFailed, match="rerank server's answer is wrong"):
        await reranker.rerank("q", ["a", "b"])


def test_the_setting_names_provider_and_model():
    assert split_model("") == ("", "")
    assert split_model("hashed") == ("hashed", "hashed")
    assert split_model("own/group/small") == ("own", "group/small")
    assert split_model("onnx//models/small") == ("onnx", "/models/small")


async def test_models_are_found_by_their_names(comparing: ComparingServer, http: Operator):
    catalog = Catalog(http, {"own": {"kind": "openai", "base_url": comparing.url}}, {})
    comparers = Comparers(catalog, http, "own/ranks")
    first = await comparers.embedder("own", "small")
    assert await first.embed(["a"]) == [unit("a")]
    assert await comparers.embedder("own", "small") is first
    assert isinstance(await comparers.embedder("hashed", "hashed"), HashedEmbedder)
    assert await (await comparers.reranker("default")).rerank("q", ["a"]) == [0.1]
    assert comparing.asked[-1]["model"] == "ranks"
    with pytest.raises(ProviderNotInitialized, match="'nobody' is no model server"):
        await comparers.embedder("nobody", "small")
    with pytest.raises(ProviderNotInitialized, match="it is just hashed"):
        await comparers.embedder("hashed", "other")
    with pytest.raises(ProviderNotInitialized, match="rerank"):
        await Comparers(catalog, http).reranker("default")


async def test_a_folder_without_a_model_is_told(http: Operator, tmp_path: Path):
    with pytest.raises(ProviderNotInitialized, match=r"kaiwa\[onnx\]|has no model.onnx"):
        await Comparers(Catalog(http, {}, {}), http).embedder("onnx", str(tmp_path))


@given(st.text(max_size=80))
async def test_spellings_make_vectors_of_length_1_always_the_same(text: str):
    (first,), (second,) = [await HashedEmbedder().embed([text]) for _ in range(2)]
    assert first == second
    assert len(first) == DIMENSIONS
    assert sum(value * value for value in first) == pytest.approx(1)


async def test_other_forms_of_a_word_are_close():
    one, other, strange = await HashedEmbedder().embed(["conversations", "conversation", "zebra"])
    close = sum(a * b for a, b in zip(one, other, strict=True))
    far = sum(a * b for a, b in zip(one, strange, strict=True))
    assert close > 0.3 > 0.1 > far


def test_there_is_one_model_of_spellings():
    with pytest.raises(OperatorError):
        create("large")


@pytest.mark.parametrize("first", [False, True])
async def test_a_model_in_a_folder_is_run(http: Operator, tmp_path: Path, first: bool):
    """One of eight numbers for each word: its key, backup, hold and query have a vector each."""
    pytest.importorskip("onnxruntime", reason="pip install kaiwa[onnx]")
    for file in TINY_MODEL.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "1_Pooling").mkdir()
    pooling = msgspec.json.encode({"pooling_mode_cls_token": first})
    (tmp_path / "1_Pooling" / "config.json").write_bytes(pooling)
    prompts = msgspec.json.encode({"prompts": {"query": "query "}})
    (tmp_path / "config_sentence_transformers.json").write_bytes(prompts)
    embedder = await Comparers(Catalog(http, {}, {}), http).embedder("onnx", str(tmp_path))
    key, both, hold = await embedder.embed(["key", "key backup", "hold"])
    assert sum(value * value for value in both) == pytest.approx(1)
    assert (both == key) is first
    assert hold != key
    asked = await embedder.embed(["key"], query=True)
    assert asked == await embedder.embed(["query key"])
