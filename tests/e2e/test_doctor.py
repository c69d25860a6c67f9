"""What `kaiwa doctor` finds, and that it leaves everything as it was."""

import json
import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.e2e.process import Done, call, make_key, run, serving
from tests.e2e.test_cli import sentence_of
from tests.support.apps import app_file
from tests.support.object_server import Bucket, object_server

SECRET = "sk-very-secret"


@contextmanager
def model_server(status: int, asked: str = "") -> Generator[str]:
    """Answers every GET with `status`; 401 also to those without the key.

    A server of another kind is `asked` at this path, where it wants no key.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = self.path == "/v1/models" and SECRET in str(self.headers)
            self.send_response(status if listed or self.path == asked else 401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def report_of(done: Done) -> dict[str, Any]:
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["problems"] else 0)
    assert done.stderr == ""
    return found


def test_nothing_is_made_where_nothing_is_yet(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Database SQLite: not there yet" in done.stdout
    assert f"Files in {Path('data', 'files')}: not there yet" in done.stdout
    assert done.stdout.endswith("Nothing needs mending.\n")
    assert [*tmp_path.iterdir()] == []
    found = report_of(call(tmp_path, "doctor", "--json"))
    assert found["data"]["exists"] is False
    assert found["default_model"] == "quoting/quoting"
    assert [*tmp_path.iterdir()] == []


def test_a_running_installation_is_counted(tmp_path: Path) -> None:
    make_key(tmp_path, app_file(name="Guide"))
    with serving(tmp_path):
        found = report_of(call(tmp_path, "doctor", "--json"))
        assert "1 apps, 1 working keys" in call(tmp_path, "doctor").stdout
    assert found["problems"] == []
    database = found["database"]
    assert (database["apps"], database["keys"], database["journal"]) == (1, 1, "wal")
    assert database["up_to_date"]
    assert database["size_bytes"] > 0
    assert found["storage"] == {"place": str(Path("data", "files")), "state": "usable"}
    assert [*(tmp_path / "data" / "files").iterdir()] == []


def test_postgresql_is_examined(tmp_path: Path, url: str) -> None:
    found = report_of(call(tmp_path, "doctor", "--json", KAIWA_DATABASE_URL=url))
    assert (found["database"]["engine"], found["database"]["up_to_date"]) == ("PostgreSQL", True)
    assert found["database"]["size_bytes"] > 0
    assert [*tmp_path.iterdir()] == []


def test_each_setting_says_where_it_stands_and_secrets_are_masked(tmp_path: Path) -> None:
    (tmp_path / "kaiwa.toml").write_text("port = 1234\nhost = 'a'\n")
    variables = {
        "KAIWA_HOST": "b",
        "KAIWA_DATABASE_URL": f"postgresql://me:{SECRET}@127.0.0.1:9/kaiwa",
        "KAIWA_PROVIDERS_VLLM_KIND": "openai",
        "KAIWA_PROVIDERS_VLLM_API_KEY": SECRET,
        "KAIWA_TOOLS_SHOP_KIND": "openapi",
        "KAIWA_TOOLS_SHOP_BEARER": SECRET,
        "KAIWA_TOOLS_SHOP_DOCUMENT": "http://127.0.0.1:9/openapi.json",
        "KAIWA_EXTENSIONS_WARD_ENDPOINT": "http://127.0.0.1:9/ward",
        "KAIWA_EXTENSIONS_WARD_API_KEY": SECRET,
        "KAIWA_PROVIDERS_VLLM_BASE_URL": "http://127.0.0.1:9/v1",
        "OPENAI_API_KEY": SECRET,
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "KAIWA_SECRET_KEY": SECRET,
        "KAIWA_SEARCH_API_KEY": SECRET,
        "KAIWA_SEARCH_URL": f"http://me:{SECRET}@127.0.0.1:9",
        "KAIWA_STORAGE_URL": f"s3://me:{SECRET}@bucket",
    }
    done = call(tmp_path, "--data", "mine", "doctor", "--json", **variables)
    found = report_of(done)
    settings = found["settings"]
    told = {name: (one["value"], one["source"]) for name, one in settings.items()}
    assert told["port"] == (1234, "kaiwa.toml")
    assert told["host"] == ("b", "KAIWA_HOST")
    assert told["data"] == ("mine", "the command line")
    assert told["log_level"] == ("info", "default")
    assert told["database_url"][0] == "postgresql://me:***@127.0.0.1:9/kaiwa"
    assert told["secret_key"][0] == told["search_api_key"][0] == "***"
    assert told["storage_url"][0] == "s3://me:***@bucket"
    assert len(found["problems"]) == 7  # database, storage, vllm, openai, search, shop, ward
    assert told["extensions"][0] == {
        "ward": {"endpoint": "http://127.0.0.1:9/ward", "api_key": "***"}
    }
    plain = call(tmp_path, "--data", "mine", "doctor", **variables)
    assert plain.returncode == 1
    assert SECRET not in done.stdout + plain.stdout + plain.stderr


@pytest.mark.parametrize(
    ("status", "state"),
    [(200, "reachable"), (404, "reachable"), (403, "not reachable"), (500, "not reachable")],
)
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_model_server_is_asked(tmp_path: Path, kind: str, status: int, state: str) -> None:
    with model_server(status) as url:
        variables = {
            "KAIWA_PROVIDERS_MINE_KIND": kind,
            "KAIWA_PROVIDERS_MINE_API_KEY": SECRET,
            "KAIWA_PROVIDERS_MINE_BASE_URL": url,
        }
        found = report_of(call(tmp_path, "doctor", "--json", **variables))
    [mine] = [one for one in found["model_servers"] if one["name"] == "mine"]
    assert mine["state"] == state
    assert len(found["problems"]) == (state != "reachable")
    if mine["problem"]:
        assert f"HTTP {status}" in mine["problem"]


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (400, ""),
        (200, ""),
        (403, "HTTP 403; its JSON format may be off."),
        (500, "HTTP 500."),
    ],
)
def test_the_search_engine_is_asked_for_nothing(tmp_path: Path, status: int, problem: str) -> None:
    with model_server(status, "/search?q=&format=json") as url:
        variables = {"KAIWA_SEARCH_URL": url.removesuffix("/v1")}
        found = report_of(call(tmp_path, "doctor", "--json", **variables))
    assert found["search_engine"] == ("not reachable" if problem else "reachable")
    told = f"The search engine cannot be used: the server answered with {problem}"
    assert found["problems"] == ([told] if problem else [])


@pytest.mark.parametrize("status", [422, 401])
def test_a_search_engine_with_a_key_is_asked_with_it(tmp_path: Path, status: int) -> None:
    with model_server(status, "/v1?q=&count=1") as url:
        variables = {"KAIWA_SEARCH_URL": url, "KAIWA_SEARCH_API_KEY": SECRET}
        found = report_of(call(tmp_path, "doctor", "--json", **variables))
    assert found["search_engine"] == ("reachable" if status == 422 else "not reachable")


def test_a_search_engine_and_a_painter_that_are_away_are_told(tmp_path: Path) -> None:
    found = report_of(call(tmp_path, "doctor", "--json"))
    assert (found["search_engine"], found["problems"]) == ("not set up", [])
    away = {"KAIWA_SEARCH_URL": "http://127.0.0.1:9", "KAIWA_IMAGE_MODEL": "ollama/painter"}
    done = call(tmp_path, "doctor", **away)
    assert done.returncode == 1
    assert "Search engine: not reachable\n" in done.stdout
    assert "Problem: The search engine cannot be used: the server could not be" in done.stdout
    assert "Problem: The model server ollama cannot be used: the server could not" in done.stdout
    wrong = report_of(call(tmp_path, "doctor", "--json", KAIWA_IMAGE_MODEL="scripted/m"))
    assert wrong["problems"] == [
        "The setting image_model names 'scripted', which is no model server of the kind openai that"
        " is set up."
    ]


def test_the_voice_is_told(tmp_path: Path) -> None:
    away = report_of(call(tmp_path, "doctor", "--json", KAIWA_SPEECH_MODEL="ollama/kokoro"))
    assert away["voice"] == "ollama/kokoro"
    assert ["model server ollama cannot be used" in one for one in away["problems"]] == [True]
    done = call(tmp_path, "doctor", KAIWA_SPEECH_MODEL="silent")
    assert "\nVoice: silent\n" in done.stdout
    wrong = report_of(call(tmp_path, "doctor", "--json", KAIWA_SPEECH_MODEL="scripted/m"))
    assert wrong["voice"] == "none"
    assert wrong["problems"] == [
        "The setting speech_model names 'scripted', which is no model server of the kind openai"
        " that is set up."
    ]


def test_how_to_get_a_voice_is_told_where_an_app_speaks(tmp_path: Path) -> None:
    nowhere = {"PATH": str(tmp_path / "nowhere")}
    found = report_of(call(tmp_path, "doctor", "--json", **nowhere))
    assert (found["voice"], found["problems"]) == ("none", [])
    wanted = report_of(call(tmp_path, "doctor", "--json", **nowhere, KAIWA_SPEECH_MODEL="espeak"))
    assert ["apt-get install espeak-ng" in problem for problem in wanted["problems"]] == [True]
    make_key(tmp_path, app_file(name="Guide", text_to_speech={"enabled": True}))
    needed = report_of(call(tmp_path, "doctor", "--json", **nowhere))
    assert ["apt-get install espeak-ng" in problem for problem in needed["problems"]] == [True]
    assert needed["problems"][0].startswith("There is no voice for the apps that speak (1)")


def test_an_older_schema_is_told_and_left(tmp_path: Path) -> None:
    assert call(tmp_path, "migrate").returncode == 0
    file = tmp_path / "data" / "kaiwa.db"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '0000'")
    done = call(tmp_path, "doctor")
    assert done.returncode == 0
    assert "schema 0000; the next start or kaiwa migrate brings it up" in done.stdout
    with closing(sqlite3.connect(file)) as db:
        assert [*db.execute("SELECT version_num FROM alembic_version")] == [("0000",)]


def test_what_is_broken_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kaiwa.db").write_text("Dear reader, " * 100)
    [problem] = report_of(call(tmp_path, "doctor", "--json"))["problems"]
    assert "is not a database" in problem
    (tmp_path / "letter").write_text("")
    problems = report_of(call(tmp_path, "--data", "letter", "doctor", "--json"))["problems"]
    assert "is a file" in problems[0]
    wrong = report_of(call(tmp_path, "doctor", "--json", KAIWA_DEFAULT_MODEL="nobody/x"))
    assert any("default_model" in problem for problem in wrong["problems"])
    assert "KAIWA_PORT" in sentence_of(call(tmp_path, "doctor", KAIWA_PORT="x"))


def storage_problem(folder: Path, url: str, **variables: str) -> str:
    """What `doctor` says of the storage at `url`, of which it tells nothing secret."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET} | variables
    done = call(folder, "doctor", "--json", KAIWA_STORAGE_URL=url, **keys)
    found = report_of(done)
    assert found["storage"]["state"] == ("not usable" if found["problems"] else "usable")
    assert SECRET not in done.stdout
    return "".join(found["problems"])


