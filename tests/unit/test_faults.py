"""What nobody has foreseen: a plain answer outside, and a line in the log that nobody can forge."""

import logging
from typing import cast
from urllib.parse import unquote

import msgspec
import pytest
from litestar import Request
from litestar.types import HTTPScope

from kaiwa.api.faults import AnyRequest, crash


def request_for(raw_path: bytes, host: bytes) -> AnyRequest:
    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(raw_path.decode()),
        "raw_path": raw_path,
        "query_string": b"",
        "headers": [(b"host", host)],
        "state": {"request_id": "0123"},
    }
    return Request(cast(HTTPScope, scope))


@pytest.mark.parametrize("host", [b"example.org", b"[::1", b"a b"])
def test_a_crash_is_logged_and_tells_nothing(host: bytes, caplog: pytest.LogCaptureFixture):
    request = request_for(b"/v1/messages/%0aERROR%20forged/suggested", host)
    answer = crash(request, ValueError("SELECT a secret"))
    assert answer.status_code == 500
    assert msgspec.json.decode(answer.content) == {
        "code": "internal_server_error",
        "message": "Internal Server Error, please contact support.",
        "status": 500,
    }
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "GET /v1/messages/%0aERROR%20forged/suggested failed (0123)"
    assert record.exc_info
