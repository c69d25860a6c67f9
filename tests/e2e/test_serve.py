"""The first minutes with a served Kaiwa: what it prints, the talk in the terminal, live changes."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from kaiwa import __version__
from tests.e2e.process import Process, call, make_key, run, serving
from tests.e2e.terminal import CTRL_C, CTRL_D, terminal
from tests.support.apps import agent_file, app_file, calls, says

EXAMPLES = Path(__file__).parents[2] / "examples"
GUIDE = Path(__file__).parents[2] / "docs" / "guide"
COUNTING = " ".join(f"w{number}" for number in range(2000))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Generator[Process]:
    """A server at its first start, its demo made."""
    with serving(tmp_path_factory.mktemp("first")) as process:
        process.wait_demo()
        yield process


def send(url: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, str]:
    try:
        with urlopen(Request(url, body, headers), timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def ask(process: Process, key: str, query: str) -> tuple[int, dict[str, Any]]:
    """A blocking question."""
    body = json.dumps({"query": query, "user": "me", "inputs": {}}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    status, text = send(f"{process.url}/v1/chat-messages", headers, body)
    return status, json.loads(text)


def demo_key(process: Process) -> str:
    return re.findall(r"app-\w{24}", process.stdout())[0]


def test_the_first_start_makes_a_demo_app_and_says_how_to_ask_it(first: Process) -> None:
    assert first.stderr() == ""
    lines = first.stdout().splitlines()
    assert lines[0] == f"Kaiwa {__version__} serves {first.url}/v1"
    assert "No model is connected" in lines[1]
    assert "OPENAI_API_KEY" in lines[1]
    assert lines[2].startswith("Made the demo app 'Kaiwa guide'; its key, shown this once: app-")
    assert lines[-1].endswith("kaiwa chat 'Kaiwa guide'")


def test_the_printed_curl_line_works(first: Process) -> None:
    found = re.search(r"^ +curl .*?(?<!\\)\n", first.stdout(), re.DOTALL | re.MULTILINE)
    assert found, first.stdout()
    curl = shlex.split(found[0].replace("\\\n", ""))
    if shutil.which("curl"):
        stream = subprocess.run(curl, capture_output=True, text=True, timeout=20, check=True).stdout
    else:
        headers = dict(text.split(": ", 1) for flag, text in pairwise(curl) if flag == "-H")
        status, stream = send(curl[2], headers, curl[curl.index("-d") + 1].encode())
        assert status == 200
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    answer = "".join(event["answer"] for event in events if event["event"] == "message")
    assert answer.startswith("What is Kaiwa? Kaiwa is an open-source server for chat applications.")
    assert events[-1]["event"] == "message_end"
    sources = events[-1]["metadata"]["retriever_resources"]
    assert {one["dataset_name"] for one in sources} == {"Kaiwa guide"}
    assert "about.md" in [one["document_name"] for one in sources]


@pytest.mark.parametrize(
    ("question", "useful"),
    [
        ("How do I create an app of my own?", "kaiwa app apply FILE"),
        ("How do I connect a real model?", "OPENAI_API_KEY"),
        ("How do I ask a question with curl?", "curl -N http"),
        ("Which file formats can a knowledge base read?", "docx, pptx, xlsx"),
        ("什么是 Kaiwa？", "开源的聊天应用服务器"),
        ("怎么创建应用？", "kaiwa app apply 文件"),
        ("如何创建密钥？", "kaiwa key create 应用"),
        ("数据保存在哪里？", "SQLite 数据库"),
        ("Kaiwaとは何ですか？", "オープンソースのサーバー"),
        ("アプリはどうやって作りますか？", "kaiwa app apply ファイル"),
        ("データはどこに保存されますか？", "SQLite データベース"),
    ],
)
def test_the_demo_answers_what_it_suggests(first: Process, question: str, useful: str) -> None:
    status, body = ask(first, demo_key(first), question)
    assert status == 200
    assert useful in body["answer"]


def guide_lines(folder: Path) -> list[str]:
    """How the documents of the demo's base stand."""
    [base] = call(folder, "knowledge", "list").stdout.splitlines()
    assert base.endswith("  words  Kaiwa guide")
    return status_of_guide(folder).splitlines()


