"""Moderation by an extension of the operator's."""

import logging
from collections.abc import Mapping
from typing import Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from kaiwa.domain.message import Inputs, JsonValue
from kaiwa.domain.text import clean
from kaiwa.errors import ModerationFailed
from kaiwa.ports import Verdict
from kaiwa.providers.extensions import ExtensionService
from kaiwa.providers.http import OutboundError

logger = logging.getLogger(__name__)

R = TypeVar("R", bound="_Reply")


class _Reply(Struct, frozen=True):
    flagged: bool
    action: Literal["direct_output", "overridden"] = "direct_output"
    preset_response: str | None = None

    @property
    def overrides(self) -> bool:
        return self.flagged and self.action == "overridden"


class _OfInput(_Reply, frozen=True):
    inputs: dict[str, JsonValue] | None = None
    query: str | None = None


class _OfOutput(_Reply, frozen=True):
    text: str | None = None


class ExtensionModerator:
    """A `ports.Moderator`."""

    def __init__(self, service: ExtensionService) -> None:
        self._service = service

    async def check_input(self, app_id: UUID, inputs: Inputs, query: str) -> Verdict:
        params = {"app_id": str(app_id), "inputs": inputs, "query": query}
        reply = await self._ask("app.moderation.input", params, _OfInput)
        if not reply.overrides:
            return _refusing(reply)
        instead = query if reply.query is None else clean(reply.query)
        changed: Inputs = {
            name: clean(value) if isinstance(value, str) else value
            for name, value in (reply.inputs or {}).items()
            if name in inputs
        }
        return Verdict(flagged=True, query=instead, inputs=changed)

    async def check_output(self, app_id: UUID, text: str) -> Verdict:
        params = {"app_id": str(app_id), "text": text}
        reply = await self._ask("app.moderation.output", params, _OfOutput)
        if not reply.overrides or reply.text is None:
            return _refusing(reply)
        return Verdict(flagged=True, text=clean(reply.text))

    async def _ask(self, point: str, params: Mapping[str, object], shape: type[R]) -> R:
        """Raises `ModerationFailed`."""
        try:
            return msgspec.convert(await self._service.ask(point, params), shape)
        except (OutboundError, msgspec.ValidationError) as error:
            logger.warning("extension %s cannot moderate: %s", self._service.name, error)
            raise ModerationFailed from error


def _refusing(reply: _Reply) -> Verdict:
    return Verdict(flagged=reply.flagged, preset=clean(reply.preset_response or ""))
