"""How much of a conversation a model is told again, and whether a prompt fits at all."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec
from msgspec.structs import replace

from kaiwa.domain.file import StoredFile
from kaiwa.domain.message import Exchange
from kaiwa.domain.prompt import Detail, ModelRequest, PromptMessage, PromptPicture
from kaiwa.domain.request import message_tokens, prompt_tokens
from kaiwa.domain.text import count_tokens
from kaiwa.errors import PromptTooLong

UNKNOWN_CONTEXT_SIZE = 32_768
_LEAST_MAX_TOKENS = 16
_EARLIER_PICTURES = 8
_EARLIER_DOCUMENTS = 8
_SHORT_RESULT = 500
"""Characters of a tool's result."""
_SHORTENED = "\n… (shortened)"


def max_tokens_of(params: Mapping[str, object]) -> int:
    """The length of answer that `completion_params` ask for; 0 when they do not say."""
    value = params.get("max_tokens")
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def history_budget(context_size: int | None, max_tokens: int, system_tokens: int) -> int:
    """Tokens left for history; `system_tokens` is all of the prompt that is no history."""
    return max((context_size or UNKNOWN_CONTEXT_SIZE) - max_tokens - system_tokens, 0)


def trim(
    newest_first: Iterable[Exchange], budget: int, detail: Detail | None = None
) -> list[PromptMessage]:
    """The newest messages of the history, oldest first, that fit the budget in tokens.

    Single messages go, so an answer may stay without its question; the newest always stays. No
    more is taken from `newest_first` than it needs. With `detail` the pictures of earlier questions
    come along, as long as there is room for them and they are not too many, and a few documents,
    for which `tell_documents` finds room when it is known what they say.
    """
    kept: list[PromptMessage] = []
    left = _EARLIER_PICTURES if detail else 0
    unread = _EARLIER_DOCUMENTS
    for exchange in newest_first:
        for message in (
            PromptMessage("assistant", exchange.answer),
            PromptMessage("user", exchange.query),
        ):
            budget -= count_tokens(message.text)
            if budget < 0 and kept:
                return kept[::-1]
            kept.append(message)
        if exchange.files and detail:
            pictures = _pictures(exchange, detail)[:left]
            cost = sum(picture.tokens for picture in pictures)
            if cost > budget:
                cost, pictures = 0, ()
            budget -= cost
            left -= len(pictures)
            documents = _documents(exchange)[:unread]
            unread -= len(documents)
            kept[-1] = PromptMessage("user", exchange.query, pictures, documents)
    return kept[::-1]


def _pictures(exchange: Exchange, detail: Detail) -> tuple[PromptPicture, ...]:
    return tuple(PromptPicture(file, detail) for file in exchange.files if file.type == "image")


def _documents(exchange: Exchange) -> tuple[StoredFile, ...]:
    return tuple(file for file in exchange.files if file.type == "document")


def tell_documents(
    history: Sequence[PromptMessage], texts: Mapping[UUID, str], budget: int
) -> list[PromptMessage]:
    """The newest of the messages that fit the budget, now with documents before their questions.

    A document takes the room of older messages; where there is not enough even so, or there is no
    text of it, it is left out. The newest message always stays.
    """
    kept: list[PromptMessage] = []
    for message in reversed(history):
        budget -= message_tokens(message)
        if budget < 0 and kept:
            break
        told: list[str] = []
        for text in filter(None, (texts.get(file.id) for file in message.documents)):
            cost = count_tokens(text)
            if cost <= budget:
                budget -= cost
                told.append(text)
        kept.append(replace(message, text="\n\n".join([*told, message.text]), documents=()))
    return kept[::-1]


def shorten_rounds(rounds: Sequence[PromptMessage]) -> list[PromptMessage] | None:
    """What an agent has done since the question, the longest results half as long.

    None when there is no long one left.
    """
    lengths = [len(message.text) for message in rounds if message.role != "assistant"]
    limit = max(lengths, default=0) // 2
    if limit < _SHORT_RESULT:
        return None
    return [
        replace(message, text=message.text[:limit] + _SHORTENED)
        if message.role != "assistant" and len(message.text) > limit + len(_SHORTENED)
        else message
        for message in rounds
    ]


def check_fits(request: ModelRequest, context_size: int | None, max_tokens: int) -> None:
    """Check that a request without its history leaves room for the answer.

    Raises `PromptTooLong`; an unknown context size fits anything.
    """
    if context_size is None:
        return
    if prompt_tokens(request) > context_size - max_tokens:
        raise PromptTooLong


def lower_max_tokens(request: ModelRequest, context_size: int | None) -> ModelRequest:
    """The same request, asking for no longer an answer than the whole prompt leaves room for."""
    wanted = max_tokens_of(request.params)
    if context_size is None or not wanted:
        return request
    prompt = prompt_tokens(request)
    if prompt + wanted <= context_size:
        return request
    lowered = max(context_size - prompt, _LEAST_MAX_TOKENS)
    return msgspec.structs.replace(request, params={**request.params, "max_tokens": lowered})
