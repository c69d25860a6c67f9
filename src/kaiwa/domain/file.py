"""Files that people send and that tools make, as the rest of Kaiwa sees them; never their bytes."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

FileType = Literal["image", "document", "audio", "video", "custom"]
FILE_TYPES: tuple[FileType, ...] = ("image", "document", "audio", "video", "custom")
TransferMethod = Literal["local_file", "remote_url", "tool_file"]
Origin = Literal["upload", "remote", "tool"]


class StoredFile(Struct, frozen=True):
    """A file whose bytes lie in the blob store."""

    id: UUID
    user_id: UUID
    """The end user it belongs to."""
    name: str
    size: int
    """In bytes."""
    extension: str
    """Lower case, without the dot; empty when there is none."""
    mime_type: str
    """As its bytes say."""
    type: FileType
    key: str
    """Its name in the blob store."""
    created_at: datetime


class NewFile(Struct, frozen=True):
    """A file whose bytes have just been stored, to be written down."""

    id: UUID
    fresh_user_id: UUID
    """Used only when the end user is new."""
    name: str
    size: int
    extension: str
    mime_type: str
    type: FileType
    key: str
    origin: Origin
    source_url: str | None
    """Where a `remote` file came from."""
    created_at: datetime


class ListedFile(Struct, frozen=True):
    """A file as the operator sees it."""

    file: StoredFile
    app_name: str
    user: str
    used: bool
    """Whether a message has it, or had it until it was purged."""


class MessageFile(Struct, frozen=True):
    """A file in a message."""

    id: UUID
    file: StoredFile
    belongs_to: Literal["user", "assistant", "inputs"]
    """`inputs`: it stands in the message's inputs, not beside its question."""
    method: TransferMethod
    url: str | None = None
    """Where a `remote_url` came from."""


class GivenFile(Struct, frozen=True):
    """A file as a question names it."""

    type: FileType
    method: Literal["local_file", "remote_url"]
    url: str = ""
    """Of a `remote_url`."""
    file_id: UUID | None = None
    """Of a `local_file`: an upload's."""


class FileRules(Struct, frozen=True):
    """What an app takes with a question, or in a field of its form."""

    enabled: bool = False
    types: tuple[FileType, ...] = ("image",)
    extensions: tuple[str, ...] = ()
    """Of `custom` files: lower case, without the dot."""
    methods: tuple[TransferMethod, ...] = ("remote_url", "local_file")
    most: int = 3
    """Files in one question, or one field."""
    detail: Literal["high", "low"] = "high"
    """How closely the model looks at pictures."""

    def takes(self, kind: FileType, extension: str) -> bool:
        """Whether a file of this kind may come."""
        if kind in self.types and kind != "custom":
            return True
        return "custom" in self.types and extension in self.extensions
