"""What an operator does with knowledge bases: makes, fills, asks them, and gives keys.

A command that adds documents works on them itself, beside any server that does the same.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import anyio
import anyio.to_thread
from msgspec import Struct

from kaiwa.app import House, new_id, now
from kaiwa.desk import digest_of, draw_secret
from kaiwa.domain.knowledge import (
    ChunkRule,
    Document,
    DocumentSource,
    KnowledgeBase,
    Passage,
)
from kaiwa.errors import FileTooLarge, KaiwaError, OperatorError, UnsupportedFileType
from kaiwa.files.extract import is_readable_name
from kaiwa.files.keeping import Coming, KeptDocument
from kaiwa.files.kinds import extension_of
from kaiwa.knowledge.search import search
from kaiwa.providers.comparing import split_model
from kaiwa.store.db import Database
from kaiwa.store.documents import (
    NewDocument,
    add_document,
    find_document_of,
    get_document,
    index_again,
    list_documents,
    list_standing,
    replace_document,
)
from kaiwa.store.knowledge import (
    KnowledgeKey,
    NewBase,
    create_base,
    create_knowledge_key,
    find_base_by_name,
    find_bases,
    find_knowledge_caller,
    list_knowledge_keys,
    revoke_knowledge_key,
)
from kaiwa.store.tables import DEFAULT_WORKSPACE

KEY_START: Final = "dataset-"
_SHOWN: Final = 12
_LONGEST_NAME: Final = 40
_PIECE: Final = 1 << 18
_LOOK_SECONDS: Final = 0.2
_LOOKED_AT: Final = 200
_PAGES: Final = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/csv": "csv",
    "application/json": "json",
    "application/epub+zip": "epub",
}
"""What stands at an address whose name does not tell."""

Taken = Literal["added", "replaced", "same"]


class Source(Struct, frozen=True):
    """Where a document comes from."""

    origin: str
    """An address, or a file's whole path."""
    file: Path | None

    @property
    def kind(self) -> DocumentSource:
        return "upload_file" if self.file else "website_crawl"


async def create(
    db: Database, name: str, description: str, embedding: str, *, economy: bool
) -> KnowledgeBase:
    """A new base; with no embedding model it is found by words. Raises `OperatorError`."""
    name = name.strip()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise OperatorError(f"The name of a knowledge base has 1 to {_LONGEST_NAME} characters.")
    provider, model = split_model("" if economy else embedding)
    if bool(provider) != bool(model):
        raise OperatorError(f"The embedding model {embedding!r} must be written provider/model.")
    new = NewBase(
        new_id(),
        name,
        description=description,
        indexing="high_quality" if model else "economy",
        embedding_provider=provider,
        embedding_model=model,
    )
    return await create_base(db, DEFAULT_WORKSPACE, new, now())


async def get_base_of(db: Database, ref: str) -> KnowledgeBase:
    """The base of this id or name. Raises `OperatorError`."""
    try:
        found = await find_bases(db, DEFAULT_WORKSPACE, [UUID(ref)])
    except ValueError:
        found = []
    base = found[0] if found else await find_base_by_name(db, DEFAULT_WORKSPACE, ref)
    if base is None:
        raise OperatorError(f"There is no knowledge base {ref!r}; kaiwa knowledge list shows them.")
    return base


async def get_document_of(db: Database, base: KnowledgeBase, ref: str) -> Document:
    """The document of this id or name. Raises `OperatorError` unless it is exactly one."""
    found, _ = await list_documents(db, base.id)
    wanted = [one for one in found if ref in (str(one.id), one.name, one.origin)]
    if len(wanted) != 1:
        many = f"{len(wanted)} documents" if wanted else "no document"
        raise OperatorError(
            f"There is {many} {ref!r} in {base.name}; kaiwa knowledge status shows their ids."
        )
    return wanted[0]


def list_sources(names: Sequence[str]) -> Iterator[Source]:
    """Addresses and files as they are; of folders, the files below them that can be read.

    What begins with a dot is passed over. Raises `OperatorError` for a name that nothing has.
    """
    for name in names:
        if name.startswith(("http://", "https://")):
            yield Source(name, None)
            continue
        path = Path(name)
        if path.is_dir():
            yield from _list_folder(path)
        elif path.is_file():
            yield Source(str(path.resolve()), path)
        else:
            raise OperatorError(f"There is no file or folder {name}.")


def _list_folder(folder: Path) -> Iterator[Source]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and is_readable_name(name) and path.is_file():
                yield Source(str(path.resolve()), path)


