"""Apps in which not all may be said, and what a client shows of their answers."""

from typing import Any

from tests.support.client import Client, Frame

SORRY, NO = "Sorry, I cannot say that.", "Please ask something else."


def moderated(
    kind: str = "keywords",
    keywords: str = "secret",
    *,
    sides: tuple[str, ...] = ("inputs", "outputs"),
    presets: bool = True,
) -> dict[str, Any]:
    """The key `sensitive_word_avoidance`; an extension is called `ward`."""
    said = {"inputs": NO, "outputs": SORRY}
    checked = {
        f"{side}_config": {"enabled": True, "preset_response": said[side] if presets else ""}
        for side in sides
    }
    who: dict[str, dict[str, Any]] = {
        "keywords": {"keywords": keywords},
        "api": {"api_based_extension_id": "ward"},
    }
    return {"enabled": True, "type": kind, "config": {**who.get(kind, {}), **checked}}


def shown(frames: list[Frame]) -> str:
    """The answer as a client folds it."""
    text = ""
    for frame in frames:
        if frame.event in ("message", "agent_message"):
            text += frame.data["answer"]
        elif frame.event == "message_replace":
            text = frame.data["answer"]
    return text


def events(frames: list[Frame]) -> list[str]:
    return [frame.event for frame in frames]


async def views(client: Client, query: str, **body: Any) -> tuple[list[Frame], dict[str, Any]]:
    """The frames of the answer, and the message as it is listed: all three views agree."""
    frames = await client.stream(query, **body)
    [listed] = await client.messages(frames[-1].data["conversation_id"])
    assert frames[-1].event == "message_end"
    assert listed["answer"] == shown(frames)
    assert (listed["status"], listed["outcome"], listed["error"]) == ("normal", "normal", None)
    reply = await client.as_user("another").ask(query, **body)
    assert reply.status == 200, reply.body
    assert reply.body["answer"] == shown(frames)
    [kept] = await client.as_user("another").messages(reply.body["conversation_id"])
    assert kept["answer"] == shown(frames)
    return frames, listed
