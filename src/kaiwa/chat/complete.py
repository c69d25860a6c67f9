"""A short question of our own to a model, beside the turn: for titles and suggestions."""

from collections.abc import Sequence

import anyio

from kaiwa.domain.events import Delta, TextDelta
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

    def take(deltas: Sequence[Delta]) -> None:
        said.extend(delta.text for delta in deltas if isinstance(delta, TextDelta))

    with anyio.move_on_after(_LIMIT_SECONDS):
        async with model.server.stream(request) as stream:
            await stream.pour(take)
    return strip_thinking("".join(said)).strip()
