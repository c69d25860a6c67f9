"""Every error Kaiwa raises on purpose, with the code and status its client sees.

The docstring of a class is its default message. One handler in `api` renders them; on an open
stream they become an `error` event.
"""

from typing import ClassVar


class KaiwaError(Exception):
    """Internal Server Error, please contact support."""

    code: ClassVar[str] = "internal_server_error"
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str | None = None,
        *,
        params: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """`params` names the request field at fault; `retry_after` is in whole seconds."""
        self.message = message or (type(self).__doc__ or "").strip()
        self.params = params
        self.retry_after = retry_after
        super().__init__(self.message)


class Unauthorized(KaiwaError):
    """Access token is invalid"""

    code, status = "unauthorized", 401


class Forbidden(KaiwaError):
    """The app's API service has been disabled."""

    code, status = "forbidden", 403


class InvalidParam(KaiwaError):
    """The request is not valid."""

    code, status = "invalid_param", 400


class BadRequest(KaiwaError):
    """The browser (or proxy) sent a request that this server could not understand."""

    code, status = "bad_request", 400


class InvalidJson(BadRequest):
    """Invalid JSON payload received or JSON payload is empty."""


class UnsupportedMediaType(KaiwaError):
    """Did not attempt to load JSON data because the request Content-Type was not \
'application/json'."""

    code, status = "unsupported_media_type", 415


class BodyTooLarge(KaiwaError):
    """The data value transmitted exceeds the capacity limit."""

    code, status = "request_entity_too_large", 413


class NotFound(KaiwaError):
    """The requested URL was not found on the server."""

    code, status = "not_found", 404


class BaseNameTaken(KaiwaError):
    """The dataset name already exists. Please modify your dataset name."""

    code, status = "dataset_name_duplicate", 409


class BaseInUse(KaiwaError):
    """The dataset is being used by some apps. Please remove the dataset from the apps before \
deleting."""

    code, status = "dataset_in_use", 409


class DocumentArchived(KaiwaError):
    """The archived document is not editable."""

    code, status = "archived_document_immutable", 403


class InvalidAction(KaiwaError):
    """Invalid action."""

    code, status = "invalid_action", 400


class MethodNotAllowed(KaiwaError):
    """The method is not allowed for the requested URL."""

    code, status = "method_not_allowed", 405


class AppUnavailable(KaiwaError):
    """App unavailable, please check your app configurations."""

    code, status = "app_unavailable", 400


class NotChatApp(KaiwaError):
    """Please check if your app mode matches the right API route."""

    code, status = "not_chat_app", 400


class TooManyRequests(KaiwaError):
    """Too many requests. Please try again later."""

    code, status = "too_many_requests", 429


class ServiceUnavailable(KaiwaError):
    """The server is shutting down. Please try again in a moment."""

    code, status = "service_unavailable", 503


class StoreUnavailable(ServiceUnavailable):
    """The database cannot be written at the moment. Please try again later."""

    def __init__(self, message: str | None = None, *, retry_after: int | None = 2) -> None:
        super().__init__(message, retry_after=retry_after)


class ProviderNotInitialized(KaiwaError):
    """No valid model provider credentials found. Please configure the model provider."""

    code, status = "provider_not_initialize", 400


class ProviderQuotaExceeded(KaiwaError):
    """The quota of the model provider has been exhausted."""

    code, status = "provider_quota_exceeded", 400


class ModelNotSupported(KaiwaError):
    """The model provider does not know this model."""

    code, status = "model_currently_not_support", 400


class CompletionFailed(KaiwaError):
    """Completion request failed."""

    code, status = "completion_request_error", 400


class PromptTooLong(CompletionFailed):
    """Query or prefix prompt is too long, you can reduce the prefix prompt, or shrink the max \
token, or switch to a llm with a larger token limit size."""


class ModerationFailed(CompletionFailed):
    """What was said cannot be checked at the moment. Please try again later."""


class KnowledgeUnsearchable(CompletionFailed):
    """The knowledge base cannot be searched by meaning: its vectors are of another model."""


class PicturesNotSupported(CompletionFailed):
    """The model cannot look at pictures."""


class ToolsNotSupported(CompletionFailed):
    """The model cannot call tools."""


class ToolFailed(KaiwaError):
    """The tool has failed.

    Its message is for the model, which is told it as what came of the call.
    """


class Interrupted(CompletionFailed):
    """The answer was interrupted; what was said until then is kept."""


class NoFileUploaded(KaiwaError):
    """Please upload your file."""

    code, status = "no_file_uploaded", 400


class TooManyFiles(KaiwaError):
    """Only one file is allowed."""

    code, status = "too_many_files", 400


class FileTooLarge(KaiwaError):
    """File size exceeded."""

    code, status = "file_too_large", 413

    @classmethod
    def over(cls, limit: int, size: int) -> "FileTooLarge":
        """For `size` bytes, or more, where `limit` are allowed."""
        return cls(f"File size exceeded. {size} > {limit}")


class UnsupportedFileType(KaiwaError):
    """File type not allowed."""

    code, status = "unsupported_file_type", 415


class NoAudioUploaded(KaiwaError):
    """Please upload your audio."""

    code, status = "no_audio_uploaded", 400


class AudioTooLarge(KaiwaError):
    """The recording is too large."""

    code, status = "audio_too_large", 413

    @classmethod
    def over(cls, limit: int, _: int = 0) -> "AudioTooLarge":
        """For a recording of more than `limit` bytes."""
        return cls(f"Audio size larger than {limit / (1 << 20):.4g} MB ({limit} bytes)")


class UnsupportedAudioType(KaiwaError):
    """Audio type not allowed."""

    code, status = "unsupported_audio_type", 415


class ListeningNotSupported(KaiwaError):
    """Provider not support speech to text."""

    code, status = "provider_not_support_speech_to_text", 400


class FileMissing(KaiwaError):
    """File not found."""

    code, status = "file_not_found", 404


class FileNameMissing(KaiwaError):
    """The specified filename does not exist."""

    code, status = "filename_not_exists_error", 400


class UnsupportedPreview(KaiwaError):
    """This file cannot be previewed."""

    code, status = "unsupported_preview", 400


class UnsupportedEstimate(KaiwaError):
    """This file cannot be estimated."""

    code, status = "unsupported_estimate", 400


class FetchRefused(InvalidParam):
    """The file cannot be fetched."""


class BlobsUnavailable(KaiwaError):
    """The file storage cannot be reached. Please try again later."""

    code, status = "s3_connection_failed", 503

    def __init__(self, message: str | None = None, *, retry_after: int | None = 2) -> None:
        super().__init__(message, retry_after=retry_after)


class BlobsForbidden(KaiwaError):
    """The file storage does not let the server in."""

    code, status = "s3_permission_denied", 503


class BlobTooLarge(KaiwaError):
    """The file storage does not take a file of this size."""

    code, status = "s3_file_too_large", 503


class OperatorError(Exception):
    """Something the operator has to mend: a setting, a file, a port, a disk.

    Its message is one plain sentence; the command line prints it and exits with 1.
    """
