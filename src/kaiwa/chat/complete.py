"""A short question of our own to a model, beside the turn: for titles and suggestions."""

import anyio

from kaiwa.domain.events import TextDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage
from kaiwa.domain.text import strip_thinking
from kaiwa.ports import ModelChoice

_LIMIT_SECONDS = 60


async def complete(model: ModelChoice, prompt: str, params: dict[str, object]) -> str:
    """The model's whole answer without its reasoning; empty when it takes over a minute.

    Raises what `ChatModel.stream` raises.
    """
    request = ModelRequest(model.name, (PromptMessage("user", prompt),), params)
    said: list[str] = []
    with anyio.move_on_after(_LIMIT_SECONDS):
        async with model.server.stream(request) as stream:
            async for deltas in stream:
                said += [delta.text for delta in deltas if isinstance(delta, TextDelta)]
    return strip_thinking("".join(said)).strip()
