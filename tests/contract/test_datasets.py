"""Knowledge bases over the API: their shape, pages, refusals, and what a search of one gives."""

from typing import Any
from uuid import uuid4

import pytest

from kaiwa.app import now
from kaiwa.store.apps import delete_app
from tests.support.apps import agent_file, app_file
from tests.support.client import Client
from tests.support.knowledge import add_found, find, make_base, make_workspace
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

DATASET = {
    "id", "name", "description", "provider", "permission", "data_source_type",
    "indexing_technique", "app_count", "document_count", "word_count", "created_by", "created_at",
    "updated_by", "updated_at", "embedding_model", "embedding_model_provider",
    "embedding_available", "retrieval_model_dict", "tags", "doc_form", "partial_member_list",
}  # fmt: skip
DEFAULT_SEARCH = {
    "search_method": "hybrid_search",
    "reranking_enable": False,
    "reranking_mode": "weighted_score",
    "reranking_model": {"reranking_provider_name": "", "reranking_model_name": ""},
    "weights": {
        "weight_type": "customized",
        "vector_setting": {"vector_weight": 0.7},
        "keyword_setting": {"keyword_weight": 0.3},
    },
    "top_k": 4,
    "score_threshold_enabled": False,
    "score_threshold": None,
}


@pytest.fixture
async def client(server: TestServer) -> Client:
    """Of a workspace of its own."""
    return await server.knowledge_client(await make_workspace(server))


async def test_a_base_is_made_and_read(client: Client) -> None:
    reply = await client.call("POST", "/datasets", json={"name": "Guide", "description": "Ours"})
    assert reply.status == 200
    made = reply.body
    assert set(made) == DATASET
    assert (made["name"], made["description"], made["permission"]) == ("Guide", "Ours", "only_me")
    assert (made["document_count"], made["app_count"]) == (0, 0)
    assert made["retrieval_model_dict"] == DEFAULT_SEARCH
    assert (await client.call("GET", f"/datasets/{made['id']}")).body == made


async def test_a_base_says_how_it_is_indexed_and_searched(client: Client) -> None:
    body = {
        "name": "Guide",
        "indexing_technique": "high_quality",
        "permission": "all_team_members",
        "embedding_model": "embed-3",
        "embedding_model_provider": "openai",
        "retrieval_model": {
            "search_method": "semantic_search",
            "reranking_enable": True,
            "reranking_model": {
                "reranking_provider_name": "jina",
                "reranking_model_name": "rerank-2",
            },
            "top_k": 2,
            "score_threshold_enabled": True,
            "score_threshold": 0.5,
        },
    }
    made = (await client.call("POST", "/datasets", json=body)).body
    assert (made["embedding_model_provider"], made["embedding_model"]) == ("openai", "embed-3")
    search = made["retrieval_model_dict"]
    assert (search["search_method"], search["top_k"], search["score_threshold"]) == (
        "semantic_search", 2, 0.5,
    )  # fmt: skip
    assert search["reranking_model"]["reranking_model_name"] == "rerank-2"
    # What is read can be sent back, and is the same.
    again = await client.call("PATCH", f"/datasets/{made['id']}", json={"retrieval_model": search})
    assert again.body["retrieval_model_dict"] == search
    economy = await make_base(client, indexing_technique="economy", embedding_model="x")
    found = (await client.call("GET", f"/datasets/{economy}")).body
    assert (found["indexing_technique"], found["embedding_model"]) == ("economy", None)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "Name must be between 1 to 40 characters.", "name"),
    ({"name": ""}, "Name must be between 1 to 40 characters.", "name"),
    ({"name": "x" * 41}, "Name must be between 1 to 40 characters.", "name"),
    ({"description": "x" * 401}, "Description cannot exceed 400 characters.", "description"),
    ({"permission": "all"}, "Invalid permission.", "permission"),
    ({"indexing_technique": "fast"}, "Invalid indexing technique.", "indexing_technique"),
    ({"retrieval_model": []}, "retrieval_model must be an object.", "retrieval_model"),
    ({"retrieval_model": {"top_k": 0}}, "top_k must be between 1 and 100.", "top_k"),
    ({"retrieval_model": {"top_k": "x"}}, "top_k is not a number.", "top_k"),
    (
        {"retrieval_model": {"search_method": "magic"}},
        "magic is not a valid choice",
        "search_method",
    ),
    (
        {"retrieval_model": {"score_threshold": 2}},
        "score_threshold must be between 0 and 1.",
        "score_threshold",
    ),
]