def test_the_storage_is_asked_whether_it_can_be_used(tmp_path: Path) -> None:
    with object_server() as origin:
        bucket = Bucket(origin)
        assert storage_problem(tmp_path, bucket.url) == ""
        assert bucket.count_objects() == 0
        bucket.let_in("0")
        try:
            problem = storage_problem(tmp_path, bucket.url)
        finally:
            bucket.let_in("inf")
        assert problem == "The file storage does not accept the server's credentials."
        missing = bucket.url.replace(bucket.name, "no-such-bucket")
        problem = storage_problem(tmp_path, missing)
        assert problem == "The bucket of the file storage does not exist."
    problem = storage_problem(tmp_path, bucket.url)
    assert problem.startswith("The file storage cannot be reached.")
    problem = storage_problem(tmp_path, f"file://{tmp_path}/nowhere")
    assert problem == f"The folder of the file storage, {tmp_path}/nowhere, does not exist."
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_takes_no_files_is_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "files").write_text("")
    [problem] = report_of(call(tmp_path, "doctor", "--json"))["problems"]
    assert problem.startswith("The folder of the file storage, data/files, cannot be used: ")
    if os.geteuid() != 0:
        (data / "files").unlink()
        (data / "files").mkdir(0o555)
        [problem] = report_of(call(tmp_path, "doctor", "--json"))["problems"]
        assert problem == "The folder of the file storage, data/files, cannot be written."


