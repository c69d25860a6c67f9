"""What model servers say instead of an answer, and what that means in our words.

All vendors share the one table below: statuses first seen at one of them turn up at the others.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from kaiwa.errors import (
    CompletionFailed,
    KaiwaError,
    ModelNotSupported,
    PicturesNotSupported,
    PromptTooLong,
    ProviderNotInitialized,
    ProviderQuotaExceeded,
    ToolsNotSupported,
)
from kaiwa.providers.http import redact

_PASSING: Final = frozenset({429, 500, 502, 503, 504, 529})
_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "service_unavailable": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class Asked(Struct, frozen=True):
    """What of a request tells how its refusal is meant."""

    model: str
    pictured: bool
    """Whether it carried pictures."""
    equipped: bool
    """Whether it carried tools."""


class Refusal(Struct, frozen=True):
    """An error as a server reported it."""

    provider: str
    asked: Asked
    status: int
    """The HTTP status; for an error inside a stream the one that fits it, 0 when none does."""
    codes: frozenset[str]
    """The error's `code` and `type`."""
    sentence: str
    """The server's words, redacted."""
    retry_after: float | None
    """Seconds."""
    keyed: bool
    """Whether the request carried a key."""

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.status in _PASSING and _find_rule(self) is None

    def to_error(self) -> KaiwaError:
        """The error of ours that it means."""
        rule = _find_rule(self)
        return rule.make(self) if rule else _failed(self)


