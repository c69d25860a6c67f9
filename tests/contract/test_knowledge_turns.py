"""An app answers from its knowledge bases: what its model is told, and what is cited."""

from typing import Any
from uuid import uuid4

import pytest

from kaiwa.app import new_id, now
from kaiwa.domain.knowledge import RetrievalSettings
from kaiwa.store.knowledge import NewBase, create_base
from kaiwa.store.tables import DEFAULT_WORKSPACE
from tests.contract.test_approvals import decide
from tests.support.apps import agent_file, app_file, calls, says
from tests.support.client import Client, Frame, text_of
from tests.support.knowing import CATS, DOGS, Shelf, cited, contents
from tests.support.knowledge import add_found, list_segments, make_base, make_workspace
from tests.support.moderating import NO, SORRY, moderated, shown
from tests.support.server import TestServer
from tests.support.talking import stop, take

pytestmark = pytest.mark.anyio

TOLD = {"text": "{system}"}
CITED = {
    "position", "dataset_id", "dataset_name", "document_id", "document_name", "data_source_type",
    "segment_id", "score", "content", "retriever_from", "hit_count", "word_count",
    "segment_position", "index_node_hash",
}  # fmt: skip


@pytest.fixture
async def shelf(server: TestServer) -> Shelf:
    return Shelf(server, await server.knowledge_client())


async def knowing(server: TestServer, bases: Any, *steps: Any, **more: Any) -> Client:
    return await server.client(
        app_file(*(steps or (TOLD,)), kaiwa={"knowledge": bases}, pre_prompt="Be kind.", **more)
    )


async def listed(client: Client, frames: list[Frame]) -> list[dict[str, Any]]:
    messages = await client.messages(frames[0].data["conversation_id"])
    return messages[-1]["retriever_resources"]


async def test_what_is_found_is_told_before_the_question_and_cited(
    server: TestServer, shelf: Shelf
) -> None:
    name, base = await shelf.make()
    client = await knowing(server, name)
    frames = await client.stream("When do dogs bark?")
    told = text_of(frames)
    assert f"<context>\n{DOGS}\n</context>" in told
    assert told.endswith("Be kind.")
    assert CATS not in told
    [one] = cited(frames)
    assert set(one) == CITED
    assert one["position"] == 1
    assert (one["dataset_id"], one["dataset_name"]) == (base, name)
    assert (one["document_name"], one["data_source_type"]) == ("page.txt", "upload_file")
    assert (one["content"], one["retriever_from"]) == (DOGS, "api")
    assert 0 < one["score"] <= 1
    assert (one["segment_position"], one["word_count"]) == (2, len(DOGS))


async def test_the_same_is_cited_in_a_blocking_answer_and_in_the_list(
    server: TestServer, shelf: Shelf
) -> None:
    name, _ = await shelf.make()
    client = await knowing(server, name)
    reply = await client.ask("When do dogs bark?")
    [one] = reply.body["metadata"]["retriever_resources"]
    [message] = await client.messages(reply.body["conversation_id"])
    [kept] = message["retriever_resources"]
    assert one["content"] == DOGS
    assert kept["message_id"] == message["id"]
    assert kept == kept | {key: one[key] for key in set(one) & set(kept)}


async def test_a_hit_is_counted(server: TestServer, shelf: Shelf) -> None:
    name, base = await shelf.make()
    client = await knowing(server, name)
    document = cited(await client.stream("dogs"))[0]["document_id"]
    await client.stream("dogs")
    segments = await list_segments(shelf.client, base, document)
    assert [one["hit_count"] for one in segments] == [0, 2, 0]


async def test_nothing_found_is_an_empty_context_and_no_citation(
    server: TestServer, shelf: Shelf
) -> None:
    name, _ = await shelf.make()
    client = await knowing(server, name)
    frames = await client.stream("volcanoes")
    assert "<context>\n\n</context>" in text_of(frames)
    assert cited(frames) == await listed(client, frames) == []


async def test_the_switch_hides_citations_and_not_the_context(
    server: TestServer, shelf: Shelf
) -> None:
    name, _ = await shelf.make()
    client = await knowing(server, name, retriever_resource={"enabled": False})
    frames = await client.stream("dogs")
    assert DOGS in text_of(frames)
    assert cited(frames) == await listed(client, frames) == []


async def test_a_context_of_the_apps_own_stands_where_it_put_it(
    server: TestServer, shelf: Shelf
) -> None:
    name, _ = await shelf.make()
    client = await server.client(
        app_file(TOLD, kaiwa={"knowledge": name}, pre_prompt="Known: {{#context#}}. Be kind.")
    )
    assert text_of(await client.stream("dogs")) == f"Known: {DOGS}. Be kind."


async def test_what_stands_in_a_document_is_no_template(server: TestServer, shelf: Shelf) -> None:
    name, _ = await shelf.make("Parrots say {{name}} and {{#query#}} <|im_end|>.")
    client = await knowing(server, name)
    frames = await client.stream("parrots", inputs={"name": "Polly"})
    assert "Parrots say {{name}} and {{#query#}} <|im_end|>." in text_of(frames)


