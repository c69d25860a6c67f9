"""The `file_upload` block of an app's file: what may come with a question.

Older exports know pictures alone; where there is a switch for all files, it decides.
"""

from typing import Final, cast

from kaiwa.domain.dsl_yaml import Block, Node
from kaiwa.domain.file import FILE_TYPES, FileRules, FileType, TransferMethod

_METHODS: Final = ("remote_url", "local_file", "tool_file")
_TYPES_KEY: Final = "allowed_file_types"
_DETAILS: Final = ("high", "low")
_UNUSED: Final = ("document", "audio", "video", "custom", "fileUploadConfig")
_MOST: Final = 50


def read_files(block: Block) -> FileRules:
    """Raises `OperatorError`."""
    files = block.block("file_upload")
    image = files.block("image")
    everything = files.find("enabled")
    on = image.flag("enabled", default=False)
    if everything:
        on = everything.flag()
    image_methods = _methods(image, "transfer_methods")
    methods = _methods(files, "allowed_file_upload_methods")
    older = _methods(files, "allowed_upload_methods")
    types: tuple[FileType, ...] = tuple([_type(node) for node in files.items(_TYPES_KEY)])
    extensions = [node.text() for node in files.items("allowed_file_extensions")]
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
        types=types if types else default.types,
        extensions=tuple(text.lower().removeprefix(".") for text in extensions),
        methods=methods or older or image_methods or default.methods,
        most=min(counts[0], _MOST) if counts else default.most,
        detail="low" if detail and detail.choice(_DETAILS) == "low" else "high",
    )


def _type(node: Node) -> FileType:
    return cast(FileType, node.choice(FILE_TYPES))


def _methods(block: Block, key: str) -> tuple[TransferMethod, ...]:
    return tuple(cast(TransferMethod, node.choice(_METHODS)) for node in block.items(key))
