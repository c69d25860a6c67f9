"""Knowledge in the store: bases and keys, documents as jobs, versions of segments, words."""

from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import bindparam, insert, text
from uuid_utils.compat import uuid7

from kaiwa.domain.knowledge import Document, KnowledgeBase, RetrievalSettings
from kaiwa.errors import BaseNameTaken, InvalidParam, NotFound
from kaiwa.store.columns import ID
from kaiwa.store.db import Database
from kaiwa.store.documents import (
    DocumentLost,
    add_document,
    beat_documents,
    change_documents,
    claim_document,
    delete_document,
    fail_document,
    find_document_of,
    get_document,
    index_again,
    list_documents,
    note_document,
    release_documents,
    replace_document,
)
from kaiwa.store.knowledge import (
    BaseKind,
    change_base,
    create_knowledge_key,
    delete_base,
    find_base_by_name,
    find_bases,
    find_knowledge_caller,
    get_base,
    list_bases,
    list_knowledge_keys,
    revoke_knowledge_key,
)
from kaiwa.store.search import read_standings
from kaiwa.store.segments import (
    add_segments,
    change_segment,
    delete_segment,
    drop_unfinished,
    finish_document,
    insert_segments,
    list_segments,
    list_unembedded,
    remove_old_segments,
    set_embeddings,
)
from kaiwa.store.tables import DEFAULT_WORKSPACE, workspaces
from tests.store.finding import find_passages, list_vectors
from tests.store.sample import (
    LEASE,
    OWNER,
    claim,
    give_document,
    make_base,
    make_found,
    new_document,
    piece,
    tick,
)

pytestmark = pytest.mark.anyio

ONE = b"\x00\x3c"


@pytest.fixture
async def base(db: Database) -> KnowledgeBase:
    return await make_base(db)


async def found_by(db: Database, base: KnowledgeBase, question: str) -> list[str]:
    return [one.segment.content for one in await find_passages(db, base.id, question)]


async def other_workspace(db: Database) -> UUID:
    workspace_id = uuid7()
    row = {"id": workspace_id, "name": "Other", "created_at": tick()}
    await db.write(lambda conn: conn.execute(insert(workspaces), row).close())
    return workspace_id


async def fall_silent(db: Database, document: Document, seconds: float) -> None:
    """As if nobody had worked on the document for so long, by the engine's own clock."""
    earlier = text("UPDATE documents SET heartbeat_at = heartbeat_at - :micros WHERE id = :id")
    bound = earlier.bindparams(bindparam("id", document.id, ID), micros=int(seconds * 1_000_000))
    await db.write(lambda conn: conn.execute(bound).rowcount)


async def test_a_base_is_kept_as_it_was_made(db: Database, base: KnowledgeBase) -> None:
    assert (base.name, base.document_count, base.version) == ("Guide", 0, 0)
    assert base.retrieval == RetrievalSettings(top_k=3, score_threshold=0.25)
    assert await get_base(db, DEFAULT_WORKSPACE, base.id) == base
    assert await find_base_by_name(db, DEFAULT_WORKSPACE, "Guide") == base
    assert await list_bases(db, DEFAULT_WORKSPACE) == ([base], 1)
    assert await find_bases(db, DEFAULT_WORKSPACE, [uuid4(), base.id]) == [base]


async def test_a_base_is_its_workspaces_alone(db: Database, base: KnowledgeBase) -> None:
    other = await other_workspace(db)
    assert await list_bases(db, other) == ([], 0)
    assert await find_bases(db, other, [base.id]) == []
    for refused in (get_base(db, other, base.id), delete_base(db, other, base.id, tick())):
        with pytest.raises(NotFound):
            await refused
    assert (await make_base(db, "Guide", other)).id != base.id