class Refused(Exception):
    """Carries a refusal to whoever decides whether to ask again."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"HTTP {refusal.status}: {refusal.sentence}")
        self.refusal = refusal


class _Rule(Struct, frozen=True):
    """Fits by status, by code, or by words within an answer of status 4xx.

    One that is `about` something fits only requests that carried it; its words may come with any
    status.
    """

    make: Callable[[Refusal], KaiwaError]
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    words: re.Pattern[str] | None = None
    about: Callable[[Asked], bool] | None = None

    def fits(self, refusal: Refusal) -> bool:
        if self.about and not self.about(refusal.asked):
            return False
        if refusal.status in self.statuses or refusal.codes & self.codes:
            return True
        if self.words is None or (refusal.status >= 500 and not self.about):
            return False
        return bool(self.words.search(refusal.sentence))


def tools_not_supported(model: str) -> KaiwaError:
    """What everybody says of a model that cannot call tools."""
    return ToolsNotSupported(f"The model {model} cannot call tools.")


def _unauthorized(refusal: Refusal) -> KaiwaError:
    if refusal.keyed:
        return CompletionFailed("Incorrect API key provided")
    return ProviderNotInitialized(f"Model {refusal.asked.model} credentials is not initialized.")


def _failed(refusal: Refusal) -> KaiwaError:
    if refusal.status == 429:
        kind = "Rate Limit Error"
    elif 300 <= refusal.status < 500:
        kind = "Bad Request Error"
    else:
        kind = "Server Unavailable Error"
    return CompletionFailed(f"[{refusal.provider}] {kind}, {refusal.sentence}")


def _cannot(what: str, more: str) -> re.Pattern[str]:
    """Words that say that a model cannot do `what`; `more` are those of single servers."""
    quote = "['\"`]?"
    return re.compile(
        rf"\b(?:no|not|\w+n['’]t) (?:\w+ ){{0,3}}support (?:\w+ ){{0,2}}{quote}{what}"
        rf"|{what}{quote} (?:is |are )?(?:not (?:support(?:ed)?|enabled)|only supported by)\b"
        rf"|{more}",
        re.IGNORECASE,
    )


# What a model is said not to take; formats, sizes and addresses of pictures are other matters, and
# so are choosing among tools and calling several at once.
_SIGHT: Final = (
    r"(?:vision|multi-?modal|images?|image[ _](?:url|inputs?|content)(?: modality)?)"
    r"(?![\w/]| (?:format|type|url|link|size|file))"
)
_TOOLS: Final = r"(?<!parallel )\b(?:tools|(?:tool|function)[ _-](?:use|usage|calls?|calling))\b"
_RULES: Final = (
    _Rule(
        lambda refusal: PicturesNotSupported(
            f"The model {refusal.asked.model} cannot look at pictures."
        ),
        words=_cannot(
            _SIGHT,
            r"not a multi-?modal model|at most 0 image|data required for image input"
            r"|unknown variant .?image|content\W{1,5}(?:value )?must be a string",
        ),
        about=lambda asked: asked.pictured,
    ),
    _Rule(
        lambda refusal: tools_not_supported(refusal.asked.model),
        words=_cannot(
            _TOOLS,
            r"requires --enable-auto-tool-choice|tools param requires --jinja"
            r"|(?:unsupported param|arguments? supplied)\b[^.]*\btools\b",
        ),
        about=lambda asked: asked.equipped,
    ),
    _Rule(
        lambda _: ProviderQuotaExceeded(),
        statuses=frozenset({402}),
        codes=frozenset(
            {
                "insufficient_quota",
                "billing_error",
                "billing_not_active",
                "billing_hard_limit_reached",
            }
        ),
        words=re.compile(
            r"credit balance is too low|insufficient (?:balance|credits?|funds|quota)",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        lambda _: PromptTooLong(),
        statuses=frozenset({413}),
        codes=frozenset({"context_length_exceeded", "exceed_context_size_error"}),
        words=re.compile(
            r"context (?:length|window|size|limit)|too many (?:input|prompt) tokens"
            r"|(?:prompt|input|query|request|messages?|context)\b[^.]{0,40}\btoo long",
            re.IGNORECASE,
        ),
    ),
    _Rule(
        lambda refusal: ModelNotSupported(f"[{refusal.provider}] {refusal.sentence}"),
        statuses=frozenset({404}),
        codes=frozenset({"model_not_found", "not_found_error"}),
        words=re.compile(r"\bmodel\b.*\bdoes not exist", re.IGNORECASE),
    ),
    _Rule(
        _unauthorized,
        statuses=frozenset({401, 403}),
        codes=frozenset({"invalid_api_key", "authentication_error", "permission_error"}),
    ),
)


def _find_rule(refusal: Refusal) -> _Rule | None:
    return next((rule for rule in _RULES if rule.fits(refusal)), None)


class _Detail(Struct):
    message: Any = None
    code: Any = None
    type: Any = None


class _Body(Struct):
    error: _Detail | str | None = None
    message: Any = None
    detail: Any = None
    code: Any = None
    type: Any = None


_decode_body = msgspec.json.Decoder(_Body | list[_Body]).decode


class Interpreter(Struct, frozen=True):
    """Reads the refusals of one configured server."""

    provider: str
    secrets: tuple[str, ...]
    keyed: bool

    def read(self, asked: Asked, status: int, body: bytes, retry_after: str = "") -> Refusal:
        """The refusal in `body`; `status` is 0 for an error inside a stream."""
        message, codes = _read_body(body)
        if not status:
            status = next(iter(_statuses(codes)), 0)
        return Refusal(
            provider=self.provider,
            asked=asked,
            status=status,
            codes=frozenset(codes),
            sentence=redact(message, self.secrets) or f"the server answered with HTTP {status}",
            retry_after=_read_seconds(retry_after),
            keyed=self.keyed,
        )

    def fail(self, kind: str, sentence: str) -> KaiwaError:
        """The error for a failure that the server did not put into words."""
        return CompletionFailed(f"[{self.provider}] {kind}, {sentence}")


def _read_body(body: bytes) -> tuple[str, list[str]]:
    try:
        found = _decode_body(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode(errors="replace"), []
    first = found if isinstance(found, _Body) else next(iter(found), _Body())
    error = first.error
    if isinstance(error, str):
        return error, _texts(first.code, first.type)
    detail = error or _Detail(first.message or first.detail, first.code, first.type)
    message = detail.message if isinstance(detail.message, str) else body.decode(errors="replace")
    return message, _texts(detail.code, detail.type)


def _texts(*codes: object) -> list[str]:
    return [str(code) for code in codes if isinstance(code, (str, int))]


def _statuses(codes: Iterable[str]) -> Iterable[int]:
    for code in codes:
        if code in _STATUS_OF:
            yield _STATUS_OF[code]
        elif code.isdecimal() and 400 <= int(code) < 600:
            yield int(code)


def _read_seconds(text: str) -> float | None:
    """A Retry-After header: seconds or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
