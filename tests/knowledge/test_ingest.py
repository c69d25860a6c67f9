"""Documents become segments that are found: whole, once, and whatever happens meanwhile."""

from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from sqlalchemy import update
from uuid_utils.compat import uuid7

from kaiwa.app import now
from kaiwa.domain.knowledge import ChunkRule, Document, DocumentStatus, KnowledgeBase
from kaiwa.errors import CompletionFailed, NotFound, ProviderNotInitialized
from kaiwa.files.parsers.wire import Limits
from kaiwa.ports import BlobStore
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.store.db import Database
from kaiwa.store.documents import (
    DocumentLost,
    claim_document,
    delete_document,
    get_document,
    note_document,
)
from kaiwa.store.knowledge import delete_base, get_base
from kaiwa.store.segments import remove_old_segments
from kaiwa.store.tables import documents
from kaiwa.worker import tidy_knowledge
from tests.files.documents import (
    HANGING,
    make_docx,
    make_entity_bomb,
    make_epub,
    make_locked_pdf,
    make_mail,
    make_pdf,
    make_pptx,
    make_xlsx,
)
from tests.support.bases import Bases, contents
from tests.support.ingesting import (
    SPLIT,
    CountingEmbedder,
    folder_of,
    make_ingest,
    put,
    read_contents,
    read_vectors_of,
    settle,
    text_of,
    working,
)

pytestmark = pytest.mark.anyio

ENGLISH = "The lighthouse keeper counts gulls. " * 3
CHINESE = "灯塔看守人数着海鸥。" * 3
JAPANESE = "灯台守はカモメを数えています。" * 3


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return open_blobs("", folder_of(tmp_path))


@pytest.fixture
def embedder(bases: Bases) -> CountingEmbedder:
    made = CountingEmbedder()
    bases.embedder = made
    return made


@pytest.fixture
async def base(bases: Bases) -> KnowledgeBase:
    return await bases.make("Base")


async def test_documents_of_every_format_are_found(
    db: Database, bases: Bases, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    files = {
        "txt": f"{ENGLISH}\n\n{CHINESE}\n\n{JAPANESE}".encode(),
        "md": f"# Keeper\n\n{ENGLISH}".encode(),
        "csv": b"name,price\nkettle,3\n",
        "json": b'{"name": "teapot"}',
        "html": f"<title>x</title><p>{CHINESE}</p>".encode(),
        "eml": make_mail(),
        "docx": make_docx(),
        "pptx": make_pptx(),
        "xlsx": make_xlsx(),
        "epub": make_epub({"a": f"<p>{JAPANESE}</p>"}),
        "pdf": make_pdf(["The first page", "The second page"]),
    }
    waiting = [await put(db, blobs, base, data, kind) for kind, data in files.items()]
    async with working(db, make_ingest(db, blobs, embedder)):
        done = await settle(db, *waiting)
    assert [(one.extension, one.status, one.error) for one in done] == [
        (kind, "completed", None) for kind in files
    ]
    for one in done:
        found = await read_contents(db, one)
        assert found
        assert (one.segment_count, one.segments_done) == (len(found), len(found))
        assert one.words == sum(map(len, found))
        assert one.tokens > 0
        assert one.parsed_at
        assert one.split_at
        assert one.completed_at
        for question in found[:1]:
            assert question in contents(await bases.search(question, base, top_k=20))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", CHINESE),
        ("big5", "燈塔看守人數著海鷗，日復一日從不間斷，直到天黑為止。" * 3),
        ("shift_jis", JAPANESE),
        ("euc_jp", JAPANESE),
        ("utf-16", CHINESE),
        ("utf-8-sig", JAPANESE),
        ("windows-1252", "Ein schöner Gruß über die Brücke, fünf Mal täglich. " * 3),
    ],
)
async def test_a_text_is_read_whatever_its_encoding(
    db: Database,
    base: KnowledgeBase,
    blobs: BlobStore,
    embedder: CountingEmbedder,
    encoding: str,
    text: str,
):
    document = await put(db, blobs, base, text.encode(encoding))
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert await read_contents(db, done) == [text.strip()]


