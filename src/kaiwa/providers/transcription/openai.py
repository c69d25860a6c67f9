"""Any server that speaks OpenAI's `/audio/transcriptions`."""

import secrets
from typing import Final

import msgspec
from msgspec import Struct

from kaiwa.errors import AudioTooLarge, KaiwaError, ListeningNotSupported, PromptTooLong
from kaiwa.ports import Transcriber
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.http import Operator
from kaiwa.providers.openai_server import OpenAIServer, find_server
from kaiwa.providers.retrying import ask_again, refusal_of

_TAKES: Final = frozenset({"flac", "m4a", "mp3", "mp4", "ogg", "wav", "webm"})
_MOST_ANSWER: Final = 4_000_000
_WAIT: Final = 0.5
"""Seconds before asking again, unless the server says how many."""
_LONGEST_WAIT: Final = 10.0
_NO_ROUTE: Final = frozenset({404, 405, 501})


class _Answer(Struct):
    text: str


def create(full_name: str, catalog: Catalog, http: Operator) -> Transcriber:
    """`full_name` is `provider/model`. Raises `OperatorError`."""
    server = find_server(catalog, http, "transcription_model", full_name)
    return _OpenAITranscriber(server, full_name.partition("/")[2])


class _OpenAITranscriber:
    def __init__(self, server: OpenAIServer, model: str) -> None:
        self._server = server
        self._model = model

    @property
    def takes(self) -> frozenset[str]:
        return _TAKES

    async def transcribe(self, name: str, mime_type: str, audio: bytes) -> str:
        """Asks a second time after what may pass: listening changes nothing there."""
        boundary = secrets.token_hex(16)
        body = _write_form(boundary, self._model, name, mime_type, audio)
        kind = f"multipart/form-data; boundary={boundary}"
        try:
            return await ask_again(
                lambda: self._ask(body, kind), _WAIT, attempts=2, longest=_LONGEST_WAIT
            )
        except KaiwaError as error:
            raise _in_our_words(error) from error

    async def _ask(self, body: bytes, kind: str) -> str:
        async with self._server.ask("/audio/transcriptions", body, self._model, kind) as answer:
            said = await answer.read(_MOST_ANSWER + 1)
        if len(said) > _MOST_ANSWER:
            raise self._server.fail("the server sent an answer that is too long")
        try:
            return msgspec.json.decode(said, type=_Answer).text.strip()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._server.fail("the server sent an answer that cannot be read") from error


def _write_form(boundary: str, model: str, name: str, mime_type: str, audio: bytes) -> bytes:
    fields = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in (("model", model), ("response_format", "json"))
    )
    head = (
        f'{fields}--{boundary}\r\nContent-Disposition: form-data; name="file";'
        f' filename="{name}"\r\nContent-Type: {mime_type}\r\n\r\n'
    )
    return b"".join((head.encode(), audio, f"\r\n--{boundary}--\r\n".encode()))


def _in_our_words(error: KaiwaError) -> KaiwaError:
    """The table of refusals speaks of models that chat."""
    if isinstance(error, PromptTooLong):
        return AudioTooLarge("The recording is larger than the service takes.")
    refusal = refusal_of(error)
    if refusal and refusal.status in _NO_ROUTE:
        about_model = "model" in refusal.sentence.lower()
        if not refusal.codes and not about_model:
            return ListeningNotSupported()
    return error
