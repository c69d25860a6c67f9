"""Files in a question and its inputs: which may come, how they are kept, and what a model is told.

What a document says is told as data, named and fenced: before the question, or in the place of its
variable in the prompt.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal
from uuid import UUID

from anyio import to_thread
from msgspec import Struct
from msgspec.structs import replace

from kaiwa.domain.app import FILE_KINDS, App, FormField
from kaiwa.domain.file import FileRules, FileType, GivenFile, MessageFile, StoredFile
from kaiwa.domain.file_objects import read_file
from kaiwa.domain.history import tell_documents
from kaiwa.domain.message import Inputs
from kaiwa.domain.prompt import Detail, PromptMessage, PromptPicture
from kaiwa.errors import InvalidParam, KaiwaError, NotFound, UnsupportedFileType
from kaiwa.files.extract import Extractor, is_readable
from kaiwa.files.keeping import Keeper
from kaiwa.files.kinds import Kind
from kaiwa.files.pictures import fit_picture
from kaiwa.ports import BlobStore, ModelChoice, NewId
from kaiwa.store.db import Reads
from kaiwa.store.files import find_files

logger = logging.getLogger(__name__)


class FileRoom(Struct, frozen=True):
    """What files need on their way to a model."""

    keeper: Keeper
    blobs: BlobStore
    extractor: Extractor
    new_id: NewId
    link: Callable[[StoredFile], str] | None
    """Makes the links that models get instead of pictures; None: they get the pictures."""


class Taken(Struct, frozen=True):
    """The files of a question, or of one of its inputs, kept and read."""

    files: tuple[MessageFile, ...] = ()
    text: str = ""
    """What the documents among them say, as the model is told."""


async def take_files(
    given: Sequence[GivenFile],
    rules: FileRules,
    app: App,
    user: str,
    model: ModelChoice,
    db: Reads,
    room: FileRoom,
    *,
    belongs_to: Literal["user", "inputs"] = "user",
) -> Taken:
    """Find the uploads, fetch what stands elsewhere, read the documents.

    Raises `InvalidParam` and whatever keeping and reading a file raise; nothing else is changed.
    """
    if not given:
        return Taken()
    ids = [one.file_id for one in given if one.file_id]
    uploads = await find_files(db, app.id, user, ids) if ids else {}
    files: list[MessageFile] = []
    for one in given:
        if one.file_id:
            stored = uploads.get(one.file_id)
            if stored is None or not _fits(stored.type, stored.extension, one, rules):
                raise InvalidParam("Invalid upload file")
        else:
            stored = await room.keeper.fetch(app, user, one.url, _allow(one, rules))
        files.append(MessageFile(room.new_id(), stored, belongs_to, one.method, one.url or None))
    if model.server.sight.able is False and any(one.file.type == "image" for one in files):
        raise InvalidParam(f"The model {model.name} cannot look at pictures.")
    texts = [await _read(one.file, room) for one in files if one.file.type != "image"]
    return Taken(tuple(files), "\n\n".join(texts))


async def tell_again(files: Sequence[MessageFile], room: FileRoom) -> str:
    """What the documents say that came with a question. Raises as `take_files`."""
    theirs = [one.file for one in files if one.belongs_to == "user"]
    return "\n\n".join([await _read(file, room) for file in theirs if file.type != "image"])


async def take_inputs(
    inputs: Inputs,
    form: Sequence[FormField],
    app: App,
    user: str,
    model: ModelChoice,
    db: Reads,
    room: FileRoom,
) -> Mapping[str, Taken]:
    """The files in the inputs of a turn, by variable. Raises as `take_files`."""
    taken: dict[str, Taken] = {}
    for field in [field for field in form if field.kind in FILE_KINDS]:
        if value := inputs.get(field.variable):
            named = value if isinstance(value, list) else [value]
            given = [read_file(one, field.files) for one in named]
            taken[field.variable] = await take_files(
                given, field.files, app, user, model, db, room, belongs_to="inputs"
            )
    return taken


def _fits(kind: FileType, extension: str, one: GivenFile, rules: FileRules) -> bool:
    return one.type in (kind, "custom") and rules.takes(kind, extension)


def _allow(one: GivenFile, rules: FileRules) -> Callable[[Kind], None]:
    def allow(kind: Kind) -> None:
        if not _fits(kind.type, kind.extension, one, rules):
            raise InvalidParam(f"File validation failed for file: {one.url}")

    return allow


async def _read(file: StoredFile, room: FileRoom) -> str:
    if not is_readable(Kind(file.type, file.extension, file.mime_type)):
        raise InvalidParam(f"The file {file.name} is of a kind that the model cannot be told.")
    try:
        found = await room.extractor.read(file, room.blobs)
    except UnsupportedFileType as error:
        raise InvalidParam(f"The file {file.name} cannot be read: {error.message}") from error
    name = file.name.replace('"', "'")
    return f'<document name="{name}">\n{found.text}\n</document>'


def pictures_of(files: Sequence[MessageFile], detail: Detail) -> tuple[PromptPicture, ...]:
    """The pictures among them, still to be loaded."""
    return tuple([PromptPicture(one.file, detail) for one in files if one.file.type == "image"])


async def load_pictures(
    pictures: Sequence[PromptPicture], model: ModelChoice, room: FileRoom
) -> tuple[PromptPicture, ...]:
    """The same as the model gets them: as links, or as bytes it takes."""
    return tuple([await _load(picture, model, room) for picture in pictures])


async def load_history(
    history: Sequence[PromptMessage], model: ModelChoice, budget: int, room: FileRoom
) -> list[PromptMessage]:
    """Earlier messages with their pictures and documents, as many as fit the budget in tokens.

    Files that are gone, or cannot be seen, are left out.
    """
    loaded: list[PromptMessage] = []
    texts: dict[UUID, str] = {}
    for message in history:
        pictures: list[PromptPicture] = []
        for picture in message.pictures if model.server.sight.able is not False else ():
            try:
                pictures.append(await _load(picture, model, room))
            except KaiwaError as error:
                logger.warning("the picture %s is left out: %s", picture.file.id, error.message)
        for file in message.documents:
            try:
                texts[file.id] = await _read(file, room)
            except KaiwaError as error:
                logger.warning("the document %s is left out: %s", file.id, error.message)
        loaded.append(replace(message, pictures=tuple(pictures)))
    return tell_documents(loaded, texts, budget)


async def _load(picture: PromptPicture, model: ModelChoice, room: FileRoom) -> PromptPicture:
    if room.link:
        return replace(picture, url=room.link(picture.file))
    try:
        data = await room.blobs.read(picture.file.key)
    except NotFound as error:
        raise InvalidParam(f"The file {picture.file.name} is no longer there.") from error
    sight = model.server.sight
    fit = partial(fit_picture, data, longest_side=sight.longest_side, most_bytes=sight.most_bytes)
    fitted, mime_type = await to_thread.run_sync(fit)
    return replace(picture, data=fitted, mime_type=mime_type)