async def test_a_name_is_taken_once_and_free_after_deletion(
    db: Database, base: KnowledgeBase
) -> None:
    with pytest.raises(BaseNameTaken):
        await make_base(db)
    other = await make_base(db, "Other")
    with pytest.raises(BaseNameTaken):
        await change_base(db, DEFAULT_WORKSPACE, other.id, tick(), name="Guide")
    await change_base(db, DEFAULT_WORKSPACE, base.id, tick(), name="Guide", description="x")
    await delete_base(db, DEFAULT_WORKSPACE, base.id, tick())
    await change_base(db, DEFAULT_WORKSPACE, other.id, tick(), name="Guide")


async def test_the_kind_of_a_base_changes_only_while_it_is_empty(
    db: Database, base: KnowledgeBase
) -> None:
    kind = BaseKind("economy", "", "")
    changed = await change_base(db, DEFAULT_WORKSPACE, base.id, tick(), kind=kind)
    assert (changed.indexing, changed.embeds) == ("economy", False)
    await give_document(db, base)
    with pytest.raises(InvalidParam):
        await change_base(
            db, DEFAULT_WORKSPACE, base.id, tick(), kind=BaseKind("high_quality", "a", "b")
        )
    await change_base(db, DEFAULT_WORKSPACE, base.id, tick(), kind=kind)


async def test_a_key_is_found_until_it_is_revoked(db: Database) -> None:
    key = await create_knowledge_key(db, DEFAULT_WORKSPACE, uuid7(), b"d" * 32, "dataset-", tick())
    assert await find_knowledge_caller(db, b"d" * 32) == key
    assert await find_knowledge_caller(db, b"e" * 32) is None
    assert await revoke_knowledge_key(db, key.id, tick())
    assert not await revoke_knowledge_key(db, key.id, tick())
    assert await find_knowledge_caller(db, b"d" * 32) is None
    [listed] = await list_knowledge_keys(db, DEFAULT_WORKSPACE)
    assert listed.revoked_at


async def test_documents_are_numbered_and_found_by_their_origin(
    db: Database, base: KnowledgeBase
) -> None:
    first = await give_document(db, base, "a.txt", origin="/a.txt")
    second = await give_document(db, base, "b%.txt")
    assert (first.position, second.position) == (1, 2)
    assert (first.display_status, first.generation) == ("queuing", 0)
    assert await find_document_of(db, base.id, "/a.txt") == first
    assert await find_document_of(db, base.id, "/b.txt") is None
    assert await list_documents(db, base.id, limit=1) == ([second], 2)
    assert await list_documents(db, base.id, keyword="%") == ([second], 1)
    assert (await list_documents(db, base.id, batch=first.batch))[1] == 2
    other = await make_base(db, "Other")
    with pytest.raises(NotFound):
        await get_document(db, other.id, first.id)
    await delete_base(db, DEFAULT_WORKSPACE, other.id, tick())
    with pytest.raises(NotFound):
        await give_document(db, other)


async def test_racing_workers_claim_each_document_once(db: Database, base: KnowledgeBase) -> None:
    made = [await give_document(db, base, f"{number}.txt") for number in range(12)]
    claimed: list[UUID] = []

    async def work(owner: UUID) -> None:
        while document := await claim_document(db, owner, LEASE, tick()):
            claimed.append(document.id)

    async with anyio.create_task_group() as workers:
        for _ in range(6):
            workers.start_soon(work, uuid7())
    assert sorted(claimed) == sorted(document.id for document in made)


async def test_a_silent_worker_loses_its_document_and_writes_nothing_more(
    db: Database, base: KnowledgeBase
) -> None:
    await give_document(db, base)
    first = await claim(db)
    assert await claim_document(db, uuid7(), LEASE, tick()) is None
    assert await beat_documents(db, OWNER, [first.id]) == {first.id}
    await fall_silent(db, first, LEASE.total_seconds() + 5)
    thief = uuid7()
    second = await claim(db, thief)
    assert (second.id, second.attempts, second.started_at) == (first.id, 2, first.started_at)
    assert await beat_documents(db, OWNER, [first.id]) == set()
    for lost in (
        add_segments(db, first, OWNER, [piece("x")], tick()),
        set_embeddings(db, first, OWNER, [(1, ONE)]),
        drop_unfinished(db, first, OWNER, 10),
        note_document(db, first.id, OWNER, "splitting"),
        fail_document(db, first.id, OWNER, "why", tick()),
        finish_document(db, first, OWNER, tick(), None),
    ):
        with pytest.raises(DocumentLost):
            await lost
    assert await get_document(db, base.id, first.id) == second
    await release_documents(db, thief)
    assert (await claim(db)).id == first.id


