"""From a document sent by the API to a cited answer: read, cut, embedded, found by its vector."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.apps import app_file
from tests.support.client import Client, Frame
from tests.support.comparing_server import ComparingServer, error
from tests.support.knowing import cited, contents
from tests.support.knowledge import add_text, make_base
from tests.support.server import TestServer, serving

pytestmark = pytest.mark.anyio

PAGE = "A banana.\n\nKiwi.\n\nAn avocado salad, and a papaya."
RULE: dict[str, Any] = {
    "mode": "custom",
    "rules": {
        "pre_processing_rules": [],
        "segmentation": {"separator": "\n\n", "max_tokens": 50, "chunk_overlap": 0},
    },
}


@pytest.fixture
async def vectors() -> AsyncIterator[ComparingServer]:
    async with ComparingServer() as found:
        yield found


@pytest.fixture
async def working(tmp_path: Path, vectors: ComparingServer) -> AsyncIterator[TestServer]:
    """It works on documents itself."""
    theirs = {"kind": "openai", "base_url": vectors.url, "api_key": "k", "retry_wait": 0.01}
    async with serving(
        tmp_path,
        providers={"vectors": theirs},
        embedding_model="vectors/counting",
        ingest_at_once=1,
    ) as server:
        yield server


async def fill(client: Client, method: str) -> str:
    """A base that is searched so, with a document that is found."""
    retrieval = {
        "search_method": method,
        "reranking_enable": False,
        "top_k": 4,
        "score_threshold_enabled": False,
    }
    base = await make_base(client, indexing_technique="high_quality", retrieval_model=retrieval)
    more = {"indexing_technique": "high_quality", "process_rule": RULE}
    batch = (await add_text(client, base, PAGE, **more))["batch"]
    with anyio.fail_after(30):
        while True:
            reply = await client.call("GET", f"/datasets/{base}/documents/{batch}/indexing-status")
            [status] = reply.body["data"]
            assert status["indexing_status"] != "error", status
            if status["indexing_status"] == "completed":
                return base
            await anyio.sleep(0.02)


async def ask(
    server: TestServer, base: str, query: str, **config: Any
) -> tuple[Client, list[Frame]]:
    configs = {"top_k": 1, **config}
    app = app_file({"text": "{system}"}, kaiwa={"knowledge": base}, dataset_configs=configs)
    client = await server.client(app)
    return client, await client.stream(query)


async def test_a_passage_is_found_by_its_vector(
    working: TestServer, vectors: ComparingServer
) -> None:
    base = await fill(await working.knowledge_client(), "semantic_search")
    _, frames = await ask(working, base, "avocado avocado papaya")
    assert contents(cited(frames)) == ["An avocado salad, and a papaya."]
    assert 0.9 < cited(frames)[0]["score"] <= 1
    assert [len(asked["input"]) for asked in vectors.asked] == [3, 1]
    assert vectors.asked[-1]["input"] == ["avocado avocado papaya"]


@pytest.mark.parametrize(
    ("vector", "found"), [(1.0, "An avocado salad, and a papaya."), (0.0, "Kiwi.")]
)
async def test_the_apps_weights_count(working: TestServer, vector: float, found: str) -> None:
    base = await fill(await working.knowledge_client(), "hybrid_search")
    weights = {
        "weight_type": "customized",
        "vector_setting": {"vector_weight": vector},
        "keyword_setting": {"keyword_weight": 1 - vector},
    }
    question = "kiwi aaaaaaa aaa bbbbbbbbbb bbbbbbbbbbbbb"  # near to the salad by its letters
    _, frames = await ask(working, base, question, weights=weights)
    assert contents(cited(frames)) == [found]


async def test_without_the_embedding_server_words_go_on(
    working: TestServer, vectors: ComparingServer
) -> None:
    base = await fill(await working.knowledge_client(), "hybrid_search")
    vectors.always = lambda body: error(500, "out of order")
    _, frames = await ask(working, base, "kiwi")
    assert frames[-1].event == "message_end"
    assert contents(cited(frames)) == ["Kiwi."]


async def test_where_vectors_alone_are_asked_for_its_fault_is_told(
    working: TestServer, vectors: ComparingServer
) -> None:
    base = await fill(await working.knowledge_client(), "semantic_search")
    vectors.always = lambda body: error(401, "the key sk-secret is wrong")
    client, frames = await ask(working, base, "kiwi")
    assert [frame.event for frame in frames] == ["error"]
    assert "sk-secret" not in frames[-1].raw
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert (message["query"], message["status"]) == ("kiwi", "error")
    vectors.always = None
    conversation = {"conversation_id": frames[0].data["conversation_id"]}
    assert len(cited(await client.stream("kiwi", **conversation))) == 1