@pytest.mark.parametrize(("body", "message", "field"), WRONG)
async def test_what_is_wrong_with_a_base_is_said(
    client: Client, body: dict[str, Any], message: str, field: str
) -> None:
    given = {"name": "Guide", **body} if body else {}
    reply = await client.call("POST", "/datasets", json=given)
    assert (reply.status, reply.body["code"]) == (400, "invalid_param")
    assert (reply.body["message"], reply.body["params"]) == (message, field)


async def test_a_name_is_free_again_when_its_base_is_deleted(client: Client) -> None:
    base = await make_base(client, name="Guide")
    reply = await client.call("POST", "/datasets", json={"name": "Guide"})
    assert (reply.status, reply.body["code"]) == (409, "dataset_name_duplicate")
    other = await make_base(client, name="Other")
    reply = await client.call("PATCH", f"/datasets/{other}", json={"name": "Guide"})
    assert (reply.status, reply.body["code"]) == (409, "dataset_name_duplicate")
    reply = await client.call("DELETE", f"/datasets/{base}")
    assert (reply.status, reply.body) == (204, b"")
    assert (await client.call("GET", f"/datasets/{base}")).status == 404
    assert (await client.call("DELETE", f"/datasets/{base}")).status == 404
    await make_base(client, name="Guide")


async def test_bases_are_listed_in_pages(client: Client) -> None:
    names = [f"Guide {number}" for number in range(5)]
    for name in names:
        await make_base(client, name=name)
    await make_base(client, name="100%_other")
    found: list[str] = []
    for page in (1, 2, 3):
        reply = await client.call("GET", "/datasets", params={"page": page, "limit": 2})
        body = reply.body
        assert (body["page"], body["limit"], body["total"]) == (page, 2, 6)
        assert body["has_more"] == (page < 3)
        found += [one["name"] for one in body["data"]]
    assert found == ["100%_other", *reversed(names)]
    for keyword, count in (("guide", 5), ("%", 1), ("_", 1), ("nothing", 0), ("\0", 6)):
        reply = await client.call("GET", "/datasets", params={"keyword": keyword})
        assert reply.body["total"] == count, keyword
    assert (await client.call("GET", "/datasets", params={"page": 9})).body["data"] == []
    reply = await client.call("GET", "/datasets", params={"limit": 1000})
    assert (reply.status, reply.body["limit"]) == (200, 100)
    for params in ({"page": "0"}, {"page": "x"}, {"limit": "0"}, {"page": "100000"}):
        reply = await client.call("GET", "/datasets", params=params)
        assert (reply.status, reply.body["params"]) == (400, next(iter(params)))


async def test_a_base_is_changed_in_parts(client: Client) -> None:
    base = await make_base(client, name="Guide", description="Old")
    body = {"description": "New", "retrieval_model": {"top_k": 9}}
    changed = (await client.call("PATCH", f"/datasets/{base}", json=body)).body
    assert (changed["name"], changed["description"]) == ("Guide", "New")
    assert changed["retrieval_model_dict"] == DEFAULT_SEARCH | {"top_k": 9}
    assert (await client.call("PATCH", f"/datasets/{base}", json={})).body["name"] == "Guide"
    body = {"indexing_technique": "economy", "name": "Second"}
    changed = (await client.call("PATCH", f"/datasets/{base}", json=body)).body
    assert (changed["name"], changed["indexing_technique"]) == ("Second", "economy")


async def test_how_a_base_with_documents_is_indexed_stays(
    server: TestServer, client: Client
) -> None:
    base = await make_base(client)
    await add_found(server, client, base)
    body = {"indexing_technique": "economy"}
    reply = await client.call("PATCH", f"/datasets/{base}", json=body)
    assert (reply.status, reply.body["params"]) == (400, "indexing_technique")
    found = (await client.call("GET", f"/datasets/{base}")).body
    assert (found["indexing_technique"], found["document_count"]) == ("high_quality", 1)
    assert found["data_source_type"] == "upload_file"
    assert found["word_count"] > 0


@pytest.mark.parametrize("by", ["name", "id", "id in capitals", "agent"])
async def test_a_base_that_an_app_answers_from_is_not_deleted(server: TestServer, by: str) -> None:
    client = await server.knowledge_client()
    name = f"Rules {by}"
    base = await make_base(client, name=name)
    named = {"name": name, "id": base, "id in capitals": base.upper()}
    tool = {"dataset": {"enabled": True, "id": base}}
    file = agent_file(tools=[tool]) if by == "agent" else app_file(kaiwa={"knowledge": named[by]})
    await server.make_app(file)
    assert (await client.call("GET", f"/datasets/{base}")).body["app_count"] == 1
    [listed] = (await client.call("GET", "/datasets", params={"keyword": name})).body["data"][-1:]
    assert listed["app_count"] == 1
    reply = await client.call("DELETE", f"/datasets/{base}")
    assert (reply.status, reply.body["code"]) == (409, "dataset_in_use")
    assert (await client.call("GET", f"/datasets/{base}")).status == 200


