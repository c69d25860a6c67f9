"""What an object store's failure means, in one plain sentence.

obstore has classes for the few; most it raises are one class, and their text has to be read. It
holds addresses and pieces of answers, so it is logged in part and never shown.
"""

import errno
import logging
import re
from collections.abc import Callable
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from kaiwa.errors import BlobsForbidden, BlobsUnavailable, BlobTooLarge, KaiwaError, NotFound

logger = logging.getLogger(__name__)

Fault = BaseError | OSError
FAULTS: Final = (BaseError, OSError)
"""What obstore and the file system raise."""

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_ERRNO: Final = re.compile(r"\(os error (\d+)\)")
_REASON_LENGTH: Final = 300

_FULL_CODES: Final = {"QuotaExceeded", "StorageFull", "XMinioStorageFull"}
_BUCKET_CODES: Final = {"ContainerNotFound", "NoSuchBucket"}
_LARGE_CODES: Final = {"EntityTooLarge", "RequestBodyTooLarge"}
_REGION_CODES: Final = {"AuthorizationHeaderMalformed", "PermanentRedirect"}
_CLOCK_CODES: Final = {"RequestTimeTooSkewed", "RequestExpired"}
_KEY_CODES: Final = {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
_FORBIDDEN_CODES: Final = {"AccessDenied", "AllAccessDisabled", "AuthenticationFailed"}
_BUSY_CODES: Final = {"ServerBusy", "SlowDown", "TooManyRequests"}
_METADATA: Final = ("/latest/api/token", "/latest/meta-data", "/computeMetadata/", "/metadata/")
"""Where a machine in a cloud is asked for its credentials when none are set."""


def explain(fault: Fault, *, writing: bool = False) -> KaiwaError:
    """The error to raise for it; while writing, what is not found is never the file itself."""
    error = _explain(fault, writing)
    if not isinstance(error, NotFound):
        logger.warning("File storage: %s", reason_of(fault))
    return error


def reason_of(fault: Exception) -> str:
    """What it says, without the answer's body, and without what may be secret in addresses."""
    line = str(fault).strip().partition("\n")[0].partition("<")[0]
    line = re.sub(r"//[^/@\s]*@", "//", re.sub(r"\?\S+", "", line))
    return line.strip(" :")[:_REASON_LENGTH]


def is_past_the_end(fault: BaseError) -> bool:
    """Whether the range asked for begins where the object has ended."""
    text = str(fault)
    return "StartTooLarge" in text or "Wanted range starting" in text or _status(text) == 416


def _explain(fault: Fault, writing: bool) -> KaiwaError:
    text = str(fault)
    code = match[1] if (match := _CODE.search(text)) else ""
    for find in (_of_access, _of_space, _of_state):
        if error := find(fault, text, code):
            return error
    if isinstance(fault, FileNotFoundError) or _status(text) == 404:
        return _of_absence(text, code, writing)
    return BlobsUnavailable()


_Find = Callable[[Fault, str, str], KaiwaError | None]


def _of_access(fault: Fault, text: str, code: str) -> KaiwaError | None:
    number = _errno(fault, text)
    if number in (errno.EACCES, errno.EPERM):
        return BlobsForbidden("The server may not use the folder of the file storage.")
    if number == errno.EROFS:
        return BlobsForbidden("The folder of the file storage is read-only.")
    if any(path in text for path in _METADATA):
        return BlobsForbidden("The server has no credentials for the file storage.")
    if code in _REGION_CODES or "incorrectly configured region" in text:
        return BlobsForbidden("The file storage is in another region than the one that is set.")
    if code in _CLOCK_CODES:
        return BlobsForbidden("The server's clock differs from the one of the file storage.")
    if code in _KEY_CODES:
        return BlobsForbidden("The file storage does not accept the server's credentials.")
    denied = isinstance(fault, PermissionDeniedError | UnauthenticatedError)
    if denied or code in _FORBIDDEN_CODES or _status(text) in (401, 403):
        return BlobsForbidden()
    return None


def _of_space(fault: Fault, text: str, code: str) -> KaiwaError | None:
    number, status = _errno(fault, text), _status(text)
    if status == 413 or code in _LARGE_CODES or number == errno.EFBIG:
        return BlobTooLarge()
    if status == 507 or code in _FULL_CODES or number in (errno.ENOSPC, errno.EDQUOT):
        return BlobsUnavailable("The file storage is full. Please try again later.")
    return None


def _of_state(fault: Fault, text: str, code: str) -> KaiwaError | None:
    if code in _BUSY_CODES or _status(text) in (429, 503):
        return BlobsUnavailable("The file storage is too busy. Please try again later.")
    if isinstance(fault, TimeoutError) or "TimedOut" in text:
        return BlobsUnavailable("The file storage did not answer in time. Please try again later.")
    return None


def _of_absence(text: str, code: str, writing: bool) -> KaiwaError:
    if code in _BUCKET_CODES or (writing and _status(text) == 404):
        return BlobsUnavailable("The bucket of the file storage does not exist.")
    if writing:
        return BlobsUnavailable("The folder of the file storage is not there.")
    return NotFound("The file is not there.")


def _status(text: str) -> int:
    return int(match[1]) if (match := _STATUS.search(text)) else 0


def _errno(fault: Fault, text: str) -> int:
    if isinstance(fault, OSError) and fault.errno:
        return fault.errno
    return int(match[1]) if (match := _ERRNO.search(text)) else 0
