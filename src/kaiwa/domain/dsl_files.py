"""Which files may come: the `file_upload` block of an app's file, and the fields for files.

Older exports know pictures alone; where there is a switch for all files, it decides.
"""

from typing import Final, cast

from kaiwa.domain.dsl_yaml import Block, Node
from kaiwa.domain.file import FILE_TYPES, FileRules, FileType, TransferMethod

_Allowed = tuple[tuple[FileType, ...], tuple[str, ...], tuple[TransferMethod, ...]]

_METHODS: Final = ("remote_url", "local_file", "tool_file")
_DETAILS: Final = ("high", "low")
_UNUSED: Final = ("document", "audio", "video", "custom", "fileUploadConfig")
_MOST: Final = 50
_MOST_IN_FIELD: Final = 10
"""Where a field for several does not say."""
_ANY: Final[tuple[FileType, ...]] = ("image", "document", "audio", "video")


def read_files(block: Block) -> FileRules:
    """Raises `OperatorError`."""
    files = block.block("file_upload")
    image = files.block("image")
    everything = files.find("enabled")
    on = image.flag("enabled", default=False)
    if everything:
        on = everything.flag()
    image_methods = _methods(image, "transfer_methods")
    types, extensions, methods = _allowed(files)
    older = _methods(files, "allowed_upload_methods")
    counts = [node.whole(1) for node in (files.find("number_limits"),) if node]
    counts += [node.whole(1) for node in (image.find("number_limits"),) if node]
    detail = image.find("detail")
    for key in _UNUSED:
        files.find(key)
    image.note_rest()
    files.note_rest()
    default = FileRules()
    return FileRules(
        enabled=on,
        types=types or default.types,
        extensions=extensions,
        methods=methods or older or image_methods or default.methods,
        most=min(counts[0], _MOST) if counts else default.most,
        detail="low" if detail and detail.choice(_DETAILS) == "low" else "high",
    )


def read_field_files(block: Block, most: Node | None) -> FileRules:
    """What a field of the form takes, `most` files of it. Raises `OperatorError`."""
    types, extensions, methods = _allowed(block)
    return FileRules(
        enabled=True,
        types=types or _ANY,
        extensions=extensions,
        methods=methods or FileRules().methods,
        most=min(most.whole(1), _MOST) if most else _MOST_IN_FIELD,
    )


def _allowed(block: Block) -> _Allowed:
    """Types, extensions and methods, where the block names any."""
    types: list[FileType] = [_type(node) for node in block.items("allowed_file_types")]
    texts = [node.text() for node in block.items("allowed_file_extensions")]
    extensions = tuple(text.lower().removeprefix(".") for text in texts)
    return tuple(types), extensions, _methods(block, "allowed_file_upload_methods")


def _type(node: Node) -> FileType:
    return cast(FileType, node.choice(FILE_TYPES))


def _methods(block: Block, key: str) -> tuple[TransferMethod, ...]:
    return tuple(cast(TransferMethod, node.choice(_METHODS)) for node in block.items(key))
