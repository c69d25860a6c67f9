"""The way out to endpoints the operator configured; it may go to any address.

Questions go straight by `pool`; through a proxy, and for all else, aiohttp is used. What fails on
the way is an `OutboundError`, whatever noticed it. Addresses that others name go by `guarded`.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Final, Protocol
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from kaiwa.providers.http1 import Hear, OutboundError
from kaiwa.providers.pool import Pool, find_target

_NO_HEADERS: Final[Mapping[str, str]] = {}
_SENTENCE_LENGTH: Final = 500
_KEY: Final = re.compile(
    r"""\b(?:sk|pk|rk|xai|gsk|hf|r8)[-_][\w*.\-]{6,}"""
    r"""|\bBearer\s+[^\s"',;]{8,}"""
    r"""|\b(?:x-api-key|api[-_ ]?key|authorization|access[-_]?token)["']?\s*[:=]\s*"""
    r"""["']?[^\s"',;&]+""",
    re.IGNORECASE,
)


class Answer(Protocol):
    """A server's answer, its body still to be read."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """By their names in lower case."""
        ...

    @property
    def content_type(self) -> str: ...

    @property
    def retry_after(self) -> str: ...

    async def receive(self) -> bytes:
        """All that has arrived since the last call; empty at the end of the body.

        Raises `OutboundError` when the connection breaks before that end.
        """
        ...

    async def read(self, limit: int) -> bytes:
        """The body, cut after `limit` bytes. Raises `OutboundError` as `receive` does."""
        ...

    async def pour(self, hear: Hear) -> None:
        """Hand over what each read brings, until the end of the body or `stop`.

        Raises `OutboundError` as `receive` does, and whatever `hear` raises.
        """
        ...

    def stop(self) -> None:
        """`pour` hands over nothing more."""
        ...

    async def drain(self, seconds: float) -> None:
        """Wait shortly for the end of a body that is complete in the eyes of its reader.

        A connection whose body was read to its end can be used again.
        """
        ...

    def close(self) -> None:
        """Close the connection at once, unless the body was read to its end."""
        ...


class _AiohttpAnswer:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._stopped = False
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.content_type = response.headers.get("content-type", "").lower()
        self.retry_after = response.headers.get("retry-after", "")

    async def receive(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise explain(error) from _cause(error)

    async def read(self, limit: int) -> bytes:
        body = bytearray()
        while len(body) < limit and (chunk := await self.receive()):
            body += chunk
        return bytes(body[:limit])

    async def pour(self, hear: Hear) -> None:
        while not self._stopped and (chunk := await self.receive()):
            if rest := hear(chunk):
                await rest()

    def stop(self) -> None:
        self._stopped = True

    async def drain(self, seconds: float) -> None:
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                await self._response.content.readany()

    def close(self) -> None:
        self._response.close()


class Operator:
    """The door for endpoints the operator configured: any address, the environment's proxies."""

    def __init__(self, connect_timeout: float = 10.0) -> None:
        """`connect_timeout`: seconds for finding the address, connecting and the TLS handshake."""
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self._pool = Pool(connect_timeout)
        self._proxies: dict[str, URL | None] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` and wait for the answer's status and headers; redirects are not followed.

        Raises `OutboundError`. The caller closes the answer.
        """
        target = find_target(url)
        if self._find_proxy(url) is None:
            return await self._pool.post(target, headers, body)
        return await self.send("POST", url, headers, body)

    async def get(self, url: str, limit: int, headers: Mapping[str, str] = _NO_HEADERS) -> bytes:
        """The body at this address, cut after `limit` bytes.

        Raises `OutboundError`, also for a status other than 2xx.
        """
        answer = await self.send("GET", url, headers, None)
        try:
            if not 200 <= answer.status < 300:
                raise OutboundError(f"the server answered with HTTP {answer.status}")
            return await answer.read(limit)
        finally:
            answer.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self, method: str, url: str | URL, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """As `post`, by any method; not for the way of tokens."""
        try:
            target = URL(url)
            response = await self._open_session().request(
                method,
                target,
                headers=headers,
                data=None if body is None else BytesIO(body),  # written piece by piece
                allow_redirects=False,
                proxy=self._find_proxy(str(target.origin())),
            )
        except TimeoutError as error:
            sentence = (
                f"the server did not accept a connection in {self._connect_timeout:g} seconds"
            )
            raise OutboundError(sentence) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise explain(error) from _cause(error)
        return _AiohttpAnswer(response)

    def _open_session(self) -> aiohttp.ClientSession:
        """The session needs a running loop, so it is made when first used."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "kaiwa"},
                timeout=self._timeout,
            )
        return self._session

    def _find_proxy(self, url: str) -> URL | None:
        """The proxy of HTTP_PROXY, HTTPS_PROXY and NO_PROXY.

        aiohttp's `trust_env` would hand two jobs to threads for every request, and would let a
        `.netrc` file clash with our own Authorization headers.
        """
        if url not in self._proxies:
            self._proxies[url] = _proxy_for(URL(url))
        return self._proxies[url]


def redact(text: str, secrets: Iterable[str]) -> str:
    """One line of at most 500 characters without the secrets and without whatever looks like a key.

    A web page is replaced by a remark.
    """
    if re.match(r"\s*<(?:!doctype|html|head|body|\?xml)", text, re.IGNORECASE):
        return "the server sent a web page instead of an answer"
    line = " ".join(_KEY.sub("***", hide(text, secrets)).split())
    return line if len(line) <= _SENTENCE_LENGTH else line[:_SENTENCE_LENGTH].rstrip() + "…"


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets; shorter ones than six characters are also plain words."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 6:
            text = text.replace(secret, "***")
    return text


def _proxy_for(url: URL) -> URL | None:
    address = getproxies().get(url.scheme)
    if not address or proxy_bypass(url.host or ""):
        return None
    return URL(address if "://" in address else f"http://{address}")


def explain(error: Exception) -> OutboundError:
    """What of aiohttp's has gone wrong, in plain words; `error` itself is to be chained."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            sentence = "the server's address could not be found"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            sentence = "the server could not be reached safely: its certificate or TLS is not valid"
        case aiohttp.ClientConnectorError() | aiohttp.ClientProxyConnectionError():
            sentence = "the server could not be reached"
        case aiohttp.InvalidURL() | ValueError():
            sentence = "the server's address is not valid"
        case aiohttp.ClientResponseError():
            sentence = "the server did not answer in HTTP"
        case _:
            sentence = "the server closed the connection"
    return OutboundError(sentence)


def _cause(error: Exception) -> BaseException | None:
    """What to chain: aiohttp's response errors carry the request's headers, the key among them."""
    return error.__cause__ if isinstance(error, aiohttp.ClientResponseError) else error