async def test_a_broken_file_fails_alone_and_says_why(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    limits = Limits(seconds=2, text=1_000_000)
    bad = {
        "docx": (b"PK\x03\x04 no archive", "The document is broken."),
        "pdf": (make_locked_pdf(), "The document is protected by a password."),
        "html": (HANGING, "Reading the document took too long."),
        "txt": (b" \n\t ", "There is no text in the document."),
        "md": (b"x" * 1_000_001, "The text of the document is longer than 1 MB."),
        "doc": (b"\xd0\xcf\x11\xe0", "The text of a .doc file cannot be read."),
        "xlsx": (make_entity_bomb(), "The document is broken."),
    }
    waiting = [await put(db, blobs, base, data, kind) for kind, (data, _) in bad.items()]
    good = await put(db, blobs, base, ENGLISH.encode())
    async with working(db, make_ingest(db, blobs, embedder, limits=limits)):
        *failed, fine = await settle(db, *waiting, good)
    assert fine.status == "completed"
    assert [(one.status, one.error) for one in failed] == [
        ("error", sentence) for _, sentence in bad.values()
    ]


async def test_a_line_without_a_pause_is_cut_and_indexed(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    document = await put(db, blobs, base, b"x" * 900_000)
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert done.status == "completed"
    assert done.segment_count > 400


async def test_rows_of_questions_and_answers_are_pieces(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    data = b'question,answer\n"How much, please?",Three\nEmpty,\n'
    document = await put(db, blobs, base, data, "csv", ChunkRule(form="qa_model"))
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert await read_contents(db, done) == ["question", "How much, please?"]


async def test_nothing_is_found_of_a_document_before_it_is_whole(
    db: Database, bases: Bases, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    reached, go_on = anyio.Event(), anyio.Event()
    calls = 0

    async def stop_at_the_second() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            reached.set()
            await go_on.wait()

    document = await put(db, blobs, base, text_of(100), rule=SPLIT)
    embedder.before = stop_at_the_second
    async with working(db, make_ingest(db, blobs, embedder)):
        await reached.wait()
        half = await get_document(db, base.id, document.id)
        assert (half.status, half.segment_count, half.segments_done) == ("indexing", 100, 64)
        embedder.before = None
        assert await bases.search("kettle of 3", base) == []
        go_on.set()
        (done,) = await settle(db, document)
    assert len(await read_contents(db, done)) == 100
    assert await bases.search("kettle of 3", base)


async def test_a_new_version_takes_the_place_of_the_old_in_one_step(
    db: Database, bases: Bases, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    first = await put(db, blobs, base, text_of(40), rule=SPLIT)
    async with working(db, make_ingest(db, blobs, embedder)):
        (first,) = await settle(db, first)
        second = await put(db, blobs, base, text_of(9, "Cup {} of {}."), rule=SPLIT, replaces=first)
        embedder.faults = [CompletionFailed("away")]
        (second,) = await settle(db, second)
    assert await read_contents(db, second) == text_of(9, "Cup {} of {}.").decode().split("\n\n")
    assert await bases.search("kettle", base, method="full_text_search") == []
    assert await remove_old_segments(db, 100) == 40
    assert await remove_old_segments(db, 100) == 0


async def test_a_version_that_cannot_be_read_leaves_the_old_one_found(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    first = await put(db, blobs, base, text_of(4), rule=SPLIT)
    async with working(db, make_ingest(db, blobs, embedder)):
        (first,) = await settle(db, first)
        (second,) = await settle(db, await put(db, blobs, base, b"  ", replaces=first))
    assert second.status == "error"
    assert len(await read_contents(db, second)) == 4


async def fall_silent(db: Database, document: Document) -> None:
    """As if its worker had not been heard of for long."""
    long_ago = now() - timedelta(hours=1)
    silent = update(documents).where(documents.c.id == document.id).values(heartbeat_at=long_ago)
    await db.write(lambda conn: conn.execute(silent).close())


@pytest.mark.parametrize("step", ["parsing", "splitting", "indexing"])
async def test_a_worker_that_died_is_followed_by_another_which_repeats_nothing(
    db: Database,
    base: KnowledgeBase,
    blobs: BlobStore,
    embedder: CountingEmbedder,
    step: DocumentStatus,
):
    """The first one is frozen rather than killed, so it even comes back."""
    document = await put(db, blobs, base, text_of(150), rule=SPLIT)
    ghost = uuid7()
    claimed = await claim_document(db, ghost, timedelta(seconds=30), now())
    assert claimed
    if step == "indexing":
        embedder.faults = []
        calls = 0

        async def die_at_the_second() -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise DocumentLost

        embedder.before = die_at_the_second
        with pytest.raises(DocumentLost):
            await make_ingest(db, blobs, embedder).run(claimed, ghost)
        embedder.before = None
        assert len(embedder.texts) == 64
    else:
        await note_document(db, document.id, ghost, step)
    await fall_silent(db, document)
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    with pytest.raises(DocumentLost):
        await make_ingest(db, blobs, embedder).run(claimed, ghost)
    assert await read_contents(db, done) == text_of(150).decode().split("\n\n")
    assert sorted(embedder.texts) == sorted(text_of(150).decode().split("\n\n"))
    assert len(await read_vectors_of(db, document.id)) == 150


async def test_two_workshops_share_the_documents(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    texts = [f"Boat number {at} leaves at noon." for at in range(12)]
    waiting = [await put(db, blobs, base, text.encode()) for text in texts]
    async with (
        working(db, make_ingest(db, blobs, embedder)),
        working(db, make_ingest(db, blobs, embedder)),
    ):
        done = await settle(db, *waiting)
    assert {one.status for one in done} == {"completed"}
    assert {one.attempts for one in done} == {1}
    assert sorted(embedder.texts) == sorted(texts)


async def test_a_workshop_that_ends_leaves_its_document_to_others_at_once(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    reached = anyio.Event()

    async def hang() -> None:
        reached.set()
        await anyio.sleep_forever()

    document = await put(db, blobs, base, text_of(3), rule=SPLIT)
    embedder.before = hang
    async with working(db, make_ingest(db, blobs, embedder)):
        await reached.wait()
    left = await get_document(db, base.id, document.id)
    assert (left.status, left.attempts) == ("indexing", 0)
    embedder.before = None
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert done.status == "completed"


async def test_an_embedding_server_that_comes_back_is_waited_for(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    document = await put(db, blobs, base, text_of(3), rule=SPLIT)
    embedder.faults = [CompletionFailed("away"), CompletionFailed("away")]
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert done.status == "completed"
    assert len(embedder.texts) == 3


async def test_an_embedding_server_that_stays_away_fails_the_document(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    document = await put(db, blobs, base, text_of(3), rule=SPLIT)
    embedder.faults = [CompletionFailed("The embedding server is away.")] * 3
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert (done.status, done.error) == ("error", "The embedding server is away.")


async def test_a_model_that_is_not_set_up_fails_the_document_at_once(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    document = await put(db, blobs, base, text_of(3), rule=SPLIT)
    embedder.faults = [ProviderNotInitialized("There is no model x.")]
    async with working(db, make_ingest(db, blobs, embedder, pauses=[60])):
        (done,) = await settle(db, document)
    assert (done.status, done.error) == ("error", "There is no model x.")


async def test_vectors_of_another_length_are_refused(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    first = await put(db, blobs, base, text_of(3), rule=SPLIT)
    async with working(db, make_ingest(db, blobs, embedder)):
        await settle(db, first)
        embedder.length = 128
        (second,) = await settle(db, await put(db, blobs, base, text_of(2), rule=SPLIT))
    assert second.status == "error"
    assert second.error
    assert "makes vectors of 128 numbers" in second.error
    assert (await get_base(db, base.workspace_id, base.id)).dimensions == 512


async def test_a_model_that_changes_in_between_is_noticed(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    calls = 0

    async def change() -> None:
        nonlocal calls
        calls += 1
        embedder.length = 128 if calls == 2 else None

    embedder.before = change
    document = await put(db, blobs, base, text_of(100), rule=SPLIT)
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert done.status == "error"
    assert done.error
    assert "has changed while it was in use" in done.error


@pytest.mark.parametrize("what", ["base", "document"])
async def test_what_is_deleted_meanwhile_is_let_go_quietly(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder, what: str
):
    document = await put(db, blobs, base, text_of(100), rule=SPLIT)
    deleted = anyio.Event()

    async def delete() -> None:
        if what == "base":
            await delete_base(db, base.workspace_id, base.id, now())
        else:
            await delete_document(db, base.workspace_id, document, now())
        embedder.before = None
        deleted.set()

    embedder.before = delete
    async with working(db, make_ingest(db, blobs, embedder), at_once=1):
        await deleted.wait()
        if what == "document":
            (other,) = await settle(db, await put(db, blobs, base, b"Another one."))
            assert other.status == "completed"
    assert len(embedder.texts) <= 65  # the batch that was on its way, and the other document
    later = now() + timedelta(days=2)
    await tidy_knowledge(db, blobs, lambda: later)
    assert await read_vectors_of(db, document.id) == []
    with pytest.raises(NotFound):
        await blobs.read(document.key)


async def test_a_file_that_is_gone_from_the_storage_is_told(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    document = await put(db, blobs, base, b"text")
    await blobs.delete([document.key])
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert done.error == "The document's file is no longer in the storage."


async def test_a_document_that_ends_its_workers_is_given_up(
    db: Database, base: KnowledgeBase, blobs: BlobStore, embedder: CountingEmbedder
):
    document = await put(db, blobs, base, b"text")
    for _ in range(8):
        assert await claim_document(db, uuid7(), timedelta(0), now())
        await anyio.sleep(0.002)
    await fall_silent(db, document)
    async with working(db, make_ingest(db, blobs, embedder)):
        (done,) = await settle(db, document)
    assert done.error == "The work on the document was broken off 8 times in a row."
