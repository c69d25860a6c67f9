"""The operator's own services that moderate and fill variables, by Dify's protocol for them.

Each is asked by a POST to its one address: `{"point": …, "params": …}`, with its key as a bearer
token. The addresses are the settings', so they may be anywhere.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from kaiwa.domain.message import Inputs
from kaiwa.domain.text import clean
from kaiwa.errors import CompletionFailed, OperatorError
from kaiwa.providers.http import Operator, OutboundError
from kaiwa.providers.options import are_lines, is_address

logger = logging.getLogger(__name__)

_MOST_BYTES: Final = 1_000_000
"""Of an answer."""
_CHECK_SECONDS: Final = 2.0


class ExtensionOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator says about one."""

    endpoint: str
    api_key: str = ""
    aliases: tuple[str, ...] | str = ()
    """Other names for it, such as the id that an exported app calls it by."""


class ExtensionState(Struct, frozen=True):
    """How one was found."""

    name: str
    problem: str | None
    """Why it cannot be used."""


class ExtensionService:
    """One of them."""

    def __init__(
        self, name: str, options: ExtensionOptions, http: Operator, seconds: float
    ) -> None:
        """`seconds`: what one answer may take."""
        self.name = name
        self._endpoint = options.endpoint
        key = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
        self._headers = {"Content-Type": "application/json", **key}
        self._http = http
        self._seconds = seconds

    async def ask(self, point: str, params: Mapping[str, object]) -> dict[str, object]:
        """The JSON object it answers. Raises `OutboundError`, with a sentence of ours."""
        try:
            async with asyncio.timeout(self._seconds):
                status, said = await self._post(point, params)
        except TimeoutError as error:
            raise OutboundError(f"it did not answer in {self._seconds:g} seconds") from error
        if not 200 <= status < 300:
            raise OutboundError(f"it answered with HTTP {status}")
        if len(said) > _MOST_BYTES:
            raise OutboundError(f"its answer has more than {_MOST_BYTES:,} bytes")
        try:
            found = msgspec.json.decode(said)
        except (msgspec.DecodeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise OutboundError("its answer is not a JSON object")
        return cast("dict[str, object]", found)

    async def check(self) -> str | None:
        """None when it is there and lets us in, else the part of a sentence that says why not."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                status, _ = await self._post("ping", {})
        except TimeoutError:
            return f"it did not answer in {_CHECK_SECONDS:g} seconds"
        except OutboundError as error:
            return str(error)
        refuses = status in (401, 403) or status >= 500  # not each of them knows `ping`
        return f"it answered with HTTP {status}" if refuses else None

    async def _post(self, point: str, params: Mapping[str, object]) -> tuple[int, bytes]:
        body = msgspec.json.encode({"point": point, "params": params})
        answer = await self._http.post(self._endpoint, self._headers, body)
        try:
            return answer.status, await answer.read(_MOST_BYTES + 1)
        finally:
            answer.close()


class Extensions:
    """All of them, by name and alias."""

    def __init__(
        self, entries: Mapping[str, Mapping[str, object]], http: Operator, seconds: float
    ) -> None:
        """`entries` are the settings'. Raises `OperatorError` for one that is none."""
        self._services: dict[str, ExtensionService] = {}
        self._names: dict[str, str] = {}
        for name, entry in entries.items():
            options = _read(name, entry)
            self._services[name] = ExtensionService(name, options, http, seconds)
            aliases = options.aliases
            if isinstance(aliases, str):  # from a variable
                aliases = tuple(aliases.split(","))
            for known in (name, *aliases):
                self._names[known.strip().lower()] = name

    def find(self, named: str) -> ExtensionService | None:
        """The one of this name or alias, whatever the case of its letters."""
        name = self._names.get(named.strip().lower())
        return self._services[name] if name else None

    def open_source(self, named: str) -> "DataSource":
        """What fills variables; it fails when there is no such extension."""
        return DataSource(named, self.find(named))

    async def check(self) -> list[ExtensionState]:
        """Asks each for a sign of life."""
        problems = await asyncio.gather(*(one.check() for one in self._services.values()))
        pairs = zip(self._services, problems, strict=True)
        return [ExtensionState(name, problem) for name, problem in pairs]


class DataSource:
    """A `ports.Extension`."""

    def __init__(self, name: str, service: ExtensionService | None) -> None:
        self._name = name
        self._service = service

    async def fill(self, app_id: UUID, variable: str, inputs: Inputs, query: str) -> str:
        try:
            if self._service is None:
                raise OutboundError("it is not in the settings")
            params = {
                "app_id": str(app_id),
                "tool_variable": variable,
                "inputs": inputs,
                "query": query,
            }
            found = await self._service.ask("app.external_data_tool.query", params)
            result = found.get("result")
            if not isinstance(result, str):
                raise OutboundError("its answer has no text as its result")
        except OutboundError as error:
            logger.warning("extension %s has not filled %s: %s", self._name, variable, error)
            raise CompletionFailed(
                f"The external data for {variable} cannot be had at the moment. Please try again"
                " later."
            ) from error
        return clean(result)


def _read(name: str, entry: Mapping[str, object]) -> ExtensionOptions:
    try:
        options = msgspec.convert(entry, ExtensionOptions, strict=False)
    except msgspec.ValidationError as error:
        raise OperatorError(f"The setting extensions.{name} is wrong: {error}.") from error
    if not is_address(options.endpoint):
        raise OperatorError(
            f"The setting extensions.{name}.endpoint must be an address that begins with http://"
            " or https:// and holds no name, password or query."
        )
    if not are_lines([options.api_key]):
        raise OperatorError(
            f"The setting extensions.{name}.api_key must be one line without spaces around it."
        )
    return options
