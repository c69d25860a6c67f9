"""The file names that a `Content-Disposition` gives, as RFC 6266 has them."""

import re
from typing import Final
from urllib.parse import unquote

_PARAMETER: Final = re.compile(
    r""";\s*(?P<name>filename\*?)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^;"\s]*))""",
    re.IGNORECASE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_CHARSETS: Final = ("utf-8", "iso-8859-1")


def read_names(disposition: str) -> tuple[str, str]:
    """What `filename*` says, which is to be preferred, and what `filename` does; "" for none."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(disposition):
        quoted: str | None = match["quoted"]
        value = match["bare"] if quoted is None else _ESCAPE.sub(r"\1", quoted)
        found.setdefault(match["name"].lower(), value)
    return _decode(found.get("filename*", "")), found.get("filename", "")


def _decode(extended: str) -> str:
    """The text of RFC 5987's `charset'language'value`, "" when it is none."""
    charset, _, rest = extended.partition("'")
    _, quote, value = rest.partition("'")
    if not quote or charset.lower() not in _CHARSETS:
        return ""
    return unquote(value, charset, "replace")
