"""A round of an agent: what it thought, which tools it called, and what they said."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

Decision = Literal["approve", "decline"]
"""What an end user says to calls that need a yes."""

Labels = dict[str, dict[str, str]]
"""The names of tools by language, by tool: `{"clock": {"en_US": "Clock"}}`."""


class Called(Struct, frozen=True):
    """One call within a round."""

    id: str
    """As the model gave it, to name the call by."""
    tool: str
    arguments: str
    """JSON, as the model wrote it: it may be broken."""
    observation: str | None = None
    """What came of it, as the model was told; None while it is not known."""


class Thought(Struct, frozen=True):
    """One round, as it is kept and shown."""

    id: UUID
    position: int
    """1 for the first round of the message."""
    created_at: datetime
    text: str = ""
    calls: tuple[Called, ...] = ()
    labels: Labels = {}
    files: tuple[UUID, ...] = ()
    """The message's files that its tools made, by the ids they have in the message."""

    @property
    def waits(self) -> bool:
        """Whether something is called of which nothing is known."""
        return any(call.observation is None for call in self.calls)

    @property
    def tool(self) -> str:
        """The names, as clients read them: `clock;calculator`."""
        return ";".join([call.tool for call in self.calls])

    @property
    def tool_input(self) -> str:
        """A JSON object by name, as text; empty when nothing is called.

        Of a tool that is called more than once, a list.
        """
        given: dict[str, list[object]] = {}
        for call in self.calls:
            given.setdefault(call.tool, []).append(_read(call.arguments))
        return _as_object({tool: found if found[1:] else found[0] for tool, found in given.items()})

    @property
    def observation(self) -> str:
        """A JSON object by name, as text; empty as long as nothing is known.

        Of a tool that was called more than once, all that came of it, in the order of the calls.
        """
        known: dict[str, list[str]] = {}
        for call in self.calls:
            if call.observation is not None:
                known.setdefault(call.tool, []).append(call.observation)
        return _as_object({tool: "\n\n".join(found) for tool, found in known.items()})


def _as_object(found: Mapping[str, object]) -> str:
    return msgspec.json.encode(found).decode() if found else ""


def _read(arguments: str) -> object:
    """As the model meant them, or else the text itself."""
    try:
        return msgspec.json.decode(arguments) if arguments else {}
    except (msgspec.DecodeError, RecursionError):
        return arguments
