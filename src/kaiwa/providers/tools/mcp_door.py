"""The way of an MCP client over HTTP: through the operator's door, and bounded.

Nothing is raised into the client, whose every other call would fail with it: what goes wrong is an
answer, to this request alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpx2
from mcp_types import CONNECTION_CLOSED
from msgspec import json

from kaiwa.providers.http import Answer, Operator, OutboundError
from kaiwa.providers.tools.mcp_flood import MOST, weigh

_PASSED: Final = frozenset({"content-type", "location", "mcp-session-id"})
_NOT_SENT: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "transfer-encoding", "user-agent"}
)


class Door(httpx2.AsyncBaseTransport):
    """What the client takes for its network."""

    def __init__(self, http: Operator, headers: Mapping[str, str], timeout: float) -> None:
        """`headers` are stronger than the client's; `timeout` in seconds, for a whole exchange."""
        self._http = http
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._timeout = timeout

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2."""
        if request.method == "GET" and "last-event-id" not in request.headers:
            # What a server would say without being asked; there is nobody to hear it.
            return httpx2.Response(405)
        headers = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() not in _NOT_SENT
        }
        body = await request.aread()
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._http.send(
                    request.method, str(request.url), headers | self._headers, body or None
                )
        except TimeoutError:
            return _fault(f"the server did not answer in {self._timeout:g} seconds")
        except OutboundError as error:
            return _fault(str(error))
        is_json = answer.content_type.startswith("application/json")
        if answer.status >= 400 and answer.status != 404 and not is_json:
            answer.close()
            return _fault(f"the server answered with HTTP {answer.status}")
        passed = {
            name.lower(): value for name, value in answer.headers.items() if name.lower() in _PASSED
        }
        return httpx2.Response(answer.status, headers=passed, stream=_Body(answer, deadline))


class _Body(httpx2.AsyncByteStream):
    """An answer's body, which ends early when it is too slow, too large or broken."""

    def __init__(self, answer: Answer, deadline: float) -> None:
        self._answer = answer
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        while chunk := await self._receive():
            received += weigh(chunk)
            if received > MOST:
                return
            yield chunk

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._answer.receive()
        except (TimeoutError, OutboundError):
            return b""

    async def aclose(self) -> None:
        self._answer.close()


def _fault(reason: str) -> httpx2.Response:
    """As an answer that the client hands on to whoever asked."""
    error = {"code": CONNECTION_CLOSED, "message": reason}
    content = json.encode({"jsonrpc": "2.0", "id": None, "error": error})
    return httpx2.Response(502, headers={"content-type": "application/json"}, content=content)