def test_a_key_that_signs_links_is_its_owners_alone(tmp_path: Path) -> None:
    key = tmp_path / "data" / "secret.key"
    with serving(tmp_path):
        assert report_of(call(tmp_path, "doctor", "--json"))["problems"] == []
    key.chmod(0o640)
    done = call(tmp_path, "doctor", "--json")
    assert report_of(done)["problems"] == [
        "The file data/secret.key is open to others; chmod 600 makes it its owner's."
    ]
    assert key.read_text() not in done.stdout
    own = call(tmp_path, "doctor", "--json", KAIWA_SECRET_KEY=SECRET)
    assert report_of(own)["problems"] == []
    key.chmod(0o600)
    key.write_text("short")
    [problem] = report_of(call(tmp_path, "doctor", "--json"))["problems"]
    assert "holds no secret" in problem


def test_a_service_with_tools_that_is_away_is_told(tmp_path: Path) -> None:
    away = {
        "KAIWA_TOOLS_PETS_KIND": "openapi",
        "KAIWA_TOOLS_PETS_DOCUMENT": "http://127.0.0.1:9/openapi.json",
        "KAIWA_TOOLS_PETS_API_KEY": SECRET,
    }
    done = call(tmp_path, "doctor", **away)
    assert done.returncode == 1
    assert "Service pets (openapi): " in done.stdout
    assert "Problem: The service pets cannot be used: " in done.stdout
    assert SECRET not in done.stdout
    wrong = report_of(call(tmp_path, "doctor", "--json", **away, KAIWA_TOOLS_PETS_COLOUR="red"))
    assert len(wrong["problems"]) == 1
    assert "tools.pets" in wrong["problems"][0]


