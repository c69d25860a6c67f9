"""From an opened message to the model: history, prompt, the call, and what it cost.

A prompt that the provider finds too long is asked once more with half the history; a model that no
longer exists gives way to the app's current one. Both only before the first word.
"""

from collections.abc import Sequence
from uuid import NAMESPACE_OID, UUID, uuid5

import anyio
from msgspec import Struct
from msgspec.structs import replace

from kaiwa.chat.relay import relay
from kaiwa.chat.running import Live
from kaiwa.domain.answer import Answer
from kaiwa.domain.app import AppConfig, ModelConfig
from kaiwa.domain.history import (
    HistoryWindow,
    check_fits,
    history_budget,
    lower_max_tokens,
    max_tokens_of,
    trim,
)
from kaiwa.domain.message import Exchange, Message
from kaiwa.domain.prompt import ModelRequest, PromptMessage
from kaiwa.domain.request import build_request, prompt_tokens
from kaiwa.domain.text import count_tokens
from kaiwa.domain.usage import Round, Usage
from kaiwa.errors import KaiwaError, ModelNotSupported, PromptTooLong
from kaiwa.ports import Emit, Kit, ModelChoice
from kaiwa.store.db import Database
from kaiwa.store.messages import read_history

_HISTORY_LIMIT = 500


class Asking:
    """One question to a model, and the rounds it took."""

    def __init__(self, config: AppConfig, message: Message, app_id: UUID, user: str) -> None:
        self.config = config
        self.message = message
        self.user = str(uuid5(NAMESPACE_OID, f"{app_id}/{user}"))
        """An opaque name of the end user for the provider."""
        self.rounds: list[Round] = []

    @property
    def usage(self) -> Usage:
        return Usage(tuple(self.rounds))

    def request(
        self, model: ModelChoice, history: Sequence[Exchange] | Sequence[PromptMessage]
    ) -> ModelRequest:
        return build_request(
            self.config,
            model=model.name,
            inputs=self.message.inputs,
            history=history,
            query=self.message.query,
            user=self.user,
        )


class Fallback(Struct, frozen=True):
    """The app's current model with its parameters, for one that no longer exists."""

    kit: Kit
    config: ModelConfig


async def ask(
    asking: Asking,
    kit: Kit,
    fallback: Fallback | None,
    answer: Answer,
    live: Live,
    db: Database,
    emit: Emit,
) -> None:
    """Ask the kit's model, or else the fallback's, and relay its words into `answer`.

    Raises what `ChatModel.stream` raises.
    """
    try:
        await _ask_model(asking, kit.model, answer, live, db, emit)
    except ModelNotSupported:
        if fallback is None or answer.length:
            raise
        asking.config = replace(asking.config, model=fallback.config)
        await _ask_model(asking, fallback.kit.model, answer, live, db, emit)


async def _ask_model(
    asking: Asking, model: ModelChoice, answer: Answer, live: Live, db: Database, emit: Emit
) -> None:
    bare = asking.request(model, ())
    max_tokens = max_tokens_of(bare.params)
    check_fits(bare, model.context_size, max_tokens)
    budget = history_budget(model.context_size, max_tokens, prompt_tokens(bare))
    history = await _history(asking.message, budget, db)
    try:
        await _call(asking, model, history, answer, live, emit)
    except PromptTooLong:
        if answer.length or not history:
            raise
        await _call(asking, model, history[(len(history) + 1) // 2 :], answer, live, emit)


async def _history(message: Message, budget: int, db: Database) -> list[PromptMessage]:
    if message.position == 1:
        return []
    window = HistoryWindow(budget, _HISTORY_LIMIT)
    earlier = await read_history(db, message.conversation_id, _HISTORY_LIMIT, window)
    return trim(earlier, budget)


async def _call(
    asking: Asking,
    model: ModelChoice,
    history: Sequence[PromptMessage],
    answer: Answer,
    live: Live,
    emit: Emit,
) -> None:
    request = lower_max_tokens(asking.request(model, history), model.context_size)
    asked_at = live.ask_model()
    refused = False
    try:
        async with model.server.stream(request) as stream:
            await relay(stream, answer, live, emit)
    except KaiwaError:
        refused = not answer.length
        raise
    finally:
        if not refused:
            latency = anyio.current_time() - asked_at
            asking.rounds.append(_round(model, request, answer, latency))
        live.asked_at = None


def _round(model: ModelChoice, request: ModelRequest, answer: Answer, latency: float) -> Round:
    """What the call cost: as the provider reports it, else as we estimate it."""
    reported = answer.usage
    return Round(
        provider=model.provider,
        model=model.name,
        prompt_tokens=reported.prompt_tokens if reported else prompt_tokens(request),
        completion_tokens=(
            reported.completion_tokens
            if reported
            else count_tokens(answer.text) + count_tokens(answer.reasoning)
        ),
        price=model.price,
        estimated=reported is None,
        latency=latency,
    )
