"""Knowledge bases by the command line; workers that are killed, and the next that go on."""

import re
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kaiwa.domain.knowledge import Document
from kaiwa.store.db import Database
from kaiwa.store.documents import list_documents
from kaiwa.store.knowledge import find_base_by_name
from kaiwa.store.postgres import open_postgres
from kaiwa.store.sqlite import open_sqlite
from kaiwa.store.tables import DEFAULT_WORKSPACE
from tests.e2e.process import KAIWA, call, clean_environment, make_key, run, serving
from tests.files.documents import make_docx
from tests.support.apps import app_file
from tests.support.embedding_process import EmbeddingServer, embedding_server
from tests.support.ingesting import read_contents, read_vectors_of, text_of
from tests.support.turns import run_apart

PARAGRAPHS = 400
SETTLED = ("completed", "error")


def fill(folder: Path) -> Path:
    """A folder of documents, one of which is none."""
    below = folder / "papers" / "deep"
    below.mkdir(parents=True)
    (below / "order.docx").write_bytes(make_docx())
    (below / "灯台.txt").write_bytes("灯台守はカモメを数えています。".encode("shift_jis"))
    (below.parent / "gulls.md").write_text("# Gulls\n\nThe keeper counts gulls at dawn.")
    (below.parent / "program.exe").write_bytes(b"MZ")
    (below.parent / ".hidden.txt").write_text("secret")
    return folder / "papers"


def test_a_base_is_made_filled_searched_and_deleted(tmp_path: Path):
    papers = fill(tmp_path)
    made = call(tmp_path, "knowledge", "create", "Papers", "--description", "All", "--economy")
    base = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    added = call(tmp_path, "knowledge", "add", "Papers", str(papers))
    assert (added.returncode, added.stderr) == (0, "3 added, 0 replaced, 0 unchanged, 0 failed.\n")
    listed = call(tmp_path, "knowledge", "list").stdout
    assert re.fullmatch(rf"{base} +3  words  Papers\n", listed)
    status = call(tmp_path, "knowledge", "status", base).stdout
    assert status.count("available") == 3
    assert "灯台.txt" in status
    found = call(tmp_path, "knowledge", "search", "Papers", "who counts gulls?").stdout
    assert "gulls.md #1" in found.splitlines()[0]
    assert "The keeper counts gulls at dawn." in found
    assert "灯台.txt" in call(tmp_path, "knowledge", "search", base, "カモメ").stdout
    gone = call(tmp_path, "knowledge", "delete", "Papers", "--document", "gulls.md")
    assert "Deleted gulls.md" in gone.stderr
    assert call(tmp_path, "knowledge", "search", "Papers", "gulls").stdout == ""
    assert call(tmp_path, "knowledge", "delete", base).returncode == 0
    assert call(tmp_path, "knowledge", "list").stdout == ""


def test_a_base_that_apps_answer_from_is_not_deleted(tmp_path: Path):
    base = call(tmp_path, "knowledge", "create", "Papers", "--economy").stdout.strip()
    for name, named in (("Reader", "Papers"), ("Clerk", base)):
        make_key(tmp_path, app_file(name=name, kaiwa={"knowledge": named}))
    kept = call(tmp_path, "knowledge", "delete", "Papers")
    assert (kept.returncode, kept.stderr) == (
        1,
        "Error: Papers is not deleted, because apps answer from it: Clerk, Reader. Apply them"
        " without it first, or delete them.\n",
    )
    make_key(tmp_path, app_file(name="Reader"))
    call(tmp_path, "app", "delete", "Clerk")
    assert call(tmp_path, "knowledge", "delete", "Papers").returncode == 0


def test_to_add_again_leaves_what_is_the_same_and_replaces_what_is_not(tmp_path: Path):
    papers = fill(tmp_path)
    call(tmp_path, "knowledge", "create", "Papers")
    call(tmp_path, "knowledge", "add", "Papers", str(papers))
    again = call(tmp_path, "knowledge", "add", "Papers", str(papers))
    assert again.stderr == "0 added, 0 replaced, 3 unchanged, 0 failed.\n"
    (papers / "gulls.md").write_text("The keeper counts puffins now.")
    changed = call(tmp_path, "knowledge", "add", "Papers", str(papers / "gulls.md"))
    assert changed.stderr == "0 added, 1 replaced, 0 unchanged, 0 failed.\n"
    assert "puffins" in call(tmp_path, "knowledge", "search", "Papers", "puffins").stdout
    assert call(tmp_path, "knowledge", "search", "Papers", "dawn").stdout == ""
    other = ["--separator", " ", "--max-tokens", "50", "--overlap", "0"]
    cut = call(tmp_path, "knowledge", "add", "Papers", str(papers / "gulls.md"), *other)
    assert cut.stderr == "0 added, 1 replaced, 0 unchanged, 0 failed.\n"
    assert "5/5" in call(tmp_path, "knowledge", "status", "Papers").stdout


