"""What OpenAI-compatible servers can do besides chatting: draw, speak, listen, moderate, embed."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from kaiwa.errors import KaiwaError, OperatorError
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Answer, Operator, OutboundError
from kaiwa.providers.models.openai import read_server
from kaiwa.providers.refusals import Asked, Refused

_JSON: Final = "application/json"
_MOST_ERROR: Final = 1 << 16


class OpenAIServer:
    """One of the model servers that are set up."""

    def __init__(self, options: Mapping[str, object], http: Operator) -> None:
        """Raises `OperatorError`."""
        self._base_url, self._headers, self._interpreter = read_server(options)
        self._http = http

    @asynccontextmanager
    async def ask(
        self, path: str, body: bytes, model: str, content_type: str = _JSON
    ) -> AsyncGenerator[Answer]:
        """Post the body; the answer of status 2xx, closed at once when it is left.

        Raises `CompletionFailed`, `ProviderNotInitialized`, `ProviderQuotaExceeded` and
        `ModelNotSupported`, also for what breaks while the answer is read. Their cause is what the
        server said (`Refused`), or what went wrong on the way (`OutboundError`).
        """
        headers = self._headers | {"Content-Type": content_type}
        try:
            answer = await self._http.post(f"{self._base_url}{path}", headers, body)
            try:
                if not 200 <= answer.status < 300:
                    said = await answer.read(_MOST_ERROR)
                    asked = Asked(model, pictured=False, equipped=False)
                    refusal = self._interpreter.read(asked, answer.status, said, answer.retry_after)
                    raise refusal.to_error() from Refused(refusal)
                yield answer
            finally:
                answer.close()
        except OutboundError as error:
            raise self._interpreter.fail("Connection Error", str(error)) from error

    def fail(self, sentence: str) -> KaiwaError:
        """The error for an answer that makes no sense."""
        return self._interpreter.fail("Server Unavailable Error", sentence)


def find_server(catalog: Catalog, http: Operator, setting: str, full_name: str) -> OpenAIServer:
    """The server of `provider/model`, which this setting names. Raises `OperatorError`."""
    provider = full_name.partition("/")[0]
    options = catalog.find_options(provider, "openai")
    if options is None:
        raise OperatorError(
            f"The setting {setting} names {provider!r}, which is no model server of the kind"
            " openai that is set up."
        )
    return OpenAIServer(options, http)