def test_it_says_what_listens_and_what_is_missing_for_it(tmp_path: Path) -> None:
    assert report_of(call(tmp_path, "doctor", "--json"))["listener"] == ""
    assert "\nListens: nothing\n" in call(tmp_path, "doctor").stdout
    scripted = {"KAIWA_TRANSCRIPTION_MODEL": "scripted/Hello"}
    found = report_of(call(tmp_path, "doctor", "--json", **scripted))
    assert (found["listener"], found["problems"]) == ("scripted/Hello", [])
    nobody = {"KAIWA_TRANSCRIPTION_MODEL": "nobody/whisper-1"}
    done = call(tmp_path, "doctor", **nobody)
    assert done.returncode == 1
    assert "Problem: The setting transcription_model names 'nobody', which is no" in done.stdout
    malformed = call(tmp_path, "doctor", KAIWA_TRANSCRIPTION_MODEL="whisper")
    assert "must be written as provider/model" in malformed.stderr


def test_bases_are_counted_and_what_finds_in_them_is_told(tmp_path: Path) -> None:
    done = call(tmp_path, "doctor")
    assert "\nKnowledge: 0 bases, 0 documents\n" in done.stdout
    assert "compares by meaning: nothing: new bases are found by the words they" in done.stdout
    assert "\n  ranks: nothing\n" in done.stdout
    assert [*tmp_path.iterdir()] == []
    call(tmp_path, "knowledge", "create", "Papers", "--embedding", "hashed")
    (tmp_path / "a.txt").write_text("Gulls.")
    (tmp_path / "b.pdf").write_text("%PDF-1.4 and nothing more")
    assert call(tmp_path, "knowledge", "add", "Papers", "a.txt", "b.pdf").returncode == 1
    found = report_of(call(tmp_path, "doctor", "--json", KAIWA_EMBEDDING_MODEL="hashed"))
    assert found["knowledge"] == {
        "bases": 1, "documents": 2, "failed": 1, "embeds": "hashed", "ranks": "",
    }  # fmt: skip
    assert found["problems"] == [
        "In the knowledge base Papers, 1 documents failed; kaiwa knowledge status says why, and to"
        " add them again tries again."
    ]
    assert "1 bases, 2 documents, 1 of them failed\n" in call(tmp_path, "doctor").stdout


def test_a_base_that_an_app_names_in_vain_is_told(tmp_path: Path) -> None:
    call(tmp_path, "knowledge", "create", "Papers")
    make_key(tmp_path, app_file(name="Reader", kaiwa={"knowledge": ["Papers", "Rules"]}))
    assert report_of(call(tmp_path, "doctor", "--json"))["problems"] == [
        "In the app Reader, the knowledge base Rules is not there, so nothing is found in it; make"
        " it with kaiwa knowledge create, or name another one with kaiwa: {knowledge: …}."
    ]
    call(tmp_path, "knowledge", "create", "Rules")
    assert report_of(call(tmp_path, "doctor", "--json"))["problems"] == []


def test_what_compares_and_ranks_is_looked_at(tmp_path: Path) -> None:
    away = {"KAIWA_EMBEDDING_MODEL": "ollama/embed", "KAIWA_RERANK_MODEL": "ollama/rank"}
    found = report_of(call(tmp_path, "doctor", "--json", **away))
    assert ["model server ollama cannot be used" in one for one in found["problems"]] == [True]
    assert (found["knowledge"]["embeds"], found["knowledge"]["ranks"]) == (
        "ollama/embed",
        "ollama/rank",
    )
    wrong = {"KAIWA_EMBEDDING_MODEL": "scripted/m", "KAIWA_RERANK_MODEL": "nobody/m"}
    assert report_of(call(tmp_path, "doctor", "--json", **wrong))["problems"] == [
        "The setting embedding_model cannot be used: The embedding model's provider 'scripted' is"
        " no model server of the kind openai that is set up.",
        "The setting rerank_model cannot be used: The rerank model's provider 'nobody' is no model"
        " server of the kind openai that is set up.",
    ]
    call(tmp_path, "knowledge", "create", "Papers", "--embedding", f"onnx/{tmp_path}/model")
    [problem] = report_of(call(tmp_path, "doctor", "--json"))["problems"]
    assert problem.startswith("The knowledge base Papers cannot be used: ")
