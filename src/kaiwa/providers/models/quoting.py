"""The built-in model: it quotes what fits the question from the app's instructions, or from what
was found in its knowledge bases, if it has any.

It needs no key and no network, so that Kaiwa answers from the first minute. It cannot write, and
says so.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final

from msgspec import Struct

from kaiwa.domain.events import Delta, TextDelta
from kaiwa.domain.prompt import ModelRequest
from kaiwa.domain.text import language_of, say
from kaiwa.ports import ChatModel, DeltaStream, Sight
from kaiwa.providers.http import Operator
from kaiwa.providers.options import read_options
from kaiwa.providers.passages import find_passages, join_passages
from kaiwa.providers.speaking import Spoken, question_of, split_tokens, system_of

_KIND: Final = "quoting"
_GREETING: Final = re.compile(
    r"\W*(?:hi|hello|hey|good (?:morning|afternoon|evening)|你好|您好|嗨|早上好|晚上好"
    r"|こんにちは|こんばんは|おはよう(?:ございます)?|はじめまして)"
    r"(?:[\s,，、]+(?:there|all|everyone|everybody))?\W*",
    re.IGNORECASE,
)


_CONTEXT: Final = re.compile(r"<context>\n(.*)\n</context>", re.DOTALL)
_END: Final = re.compile(r"(?<=[.!?。！？|])\n(?![|\s])")
"""Where a passage may end in what was found, for segments follow each other without a gap."""


class QuotingOptions(Struct, frozen=True, forbid_unknown_fields=True):
    name: str = _KIND


def create(options: Mapping[str, object], http: Operator) -> ChatModel:
    """There is nothing to set but `name`; nothing is sent anywhere."""
    read_options(_KIND, QuotingOptions, options)
    return QuotingModel()


class QuotingModel:
    """A `ChatModel` without a model; its answer depends on the question and the system text."""

    @property
    def calls_tools(self) -> bool:
        return False

    @property
    def sight(self) -> Sight:
        return Sight(able=False)

    @property
    def generative(self) -> bool:
        return False

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[DeltaStream]:
        async with aclosing(_speak(request)) as items:
            yield Spoken(items)


async def _speak(request: ModelRequest) -> AsyncGenerator[list[Delta]]:
    question = question_of(request)
    answer = await asyncio.to_thread(_answer, system_of(request), question)
    for token in split_tokens(answer):
        yield [TextDelta(token)]
        await asyncio.sleep(0)


def _answer(text: str, question: str) -> str:
    if _GREETING.fullmatch(question.strip()):
        return say("quoting_hello", language_of(question))
    if context := _CONTEXT.search(text):
        text = _END.sub("\n\n", context[1])
    found = find_passages(text, question)
    return join_passages(found) if found else say("quoting_nothing", language_of(question))
