"""One suite for both engines: what a question finds, in three languages and by every method."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import anyio
import pytest

from kaiwa.domain.knowledge import RetrievalSettings
from kaiwa.errors import CompletionFailed, KnowledgeUnsearchable
from kaiwa.knowledge.shelf import Shelf
from kaiwa.store.documents import change_documents, delete_document, list_documents
from kaiwa.store.knowledge import delete_base
from kaiwa.store.segments import change_segment, list_segments
from tests.support.bases import NOW, ROOM, Bases, contents

pytestmark = pytest.mark.anyio

ENGLISH = (
    "A question waits for its turn while another one of its conversation is answered.",
    "Backups hold the database and the files that its rows name.",
    "A key is shown once; only its hash is kept, and it can be revoked at any time.",
    "Pictures are checked and made smaller before a model looks at them.",
)
CHINESE = (
    "备份包含数据库和其中提到的所有文件。",
    "密钥只显示一次，系统只保存它的散列值。",
    "图片在交给模型之前会被检查并缩小。",
)
JAPANESE = (
    "バックアップにはデータベースとファイルが含まれます。",
    "鍵は一度だけ表示され、ハッシュだけが保存されます。",
    "画像はモデルに渡す前に検査され、縮小されます。",
)
EVERY = "question, backups, key, pictures"
METHODS = ("semantic_search", "full_text_search", "hybrid_search", "keyword_search")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("texts", "query", "wanted"),
    [
        (ENGLISH, "What do backups hold?", 1),
        (ENGLISH, "Can a key be revoked?", 2),
        (CHINESE, "密钥会显示几次？", 1),
        (CHINESE, "备份里有什么文件", 0),
        (JAPANESE, "バックアップには何が含まれますか", 0),
        (JAPANESE, "画像の検査", 2),
    ],
)
async def test_a_question_finds_its_passage(
    bases: Bases, method: str, texts: Sequence[str], query: str, wanted: int
):
    base = await bases.make("Guide", *texts)
    found = await bases.search(query, base, method=method)
    assert found[0].segment.content == texts[wanted]
    assert found[0].base_name == "Guide"
    assert found[0].document_name == f"{wanted + 1}.md"
    assert 1 >= found[0].score >= found[-1].score > 0


async def test_a_single_character_finds_words_that_begin_with_it(bases: Bases):
    base = await bases.make("Guide", *CHINESE)
    assert contents(await bases.search("密", base, method="full_text_search")) == [CHINESE[1]]


async def test_words_that_nothing_has_find_nothing(bases: Bases):
    base = await bases.make("Guide", *ENGLISH, model="")
    assert await bases.search("xylophone", base) == []
    assert await bases.search("?!", base) == []
    assert await bases.search("", base) == []


async def test_only_the_beginning_of_a_long_question_is_looked_for(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    asked: list[str] = []
    embedder = bases.embedder

    class Listening:
        async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
            asked.extend(texts)
            return await embedder.embed(texts, query=query)

    bases.embedder = Listening()
    found = await bases.search("What do backups hold? " + "Hm. " * 100_000, base)
    assert found[0].segment.content == ENGLISH[1]
    assert len(asked[0]) <= 4000


async def test_a_base_without_vectors_is_searched_by_its_words(bases: Bases):
    base = await bases.make("Guide", *ENGLISH, model="")
    for method in METHODS:
        assert contents(await bases.search("revoked key", base, method=method)) == [ENGLISH[2]]


async def test_an_empty_base_finds_nothing(bases: Bases):
    base = await bases.make("Empty")
    for method in METHODS:
        assert await bases.search("anything", base, method=method) == []


async def test_no_more_than_asked_for_and_nothing_below_the_threshold(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    every = await bases.search("a model looks at the files", base, top_k=10)
    assert len(every) == len(ENGLISH)
    assert len(await bases.search("a model looks at the files", base, top_k=2)) == 2
    least = every[1].score
    above = await bases.search("a model looks at the files", base, top_k=10, score_threshold=least)
    assert contents(above) == contents(every)[:2]


async def test_weights_say_which_half_counts(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    query = "smaller pictures"
    words = await bases.search(query, base, method="full_text_search")
    only_words = await bases.search(query, base, vector_weight=0.0, keyword_weight=1.0)
    assert contents(only_words)[: len(words)] == contents(words)
    vectors = await bases.search(query, base, method="semantic_search")
    only_vectors = await bases.search(query, base, vector_weight=1.0, keyword_weight=0.0)
    assert contents(only_vectors) == contents(vectors)


async def test_ranks_join_too(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    found = await bases.search("What do backups hold?", base, fusion="rrf")
    assert found[0].segment.content == ENGLISH[1]
    assert found[0].score == 1


async def test_several_bases_are_searched_each_by_its_own_settings(bases: Bases):
    first = await bases.make("English", *ENGLISH)
    words = RetrievalSettings(method="full_text_search", top_k=1)
    second = await bases.make("Chinese", *CHINESE, model="", retrieval=words)
    found = await bases.search("备份 backups 文件 files", first, second, own=True, top_k=8)
    assert {one.base_name for one in found} == {"English", "Chinese"}
    assert {ENGLISH[1], CHINESE[0]} <= set(contents(found))
    assert found == sorted(found, key=lambda one: -one.score)


async def test_what_is_disabled_archived_or_deleted_is_not_found(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    assert len(await bases.search(EVERY, base, top_k=9)) == 4
    listed, _ = await list_documents(bases.db, base.id)
    one, two, three, four = sorted(listed, key=lambda document: document.position)
    now, place = NOW, bases.workspace_id
    await change_documents(bases.db, place, base.id, [one.id], now, enabled=False)
    await change_documents(bases.db, place, base.id, [two.id], now, archived=True)
    await delete_document(bases.db, place, three, now)
    assert contents(await bases.search(EVERY, base, top_k=9)) == [ENGLISH[3]]
    (segment,), _ = await list_segments(bases.db, four)
    await change_segment(bases.db, four, segment.id, {"enabled": False}, now)
    assert await bases.search(EVERY, base, top_k=9) == []
    await change_documents(bases.db, place, base.id, [one.id], now, enabled=True)
    assert contents(await bases.search(EVERY, base, top_k=9)) == [ENGLISH[0]]


async def test_what_is_added_or_changed_is_found_at_once(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    await bases.search("zebra", base)
    document = await bases.add(base, "new.md", "A zebra has stripes.")
    for method in METHODS:
        assert contents(await bases.search("zebra", base, method=method, top_k=1)) == [
            "A zebra has stripes."
        ]
    (segment,), _ = await list_segments(bases.db, await _again(bases, base.id, document.id))
    later = NOW + timedelta(seconds=1)
    values = {"content": "A quagga.", "terms": "a quagga", "embedding": None}
    await change_segment(
        bases.db, await _again(bases, base.id, document.id), segment.id, values, later
    )
    assert await bases.search("zebra", base, method="full_text_search") == []
    found = await bases.search("quagga", base, method="full_text_search")
    assert contents(found) == ["A quagga."]
    by_vector = await bases.search("zebra stripes", base, method="semantic_search", top_k=9)
    assert "A quagga." not in contents(by_vector)


async def _again(bases: Bases, base_id: UUID, document_id: UUID):
    listed, _ = await list_documents(bases.db, base_id)
    return next(one for one in listed if one.id == document_id)


async def test_a_deleted_base_is_passed_over(bases: Bases):
    base, other = await bases.make("Guide", *ENGLISH), await bases.make("Other", *ENGLISH)
    assert await bases.search("backups", base)
    await delete_base(bases.db, bases.workspace_id, base.id, NOW)
    assert await bases.search("backups", base) == []
    found = await bases.search("backups", base, other)
    assert {one.base_name for one in found} == {"Other"}


class Away:
    """An embedding server that is not there."""

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        raise CompletionFailed("[openai] Connection Error, the server could not be reached")


async def test_without_its_embedding_server_a_hybrid_search_goes_on_with_words(
    bases: Bases, caplog: pytest.LogCaptureFixture
):
    base = await bases.make("Guide", *ENGLISH)
    bases.embedder = Away()
    with caplog.at_level(logging.WARNING):
        found = await bases.search("revoked key", base)
    assert found[0].segment.content == ENGLISH[2]
    assert "Guide is searched by words alone" in caplog.text
    with pytest.raises(CompletionFailed, match="could not be reached"):
        await bases.search("revoked key", base, method="semantic_search")


class Hangs:
    """A server that takes everything and says nothing."""

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        await anyio.sleep_forever()
        raise AssertionError

    async def rerank(self, query: str, passages: Sequence[str]) -> list[float]:
        await anyio.sleep_forever()
        raise AssertionError


async def test_a_question_does_not_wait_long_for_a_server_that_hangs(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    bases.embedder = bases.reranker = Hangs()
    bases.patience = 0.05
    found = await bases.search("revoked key", base, rerank_model="own/ranks")
    assert found[0].segment.content == ENGLISH[2]
    with pytest.raises(CompletionFailed, match=r"not answered in 0\.05 seconds"):
        await bases.search("revoked key", base, method="semantic_search")


class Short:
    """A model that was exchanged for another."""

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        return [[0.6, 0.8] for _ in texts]


async def test_a_model_that_changed_its_dimensions_is_told(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    bases.embedder = Short()
    for method in ("semantic_search", "hybrid_search"):
        with pytest.raises(KnowledgeUnsearchable, match=r"vectors of 512 numbers.*now makes 2"):
            await bases.search("revoked key", base, method=method)
    assert await bases.search("revoked key", base, method="full_text_search")


class Backwards:
    """A reranker that likes the longest."""

    async def rerank(self, query: str, passages: Sequence[str]) -> list[float]:
        return [len(passage) / 100 for passage in passages]


async def test_a_reranker_has_the_last_word_unless_it_is_away(
    bases: Bases, caplog: pytest.LogCaptureFixture
):
    base = await bases.make("Guide", *ENGLISH)
    plain = await bases.search("a key for the database", base, top_k=4)
    with caplog.at_level(logging.WARNING):
        found = await bases.search(
            "a key for the database", base, rerank_model="own/ranks", top_k=4
        )
    assert found == plain
    assert "is not ranked by own/ranks" in caplog.text
    bases.reranker = Backwards()
    found = await bases.search("a key for the database", base, rerank_model="own/ranks", top_k=2)
    longest = sorted(contents(plain), key=len, reverse=True)
    assert contents(found) == longest[:2] != contents(plain)[:2]
    assert found[0].score == len(longest[0]) / 100


async def test_the_memory_of_bases_is_bounded(bases: Bases):
    made = [await bases.make(f"Guide {number}", *ENGLISH) for number in range(3)]
    sizes: dict[int, int] = {}
    for room in (1, ROOM):
        bases.shelf = Shelf(room)
        for base in made:
            found = await bases.search("revoked key", base)
            assert found[0].segment.content == ENGLISH[2]
        sizes[room] = bases.shelf.size
    assert sizes[ROOM] == 3 * sizes[1] > 0


async def test_all_who_search_at_once_find_the_same(bases: Bases):
    base = await bases.make("Guide", *ENGLISH)
    found: list[list[str]] = []

    async def ask() -> None:
        found.append(contents(await bases.search("revoked key", base)))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(ask)
    assert len(found) == 8
    assert all(one == found[0] for one in found)
