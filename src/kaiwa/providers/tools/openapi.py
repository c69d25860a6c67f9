"""The kind `openapi`: each operation of an API that an OpenAPI document describes is a tool.

Requests go where the operator's document or settings say, and a redirect leads nowhere else.
"""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from anyio.abc import TaskGroup
from msgspec import Struct
from yarl import URL

from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import ToolSpec
from kaiwa.errors import OperatorError, ToolFailed
from kaiwa.ports import Tool, ToolOutput
from kaiwa.providers.http import Answer, Operator, OutboundError, redact
from kaiwa.providers.options import are_lines, is_address, read_options
from kaiwa.providers.tools.observation import observe
from kaiwa.providers.tools.openapi_document import (
    Document,
    Operation,
    read_document,
    resolve_server,
)
from kaiwa.providers.tools.openapi_request import make_request
from kaiwa.providers.tools.schemas import Unusable

logger = logging.getLogger(__name__)

_KIND: Final = "openapi"
_DOCUMENT_LIMIT: Final = 20_000_000
_ANSWER_LIMIT: Final = 1_000_000
_DOCUMENT_SECONDS: Final = 30.0
_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TEXTS: Final = ("json", "xml", "yaml", "javascript", "x-www-form-urlencoded")


class OpenApiOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says about an API."""

    document: str
    """A file, or an address that is asked without credentials."""
    base_url: str = ""
    """Where the API is; else as the document says."""
    api_key: str = ""
    api_key_header: str = ""
    """The header that carries the key; else as the document says."""
    api_key_query: str = ""
    """The parameter of the query that carries it instead."""
    bearer: str = ""
    """A token for `Authorization: Bearer`."""
    basic: str = ""
    """`user:password` for `Authorization: Basic`."""
    headers: dict[str, str] = {}
    """Sent with every request, and stronger than our own."""
    timeout: float = 60.0
    """Seconds for one call."""

    def __repr__(self) -> str:
        return f"OpenApiOptions(document={self.document!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """In every spelling in which a service might repeat them."""
        bare = [self.api_key, self.bearer, self.basic, *self.headers.values()]
        bare += [_in_base64(self.basic), self.basic.partition(":")[2]]
        return tuple({*bare, *(quote(one, safe="") for one in bare)} - {""})


class OpenApiTool:
    """One operation."""

    icon: Mapping[str, str] = {"content": "🔌", "background": "#E6F4FF"}

    def __init__(self, operation: Operation, url: str, api: "_Api") -> None:
        self._operation = operation
        self._url = url
        self._api = api
        self.spec = ToolSpec(operation.name, operation.description, operation.schema)
        self.labels: Mapping[str, str] = {"en_US": operation.label}

    async def run(self, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        """See `ports.Tool`."""
        request = make_request(self._operation, arguments)
        url = _add_query(self._url + request.path, request.query)
        return await self._api.ask(request.method, url, request.headers, request.body)


class OpenApiService:
    """An API whose operations are tools."""

    def __init__(self, name: str, options: OpenApiOptions, http: Operator) -> None:
        """`name` is the service's in the settings."""
        self._name = name
        self._options = options
        self._http = http
        self._tools: tuple[OpenApiTool, ...] = ()
        self._url = ""

    async def open(self, tasks: TaskGroup) -> None:
        """Read the document; one that cannot be fetched now is read when it is needed.

        Raises `OperatorError` for one that cannot be used.
        """
        try:
            await self._load()
        except OutboundError as error:
            logger.warning(
                "The document of the tools %s cannot be read yet: %s.", self._name, error
            )

    async def tools(self) -> Sequence[Tool]:
        """Raises `ToolFailed` when they cannot be known at the moment."""
        try:
            await self._load()
        except (OutboundError, OperatorError) as error:
            raise ToolFailed(f"The tools of {self._name} are not known: {error}") from error
        return self._tools

    async def check(self) -> str | None:
        """None when the API is there, else why not."""
        try:
            async with asyncio.timeout(min(_DOCUMENT_SECONDS, self._options.timeout)):
                await self._load()
                answer = await self._http.send("HEAD", self._url, {}, None)
        except TimeoutError:
            return "the server did not answer in time"
        except (OutboundError, OperatorError) as error:
            return str(error).removesuffix(".")
        answer.close()
        return None

    async def close(self) -> None:
        """Nothing is held open; the door is the app's."""

    async def _load(self) -> None:
        """Raises `OutboundError`, `OperatorError`."""
        if self._tools:
            return
        place = self._options.document
        if place.startswith(("http://", "https://")):
            text = await self._fetch(place)
        else:
            text = await asyncio.to_thread(_read_file, place)
        self._tools = await asyncio.to_thread(self._make_tools, text)

    async def _fetch(self, url: str) -> str:
        try:
            async with asyncio.timeout(_DOCUMENT_SECONDS):
                content = await self._http.get(url, _DOCUMENT_LIMIT)
        except TimeoutError as error:
            sentence = f"the server did not answer in {_DOCUMENT_SECONDS:g} seconds"
            raise OutboundError(sentence) from error
        return content.decode("utf-8", "replace")

    def _make_tools(self, text: str) -> tuple[OpenApiTool, ...]:
        options = self._options
        held = {("header", name.lower()) for name in (*options.headers, options.api_key_header)}
        try:
            document = read_document(text, {*held, ("query", options.api_key_query)})
        except Unusable as error:
            sentence = f"The OpenAPI document {options.document} cannot be used: {error}."
            raise OperatorError(sentence) from error
        for reason in document.left_out:
            logger.warning("An operation of the tools %s is left out: %s.", self._name, reason)
        api = _Api(options, document, self._http)
        return tuple(
            OpenApiTool(one, self._find_url(one.server), api) for one in document.operations
        )

    def _find_url(self, server: str) -> str:
        options = self._options
        url = options.base_url or resolve_server(server or "/", options.document)
        if not url:
            raise OperatorError(
                f"The OpenAPI document {options.document} does not say where the API is; set"
                " base_url."
            )
        self._url = str(URL(url)).rstrip("/")
        return self._url