async def test_a_document_that_failed_waits_for_somebody_to_try_again(
    db: Database, base: KnowledgeBase
) -> None:
    document = await give_document(db, base)
    await claim(db)
    await note_document(db, document.id, OWNER, "parsing")
    await fail_document(db, document.id, OWNER, "It is broken.", tick())
    failed = await get_document(db, base.id, document.id)
    assert (failed.status, failed.error, failed.display_status) == (
        "error", "It is broken.", "error",
    )  # fmt: skip
    assert await claim_document(db, OWNER, LEASE, tick()) is None
    await index_again(db, document, tick())
    assert (await claim(db)).attempts == 1


async def test_a_version_is_seen_whole_and_in_the_place_of_the_one_before(
    db: Database, base: KnowledgeBase
) -> None:
    document = await make_found(db, base, "Old cats.", "Old dogs.")
    await replace_document(db, DEFAULT_WORKSPACE, document, new_document(base), tick())
    building = await claim(db)
    await add_segments(db, building, OWNER, [piece("New cats."), piece("New owls.", 2)], tick())
    assert await found_by(db, base, "cats owls") == ["Old cats."]
    [first, second] = await list_unembedded(db, building, 10)
    assert (first[1], second[1]) == ("New cats.", "New owls.")
    await set_embeddings(db, building, OWNER, [(first[0], ONE)])
    assert await list_unembedded(db, building, 10) == [second]
    before = (await read_standings(db, [base.id]))[base.id]
    assert await finish_document(db, building, OWNER, tick(), 1)
    after = (await read_standings(db, [base.id]))[base.id]
    assert (after.version, after.dimensions) == (before.version + 1, 1)
    assert sorted(await found_by(db, base, "cats owls dogs")) == ["New cats.", "New owls."]
    assert await list_vectors(db, base.id) == [(first[0], ONE)]
    assert await remove_old_segments(db, 1) == 1
    assert await remove_old_segments(db, 10) == 1
    assert await remove_old_segments(db, 10) == 0
    done = await get_document(db, base.id, document.id)
    assert (done.status, done.segment_count, done.generation) == ("completed", 2, 2)


async def test_vectors_of_other_dimensions_do_not_come_in(
    db: Database, base: KnowledgeBase
) -> None:
    await make_found(db, base, "Cats.")
    await give_document(db, base)
    document = await claim(db)
    await add_segments(db, document, OWNER, [piece("Dogs.", 1, ONE * 2)], tick())
    assert not await finish_document(db, document, OWNER, tick(), 2)
    assert await found_by(db, base, "dogs") == []
    assert (await get_document(db, base.id, document.id)).status == "waiting"


async def test_what_an_attempt_left_is_dropped_in_portions(
    db: Database, base: KnowledgeBase
) -> None:
    document = await make_found(db, base, "Old.")
    await replace_document(db, DEFAULT_WORKSPACE, document, new_document(base), tick())
    building = await claim(db)
    await add_segments(db, building, OWNER, [piece(f"New {n}.", n) for n in range(5)], tick())
    dropped = [await drop_unfinished(db, building, OWNER, 2) for _ in range(4)]
    assert dropped == [2, 2, 1, 0]
    assert await found_by(db, base, "old new") == ["Old."]


