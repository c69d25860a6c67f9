"""From what a server of tools says to what a model is told, and the files that end users get."""

import mimetypes
from base64 import b64decode
from collections.abc import Sequence
from typing import Final

import mcp_types as wire
from msgspec import json

from kaiwa.errors import ToolFailed
from kaiwa.ports import ToolFile, ToolOutput
from kaiwa.providers.tools.observation import observe

_MOST_FILES: Final = 20


def read_result(result: wire.CallToolResult, secrets: Sequence[str]) -> ToolOutput:
    """Raises `ToolFailed` when the tool says that it has failed."""
    texts: list[str] = []
    files: list[ToolFile] = []
    for block in result.content:
        match block:
            case wire.TextContent():
                texts.append(block.text)
            case wire.ImageContent() | wire.AudioContent():
                _add_file(files, texts, block.type, block.mime_type, block.data)
            case wire.ResourceLink():
                texts.append(f"{block.title or block.name}: {block.uri}")
            case wire.EmbeddedResource():
                resource = block.resource
                if isinstance(resource, wire.TextResourceContents):
                    texts.append(resource.text)
                else:
                    name = str(resource.uri).rstrip("/").rpartition("/")[2]
                    _add_file(files, texts, name, resource.mime_type or "", resource.blob)
    if not result.content and result.structured_content is not None:
        texts.append(json.encode(result.structured_content).decode())
    text = observe("\n".join(texts), secrets)
    if result.is_error:
        raise ToolFailed(text or "The tool has failed and does not say why.")
    return ToolOutput(text or "The tool is done and says nothing.", tuple(files))


def _add_file(
    files: list[ToolFile], texts: list[str], name: str, mime_type: str, data: str
) -> None:
    try:
        content = b64decode(data, validate=True)
    except ValueError:
        texts.append(f"(A file, {mime_type or 'of no known type'}, that is broken.)")
        return
    if len(files) == _MOST_FILES:
        texts.append("(One more file, which is left out.)")
        return
    mime_type = mime_type.partition(";")[0].strip().lower() or "application/octet-stream"
    if "." not in name:
        kind = mime_type.partition("/")[2]
        ending = mimetypes.guess_extension(mime_type) or (f".{kind}" if kind.isalnum() else "")
        name = f"{name or 'file'}-{len(files) + 1}{ending}"
    files.append(ToolFile(name, mime_type, content))
    texts.append(f"(The file {name}, {mime_type}, which is shown to the user.)")
