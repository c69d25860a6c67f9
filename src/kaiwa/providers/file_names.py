"""What a server calls the file it sends: `Content-Disposition`, or the end of the address."""

import re
from urllib.parse import unquote

from kaiwa.domain.disposition import read_names
from kaiwa.domain.text import clean


def name_file(disposition: str, path: str) -> str:
    """The file's name without directories, else as it is; "" when it has none.

    `disposition` is the header's value, `path` that of the address, still percent-encoded.
    """
    extended, plain = read_names(disposition)
    named = extended or plain or unquote(path.rpartition("/")[2])
    return re.split(r"[/\\]", clean(named))[-1]
