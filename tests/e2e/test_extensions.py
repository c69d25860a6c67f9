"""What the command line tells of services that moderate and fill variables."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.process import call
from tests.support.apps import app_file
from tests.support.moderating import moderated

KEY = "sk-very-secret"
TOOL = {"variable": "weather", "type": "api", "config": {"api_based_extension_id": "ward"}}


@contextmanager
def extension(status: int) -> Generator[str]:
    """Answers every POST with this status, 401 those without the key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status if KEY in str(self.headers) else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (200, None),
        (404, None),
        (500, "it answered with HTTP 500"),
        (401, "it answered with HTTP 401"),
    ],
)
def test_doctor_asks_an_extension_for_a_sign_of_life(
    tmp_path: Path, status: int, problem: str | None
) -> None:
    with extension(status) as url:
        done = call(
            tmp_path, "doctor", "--json",
            KAIWA_EXTENSIONS_WARD_ENDPOINT=url, KAIWA_EXTENSIONS_WARD_API_KEY=KEY,
        )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["extensions"] == [{"name": "ward", "problem": problem}]
    told = [f"The extension ward cannot be used: {problem}."] if problem else []
    assert found["problems"] == told
    assert KEY not in done.stdout


def test_an_app_that_wants_what_is_not_set_up_is_told_of(tmp_path: Path) -> None:
    guarded = app_file(
        name="Guarded", sensitive_word_avoidance=moderated("api"), external_data_tools=[TOOL]
    )
    (tmp_path / "guarded.yml").write_text(guarded)
    watched = moderated("openai_moderation")
    (tmp_path / "watched.yml").write_text(
        app_file(sensitive_word_avoidance=watched, kaiwa={"moderation_down": "open"})
    )
    applied = call(tmp_path, "app", "apply", "guarded.yml", "watched.yml")
    assert applied.returncode == 0
    lines = applied.stdout + applied.stderr
    wanting = "the extension ward, which fills weather, is not in the settings"
    for line in (
        f"{wanting}; no question can be answered",
        "the extension ward, which moderates, is not in the settings; nothing can be said",
        "the model server openai, which moderates, is not in the settings; all is said unchecked",
    ):
        assert line in lines
    found = call(tmp_path, "doctor")
    assert found.returncode == 1
    assert f"Problem: In the app Guarded, {wanting}" in found.stdout


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("ENDPOINT", "ftp://x", "The setting extensions.ward.endpoint must be an address"),
        ("API_KEY", "two words ", "The setting extensions.ward.api_key must be one line"),
        ("COLOUR", "red", "The setting extensions.ward is wrong: Object contains unknown field"),
    ],
)
def test_an_extension_that_is_none_is_refused_at_the_start(
    tmp_path: Path, option: str, value: str, sentence: str
) -> None:
    variables = {
        "KAIWA_EXTENSIONS_WARD_ENDPOINT": "http://127.0.0.1:9",
        f"KAIWA_EXTENSIONS_WARD_{option}": value,
    }
    done = call(tmp_path, "serve", **variables)
    assert done.returncode == 1
    assert sentence in done.stderr