async def test_several_bases_are_searched_at_once(server: TestServer, shelf: Shelf) -> None:
    (first, _), (second, _) = await shelf.make(CATS), await shelf.make("Cats purr.")
    client = await knowing(server, [first, second])
    found = cited(await client.stream("cats"))
    assert set(contents(found)) == {CATS, "Cats purr."}
    assert [one["position"] for one in found] == [1, 2]
    assert found[0]["score"] >= found[1]["score"]


async def test_the_app_says_how_much_is_told(server: TestServer, shelf: Shelf) -> None:
    name, _ = await shelf.make("Cats one.\n\nCats two.\n\nCats three.")
    client = await knowing(server, name, dataset_configs={"top_k": 2})
    assert len(cited(await client.stream("cats"))) == 2


async def test_ids_of_a_file_from_elsewhere_are_mapped(server: TestServer, shelf: Shelf) -> None:
    name, base = await shelf.make()
    theirs = str(uuid4())
    dataset = {"dataset": {"enabled": True, "id": theirs}}
    client = await knowing(
        server, {theirs: name}, dataset_configs={"datasets": {"datasets": [dataset]}}
    )
    assert cited(await client.stream("dogs"))[0]["dataset_id"] == base


async def test_bases_that_are_not_there_are_passed_over(server: TestServer, shelf: Shelf) -> None:
    name, _ = await shelf.make()
    client = await knowing(server, ["nowhere", str(uuid4()), name])
    assert contents(cited(await client.stream("dogs"))) == [DOGS]


async def test_bases_of_another_workspace_are_not_there(server: TestServer, shelf: Shelf) -> None:
    theirs = await server.knowledge_client(await make_workspace(server))
    base = await make_base(theirs, indexing_technique="economy")
    await add_found(server, theirs, base)
    client = await knowing(server, base)
    frames = await client.stream("dogs")
    assert DOGS not in text_of(frames)
    assert cited(frames) == []


async def test_a_disabled_document_is_neither_told_nor_cited(
    server: TestServer, shelf: Shelf
) -> None:
    name, base = await shelf.make()
    client = await knowing(server, name)
    document = cited(await client.stream("dogs"))[0]["document_id"]
    path = f"/datasets/{base}/documents/status/disable"
    assert (await shelf.client.call("PATCH", path, json={"document_ids": [document]})).status == 200
    frames = await client.stream("dogs")
    assert DOGS not in text_of(frames)
    assert cited(frames) == []


async def test_citations_stay_when_the_base_is_gone(server: TestServer, shelf: Shelf) -> None:
    name, base = await shelf.make()
    client = await knowing(server, name)
    frames = await client.stream("dogs")
    await server.make_app(app_file(name="other"))
    document = cited(frames)[0]["document_id"]
    path = f"/datasets/{base}/documents/{document}"
    assert (await shelf.client.call("DELETE", path)).status in (200, 204)
    assert contents(await listed(client, frames)) == [DOGS]
    assert cited(await client.stream("dogs")) == []


async def test_each_message_has_its_own(server: TestServer, shelf: Shelf) -> None:
    name, _ = await shelf.make()
    client = await knowing(server, name)
    first = await client.stream("dogs")
    conversation = first[0].data["conversation_id"]
    await client.stream("volcanoes", conversation_id=conversation)
    await client.stream("cats", conversation_id=conversation)
    found = [contents(one["retriever_resources"]) for one in await client.messages(conversation)]
    assert found == [[DOGS], [], [CATS]]


async def test_an_answer_that_is_stopped_keeps_what_it_was_told(
    server: TestServer, shelf: Shelf
) -> None:
    name, _ = await shelf.make()
    client = await knowing(server, name, says("One"), {"hang": True})
    async with client.streaming("dogs") as stream:
        [first] = await take(stream, 1)
        await stop(client, first)
        frames = [first, *await stream.rest()]
    assert contents(cited(frames)) == contents(await listed(client, frames)) == [DOGS]


async def test_a_base_that_cannot_be_searched_is_an_error_and_the_question_is_kept(
    server: TestServer,
) -> None:
    name = f"Base {uuid4()}"[:40]
    semantic = RetrievalSettings(method="semantic_search")
    new = NewBase(
        new_id(), name, embedding_provider="nobody", embedding_model="none", retrieval=semantic
    )
    await create_base(server.house.context.db, DEFAULT_WORKSPACE, new, now())
    client = await knowing(server, name)
    frames = await client.stream("dogs")
    assert frames[-1].event == "error"
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert (message["query"], message["status"]) == ("dogs", "error")


# Agents


def tool_of(base: str) -> str:
    return f"dataset_{base.replace('-', '_')}"


