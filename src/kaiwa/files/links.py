"""Links to files: signed for one file and one use, good for a while."""

import hmac
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlencode
from uuid import UUID

from kaiwa.domain.file import StoredFile
from kaiwa.errors import OperatorError

Use = Literal["file-preview", "image-preview"]
PARAMETERS: Final = ("timestamp", "nonce", "sign")

_AHEAD: Final = 60
"""Seconds that another server's clock may be ahead of ours."""
_FILE: Final = "secret.key"


class Links:
    """Makes and checks them."""

    def __init__(self, secret: str, seconds: int) -> None:
        """`seconds`: how long a link is good."""
        self._secret = secret.encode()
        self.seconds = seconds

    def make(self, base: str, file: StoredFile, now: float, *, made: bool = False) -> str:
        """Below the server's address `base`; pictures, and what tools `made`, have other paths."""
        use: Use = "image-preview" if file.type == "image" and not made else "file-preview"
        path = f"tools/{file.id}.{file.extension}" if made else f"{file.id}/{use}"
        timestamp, nonce = str(int(now)), secrets.token_hex(16)
        sign = self._sign(use, file.id, timestamp, nonce)
        query = urlencode({"timestamp": timestamp, "nonce": nonce, "sign": sign})
        return f"{base}/files/{path}?{query}"

    def holds(self, use: Use, file_id: UUID, given: Mapping[str, str], now: float) -> bool:
        """Whether the query of a link is ours, for this file and this use, and not too old."""
        timestamp, nonce, sign = (given.get(name, "") for name in PARAMETERS)
        expected = self._sign(use, file_id, timestamp, nonce)
        if not hmac.compare_digest(expected.encode(), sign.encode("utf-8", "surrogateescape")):
            return False
        return -_AHEAD <= now - int(timestamp) <= self.seconds  # it is ours, so it is a number

    def _sign(self, use: Use, file_id: UUID, timestamp: str, nonce: str) -> str:
        said = f"{use}|{file_id}|{timestamp}|{nonce}".encode("utf-8", "surrogateescape")
        return urlsafe_b64encode(hmac.new(self._secret, said, sha256).digest()).decode()


def find_secret(folder: Path) -> str:
    """The installation's own, made in the data folder when it is not there yet.

    Of several processes that make it at once, one does. Raises `OperatorError`.
    """
    path = folder / _FILE
    try:
        if not path.exists():
            _make_secret(path)
        found = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise OperatorError(f"The file {path} cannot be read or made: {reason}.") from error
    if len(found) < 32:
        raise OperatorError(f"The file {path} holds no secret; remove it, and one is made anew.")
    return found


def check_secret(folder: Path) -> None:
    """Look at the installation's own; none is made.

    Raises `OperatorError` when others may read it, or nobody can.
    """
    path = folder / _FILE
    try:
        mode = path.stat().st_mode
    except OSError:  # there is none yet, or no folder that it could be in
        return
    if mode & 0o077:
        raise OperatorError(f"The file {path} is open to others; chmod 600 makes it its owner's.")
    find_secret(folder)


def _make_secret(path: Path) -> None:
    part = path.with_name(f"{_FILE}.{secrets.token_hex(8)}")
    held = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(held, secrets.token_urlsafe(48).encode())
        os.fsync(held)
    finally:
        os.close(held)
    try:
        os.link(part, path)
    except FileExistsError:
        pass  # another process was quicker: its is the one
    finally:
        part.unlink()
