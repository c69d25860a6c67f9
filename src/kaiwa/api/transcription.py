"""What somebody says → text, for a client to send as a question or not; nothing of it is kept."""

import anyio
from litestar import Response

from kaiwa.api import wire
from kaiwa.api.auth import authorise
from kaiwa.api.form import Form
from kaiwa.api.site import ApiRequest, Listening, site_of
from kaiwa.errors import (
    AudioTooLarge,
    CompletionFailed,
    InvalidParam,
    NoAudioUploaded,
    ProviderNotInitialized,
)
from kaiwa.files.recordings import Recording, check_declared


async def post_audio_to_text(request: ApiRequest) -> Response[wire.Transcription]:
    """What is said in a recording, as text."""
    site = site_of(request)
    caller = await authorise(request, site.db)
    listening = site.listening
    form = Form(request, listening.recordings.most, NoAudioUploaded)
    if caller.config.speech_to_text:
        form.check_length(AudioTooLarge.over)
    segment = await form.find_file()
    if not caller.config.speech_to_text:
        raise InvalidParam("Speech to text is not enabled")
    check_declared(segment.content_type or "")
    async with listening.recordings.take(form.read_file(), listening.takes) as recording:
        form.user()  # only that it can be one: whoever only speaks is no end user yet
        return Response(wire.Transcription(await _transcribe(listening, recording)))


async def _transcribe(listening: Listening, recording: Recording) -> str:
    if listening.transcriber is None:
        raise ProviderNotInitialized("Default model not found for speech2text")
    with anyio.move_on_after(listening.seconds):
        return await listening.transcriber.transcribe(
            recording.name, recording.mime_type, recording.data
        )
    raise CompletionFailed(f"Nothing was heard within {listening.seconds:g} seconds.")