class _Api:
    """The way to the API, with the credentials."""

    def __init__(self, options: OpenApiOptions, document: Document, http: Operator) -> None:
        """Raises `OperatorError` when it is not known how the key is sent."""
        self._http = http
        self._timeout = options.timeout
        self._secrets = options.secrets
        self._headers: dict[str, str] = {}
        self._query = ""
        if options.bearer:
            self._headers["authorization"] = f"Bearer {options.bearer}"
        if options.basic:
            self._headers["authorization"] = f"Basic {_in_base64(options.basic)}"
        if options.api_key:
            self._place_key(options, document)
        self._headers |= {name.lower(): value for name, value in options.headers.items()}

    def _place_key(self, options: OpenApiOptions, document: Document) -> None:
        header, query = options.api_key_header, options.api_key_query
        if not header and not query:
            header, query = document.key_header, document.key_query
        if header:
            self._headers[header.lower()] = options.api_key
        elif query:
            self._query = f"{quote(query, safe='')}={quote(options.api_key, safe='')}"
        else:
            raise OperatorError(
                f"The OpenAPI document {options.document} does not say how the API takes the"
                " api_key; set api_key_header or api_key_query."
            )

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> ToolOutput:
        """Raises `ToolFailed`."""
        sent = {name.lower(): value for name, value in headers.items()} | self._headers
        try:
            async with asyncio.timeout(self._timeout):
                # As it is written: to write it more simply may undo what was made safe in it.
                target = URL(_add_query(url, self._query), encoded=True)
                answer = await self._follow(method, target, sent, body)
                try:
                    content = await answer.read(_ANSWER_LIMIT)
                finally:
                    answer.close()
        except TimeoutError as error:
            sentence = f"The service did not answer in {self._timeout:g} seconds."
            raise ToolFailed(sentence) from error
        except OutboundError as error:
            raise ToolFailed(f"The service cannot be asked: {error}.") from error
        return self._tell(answer, content)

    async def _follow(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """The answer at the end of the redirects. Raises `OutboundError`, `ToolFailed`."""
        for _ in range(_MOST_REDIRECTS + 1):
            answer = await self._http.send(method, url, headers, body)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            answer.close()
            url = self._find_next(url, location)
            if answer.status < 307 and method != "HEAD":
                method, body = "GET", None
        raise OutboundError(f"it leads on more than {_MOST_REDIRECTS} times")

    def _find_next(self, url: URL, location: str) -> URL:
        try:
            found = url.join(URL(location))
            known = found.origin() == url.origin()
        except ValueError as error:
            raise OutboundError("it leads on to no valid address") from error
        if not known:
            # The credentials, and what the arguments say, are meant for this service alone.
            host = redact(str(found.host), self._secrets)
            raise ToolFailed(f"The service leads on to another server ({host}): not followed.")
        return found

    def _tell(self, answer: Answer, content: bytes) -> ToolOutput:
        text = _read_text(answer.content_type, content)
        if answer.status >= 400:
            said = redact(text or "", self._secrets)
            end = f": {said}" if said else "."
            raise ToolFailed(f"The service answered with HTTP {answer.status}{end}")
        if not content:
            return ToolOutput(f"The service answered with HTTP {answer.status} and nothing more.")
        if text is None:
            kind = answer.content_type.partition(";")[0].strip() or "something"
            raise ToolFailed(f"The service answered with {kind}, which is not text.")
        return ToolOutput(observe(text, self._secrets))


def create(name: str, options: Mapping[str, object], http: Operator) -> OpenApiService:
    """Raises `OperatorError`."""
    read = read_options(_KIND, OpenApiOptions, options, "service")
    if read.base_url and not is_address(read.base_url):
        raise OperatorError(
            "The base_url of a service of kind 'openapi' must look like https://api.example.com"
            " and hold no name, password or query."
        )
    lines = (read.api_key, read.api_key_header, read.bearer, read.basic)
    if not are_lines((*lines, *read.headers, *read.headers.values())):
        raise OperatorError(
            "The credentials and headers of a service of kind 'openapi' must each be one line"
            " without spaces around it."
        )
    if read.timeout <= 0:
        raise OperatorError("The timeout of a service of kind 'openapi' must be more than 0.")
    return OpenApiService(name, read, http)


def _read_file(place: str) -> str:
    try:
        return Path(place).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OperatorError(f"The OpenAPI document {place} cannot be read: {reason}.") from error


def _read_text(content_type: str, content: bytes) -> str | None:
    """None when it is no text."""
    kind, _, rest = content_type.partition(";")
    kind = kind.strip()
    if kind and not kind.startswith("text/") and not kind.endswith(_TEXTS):
        return None
    charset = rest.partition("charset=")[2].strip(' "').partition(";")[0]
    try:
        text = content.decode(charset or "utf-8", "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    return None if "\0" in text or text.count("\ufffd") > len(text) / 10 else text


def _add_query(url: str, query: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def _in_base64(text: str) -> str:
    return b64encode(text.encode()).decode()