class Adding:
    """Takes sources into a base."""

    def __init__(self, house: House, base: KnowledgeBase, rule: ChunkRule) -> None:
        self._house = house
        self._db = house.context.db
        self._base = base
        self._rule = rule
        moment = now()
        self._batch = f"{moment:%Y%m%d%H%M%S}{new_id().int % 1_000_000:06}"

    async def take(self, source: Source) -> tuple[Taken, Document]:
        """The same origin with the same bytes is left as it is; with others, it is replaced.

        Raises `KaiwaError` and `OperatorError`, with a sentence about this source.
        """
        known = await find_document_of(self._db, self._base.id, source.origin)
        if source.file:
            return await self._take_file(source, source.file, known)
        limit = self._house.keeper.limits.document
        async with self._house.fetcher.fetch(source.origin, limit) as found:
            name = name_page(found.name, found.content_type)
            coming = Coming(name, found.content_type, found.pieces())
            return await self._keep(source, known, coming)

    async def _take_file(
        self, source: Source, file: Path, known: Document | None
    ) -> tuple[Taken, Document]:
        try:
            await anyio.to_thread.run_sync(_check_size, file, self._house.keeper.limits.document)
            if known:
                digest = await anyio.to_thread.run_sync(_digest_file, file)
                if self._is_same(known, digest):
                    return await self._leave(known)
            return await self._keep(source, known, Coming(file.name, "", _read(file)))
        except OSError as error:
            raise OperatorError(f"The file cannot be read: {error.strerror}.") from error

    async def _keep(
        self, source: Source, known: Document | None, coming: Coming
    ) -> tuple[Taken, Document]:
        document_id = known.id if known else new_id()
        keeper = self._house.keeper
        kept = await keeper.keep_document(self._base.id, document_id, coming)
        try:
            if known and self._is_same(known, kept.digest):
                await keeper.forget(kept)
                return await self._leave(known)
            return await self._write(source, known, document_id, kept)
        except KaiwaError:
            await keeper.forget(kept)
            raise

    def _is_same(self, known: Document, digest: bytes) -> bool:
        return known.digest == digest and known.rule == self._rule

    async def _leave(self, known: Document) -> tuple[Taken, Document]:
        """As it is; but one that has failed is tried once more."""
        if known.status == "error":
            await index_again(self._db, known, now())
            known = await get_document(self._db, self._base.id, known.id)
        return "same", known

    async def _write(
        self, source: Source, known: Document | None, document_id: UUID, kept: KeptDocument
    ) -> tuple[Taken, Document]:
        new = NewDocument(
            id=document_id,
            name=kept.name,
            source=source.kind,
            origin=source.origin,
            digest=kept.digest,
            key=kept.key,
            size=kept.size,
            extension=kept.kind.extension,
            mime_type=kept.kind.mime_type,
            rule=self._rule,
            language="English",
            batch=self._batch,
        )
        workspace = self._base.workspace_id
        if known:
            return "replaced", await replace_document(self._db, workspace, known, new, now())
        added = await add_document(self._db, workspace, self._base.id, new, now())
        if added.id == new.id:
            return "added", added
        await self._house.keeper.forget(kept)  # another command has been quicker
        return await self._leave(added)


async def wait_for(
    db: Database, ids: Sequence[UUID], advance: Callable[[int], None]
) -> list[Document]:
    """Until nothing more is to be done with these; those that were deleted are left out.

    `advance` is told how many more are done.
    """
    waiting, done = list(ids), list[Document]()
    while waiting:
        some = waiting[:_LOOKED_AT]  # the first come first
        found = await list_standing(db, some)
        ended = {one for one in some if one not in found or _has_ended(found[one])}
        done += [found[one] for one in some if one in ended and one in found]
        waiting = [one for one in waiting if one not in ended]
        advance(len(ended))
        await anyio.sleep(0 if ended else _LOOK_SECONDS)
    return done


def _has_ended(document: Document) -> bool:
    return document.status in ("completed", "error", "paused")


async def ask(house: House, base: KnowledgeBase, question: str) -> list[Passage]:
    """As a search by the base's own settings."""
    return await search(question, [base], base.retrieval, house.search)


async def make_knowledge_key(db: Database) -> str:
    """A new key for all bases; nobody can ask for it again."""
    made = draw_secret(KEY_START)
    await create_knowledge_key(
        db, DEFAULT_WORKSPACE, new_id(), digest_of(made), made[:_SHOWN], now()
    )
    return made


async def revoke_key_of(db: Database, ref: str) -> KnowledgeKey:
    """The key of this id, of these first characters, or this very key. Raises `OperatorError`."""
    ref = ref.removesuffix("…")
    if ref.startswith(KEY_START) and len(ref) > _SHOWN:
        whole = await find_knowledge_caller(db, digest_of(ref))
        found = [whole] if whole else []
    else:
        keys = await list_knowledge_keys(db, DEFAULT_WORKSPACE)
        works = [key for key in keys if key.revoked_at is None]
        found = [key for key in works if ref in (str(key.id), key.prefix)]
    if len(found) != 1 or not await revoke_knowledge_key(db, found[0].id, now()):
        raise OperatorError(
            "That is not exactly one working key; kaiwa knowledge key list shows the keys."
        )
    return found[0]


def name_page(name: str, content_type: str) -> str:
    """A name whose end tells what stands at an address; its server's word counts for pages."""
    extension = _PAGES.get(content_type)
    if extension == "html" and extension_of(name) not in ("html", "htm", "epub"):
        return f"{name or 'page'}.html"
    if extension and not is_readable_name(name):
        return f"{name or 'document'}.{extension}"
    if not is_readable_name(name):
        raise UnsupportedFileType(f"What stands there, {content_type or 'a file'}, cannot be read.")
    return name


def _check_size(file: Path, most: int) -> None:
    if (size := file.stat().st_size) > most:
        raise FileTooLarge.over(most, size)


def _digest_file(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


async def _read(file: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(file, "rb") as opened:
        while piece := await opened.read(_PIECE):
            yield piece
