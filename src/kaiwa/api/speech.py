"""Answers and texts, read aloud: sound that is sent while it is made."""

import logging
from collections.abc import AsyncGenerator
from typing import Final, cast
from uuid import UUID

import anyio
import anyio.to_thread
from litestar import MediaType, Response
from litestar.types import ASGIApp, Receive, Scope, Send

from kaiwa.api.auth import authorise
from kaiwa.api.body import Body, read_uuid, user_or_default
from kaiwa.api.form_fields import read_fields
from kaiwa.api.serving import notice_leaving
from kaiwa.api.site import ApiRequest, Site, site_of
from kaiwa.domain.app import Caller, SpeechConfig
from kaiwa.domain.spoken import speakable
from kaiwa.domain.text import as_text
from kaiwa.errors import InvalidParam, KaiwaError, NotFound, ProviderNotInitialized, TooManyRequests
from kaiwa.ports import AudioFormat
from kaiwa.store.messages import find_message

logger = logging.getLogger(__name__)

MIME_TYPES: Final[dict[AudioFormat, str]] = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_ASKED: Final[dict[AudioFormat, tuple[str, ...]]] = {
    "wav": ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
    "mp3": ("audio/mpeg", "audio/mp3"),
}
_LONGEST_VOICE: Final = 200
_UNSAID: Final = 10
"""So many times what is said may a text be, with its code and marks."""
_SLICE: Final = 65_536
"""Bytes of one write, which a client has to take in time."""
_WAIT: Final = 2
"""Seconds after which one who was refused may ask again."""


async def post_text_to_audio(request: ApiRequest) -> ASGIApp:
    """Read an answer or a text aloud; `null` when nothing in it can be."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    body = await read_fields(request)
    user = user_or_default(body)
    speech = caller.config.speech
    if speech is None:
        raise InvalidParam("TTS is not enabled")
    voice = as_text(body.get("voice") or "").strip()
    if len(voice) > _LONGEST_VOICE:
        raise InvalidParam(f"voice is longer than {_LONGEST_VOICE} characters", params="voice")
    text = await _read(await _find_text(site, caller, user, body), site.settings.longest_speech)
    if not text:
        return cast(ASGIApp, Response(b"null", media_type=MediaType.JSON, status_code=200))
    if site.speaker is None:
        raise ProviderNotInitialized("Default model not found for tts")
    audio = choose_format(request.headers.get("accept", ""), speech)
    pieces = site.speaker.speak(text, voice or speech.voice, speech.language, audio)
    return _SpeechStream(MIME_TYPES[audio], pieces, site)


async def _find_text(site: Site, caller: Caller, user: str, body: Body) -> str:
    """What is to be read. Raises `NotFound` for a message that is not this end user's."""
    message_id: UUID | None = read_uuid(body.get("message_id"), "message_id")
    if message_id:
        message = await find_message(site.db, caller.app.id, user, message_id)
        if message is None:
            raise NotFound("Message Not Exists.")
        return message.answer
    text = body.get("text")
    given = "" if text is None else as_text(text)
    if not given.strip():
        raise InvalidParam("Text is required")
    return given


async def _read(text: str, longest: int) -> str:
    """What is said of it, of at most so many characters; what is not said may be some more."""
    said = ""
    if len(text) <= _UNSAID * longest:
        said = await anyio.to_thread.run_sync(speakable, text)
    if len(text) > _UNSAID * longest or len(said) > longest:
        raise InvalidParam(f"The text is longer than {longest} characters.", params="text")
    return said


def choose_format(accept: str, speech: SpeechConfig) -> AudioFormat:
    """The one kind of sound that the client takes, else the app's."""
    taken = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    wav, mp3 = (bool(taken.intersection(_ASKED[audio])) for audio in ("wav", "mp3"))
    if wav == mp3:
        return speech.format
    return "mp3" if mp3 else "wav"


class _SpeechStream:
    """Sends sound to one client; ends, and the voice with it, when the client leaves.

    What goes wrong before the first piece is refused with its status; later the connection breaks,
    so that half a text is not taken for the whole.
    """

    def __init__(self, mime_type: str, pieces: AsyncGenerator[bytes], site: Site) -> None:
        self._pieces = pieces
        self._free = site.speaking
        self._patience = site.settings.patience
        self._begun = False
        self._headers = [
            (b"content-type", mime_type.encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock as error:
            message = "Too many texts are being read aloud. Please try again later."
            raise TooManyRequests(message, retry_after=_WAIT) from error
        try:
            refusal = await self._attend(receive, send)
        finally:
            self._free.release()
        if refusal and not self._begun:
            raise refusal

    async def _attend(self, receive: Receive, send: Send) -> KaiwaError | None:
        """Returns what is to be refused: a task group would wrap it, were it raised."""
        refusal = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notice_leaving, receive, tasks.cancel_scope)
            try:
                await self._send_all(send)
            except KaiwaError as error:
                refusal = error
                if self._begun:
                    logger.warning("the rest of a text cannot be read aloud: %s", error.message)
            except (OSError, TimeoutError):
                logger.info("a client did not take the rest of what is read aloud")
            finally:
                with anyio.CancelScope(shield=True):
                    await self._pieces.aclose()
            tasks.cancel_scope.cancel()
        return refusal

    async def _send_all(self, send: Send) -> None:
        async for piece in self._pieces:
            if not self._begun:
                self._begun = True
                await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            for start in range(0, len(piece), _SLICE):
                body = piece[start : start + _SLICE]
                with anyio.fail_after(self._patience):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
