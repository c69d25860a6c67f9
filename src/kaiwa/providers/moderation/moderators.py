"""From what an app wants to whoever moderates it; who is not set up is like one that is down."""

import logging
from uuid import UUID

from kaiwa.domain.app import AppConfig, ModerationConfig
from kaiwa.domain.message import Inputs
from kaiwa.errors import ModerationFailed, OperatorError
from kaiwa.ports import Extension, Moderator, Verdict
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.extensions import Extensions
from kaiwa.providers.http import Operator
from kaiwa.providers.moderation.api import ExtensionModerator
from kaiwa.providers.moderation.openai import OpenAIModerator
from kaiwa.providers.openai_server import OpenAIServer

logger = logging.getLogger(__name__)

_PROVIDER = "openai"


class Moderators:
    """Those of this installation."""

    def __init__(self, catalog: Catalog, http: Operator, extensions: Extensions) -> None:
        self._catalog = catalog
        self._http = http
        self._extensions = extensions

    def open(self, config: ModerationConfig | None) -> Moderator | None:
        """None where nobody has to be asked."""
        if config is None or config.kind == "keywords":
            return None
        if config.kind == "api":
            service = self._extensions.find(config.extension)
            return ExtensionModerator(service) if service else _Missing(config.extension)
        try:
            options = self._catalog.find_options(_PROVIDER, _PROVIDER)
            return OpenAIModerator(OpenAIServer(options, self._http)) if options else _Missing()
        except OperatorError as error:
            return _Missing(str(error))

    def open_sources(self, config: AppConfig) -> dict[str, Extension]:
        """What fills the variables of the app."""
        tools = config.external_data_tools
        return {tool.variable: self._extensions.open_source(tool.extension) for tool in tools}

    def list_notes(self, config: AppConfig) -> list[str]:
        """Lines for whoever applies the app, about all that is not set up."""
        notes = [
            f"the extension {tool.extension}, which fills {tool.variable}, is not in the settings;"
            " no question can be answered"
            for tool in config.external_data_tools
            if self._extensions.find(tool.extension) is None
        ]
        moderation = config.moderation
        if moderation and isinstance(self.open(moderation), _Missing):
            closed = moderation.when_down == "closed"
            goes = "nothing can be said" if closed else "all is said unchecked"
            named = moderation.extension
            who = f"the extension {named}" if named else "the model server openai"
            notes.append(f"{who}, which moderates, is not in the settings; {goes}")
        return notes


class _Missing:
    """A `ports.Moderator` that is not there."""

    def __init__(self, name: str = _PROVIDER) -> None:
        self._name = name

    async def check_input(self, app_id: UUID, inputs: Inputs, query: str) -> Verdict:
        return self._fail(app_id)

    async def check_output(self, app_id: UUID, text: str) -> Verdict:
        return self._fail(app_id)

    def _fail(self, app_id: UUID) -> Verdict:
        logger.warning("%s, which moderates app %s, is not set up", self._name, app_id)
        raise ModerationFailed
