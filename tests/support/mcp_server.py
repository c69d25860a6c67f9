"""A real server of tools, made with the official library, as a process of its own.

`python -m tests.support.mcp_server stdio`, or `http PORT`; either ends when its input does.
"""

import os
import sys
import threading
from typing import Literal

import anyio
from mcp.server.mcpserver import Audio, Image, MCPServer
from mcp_types import BlobResourceContents, CallToolResult, EmbeddedResource, TextContent
from pydantic import BaseModel

server = MCPServer("tests")
calls = 0


class Node(BaseModel):
    """It contains itself."""

    name: str
    kind: Literal["leaf", "twig"] = "leaf"
    below: list["Node"] = []


@server.tool(title="Add up")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def count() -> str:
    """How often this process was asked, which tells whether it is the same one."""
    global calls
    calls += 1
    return f"{os.getpid()} {calls}"


@server.tool()
def grow(root: Node) -> Node:
    return root


@server.tool()
def show_environment() -> str:
    return str(dict(os.environ))


@server.tool()
def draw() -> list[Image | Audio | str]:
    return ["Here:", Image(data=b"\x89PNG", format="png"), Audio(data=b"RIFF", format="wav")]


@server.tool()
def attach() -> CallToolResult:
    report = BlobResourceContents(
        uri="file:///a/report.pdf", mime_type="application/pdf", blob="JQ=="
    )
    broken = BlobResourceContents(uri="file:///a/b.bin", blob="no base64!")
    return CallToolResult(
        content=[
            EmbeddedResource(resource=report),
            EmbeddedResource(resource=broken),
            TextContent(text="x" * 30_000),
        ]
    )


@server.tool()
async def sleep(seconds: float) -> str:
    await anyio.sleep(seconds)
    return "awake"


@server.tool()
def fail() -> CallToolResult:
    text = TextContent(text=f"I cannot: {os.environ.get('OWN_TOKEN')}")
    return CallToolResult(content=[text], is_error=True)


@server.tool()
def die() -> str:
    os._exit(3)


@server.tool(name="odd name/1")
def odd() -> str:
    return "odd"


@server.tool(name="odd_name_1")
def other() -> str:
    return "other"


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        threading.Thread(target=_end_with_input, daemon=True).start()
        server.run("streamable-http", port=int(sys.argv[2]), json_response=len(sys.argv) > 3)