async def test_a_base_that_is_only_spoken_of_is_deleted(server: TestServer) -> None:
    client = await server.knowledge_client()
    base = await make_base(client, name="Old rules")
    spoken = f'Not {base}, and no "Old rules".'
    await server.make_app(
        app_file(pre_prompt=spoken, kaiwa={"knowledge": ["Old rules 2", "old rules"]})
    )
    assert (await client.call("GET", f"/datasets/{base}")).body["app_count"] == 0
    assert (await client.call("DELETE", f"/datasets/{base}")).status == 204


async def test_a_base_is_free_when_its_app_answers_from_others_or_is_gone(
    server: TestServer,
) -> None:
    client = await server.knowledge_client()
    base = await make_base(client, name="Left")
    await server.make_app(app_file(name="Changing", kaiwa={"knowledge": "Left"}))
    await server.make_app(app_file(name="Changing"))
    app = await server.make_app(app_file(kaiwa={"knowledge": "Left"}))
    await delete_app(server.house.context.db, app.id, now())
    assert (await client.call("DELETE", f"/datasets/{base}")).status == 204


async def test_a_search_gives_segments_with_their_documents(
    server: TestServer, client: Client
) -> None:
    base = await make_base(client)
    document = await add_found(server, client, base)
    for path in ("retrieve", "hit-testing"):
        body = {"query": "Do dogs bark?"}
        reply = await client.call("POST", f"/datasets/{base}/{path}", json=body)
        assert reply.status == 200
        assert reply.body["query"] == {"content": "Do dogs bark?"}
        [record] = reply.body["records"]
        assert set(record) == {"segment", "child_chunks", "score", "tsne_position"}
        assert 0 < record["score"] <= 1
        segment = record["segment"]
        assert (segment["content"], segment["position"]) == ("Dogs bark at night.", 2)
        assert segment["document"] == {
            "id": document,
            "data_source_type": "upload_file",
            "name": "page.txt",
            "doc_type": None,
            "doc_metadata": None,
        }
    assert await find(client, base, "猫は何が好き") == ["猫は魚が好き。"]
    assert await find(client, base, "nothing of that kind") == []
    assert len(await find(client, base, "cats dogs", top_k=1)) == 1
    assert await find(client, base, "cats", score_threshold_enabled=True, score_threshold=1) == []
    for method in ("keyword_search", "full_text_search", "semantic_search", "hybrid_search"):
        assert await find(client, base, "cats", search_method=method), method


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Missing required parameter in the JSON body"),
        ({"query": " "}, "Query is required"),
        ({"query": "x" * 251}, "Query cannot exceed 250 characters"),
        ({"query": "x", "retrieval_model": {"top_k": 1000}}, "top_k must be between 1 and 100."),
    ],
)
async def test_what_is_wrong_with_a_search_is_said(
    client: Client, body: dict[str, Any], message: str
) -> None:
    base = await make_base(client)
    reply = await client.call("POST", f"/datasets/{base}/retrieve", json=body)
    assert (reply.status, reply.body["message"]) == (400, message)


async def test_a_base_that_is_not_there_is_not_found(client: Client) -> None:
    for base in (str(uuid4()), "x"):
        for method, path in (
            ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/retrieve"),
        ):  # fmt: skip
            body = None if method in ("GET", "DELETE") else {"query": "x"}
            reply = await client.call(method, f"/datasets/{base}{path}", json=body)
            assert (reply.status, reply.body["code"]) == (404, "not_found")


async def test_each_key_opens_only_its_own_kind_of_routes(server: TestServer) -> None:
    app, knowledge = await server.client(app_file()), await server.knowledge_client()
    for _ in range(2):  # before and after it was seen to be good
        for client, good, bad in (
            (app, "/info", "/datasets"),
            (knowledge, "/datasets", "/info"),
            (knowledge, "/datasets", "/conversations"),
        ):
            assert (await client.get(good)).status == 200
            reply = await client.get(bad)
            assert (reply.status, reply.body["message"]) == (401, "Access token is invalid")
