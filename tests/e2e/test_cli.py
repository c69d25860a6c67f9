"""Every command, and every mistake an operator can make: one sentence on stderr, exit code 1.

Most commands run within the test's process, for a second each would add up; what depends on the
process, the disk or the network runs in one of its own.
"""

import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kaiwa import __version__
from tests.e2e.process import Done, call, make_key, run, serving, starting
from tests.support.apps import app_file

APP_ID = "0192f7c4-8f6a-7c3e-9d5b-3f1a2b4c5d6e"
OTHER_ID = "0192f7c4-8f6a-7c3e-9d5b-3f1a2b4c5d6f"


def sentence_of(done: Done) -> str:
    """The one sentence of a failed command."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    sentence = done.stderr.removeprefix("Error: ").strip()
    assert sentence
    return sentence


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return name


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"kaiwa {__version__}\n"


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["app"], ["app", "apply"], ["key"], ["key", "create"], ["chat"]]
)
def test_help_is_given_on_every_level(tmp_path: Path, command: list[str]) -> None:
    done = call(tmp_path, *command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: kaiwa")
    assert not (tmp_path / "data").exists()


def test_an_app_is_applied_listed_and_deleted(tmp_path: Path) -> None:
    file = write(tmp_path, "app.yml", app_file(name="Guide"))
    first = run(tmp_path, "app", "apply", file)
    assert (first.returncode, first.stderr) == (0, "")
    app_id = first.stdout.strip()
    assert re.fullmatch(r"[0-9a-f-]{36}", app_id)
    assert run(tmp_path, "app", "apply", file).stdout.strip() == app_id
    assert run(tmp_path, "app", "list").stdout == f"{app_id}  chat        Guide\n"

    deleted = run(tmp_path, "app", "delete", "Guide")
    assert (deleted.returncode, deleted.stdout) == (0, "")
    assert deleted.stderr == f"Deleted Guide ({app_id}).\n"
    assert run(tmp_path, "app", "list").stdout == ""


def test_several_files_are_applied_at_once_or_not_at_all(tmp_path: Path) -> None:
    good = write(tmp_path, "good.yml", app_file(name="Good"))
    bad = write(tmp_path, "bad.yml", "app: [\n")
    sentence_of(call(tmp_path, "app", "apply", good, bad))
    assert call(tmp_path, "app", "list").stdout == ""
    other = write(tmp_path, "other.yml", app_file(name="Other"))
    assert len(call(tmp_path, "app", "apply", good, other).stdout.split()) == 2


def test_what_a_file_asks_for_in_vain_is_reported_beside_the_id(tmp_path: Path) -> None:
    file = write(tmp_path, "app.yml", app_file(name="Kept", annotation_reply={"enabled": True}))
    done = call(tmp_path, "app", "apply", file)
    assert done.returncode == 0
    assert re.fullmatch(r"[0-9a-f-]{36}\n", done.stdout)
    assert done.stderr.startswith("app.yml: ")
    assert "annotation_reply" in done.stderr


def test_each_base_that_is_not_there_is_reported_by_its_name(tmp_path: Path) -> None:
    theirs = "0199d2a8-0000-7000-8000-000000000001"
    base = call(tmp_path, "knowledge", "create", "Rules").stdout.strip()
    datasets = [{"dataset": {"enabled": True, "id": id}} for id in (theirs, base)]
    chosen = {"datasets": {"datasets": datasets}}
    file = write(tmp_path, "app.yml", app_file(name="Reader", dataset_configs=chosen))
    todo = (
        "is not there, so nothing is found in it; make it with kaiwa knowledge create, or name"
        " another one with kaiwa: {knowledge: …}"
    )
    done = call(tmp_path, "app", "apply", file)
    assert done.returncode == 0
    assert done.stderr == f"app.yml: the knowledge base {theirs} {todo}\n"
    mapped = {"knowledge": {theirs: "Regeln"}}
    file = write(tmp_path, "app.yml", app_file(name="Reader", dataset_configs=chosen, kaiwa=mapped))
    done = call(tmp_path, "app", "apply", file)
    assert done.stderr == f"app.yml: the knowledge base Regeln {todo}\n"
    call(tmp_path, "knowledge", "create", "Regeln")
    assert call(tmp_path, "app", "apply", file).stderr == ""


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    key = make_key(tmp_path, app_file(name="Guide"))
    assert re.fullmatch(r"app-\w{24}", key)
    listed = call(tmp_path, "key", "list", "Guide").stdout
    assert f"{key[:8]}…" in listed
    assert key not in listed
    assert "works" in listed

    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert "not a working key" in sentence_of(call(tmp_path, "key", "revoke", wrong))
    revoked = call(tmp_path, "key", "revoke", key)
    assert (revoked.returncode, revoked.stdout) == (0, "")
    assert revoked.stderr == f"Revoked {key[:8]}… of Guide.\n"
    assert "revoked 2" in call(tmp_path, "key", "list").stdout
    sentence_of(call(tmp_path, "key", "revoke", key))


def test_a_key_is_revoked_by_its_id_or_its_first_characters(tmp_path: Path) -> None:
    key = make_key(tmp_path, app_file(name="Guide"))
    key_id = call(tmp_path, "key", "list").stdout.split()[0]
    assert call(tmp_path, "key", "revoke", key_id).returncode == 0
    key = call(tmp_path, "key", "create", "Guide").stdout.strip()
    assert call(tmp_path, "key", "revoke", f"{key[:8]}…").returncode == 0


def test_the_data_folder_is_made_where_it_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "kaiwa.toml", 'data = "from-file"\n')
    call(tmp_path, "app", "list")
    call(tmp_path, "app", "list", KAIWA_DATA="from-variable")
    call(tmp_path, "--data", "a/b/given", "app", "list", KAIWA_DATA="never")
    found = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("kaiwa.db*")}
    assert found == {"from-file/kaiwa.db", "from-variable/kaiwa.db", "a/b/given/kaiwa.db"}


@pytest.mark.parametrize(
    ("variable", "text", "named"),
    [
        ("KAIWA_PORT", "abc", "KAIWA_PORT must be a whole number, not 'abc'"),
        ("KAIWA_PORT", "70000", "KAIWA_PORT must be from 0 to 65,535, not 70000"),
        ("KAIWA_DRAIN_TIMEOUT", "-1", "KAIWA_DRAIN_TIMEOUT"),
        ("KAIWA_DRAIN_TIMEOUT", "nan", "KAIWA_DRAIN_TIMEOUT"),
        ("KAIWA_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("KAIWA_DEFAULT_MODEL", "gpt", "provider/model"),
        ("KAIWA_PRICES", "{", "KAIWA_PRICES"),
        ("KAIWA_PROT", "1", "did you mean KAIWA_PORT?"),
        ("KAIWA_NOTHING_LIKE_IT", "1", "KAIWA_NOTHING_LIKE_IT"),
        ("KAIWA_CONFIG", "missing.toml", "missing.toml cannot be read"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, text: str, named: str) -> None:
    assert named in sentence_of(call(tmp_path, "app", "list", **{variable: text}))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("port = 'abc'", "The setting port in kaiwa.toml must be a whole number, not 'abc'"),
        ("port = 70000", "The setting port in kaiwa.toml must be from 0 to 65,535"),
        ("prot = 1", "did you mean port?"),
        ("port = ", "kaiwa.toml is not valid TOML"),
        ("port = 1\nport = 2", "kaiwa.toml is not valid TOML"),
        ("data = ''", "The setting data in kaiwa.toml"),
        ("prices = 3", "The setting prices in kaiwa.toml must be a table"),
        ("[prices.'a/b']\nprompt = '1'", "completion"),
    ],
)
def test_a_wrong_line_in_the_settings_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    write(tmp_path, "kaiwa.toml", text)
    assert named in sentence_of(call(tmp_path, "app", "list"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[providers.vllm]\nbase_url = 'http://x'", "providers.vllm needs a kind"),
        ("[providers.vllm]\nkind = 'opnai'", "no model kind 'opnai'"),
        ("[providers.vllm]\nkind = 'openai'\nbase = 'http://x'", "providers.vllm"),
        ("[providers.vllm]\nkind = 'openai'\nbase_url = 'x'", "base_url"),
        ("[providers.kaiwa]\nkind = 'openai'", "kaiwa"),
        ("default_model = 'vllm/llama'", "default_model names 'vllm'"),
        ("default_model = 'kaiwa/default'", "default_model names 'kaiwa'"),
        ("[prices.'a/b']\nprompt = 'x'\ncompletion = '1'", "a/b"),
        ("[prices.'a/b']\nprompt = '-1'\ncompletion = '1'", "a/b"),
    ],
)
def test_a_wrong_model_server_keeps_the_server_from_starting(
    tmp_path: Path, text: str, named: str
) -> None:
    write(tmp_path, "kaiwa.toml", text)
    assert named in sentence_of(call(tmp_path, "serve", "--port", "0"))


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = sentence_of(run(tmp_path, "serve", "--port", str(port)))
    assert sentence == f"Cannot listen on 127.0.0.1 port {port}: Address already in use."


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host", "a..b", "x" * 64, "\udcff"])
def test_a_host_that_is_not_ours_is_named(tmp_path: Path, host: str) -> None:
    assert "Cannot listen on" in sentence_of(call(tmp_path, "serve", "--host", host, "--port", "0"))


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(tmp_path: Path, port: str) -> None:
    assert "port" in sentence_of(call(tmp_path, "serve", "--port", port))


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["app", "list"]])
@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("file", "file is a file; name a folder"),
        ("file/below", "Not a directory"),
        ("/proc", "/proc"),  # which even root cannot write
        ("/proc/below", "/proc/below"),
        ("~nobody-of-that-name/data", "~nobody-of-that-name"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_data_folder_that_cannot_be_is_named(
    tmp_path: Path, command: list[str], data: str, named: str
) -> None:
    write(tmp_path, "file", "")
    if data == "/proc" and sys.platform != "linux":
        pytest.skip("there is no /proc")
    assert named in sentence_of(call(tmp_path, "--data", data, *command))


@pytest.mark.parametrize(
    ("command", "limit"),
    [(["serve", "--port", "0"], 8), (["app", "list"], 0), (["app", "list"], 64)],
)
def test_a_disk_that_takes_no_more_is_told(tmp_path: Path, command: list[str], limit: int) -> None:
    done = run(tmp_path, *command, before=f"ulimit -f {limit}")
    assert "data/kaiwa.db cannot" in sentence_of(done)


def test_a_disk_that_is_full_later_is_told(tmp_path: Path) -> None:
    run(tmp_path, "app", "list")
    file = write(tmp_path, "app.yml", app_file(name="Large", pre_prompt="word " * 20_000))
    done = run(tmp_path, "app", "apply", file, before="ulimit -f 128")
    assert "database cannot be used at the moment" in sentence_of(done)
    assert run(tmp_path, "app", "apply", file).returncode == 0


def test_a_database_that_another_program_holds_is_named(tmp_path: Path) -> None:
    call(tmp_path, "app", "list")
    with closing(sqlite3.connect(tmp_path / "data" / "kaiwa.db", isolation_level=None)) as held:
        held.execute("BEGIN EXCLUSIVE")
        sentence = sentence_of(call(tmp_path, "app", "list"))
    assert sentence == "The database data/kaiwa.db is locked by another program."


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["app", "list"]])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", "kaiwa.db", "Dear diary, " * 200)
    assert "is not a database" in sentence_of(call(tmp_path, *command))
    assert (tmp_path / "data" / "kaiwa.db").read_text() == "Dear diary, " * 200


def test_a_folder_in_the_place_of_the_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "data" / "kaiwa.db").mkdir(parents=True)
    assert "data/kaiwa.db cannot be opened" in sentence_of(call(tmp_path, "app", "list"))


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "kaiwa.db")) as other:
        other.execute("CREATE TABLE diary (text)")
    assert "belongs to another program" in sentence_of(call(tmp_path, "app", "list"))


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    call(tmp_path, "app", "list")
    with closing(sqlite3.connect(tmp_path / "data" / "kaiwa.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    assert "has the schema 9999" in sentence_of(call(tmp_path, "serve", "--port", "0"))


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        sentence = sentence_of(run(tmp_path, "serve", "--port", "0"))
        assert sentence == "Another Kaiwa server is already using the data folder data."
        assert first.answers() == 200
        assert first.stop() == 0
    with serving(tmp_path) as again:
        assert again.answers() == 200


def test_a_server_that_was_killed_leaves_its_data_free(tmp_path: Path) -> None:
    with starting(tmp_path) as first:
        first.wait_ready()
    with serving(tmp_path) as again:
        assert again.answers() == 200


@pytest.mark.parametrize(
    ("command", "app"),
    [
        (["app", "delete"], "Nobody"),
        (["key", "create"], APP_ID),
        (["key", "create"], ""),
        (["key", "list"], "Nobody"),
        (["chat"], "Nobody"),
    ],
)
def test_an_unknown_app_is_named(tmp_path: Path, command: list[str], app: str) -> None:
    sentence = sentence_of(call(tmp_path, *command, app))
    assert sentence == f"There is no app {app!r}; kaiwa app list shows the apps."


def test_an_app_whose_name_is_not_enough_is_named(tmp_path: Path) -> None:
    for app_id in (APP_ID, OTHER_ID):
        file = write(tmp_path, f"{app_id}.yml", app_file(name="Twin", kaiwa={"id": app_id}))
        assert call(tmp_path, "app", "apply", file).stdout.strip() == app_id
    for command in (["key", "create"], ["app", "delete"], ["chat"]):
        sentence = sentence_of(call(tmp_path, *command, "Twin"))
        assert sentence == "2 apps are called Twin; say which one by its id."
    file = write(tmp_path, "twin.yml", app_file(name="Twin"))
    assert "2 apps are called Twin" in sentence_of(call(tmp_path, "app", "apply", file))
    assert call(tmp_path, "key", "create", OTHER_ID).returncode == 0


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    make_key(tmp_path, app_file(name="Guide"))
    for ref in ("app-xxxx", "nonsense", APP_ID, "app-" + "x" * 24, ""):
        assert "key" in sentence_of(call(tmp_path, "key", "revoke", ref))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("app: {name: A, mode: chat}\nkind: app\nmodel_config: 3\n", r"bad\.yml:3: model_config: "),
        ("kind: app\nkind: app\n", r"bad\.yml:2: "),
        ("app: [\n", r"bad\.yml:\d+: "),
        ("", r"bad\.yml:1: "),
        ("- a\n- b\n", r"bad\.yml:1: "),
        (app_file(name="A").replace("kaiwa: {}", "kaiwa: {blocked: 1}"), r"bad\.yml:\d+: kaiwa"),
    ],
)
def test_a_mistake_in_an_apps_file_is_pointed_at(tmp_path: Path, text: str, place: str) -> None:
    file = write(tmp_path, "bad.yml", text)
    assert re.match(place, sentence_of(call(tmp_path, "app", "apply", file)))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.yml").mkdir()
    (tmp_path / "latin.yml").write_bytes(b"app: {name: caf\xe9}")
    for file, why in [
        ("missing.yml", "No such file"),
        ("folder.yml", "Is a directory"),
        ("/proc/self/mem", "cannot be read"),
        ("latin.yml", "is not UTF-8"),
    ]:
        sentence = sentence_of(call(tmp_path, "app", "apply", file))
        assert file in sentence
        assert why in sentence


def test_a_wrong_usage_is_answered_with_the_usage(tmp_path: Path) -> None:
    for command in (["serve", "--port", "x"], ["key", "create"], ["app", "apply"], ["nonsense"]):
        done = call(tmp_path, *command)
        assert done.returncode == 2
        assert done.stderr.startswith("Usage: kaiwa")


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["app", "nothing"], 2)])
def test_a_command_ends_before_the_interpreter_is_taken_down(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    """In which threads of libraries, still at work, would abort the process."""
    script = (
        "import atexit, sys; from kaiwa.cli import main; sys.argv = ['kaiwa', *sys.argv[1:]];"
        " atexit.register(print, 'taken down'); main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert bool(done.stdout) is (code == 0)
    assert bool(done.stderr) is (code != 0)
    assert "taken down" not in done.stdout