def status_of_guide(folder: Path) -> str:
    return call(folder, "knowledge", "status", "Kaiwa guide").stdout


def test_the_demo_answers_from_the_guide(first: Process) -> None:
    lines = guide_lines(first.folder)
    assert all(" available " in line for line in lines)
    pages = {"about.md", *(page.name for page in GUIDE.glob("*.md"))}
    assert sorted(line.split()[-1] for line in lines) == sorted(pages)


@pytest.mark.parametrize("seen", ["serves http", "about.md", "voice.md"])
def test_a_first_start_that_is_killed_is_taken_up_by_the_next(tmp_path: Path, seen: str) -> None:
    with serving(tmp_path) as process:
        deadline = time.monotonic() + 20
        while seen not in process.stdout() + status_of_guide(tmp_path):
            assert time.monotonic() < deadline
        process.send(signal.SIGKILL)
        process.wait()
    made = call(tmp_path, "app", "list").stdout
    with serving(tmp_path) as process:
        if not made:
            process.wait_demo()
        assert len(guide_lines(tmp_path)) == 1 + len([*GUIDE.glob("*.md")])
        assert len(call(tmp_path, "app", "list").stdout.splitlines()) == 1


def test_a_server_that_indexes_nothing_says_what_the_demo_waits_for(tmp_path: Path) -> None:
    with serving(tmp_path, ingest_at_once=0) as process:
        process.wait_demo()
        lines = process.stdout().splitlines()
        assert lines[2].startswith("Made the demo app 'Kaiwa guide'; its key")
        assert lines[3].startswith("Its documents wait for a worker, as ingest_at_once is 0: ")
        assert lines[3].endswith("kaiwa worker")
        assert all(" queuing " in line for line in guide_lines(tmp_path))
        status, body = ask(process, demo_key(process), "What is Kaiwa?")
        assert status == 200
        assert body["answer"].startswith("I have found nothing")


