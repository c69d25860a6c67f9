"""Every URL, on one page, and those of knowledge on the next.

The router, the OpenAPI document and tests are made from this table.
"""

from litestar.handlers import HTTPRouteHandler
from litestar.types import Empty

from kaiwa import errors
from kaiwa.api import (
    app_info,
    chat,
    conversations,
    files,
    messages,
    requests,
    speech,
    transcription,
    upload,
    wire,
    wire_app,
)
from kaiwa.api.route import STORE_ERRORS, Route
from kaiwa.api.routes_knowledge import KNOWLEDGE

_USER = "The end user, as your app names it; without one, the shared user `DEFAULT-USER`."
_MODEL_ERRORS = (
    errors.ProviderNotInitialized,
    errors.ProviderQuotaExceeded,
    errors.ModelNotSupported,
    errors.CompletionFailed,
)

_LINK = {
    "timestamp": "When the link was made, in seconds since 1970.",
    "nonce": "32 hexadecimal digits.",
    "sign": "The signature.",
    "as_attachment": "`true` to have it saved, not shown.",
}

ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/v1/chat-messages",
        chat.post_chat_message,
        wire.Answered,
        body=requests.ChatMessageRequest,
        streams=True,
        raises=(
            errors.InvalidParam,
            errors.AppUnavailable,
            errors.NotFound,
            errors.FileTooLarge,
            errors.UnsupportedFileType,
            *STORE_ERRORS,
            *_MODEL_ERRORS,
            errors.TooManyRequests,
            errors.ServiceUnavailable,
        ),
    ),
    Route(
        "POST",
        "/v1/chat-messages/{task_id}/stop",
        chat.post_stop,
        wire.Success,
        body=requests.UserRequest,
        raises=(errors.InvalidParam,),
    ),
    Route(
        "POST",
        "/v1/messages/{message_id}/approvals",
        chat.post_approval,
        wire.Answered,
        body=requests.ApprovalRequest,
        streams=True,
        raises=(
            errors.InvalidParam,
            errors.AppUnavailable,
            errors.NotFound,
            *STORE_ERRORS,
            *_MODEL_ERRORS,
            errors.TooManyRequests,
            errors.ServiceUnavailable,
        ),
    ),
    Route(
        "GET",
        "/v1/messages",
        messages.get_messages,
        wire.MessagePage,
        query={
            "*conversation_id": "The conversation.",
            "user": _USER,
            "first_id": "The first message of the page before; its older neighbours follow.",
            "limit": "Rows of the page: 1 to 100, 20 unless told.",
        },
        raises=(errors.InvalidParam, errors.NotFound),
    ),
    Route(
        "POST",
        "/v1/messages/{message_id}/feedbacks",
        messages.post_feedback,
        wire.Success,
        body=requests.FeedbackRequest,
        raises=(errors.InvalidParam, errors.NotFound),
    ),
    Route(
        "GET",
        "/v1/messages/{message_id}/suggested",
        messages.get_suggested,
        wire.Suggestions,
        query={"*user": "The end user, as your app names it."},
        raises=(errors.InvalidParam, errors.BadRequest, errors.NotFound),
    ),
    Route(
        "GET",
        "/v1/conversations",
        conversations.get_conversations,
        wire.ConversationPage,
        query={
            "user": _USER,
            "last_id": "The last conversation of the page before.",
            "limit": "Rows of the page: 1 to 100, 20 unless told.",
            "pinned": "`true` for pinned ones alone, `false` for the others.",
            "sort_by": "`created_at`, `-created_at`, `updated_at` or `-updated_at` (the default).",
        },
        raises=(errors.InvalidParam, errors.NotFound),
    ),
    Route(
        "DELETE",
        "/v1/conversations/{conversation_id}",
        conversations.delete_conversation,
        wire.Success,
        body=requests.OptionalUserRequest,
        body_required=False,
        raises=(errors.NotFound,),
    ),
    Route(
        "POST",
        "/v1/conversations/{conversation_id}/name",
        conversations.post_name,
        wire.RenamedBody,
        body=requests.NameRequest,
        raises=(errors.InvalidParam, errors.NotFound),
    ),
    Route(
        "PATCH",
        "/v1/conversations/{conversation_id}/pin",
        conversations.patch_pin,
        wire.RenamedBody,
        body=requests.OptionalUserRequest,
        body_required=False,
        raises=(errors.NotFound,),
    ),
    Route(
        "PATCH",
        "/v1/conversations/{conversation_id}/unpin",
        conversations.patch_unpin,
        wire.RenamedBody,
        body=requests.OptionalUserRequest,
        body_required=False,
        raises=(errors.NotFound,),
    ),
    Route(
        "POST",
        "/v1/files/upload",
        upload.post_upload,
        wire.UploadedFile,
        status=201,
        upload=True,
        raises=(
            errors.NoFileUploaded,
            errors.TooManyFiles,
            errors.FileNameMissing,
            errors.FileTooLarge,
            errors.UnsupportedFileType,
            errors.BodyTooLarge,
            *STORE_ERRORS,
        ),
    ),
    Route(
        "GET",
        "/v1/files/{file_id}/preview",
        files.get_preview,
        wire.Success,
        query={"user": _USER, "as_attachment": "`true` to have it saved, not shown."},
        sends_file=True,
        raises=(errors.FileMissing, errors.UnsupportedPreview, *STORE_ERRORS),
    ),
    Route(
        "POST",
        "/v1/files/{file_id}/estimate",
        files.post_estimate,
        wire.Estimate,
        body=requests.OptionalUserRequest,
        body_required=False,
        raises=(
            errors.FileMissing,
            errors.UnsupportedEstimate,
            errors.UnsupportedFileType,
            errors.FileTooLarge,
            *STORE_ERRORS,
        ),
    ),
    *(
        Route(
            "GET",
            path,
            handler,
            wire.Success,
            query=_LINK,
            key=False,
            sends_file=True,
            raises=(errors.InvalidParam, *refusals, *STORE_ERRORS),
        )
        for path, handler, refusals in (
            ("/files/{file_id}/file-preview", files.get_file_preview, (errors.NotFound,)),
            ("/files/{file_id}/image-preview", files.get_image_preview, (errors.NotFound,)),
            (
                "/files/tools/{name}",
                files.get_tool_file,
                (errors.Forbidden, errors.UnsupportedFileType),
            ),
        )
    ),
    Route(
        "POST",
        "/v1/text-to-audio",
        speech.post_text_to_audio,
        wire.Success,
        body=requests.SpeechRequest,
        forms=True,
        sends_sound=True,
        raises=(errors.InvalidParam, errors.NotFound, *_MODEL_ERRORS, errors.TooManyRequests),
    ),
    Route(
        "POST",
        "/v1/audio-to-text",
        transcription.post_audio_to_text,
        wire.Transcription,
        upload=True,
        raises=(
            errors.NoAudioUploaded,
            errors.InvalidParam,
            errors.AppUnavailable,
            errors.TooManyFiles,
            errors.AudioTooLarge,
            errors.UnsupportedAudioType,
            errors.BodyTooLarge,
            errors.BlobsUnavailable,
            errors.ListeningNotSupported,
            *_MODEL_ERRORS,
        ),
    ),
    *KNOWLEDGE,
    Route("GET", "/v1/parameters", app_info.get_parameters, wire_app.Parameters),
    Route("GET", "/v1/meta", app_info.get_meta, wire_app.Meta),
    Route("GET", "/v1/info", app_info.get_info, wire_app.Info),
    Route("GET", "/v1/site", app_info.get_site, wire_app.SiteBody),
    Route("GET", "/v1/", app_info.get_welcome, wire.Welcome, key=False),
    Route("GET", "/healthz", app_info.get_healthz, wire.Health, key=False),
    Route(
        "GET",
        "/readyz",
        app_info.get_readyz,
        wire.Health,
        key=False,
        raises=(errors.ServiceUnavailable,),
    ),
)


def handlers() -> list[HTTPRouteHandler]:
    """The table as the web framework wants it."""
    return [
        HTTPRouteHandler(
            [path.replace("}", ":str}") for path in (route.path, *route.also)],
            http_method=route.method,
            status_code=route.status,
            request_max_body_size=None if route.upload else Empty,
            include_in_schema=False,
        )(route.handler)
        for route in ROUTES
    ]
