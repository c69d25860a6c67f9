"""What tests of turns do again and again: read some frames, stop, wait for the end."""

from typing import Any

import anyio

from tests.support.apps import app_file
from tests.support.client import Client, Frame, Stream


def scripted_app(*replies: dict[str, Any], **config: Any) -> str:
    """An app whose model has a reply for each kind of question; see `when` in a script."""
    params = {"script": list(replies)}
    model = {"provider": "scripted", "name": "script", "completion_params": params}
    return app_file(model=model, **config)


async def take(stream: Stream, count: int) -> list[Frame]:
    """The next data frames; the stream can be read on."""
    found: list[Frame] = []
    while len(found) < count:
        frame = Frame((await stream.response.content.readuntil(b"\n\n")).decode()[:-2])
        if frame.is_ping:
            stream.pings += 1
        else:
            found.append(frame)
    return found


async def stop(client: Client, frame: Frame) -> None:
    """Stop the turn that a frame is from."""
    reply = await client.post(f"/chat-messages/{frame.data['task_id']}/stop")
    assert (reply.status, reply.body) == (200, {"result": "success"})


async def settled(client: Client, conversation_id: str = "") -> list[dict[str, Any]]:
    """The messages of a conversation, or of the newest one, once none is running any more."""
    for _ in range(500):
        if not conversation_id:
            found = (await client.get("/conversations")).body["data"]
            conversation_id = found[0]["id"] if found else ""
        messages = await client.messages(conversation_id) if conversation_id else []
        if messages and all(message["outcome"] != "running" for message in messages):
            return messages
        await anyio.sleep(0.01)
    raise AssertionError("an answer is still running")