def test_a_later_start_says_how_to_make_a_key(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        process.wait_demo()
        assert process.stop() == 0
    with serving(tmp_path) as process:
        lines = process.stdout().splitlines()
        assert lines[0] == f"Kaiwa {__version__} serves {process.url}/v1"
        assert lines[2].startswith("Make a key with: ")
        assert len(lines) == 3
        assert process.stderr() == ""
        command = shlex.split(lines[2].removeprefix("Make a key with: "))
        assert command[-3:] == ["key", "create", "Kaiwa guide"]
        key = call(tmp_path, *command[1:]).stdout.strip()
        assert ask(process, key, "What is Kaiwa?")[0] == 200


def test_the_hint_names_the_data_folder_that_is_served(tmp_path: Path) -> None:
    with serving(tmp_path, data=tmp_path / "my data") as process:
        process.wait_demo()
        hint = process.stdout().splitlines()[-1].partition(": ")[2]
        assert shlex.split(hint)[1:] == ["--data", f"{tmp_path}/my data", "chat", "Kaiwa guide"]


def test_no_demo_is_made_where_there_has_been_an_app(tmp_path: Path) -> None:
    make_key(tmp_path, app_file(name="Mine"))
    call(tmp_path, "app", "delete", "Mine")
    with serving(tmp_path) as process:
        assert "demo" not in process.stdout()
        assert "app list" in process.stdout()


def test_the_command_line_works_on_a_server_that_runs(first: Process) -> None:
    key = make_key(first.folder, app_file(says("One."), name="Changing"))
    assert ask(first, key, "?")[1]["answer"] == "One."
    file = first.folder / "two.yml"
    file.write_text(app_file(says("Two."), name="Changing"))
    assert call(first.folder, "app", "apply", str(file)).returncode == 0
    assert ask(first, key, "?")[1]["answer"] == "Two."

    assert call(first.folder, "key", "revoke", key).returncode == 0
    assert ask(first, key, "?")[0] == 401
    other = call(first.folder, "key", "create", "Changing").stdout.strip()
    assert ask(first, other, "?")[1]["answer"] == "Two."
    assert call(first.folder, "app", "delete", "Changing").returncode == 0
    assert ask(first, other, "?")[0] in (401, 403)


def test_a_talk_in_the_terminal(first: Process) -> None:
    with terminal(first.folder, "chat", "Kaiwa guide") as person:
        person.expect("What would you like to know?")
        person.expect("> ")
        person.type("What is Kaiwa?\n")
        shown = person.expect("> ")
        assert "open-source server for chat applications" in shown
        assert "about.md" in shown
        person.type(CTRL_C)
        person.expect("Ctrl-D ends the talk.")
        person.expect("> ")
        person.type(CTRL_D)
        assert person.wait() == 0
        assert "Traceback" not in person.shown


def test_ctrl_c_stops_an_answer_and_the_talk_goes_on(first: Process) -> None:
    slow = says(pace=0.02, text=COUNTING)
    replies = [{"when": "count", "steps": [slow]}, {"steps": [says("After {history}.")]}]
    model = {"provider": "scripted", "name": "s", "completion_params": {"script": replies}}
    make_key(first.folder, app_file(name="Counter", model=model))
    with terminal(first.folder, "chat", "Counter") as person:
        person.expect("> ")
        person.type("count\n")
        person.expect("w10 ")
        person.type(CTRL_C)
        assert "w1999" not in person.expect("(stopped)")
        person.expect("> ")
        person.type("and now?\n")
        person.expect("After 1.")
        person.expect("> ")
        person.type(CTRL_D)
        assert person.wait() == 0
        assert "Traceback" not in person.shown


def test_a_talk_shows_what_an_agent_does(first: Process) -> None:
    both = calls("eval_expression", '{"expression": "6 * 7"}', ("nothing", "{}"), text="Hm.")
    long = says(pace=0.02, text=COUNTING)
    file = agent_file(both, long, name="Doer", tools=["maths/eval_expression"])
    make_key(first.folder, file)
    with terminal(first.folder, "chat", "Doer") as person:
        person.expect("> ")
        person.type("6 * 7?\n")
        shown = person.expect("w10 ")
        lines = [re.sub(r"\x1b\[\d*m", "", line) for line in shown.splitlines()]
        assert lines[:-1] == [
            "6 * 7?",
            "Hm.",
            '→ eval_expression {"expression": "6 * 7"}',
            "→ nothing {}",
            "← eval_expression: 42",
            "← nothing: there is not a tool named nothing",
        ]
        person.type(CTRL_C)
        assert "w1999" not in person.expect("(stopped)")
        person.expect("> ")
        person.type(CTRL_D)
        assert person.wait() == 0
        assert "Traceback" not in person.shown


def test_a_talk_asks_before_a_call_that_needs_a_yes(first: Process) -> None:
    file = agent_file(
        calls("eval_expression", '{"expression": "6 * 7"}'),
        says("Heard: {observations}"),
        name="Careful",
        tools=["maths/eval_expression"],
        kaiwa={"approve": ["eval_expression"]},
    )
    make_key(first.folder, file)
    with terminal(first.folder, "chat", "Careful") as person:
        for answer, heard in [
            ("perhaps\nyes\n", "Heard: 42"),
            ("no\n", "Heard: the user has declined this call"),
            (CTRL_C, "Heard: the user has declined this call"),
        ]:
            person.expect("> ")
            person.type("How much?\n")
            person.expect("→ eval_expression")
            person.expect("Do this? (yes / no): ")
            person.type(answer)
            person.expect(heard)
        person.expect("> ")
        person.type("How much?\n")
        person.expect("Do this? (yes / no): ")
        person.type(CTRL_D)
        assert person.wait() == 0
        assert "Traceback" not in person.shown
    done = run(first.folder, "chat", "Careful", given=b"How much?\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1


def test_what_an_agent_does_stands_beside_its_answer(first: Process) -> None:
    call_it = calls("eval_expression", json.dumps({"expression": "1+" * 300 + "1"}))
    file = agent_file(call_it, says("301"), name="Quiet", tools=["maths/eval_expression"])
    make_key(first.folder, file)
    done = run(first.folder, "chat", "Quiet", given=b"How much?\n")
    assert (done.returncode, done.stdout) == (0, "301\n")
    called, seen = done.stderr.splitlines()
    assert called.startswith("→ eval_expression {")
    assert called.endswith("…")
    assert len(called) < 170
    assert seen == "← eval_expression: 301"


def test_the_sources_of_an_answer_stand_below_it_once_each(first: Process) -> None:
    (first.folder / "fish.txt").write_text("Fish swim.\n\nFish sleep.")
    (first.folder / "cats.txt").write_text("Cats like fish.")
    call(first.folder, "knowledge", "create", "Animals", "--economy")
    added = ["add", "Animals", "fish.txt", "cats.txt", "--separator", "\\n\\n"]
    assert call(first.folder, "knowledge", *added).returncode == 0
    make_key(first.folder, app_file(says("Yes."), name="Zoo", kaiwa={"knowledge": "Animals"}))
    done = run(first.folder, "chat", "Zoo", given=b"Fish?\nElephants?\n")
    assert (done.returncode, done.stdout) == (0, "Yes.\nYes.\n")
    assert sorted(line[4:] for line in done.stderr.splitlines()) == ["cats.txt", "fish.txt"]
    assert [line[:4] for line in done.stderr.splitlines()] == ["[1] ", "[2] "]


def test_the_example_of_an_agent_runs_as_it_stands(first: Process) -> None:
    applied = call(first.folder, "app", "apply", str(EXAMPLES / "agent.yml"))
    assert (applied.returncode, applied.stderr) == (0, "")
    asked = b"How much is that?\nWhat time is it?\nWho are you?\n"
    done = run(first.folder, "chat", "Clock and sums", given=asked)
    much, looking, told, *clocks, other = done.stdout.splitlines()
    assert (much, looking, told) == ("It is 417.", "I look at two clocks.", "They say:")
    assert len(clocks) == 2
    assert other.startswith("I can tell the time")
    assert len(done.stderr.splitlines()) == 6


def test_a_talk_asks_for_the_apps_form_first(first: Process) -> None:
    form = [
        {"text-input": {"label": "Name", "variable": "customer", "required": True}},
        {"select": {"label": "Tier", "variable": "tier", "options": ["gold", "basic"]}},
        {"checkbox": {"label": "Gift", "variable": "gift", "required": True}},
    ]
    file = app_file(
        says("{system}"),
        name="Form",
        user_input_form=form,
        pre_prompt="{{customer}} {{tier}} {{gift}}",
        opening_statement="Hello {{customer}}!",
    )
    make_key(first.folder, file)
    with terminal(first.folder, "chat", "Form") as person:
        person.expect("customer: ")
        person.type("\n")
        person.expect("customer is required")
        person.type("Ada\n")
        person.expect("tier (gold / basic): ")
        person.type("gold\n")
        person.expect("gift (yes / no): ")
        person.type("yes\n")
        person.expect("Hello Ada!")
        person.expect("> ")
        person.type("Hi\n")
        assert "Ada gold" in person.expect("> ")
        person.type(CTRL_D)
        assert person.wait() == 0


def test_questions_can_come_from_a_pipe(first: Process) -> None:
    make_key(first.folder, app_file(name="Echo"))
    done = run(first.folder, "chat", "Echo", given=b"one\n\ncaf\xe9")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "You said: one\nYou said: caf\N{REPLACEMENT CHARACTER}\n"


def test_a_failing_model_is_one_sentence_in_a_talk(first: Process) -> None:
    make_key(first.folder, app_file({"fail": {"kind": "server"}}, name="Failing"))
    done = run(first.folder, "chat", "Failing", given=b"hi\n")
    assert done.returncode == 0
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