def test_what_cannot_be_added_is_told_and_the_others_are_added(tmp_path: Path):
    call(tmp_path, "knowledge", "create", "Papers")
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4 broken")
    (tmp_path / "large.txt").write_bytes(b"x" * 2000)
    sources = ("good.txt", "bad.pdf", "large.txt", "http://127.0.0.1:9/page")
    done = call(tmp_path, "knowledge", "add", "Papers", *sources, KAIWA_DOCUMENT_LIMIT=1000)
    assert done.returncode == 1
    *told, counts = done.stderr.splitlines()
    # The broken one was added, for only reading it tells.
    assert counts == "2 added, 0 replaced, 0 unchanged, 3 failed."
    text = "\n".join(told)
    for name in ("bad.pdf: The document is broken.", "large.txt: ", "http://127.0.0.1:9/page: "):
        assert name in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "Nope", "x"),
        ("status", "Nope"),
        ("search", "Nope", "x"),
        ("delete", "Nope"),
        ("create", "x" * 41),
        ("create", "Taken"),
        ("create", "New", "--embedding", "nonsense"),
        ("add", "Taken", "missing.txt"),
        ("add", "Taken", "empty"),
        ("delete", "Taken", "--document", "x"),
        ("key", "revoke", "dataset-none"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...]):
    (tmp_path / "empty").mkdir()
    call(tmp_path, "knowledge", "create", "Taken")
    done = run(tmp_path, "knowledge", *arguments)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: .+\.\n", done.stderr)


def test_keys_are_made_listed_and_revoked(tmp_path: Path):
    key = call(tmp_path, "knowledge", "key", "create").stdout.strip()
    assert re.fullmatch(r"dataset-[A-Za-z0-9]{24}", key)
    call(tmp_path, "knowledge", "key", "create")
    assert f"{key[:12]}…" in call(tmp_path, "knowledge", "key", "list").stdout
    assert call(tmp_path, "knowledge", "key", "revoke", key[:-1] + "!").returncode == 1
    assert call(tmp_path, "knowledge", "key", "revoke", key).returncode == 0
    assert call(tmp_path, "knowledge", "key", "revoke", key).returncode == 1
    assert call(tmp_path, "knowledge", "key", "list").stdout.count("works") == 1


def test_a_server_works_on_what_a_command_leaves_to_it(tmp_path: Path):
    call(tmp_path, "knowledge", "create", "Papers")
    (tmp_path / "page.txt").write_text("The keeper counts gulls.")
    with serving(tmp_path):
        left = call(tmp_path, "knowledge", "add", "Papers", "page.txt", "--no-wait")
        assert left.stderr == "1 added, 0 replaced, 0 unchanged, 0 failed.\n"
        _wait(lambda: "available" in call(tmp_path, "knowledge", "status", "Papers").stdout)


