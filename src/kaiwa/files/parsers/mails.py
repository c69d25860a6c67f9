"""E-mails: who wrote when to whom about what, the text, and the names of what is attached."""

from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from email.policy import default
from typing import Final

from kaiwa.files.parsers.pages import read_page
from kaiwa.files.parsers.texts import decode
from kaiwa.files.parsers.wire import Parsed

_HEADERS: Final = ("Subject", "From", "To", "Cc", "Date")


def read(data: bytes, extension: str, most: int) -> Parsed:
    return Parsed(None, _read_mail(message_from_bytes(data, policy=default)))


def _read_mail(mail: EmailMessage) -> Iterator[str]:
    found = [(name, str(mail[name])) for name in _HEADERS if mail[name]]
    if not found:
        raise ValueError("no header")
    for name, value in found:
        yield f"{name}: {value}\n"
    yield "\n"
    body = mail.get_body(("plain", "html"))
    if body is not None:
        yield _read_body(body)
    for part in mail.iter_attachments():
        if name := part.get_filename():
            yield f"\nAttachment: {name}"


def _read_body(body: MIMEPart) -> str:
    content: object = body.get_payload(decode=True)
    data = content if isinstance(content, bytes) else b""
    charset = body.get_content_charset("")
    try:
        text = data.decode(charset) if charset else decode(data)
    except (UnicodeError, LookupError):
        text = decode(data)
    return read_page(text) if body.get_content_subtype() == "html" else text
