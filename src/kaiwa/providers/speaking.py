"""What the built-in models share: they say a text in pieces, as a model on the network would."""

import re
from collections.abc import AsyncIterator, Sequence

from kaiwa.domain.events import Delta
from kaiwa.domain.prompt import ModelRequest, PromptMessage
from kaiwa.ports import Take

_CJK = "\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003134f"
_TOKEN = re.compile(rf"[{_CJK}]|\s*[^\s{_CJK}]+|\s+")


class Spoken:
    """A `DeltaStream` of deltas that come by themselves."""

    def __init__(self, items: AsyncIterator[Sequence[Delta]]) -> None:
        self._items = items

    async def pour(self, take: Take) -> None:
        async for deltas in self._items:
            if rest := take(deltas):
                await rest()


def split_tokens(text: str) -> list[str]:
    """Words with the space before them, CJK characters one by one; joined they are `text`."""
    return _TOKEN.findall(text)


def question_of(request: ModelRequest) -> str:
    """The last thing the user said; the whole text when the model is asked to complete one."""
    said = [message.text for message in request.messages if message.role == "user"]
    if not said:
        said = [message.text for message in request.messages]
    return said[-1] if said else ""


def since_question(request: ModelRequest) -> Sequence[PromptMessage]:
    """What came after the user's last question: an agent's rounds."""
    roles = [message.role for message in reversed(request.messages)]
    count = roles.index("user") if "user" in roles else 0
    return request.messages[len(roles) - count :]


def system_of(request: ModelRequest) -> str:
    """The system messages as one text."""
    return "\n\n".join(message.text for message in request.messages if message.role == "system")
