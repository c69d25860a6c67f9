"""Moderation by OpenAI's moderation model, or a server that offers the same."""

import logging
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from kaiwa.domain.message import Inputs
from kaiwa.domain.text import as_text
from kaiwa.errors import KaiwaError, ModerationFailed
from kaiwa.ports import Verdict
from kaiwa.providers.openai_server import OpenAIServer

logger = logging.getLogger(__name__)

_MODEL: Final = "omni-moderation-latest"
_PIECE: Final = 10_000
"""Characters of a text that is asked about as one."""
_OVERLAP: Final = 200
_MOST_BYTES: Final = 1_000_000


class _Result(Struct, frozen=True):
    flagged: bool


class _Reply(Struct, frozen=True):
    results: list[_Result]


class OpenAIModerator:
    """A `ports.Moderator`."""

    def __init__(self, server: OpenAIServer) -> None:
        self._server = server

    async def check_input(self, app_id: UUID, inputs: Inputs, query: str) -> Verdict:
        return await self._check("\n".join([*map(as_text, inputs.values()), query]))

    async def check_output(self, app_id: UUID, text: str) -> Verdict:
        return await self._check(text)

    async def _check(self, text: str) -> Verdict:
        """Raises `ModerationFailed`."""
        step = _PIECE - _OVERLAP
        pieces = [text[at : at + _PIECE] for at in range(0, max(len(text) - _OVERLAP, 1), step)]
        asked = {"model": _MODEL, "input": pieces if len(pieces) > 1 else text}
        try:
            body = msgspec.json.encode(asked)
            async with self._server.ask("/moderations", body, _MODEL) as answer:
                reply = msgspec.json.decode(await answer.read(_MOST_BYTES), type=_Reply)
        except KaiwaError as error:
            logger.warning("OpenAI's moderation cannot be asked: %s", error.message)
            raise ModerationFailed from error
        except (msgspec.DecodeError, RecursionError) as error:
            logger.warning("OpenAI's moderation answers what cannot be read: %s", error)
            raise ModerationFailed from error
        if len(reply.results) < len(pieces):
            logger.warning("OpenAI's moderation has not answered for all of the text")
            raise ModerationFailed
        return Verdict(flagged=any(result.flagged for result in reply.results))
