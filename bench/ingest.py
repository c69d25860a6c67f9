"""Documents on their way into a knowledge base: pages of PDF a second, no embedding model asked."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import anyio
from uuid_utils.compat import uuid7

from bench import targets
from bench.figures import Table, each
from bench.runs import Bench, kaiwa_on
from kaiwa.domain.knowledge import ChunkRule, Document, KnowledgeBase, document_key
from kaiwa.files.extract import Extractor
from kaiwa.files.keeping import once
from kaiwa.files.parsers.wire import Limits
from kaiwa.knowledge.ingest import Ingest
from kaiwa.knowledge.workshop import Workshop
from kaiwa.ports import BlobStore, Embedder
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.store.db import Database
from kaiwa.store.documents import NewDocument, add_document, get_document
from kaiwa.store.knowledge import NewBase, create_base
from kaiwa.store.postgres import open_postgres
from kaiwa.store.sqlite import open_sqlite
from kaiwa.store.tables import DEFAULT_WORKSPACE

_PAGES = 1000
_LINES = 45
_WORDS = (
    "harbour keeper gull lantern tide ledger compass weather island kettle letter morning captain"
)
_VOCABULARY = _WORDS.split()


def make_book(pages: int) -> bytes:
    """A PDF of pages full of text, some 3,000 letters each."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * at) for at in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (pages, kids),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for page in range(pages):
        drawn = b"BT /F1 10 Tf 14 TL 40 800 Td %s ET" % b" ".join(_lines(page))
        objects += [
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>"
            b"/Contents %d 0 R>>" % (5 + 2 * page),
            b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn),
        ]
    out = bytearray(b"%PDF-1.4\n")
    places: list[int] = []
    for number, written in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, written)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size %d/Root 1 0 R>>\n" % (len(objects) + 1)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def _lines(page: int) -> Iterator[bytes]:
    for line in range(_LINES):
        seed = page * _LINES + line
        words = [_VOCABULARY[(seed * (at + 3) + at) % len(_VOCABULARY)] for at in range(10)]
        yield f"({' '.join(words)} {seed}.) Tj T*".encode()


async def ingest(bench: Bench) -> Table:
    """From a document that waits to one that is found."""
    table = Table(
        f"A PDF of {_PAGES:,} pages into a knowledge base found by words, one document at once",
        "server",
        "pages a second (each round)",
        "target",
        "segments",
    )
    data = make_book(_PAGES)
    for database in bench.databases:
        rates: list[float] = []
        segments = 0
        for _ in range(bench.rounds):
            folder = bench.folder / f"ingest-{uuid7()}"
            folder.mkdir()
            with database.fresh() as url:
                db = await (open_postgres(url) if url else open_sqlite(folder / "kaiwa.db"))
                try:
                    seconds, segments = await _take(db, open_blobs("", folder), data)
                finally:
                    await db.close()
            rates.append(_PAGES / seconds)
        rate = sorted(rates)[len(rates) // 2]
        what = kaiwa_on(database)
        judged = table.judge(what, targets.INGEST_RATE, rate)
        table.add(what, each(rates, 0), judged, f"{segments:,}")
    return table


async def _take(db: Database, blobs: BlobStore, data: bytes) -> tuple[float, int]:
    """Seconds, and how many segments it became."""
    base = await create_base(db, DEFAULT_WORKSPACE, NewBase(uuid7(), "Bench"), _now())
    document = await _add(db, blobs, base, data)
    extractor = Extractor(Limits(seconds=300, text=50_000_000), remembered=0)
    ingest = Ingest(db, blobs, extractor, _open_none, _now, uuid7)
    started, segments = time.monotonic(), 0
    async with anyio.create_task_group() as group:
        group.start_soon(Workshop(db, ingest, _now, uuid7).run)
        status = ""
        while status != "completed":
            await anyio.sleep(0.05)
            found = await get_document(db, base.id, document.id)
            status = found.status
            assert status != "error", found.error
            segments = found.segment_count
        group.cancel_scope.cancel()
    return time.monotonic() - started, segments


async def _add(db: Database, blobs: BlobStore, base: KnowledgeBase, data: bytes) -> Document:
    document_id = uuid7()
    key = document_key(base.id, document_id, uuid7())
    await blobs.put(key, once(data))
    new = NewDocument(
        id=document_id,
        name="book.pdf",
        source="upload_file",
        origin=None,
        digest=bytes(32),
        key=key,
        size=len(data),
        extension="pdf",
        mime_type="application/pdf",
        rule=ChunkRule(),
        language="English",
        batch="b",
    )
    return await add_document(db, base.workspace_id, base.id, new, _now())


async def _open_none(provider: str, model: str) -> Embedder:
    raise AssertionError


def _now() -> datetime:
    return datetime.now(UTC)
