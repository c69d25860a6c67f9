"""Live streams to a served Kaiwa, and what each of them has heard, and when."""

import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError

from tests.support.client import Client, Stream


def numbered(count: int) -> str:
    """So many words, each different from the others."""
    return " ".join(f"w{number}" for number in range(count))


@dataclass
class Heard:
    """One stream, up to its end or its breaking."""

    user: str
    message_id: str = ""
    conversation_id: str = ""
    pieces: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    """When each piece of the answer came, by the monotonic clock."""
    ends: list[str] = field(default_factory=list[str])
    """The closing events; a stream that was not broken has one."""
    broken: bool = False
    status: int = 200
    retry_after: str = ""

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.pieces)

    def text_before(self, moment: float) -> str:
        return "".join(text for at, text in self.pieces if at <= moment)


async def listen(
    client: Client, question: str, heard: Heard, conversation_id: str | None = None
) -> None:
    """Ask and listen until the stream ends, or breaks with the server."""
    body: dict[str, Any] = {"query": question, "user": client.user, "inputs": {}}
    if conversation_id:
        body["conversation_id"] = conversation_id
    try:
        async with client.session.post(
            f"{client.base}/chat-messages",
            json={**body, "response_mode": "streaming"},
            headers=client.headers,
        ) as response:
            heard.status = response.status
            heard.retry_after = response.headers.get("retry-after", "")
            if response.status == 200:
                await _listen(Stream(response), heard)
    except (ClientError, ConnectionError):
        heard.broken = True


async def _listen(stream: Stream, heard: Heard) -> None:
    async for frame in stream.frames():
        heard.message_id = frame.data.get("message_id") or heard.message_id
        heard.conversation_id = frame.data.get("conversation_id") or heard.conversation_id
        if frame.event == "message":
            heard.pieces.append((time.monotonic(), frame.data["answer"]))
        else:
            heard.ends.append(frame.event)


async def stored(client: Client, heard: Heard) -> dict[str, Any]:
    """The message as the server keeps it; it must be there."""
    found = await client.as_user(heard.user).messages(heard.conversation_id, limit=100)
    return next(message for message in found if message["id"] == heard.message_id)