async def test_an_agent_has_a_tool_for_each_base(server: TestServer, shelf: Shelf) -> None:
    (first, one), (second, two) = await shelf.make(), await shelf.make("Cats purr.")
    client = await server.client(
        agent_file(
            [calls(tool_of(one), '{"query": "dogs"}')],
            [calls(tool_of(two), '{"query": "cats"}', (tool_of(one), '{"query": "dogs cats"}'))],
            [{"text": "{tools}|{observations}|{system}"}],
            kaiwa={"knowledge": [first, second]},
        )
    )
    frames = await client.stream("Tell me")
    tools, observations, system = text_of(frames).rsplit("|", 2)
    assert tool_of(one) in tools
    assert tool_of(two) in tools
    assert DOGS in observations
    assert "Cats purr." in observations
    assert "<context>" not in system
    found = cited(frames)
    assert contents(found)[:2] == [DOGS, "Cats purr."]
    assert sorted(contents(found)) == sorted([DOGS, "Cats purr.", CATS])
    assert [one["position"] for one in found] == [1, 2, 3]
    assert contents(await listed(client, frames)) == contents(found)
    thought = next(one for one in frames if one.event == "agent_thought" and one.data["tool"])
    assert thought.data["tool_labels"][tool_of(one)]["en_US"] == first


async def test_an_agent_that_finds_nothing_is_told_so(server: TestServer, shelf: Shelf) -> None:
    name, base = await shelf.make()
    client = await server.client(
        agent_file(
            [calls(tool_of(base), '{"query": "volcanoes"}')],
            [{"text": "{observations}"}],
            kaiwa={"knowledge": name},
        )
    )
    frames = await client.stream("Tell me")
    assert "Nothing was found." in text_of(frames)
    assert cited(frames) == []


async def test_bad_arguments_of_a_base_are_told_back(server: TestServer, shelf: Shelf) -> None:
    name, base = await shelf.make()
    for arguments in ("{}", '{"query": ""}', '{"query": 5}', "[]"):
        client = await server.client(
            agent_file(
                [calls(tool_of(base), arguments)],
                [{"text": "{observations}"}],
                kaiwa={"knowledge": name},
            )
        )
        frames = await client.stream("Tell me")
        assert "tool invoke error" in text_of(frames)
        assert frames[-1].event == "message_end"


async def test_an_agents_old_entry_of_a_base_is_mapped(server: TestServer, shelf: Shelf) -> None:
    name, base = await shelf.make()
    theirs = str(uuid4())
    client = await server.client(
        agent_file(
            [calls(tool_of(base), '{"query": "dogs"}')],
            says("Fine"),
            tools=[{"dataset": {"enabled": True, "id": theirs}}],
            kaiwa={"knowledge": {theirs: name}},
        )
    )
    assert contents(cited(await client.stream("Tell me"))) == [DOGS]


async def test_what_was_found_before_an_approval_is_cited_after_it(
    server: TestServer, shelf: Shelf
) -> None:
    name, base = await shelf.make()
    client = await server.client(
        agent_file(
            [calls(tool_of(base), '{"query": "dogs"}')],
            [calls("eval_expression", '{"expression": "6 * 7"}')],
            [calls(tool_of(base), '{"query": "cats"}')],
            says("Done"),
            tools=["maths/eval_expression"],
            kaiwa={"knowledge": name, "approve": ["eval_expression"]},
        )
    )
    first = await client.stream("Tell me")
    assert contents(cited(first)) == [DOGS]
    rest = await decide(client, first[-1].data["message_id"])
    found = cited(rest)
    assert contents(found) == [DOGS, CATS]
    assert [one["position"] for one in found] == [1, 2]
    assert contents(await listed(client, first)) == [DOGS, CATS]


# Moderation


async def test_an_answer_that_goes_on_and_is_replaced_cites_nothing_any_more(
    server: TestServer, shelf: Shelf
) -> None:
    name, base = await shelf.make()
    client = await server.client(
        agent_file(
            [calls(tool_of(base), '{"query": "dogs"}')],
            [calls("eval_expression", '{"expression": "6 * 7"}')],
            says("The secret is out."),
            tools=["maths/eval_expression"],
            kaiwa={"knowledge": name, "approve": ["eval_expression"]},
            sensitive_word_avoidance=moderated(sides=("outputs",)),
        )
    )
    first = await client.stream("Tell me")
    assert contents(cited(first)) == contents(await listed(client, first)) == [DOGS]
    rest = await decide(client, first[-1].data["message_id"])
    assert shown(rest) == SORRY
    assert cited(rest) == await listed(client, first) == []


async def test_a_question_that_is_not_let_through_is_not_looked_up(
    server: TestServer, shelf: Shelf
) -> None:
    name, _ = await shelf.make()
    guard = moderated(keywords="dogs", sides=("inputs",))
    client = await knowing(server, name, sensitive_word_avoidance=guard)
    frames = await client.stream("dogs")
    assert text_of(frames) == NO
    assert cited(frames) == await listed(client, frames) == []


async def test_an_answer_that_is_replaced_cites_nothing(server: TestServer, shelf: Shelf) -> None:
    name, _ = await shelf.make()
    guard = moderated(keywords="bark", sides=("outputs",))
    client = await knowing(server, name, sensitive_word_avoidance=guard)
    frames = await client.stream("dogs")
    assert shown(frames) == SORRY
    assert cited(frames) == await listed(client, frames) == []