class _Site(BaseHTTPRequestHandler):
    page = "<title>About</title><p>The keeper counts gulls at dawn.</p>"

    def do_GET(self) -> None:
        kind = "image/png" if self.path == "/picture" else "text/html; charset=utf-8"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(self.page.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_pages_are_fetched_from_allowed_addresses_and_again_when_they_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    call(tmp_path, "knowledge", "create", "Pages")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"

    def add(path: str) -> str:
        allowed = {"KAIWA_FETCH_NETWORKS": "127.0.0.0/8"}
        return call(tmp_path, "knowledge", "add", "Pages", url + path, **allowed).stderr

    try:
        assert add("/about?of=us") == "1 added, 0 replaced, 0 unchanged, 0 failed.\n"
        assert add("/about?of=us") == "0 added, 0 replaced, 1 unchanged, 0 failed.\n"
        monkeypatch.setattr(_Site, "page", "<p>Puffins now.</p>")
        assert add("/about?of=us") == "0 added, 1 replaced, 0 unchanged, 0 failed.\n"
        assert "image/png, cannot be read" in add("/picture")
    finally:
        server.shutdown()
        server.server_close()
    assert "about.html" in call(tmp_path, "knowledge", "status", "Pages").stdout
    assert "Puffins" in call(tmp_path, "knowledge", "search", "Pages", "puffins").stdout


# Workers that are killed


@contextmanager
def working(folder: Path, database_url: str) -> Generator["subprocess.Popen[bytes]"]:
    variables = clean_environment(KAIWA_DATABASE_URL=database_url, KAIWA_ABANDONED_AFTER=1)
    with subprocess.Popen([KAIWA, "worker"], cwd=folder, env=variables) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def prepare(folder: Path, url: str, server: EmbeddingServer) -> None:
    """A base by this server, and a document that waits."""
    (folder / "kaiwa.toml").write_text(
        f'[providers.own]\nkind = "openai"\nbase_url = "{server.url}"\n'
    )
    (folder / "page.txt").write_bytes(text_of(PARAGRAPHS))
    run_ok(folder, url, "knowledge", "create", "Papers", "--embedding", "own/small")
    rule = ("--separator", "\\n\\n", "--overlap", "0", "--no-wait")
    run_ok(folder, url, "knowledge", "add", "Papers", "page.txt", *rule)


def run_ok(folder: Path, url: str, *arguments: str) -> None:
    done = call(folder, *arguments, KAIWA_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr


def look(folder: Path, url: str) -> tuple[Document, list[str], list[bytes]]:
    """The document, what is found of it, and all its vectors."""
    found: list[tuple[Document, list[str], list[bytes]]] = []

    async def read() -> None:
        path = folder / "data" / "kaiwa.db"
        db: Database = await (open_postgres(url) if url else open_sqlite(path))
        base = await find_base_by_name(db, DEFAULT_WORKSPACE, "Papers")
        assert base
        (document,), _ = await list_documents(db, base.id)
        contents = await read_contents(db, document)
        found.append((document, contents, await read_vectors_of(db, document.id)))
        await db.close()

    run_apart(read)
    return found[0]


def _wait(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("step", ["parsing", "splitting", "indexing", "late"])
def test_a_killed_worker_is_followed_by_one_that_goes_on(
    tmp_path: Path, database_url: str, step: str
):
    with embedding_server(tmp_path, seconds=0.15) as server:
        prepare(tmp_path, database_url, server)

        def reached() -> bool:
            document, contents, _ = look(tmp_path, database_url)
            assert document.status in SETTLED or not contents
            if step == "late":
                return document.segments_done >= 128
            return document.status in (step, "indexing", *SETTLED)

        with working(tmp_path, database_url) as first:
            _wait(reached)
            first.kill()
            first.wait()
        half, nothing, _ = look(tmp_path, database_url)
        assert half.status not in SETTLED
        assert nothing == []
        before = len(server.texts())
        with working(tmp_path, database_url), working(tmp_path, database_url):
            _wait(lambda: look(tmp_path, database_url)[0].status in SETTLED)
        done, contents, vectors = look(tmp_path, database_url)
        texts = server.texts()
    wanted = text_of(PARAGRAPHS).decode().split("\n\n")
    assert (done.status, done.error) == ("completed", None)
    assert contents == wanted
    assert len(vectors) == PARAGRAPHS
    assert all(vectors)
    assert set(texts) == set(wanted)
    # At most what was on its way when the worker died is asked for once more.
    assert len(texts) - PARAGRAPHS <= 64
    assert before - half.segments_done <= 64


def test_a_worker_that_is_told_to_end_leaves_its_document_at_once(tmp_path: Path):
    with embedding_server(tmp_path, seconds=0.15) as server:
        prepare(tmp_path, "", server)
        with working(tmp_path, "") as worker:
            _wait(lambda: look(tmp_path, "")[0].segments_done >= 64)
            worker.terminate()
            assert worker.wait(20) == 0
        assert look(tmp_path, "")[0].attempts == 0
        run_ok(tmp_path, "", "knowledge", "add", "Papers", "page.txt", "--separator", "\\n\\n",
               "--overlap", "0")  # fmt: skip
        assert look(tmp_path, "")[1] == text_of(PARAGRAPHS).decode().split("\n\n")
        assert len(server.texts()) - PARAGRAPHS <= 64
