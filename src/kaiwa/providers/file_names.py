"""What a server calls the file it sends: `Content-Disposition`, or the end of the address."""

import re
from typing import Final
from urllib.parse import unquote

from kaiwa.domain.text import clean

_PARAMETER: Final = re.compile(
    r""";\s*(?P<name>filename\*?)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^;"\s]*))""",
    re.IGNORECASE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_CHARSETS: Final = ("utf-8", "iso-8859-1")


def name_file(disposition: str, path: str) -> str:
    """The file's name without directories, else as it is; "" when it has none.

    `disposition` is the header's value, `path` that of the address, still percent-encoded.
    """
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(disposition):
        quoted: str | None = match["quoted"]
        value = match["bare"] if quoted is None else _ESCAPE.sub(r"\1", quoted)
        found.setdefault(match["name"].lower(), value)
    named = (
        _decode(found.get("filename*", ""))
        or found.get("filename", "")
        or unquote(path.rpartition("/")[2])
    )
    return re.split(r"[/\\]", clean(named))[-1]


def _decode(extended: str) -> str:
    """The text of RFC 5987's `charset'language'value`, "" when it is none."""
    charset, _, rest = extended.partition("'")
    _, quote, value = rest.partition("'")
    if not quote or charset.lower() not in _CHARSETS:
        return ""
    return unquote(value, charset, "replace")
