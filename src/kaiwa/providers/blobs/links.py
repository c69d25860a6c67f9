"""Links to S3 that answer with headers of our choice.

obstore signs addresses, but not those headers; so its link is signed once more with them. Source:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

_SIGNATURE = "X-Amz-Signature"


def sign_again(link: str, answer: Mapping[str, str], secret: str) -> str | None:
    """The link with these parameters too; None when it was not signed with this secret."""
    address = urlsplit(link)
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    signature = query.pop(_SIGNATURE, "")
    if not hmac.compare_digest(_sign(address.netloc, address.path, query, secret), signature):
        return None
    query |= answer
    query[_SIGNATURE] = _sign(address.netloc, address.path, query, secret)
    return urlunsplit(address._replace(query=_encode(query)))


def _sign(host: str, path: str, query: Mapping[str, str], secret: str) -> str:
    scope = query.get("X-Amz-Credential", "").partition("/")[2]
    asked = f"GET\n{path}\n{_encode(query)}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(asked.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{query.get('X-Amz-Date', '')}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _encode(query: Mapping[str, str]) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(query[name], safe="-_.~")) for name in query)
    return "&".join(f"{name}={value}" for name, value in pairs)