async def test_words_are_found_in_three_languages_and_in_one_base_alone(
    db: Database, base: KnowledgeBase
) -> None:
    await make_found(
        db, base, "The iPhone手机 costs 500.", "东京是日本的首都。", "猫は魚が好きです。", "고양이"
    )
    other = await make_base(db, "Other")
    await make_found(db, other, "東京 iphone 猫")
    for question, found in {
        "iphone": ["The iPhone手机 costs 500."],
        "ＩＰＨＯＮＥ": ["The iPhone手机 costs 500."],
        "手机多少钱": ["The iPhone手机 costs 500."],
        "日本的首都": ["东京是日本的首都。"],
        "京": ["东京是日本的首都。"],
        "魚が好き": ["猫は魚が好きです。"],
        "猫": ["猫は魚が好きです。"],
        "고양": ["고양이"],
        "nothing": [],
        "'; DROP TABLE segments; --": [],
        '" OR "': [],
        "!!!": [],
    }.items():
        assert await found_by(db, base, question) == found, question


async def test_what_is_switched_off_or_deleted_is_not_found(
    db: Database, base: KnowledgeBase
) -> None:
    document = await make_found(db, base, "Cats one.", "Cats two.")
    [first, _] = (await list_segments(db, document))[0]
    await change_segment(db, document, first.id, {"enabled": False}, tick())
    assert await found_by(db, base, "cats") == ["Cats two."]
    assert len(await list_vectors(db, base.id)) == 1
    for change in ({"enabled": False}, {"archived": True}):
        ids = [document.id]
        await change_documents(db, DEFAULT_WORKSPACE, base.id, ids, tick(), **change)
        assert await found_by(db, base, "cats") == []
        assert await list_vectors(db, base.id) == []
        back = {name: not value for name, value in change.items()}
        await change_documents(db, DEFAULT_WORKSPACE, base.id, ids, tick(), **back)
        assert await found_by(db, base, "cats") == ["Cats two."]
    await delete_document(db, DEFAULT_WORKSPACE, document, tick())
    assert await found_by(db, base, "cats") == []
    assert await remove_old_segments(db, 10) == 2
    with pytest.raises(NotFound):
        await delete_document(db, DEFAULT_WORKSPACE, document, tick())


async def test_what_is_in_a_deleted_base_is_not_found_and_goes(
    db: Database, base: KnowledgeBase
) -> None:
    document = await make_found(db, base, "Cats.")
    await give_document(db, base, "later.txt")
    later = await claim(db)
    await delete_base(db, DEFAULT_WORKSPACE, base.id, tick())
    assert await found_by(db, base, "cats") == []
    assert await read_standings(db, [base.id]) == {}
    with pytest.raises(NotFound):
        await finish_document(db, later, OWNER, tick(), None)
    with pytest.raises(DocumentLost):
        await add_segments(db, later, OWNER, [piece("Owls.")], tick())
    await fall_silent(db, later, 100)
    assert await claim_document(db, OWNER, LEASE, tick()) is None
    with pytest.raises(NotFound):
        await insert_segments(db, document, [piece("Dogs.")], tick())
    assert await remove_old_segments(db, 10) == 1


async def test_segments_by_hand_are_counted_and_found_at_once(
    db: Database, base: KnowledgeBase
) -> None:
    document = await make_found(db, base, "Cats.")
    await insert_segments(db, document, [piece("Dogs."), piece("Owls.", 2)], tick())
    found, total = await list_segments(db, document, offset=1, limit=1)
    assert ([one.position for one in found], total) == ([2], 3)
    assert await found_by(db, base, "dogs") == ["Dogs."]
    values = {"content": "Cows.", "terms": "cows"}
    await change_segment(db, document, found[0].id, values, tick())
    assert await found_by(db, base, "dogs cows") == ["Cows."]
    await delete_segment(db, document, found[0].id, tick())
    assert await found_by(db, base, "cows") == []
    assert (await get_document(db, base.id, document.id)).segment_count == 2
    earlier = replace(document, generation=document.generation - 1)
    await insert_segments(db, earlier, [piece("Hens.")], tick())
    assert await found_by(db, base, "hens") == ["Hens."], "whatever the writer knew"
    with pytest.raises(NotFound):
        await delete_segment(db, document, found[0].id, tick())


