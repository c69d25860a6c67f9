"""What models thought just before they called tools: some servers want it back with the results.

It is theirs alone, unread, so it stays with the provider: it is not part of the answer, and a turn
that goes on elsewhere, or much later, goes on without it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from cachetools import TTLCache

from kaiwa.domain.prompt import ToolCall

_SECONDS: Final = 1200.0
"""As long as a turn may take, unless the settings say otherwise."""
_MOST_BYTES: Final = 32_000_000
_LONGEST: Final = 1_000_000


class Thinking:
    """JSON by the id of the call it led to; the oldest is forgotten when there is too much.

    `beside` is what a server says of a single call and wants back with it.
    """

    def __init__(self) -> None:
        self._kept: TTLCache[tuple[str, bool], bytes] = TTLCache(
            _MOST_BYTES, _SECONDS, getsizeof=len
        )

    def keep(self, call_id: str, thought: object, *, beside: bool = False) -> None:
        """Servers that name no calls get nothing back."""
        if call_id and len(written := msgspec.json.encode(thought)) <= _LONGEST:
            self._kept[call_id, beside] = written

    def find(self, calls: Sequence[ToolCall], *, beside: bool = False) -> msgspec.Raw | None:
        """What led to the first of these calls, as the server is to have it."""
        written = self._kept.get((calls[0].id, beside)) if calls else None
        return msgspec.Raw(written) if written else None