STEPS = st.lists(
    st.sampled_from(["claim", "steal", "add", "embed", "drop", "finish", "replace", "remove"]),
    max_size=25,
)


class Story:
    """One document in the hands of two workers, one of whom may have been robbed."""

    def __init__(self, db: Database, base: KnowledgeBase, document: Document) -> None:
        self.db = db
        self.base = base
        self.document = document
        self.held: list[tuple[UUID, Document]] = []
        self.version = 0
        self.made = 0

    async def take(self, step: str) -> None:
        """Whatever is refused changes nothing."""
        if step == "claim" and (found := await claim_document(self.db, OWNER, LEASE, tick())):
            self.held.append((OWNER, found))
        elif step == "steal":
            await fall_silent(self.db, self.document, 100)
            owner = uuid7()
            if found := await claim_document(self.db, owner, timedelta(seconds=60), tick()):
                self.held.append((owner, found))
        elif step == "replace":
            new = new_document(self.base)
            self.version += 1
            await replace_document(self.db, DEFAULT_WORKSPACE, self.document, new, tick())
        elif step == "remove":
            await remove_old_segments(self.db, 2)
        for owner, document in self.held[-2:]:
            with suppress(DocumentLost):
                await self.work(step, owner, document)

    async def work(self, step: str, owner: UUID, document: Document) -> None:
        if step == "add":  # two at once, which belong together
            self.made += 1
            pair = [piece(f"pair {self.made} {side}", side) for side in (1, 2)]
            await drop_unfinished(self.db, document, owner, 50)
            await add_segments(self.db, document, owner, pair, tick())
        elif step == "embed":
            left = await list_unembedded(self.db, document, 10)
            await set_embeddings(self.db, document, owner, [(one, ONE) for one, _ in left])
        elif step == "drop":
            await drop_unfinished(self.db, document, owner, 50)
        elif step == "finish":
            await finish_document(self.db, document, owner, tick(), None)


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_what_is_found_is_always_one_whole_version(db: Database, steps: list[str]) -> None:
    base = await make_base(db, str(uuid7()))
    document = await make_found(db, base, "pair 0 1", "pair 0 2")
    await replace_document(db, DEFAULT_WORKSPACE, document, new_document(base), tick())
    try:
        await tell(Story(db, base, document), steps)
    finally:
        await delete_base(db, DEFAULT_WORKSPACE, base.id, tick())


async def tell(story: Story, steps: list[str]) -> None:
    db, base, document = story.db, story.base, story.document
    for step in steps:
        await story.take(step)
        found = sorted(await found_by(db, base, "pair"))
        assert len(found) in (0, 2), (step, found)
        assert len({one.split()[1] for one in found}) <= 1, (step, found)
        listed, total = await list_segments(db, await get_document(db, base.id, document.id))
        assert sorted(one.content for one in listed) == found
        assert total == len(found)


async def test_a_document_is_added_with_all_that_is_known_of_it(
    db: Database, base: KnowledgeBase
) -> None:
    new = new_document(base, origin="https://example.org/a")
    document = await add_document(db, DEFAULT_WORKSPACE, base.id, new, tick())
    for name in new.__struct_fields__:
        assert getattr(document, name) == getattr(new, name), name
    found = await get_base(db, DEFAULT_WORKSPACE, base.id)
    assert (found.document_count, found.version) == (1, 0)


async def test_of_several_documents_of_one_origin_at_once_one_is_added(
    db: Database, base: KnowledgeBase
) -> None:
    found: list[Document] = []

    async def add() -> None:
        found.append(await give_document(db, base, origin="/srv/guide.txt"))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(add)
    assert len({one.id for one in found}) == 1
    assert (await get_base(db, DEFAULT_WORKSPACE, base.id)).document_count == 1
