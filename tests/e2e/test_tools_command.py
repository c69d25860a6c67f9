"""The commands about an agent's tools, and what is said of them when an app is applied."""

import json
from base64 import b64encode
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.e2e.process import call, make_key, run, serving
from tests.e2e.test_cli import sentence_of
from tests.support.apps import agent_file, app_file

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
CALCULATOR = "maths/eval_expression"


def entry(provider: str, name: str, **more: Any) -> dict[str, Any]:
    return {"provider_type": "builtin", "provider_id": provider, "tool_name": name, **more}


@contextmanager
def painter() -> Generator[str]:
    """A server that draws the same picture whatever it is asked."""
    body = json.dumps({"data": [{"b64_json": b64encode(PNG).decode()}]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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


def test_tools_are_listed_with_what_a_model_is_asked_for(tmp_path: Path) -> None:
    clock = entry(
        "time",
        "current_time",
        tool_label="Clock\x1b[2J",
        tool_parameters={"timezone": "UTC", "moon": 1},
    )
    tools = [CALCULATOR, clock, "dalle/dalle3", "google/nothing"]
    make_key(tmp_path, agent_file(name="Helper", tools=tools))
    done = call(tmp_path, "tools", "list", "Helper")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "eval_expression  builtin/maths  eval_expression"
    assert lines[1].startswith("  Work out an arithmetic")
    assert any(line.startswith("  expression (string, required): ") for line in lines)
    assert "current_time  builtin/time  Clock�[2J" in lines
    assert any(line.startswith("  format (string): ") for line in lines)
    assert not any(line.startswith("  timezone") for line in lines)
    assert "  note: its parameter moon is not honoured" in lines
    assert "dalle3  builtin/dalle  left out: it needs the setting image_model" in lines
    assert lines[-1] == (
        "nothing  builtin/google  left out: there is no built-in tool google/nothing"
    )
    drawing = {"KAIWA_IMAGE_MODEL": "openai/m", "OPENAI_API_KEY": "k"}
    lines = call(tmp_path, "tools", "list", "Helper", **drawing).stdout.splitlines()
    assert '  size ("horizontal" | "square" | "vertical")' in lines


def test_an_app_that_only_talks_has_no_tools(tmp_path: Path) -> None:
    make_key(tmp_path, app_file(name="Guide"))
    done = call(tmp_path, "tools", "list", "Guide")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_tool_is_called_while_the_server_runs(tmp_path: Path) -> None:
    make_key(tmp_path, agent_file(name="Helper", tools=[CALCULATOR, "time/current_time"]))
    with serving(tmp_path):
        done = run(tmp_path, "tools", "call", "Helper", "eval_expression", '{"expression":"6*7"}')
        assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")
        assert "UTC" in call(tmp_path, "tools", "call", "Helper", "current_time").stdout


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("nothing", "{}", "The app has no tool 'nothing'; kaiwa tools list shows its tools."),
        ("dalle3", "{}", "The tool dalle3 cannot be used: it needs the setting image_model."),
        ("eval_expression", "{", "The arguments are not valid JSON: "),
        ("eval_expression", "[]", "The arguments must be a JSON object."),
        ("eval_expression", "{}", 'The arguments are wrong: "expression" is a required property.'),
        ("eval_expression", '{"expression": "1/0"}', "The expression divides by zero."),
    ],
)
def test_a_call_that_fails_is_one_sentence(
    tmp_path: Path, tool: str, arguments: str, told: str
) -> None:
    make_key(tmp_path, agent_file(name="Helper", tools=[CALCULATOR, "dalle/dalle3"]))
    sentence = sentence_of(call(tmp_path, "tools", "call", "Helper", tool, arguments))
    assert told in sentence


def test_an_unknown_app_has_no_tools(tmp_path: Path) -> None:
    for command in (["list", "Nobody"], ["call", "Nobody", "eval_expression"]):
        assert "no app 'Nobody'" in sentence_of(call(tmp_path, "tools", *command))


def test_files_that_a_tool_makes_are_saved_or_named(tmp_path: Path) -> None:
    make_key(tmp_path, agent_file(name="Helper", tools=["kaiwa/draw_picture"]))
    command = ["tools", "call", "Helper", "draw_picture", '{"prompt": "A cat"}']
    with painter() as url:
        drawing = {
            "KAIWA_IMAGE_MODEL": "openai/m",
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": url,
        }
        done = call(tmp_path, *command, **drawing)
        assert done.stdout.startswith("The picture has been drawn")
        assert done.stderr == "Made picture.png (image/png, 14 bytes).\n"
        for name in ("picture.png", "picture-2.png"):
            done = call(tmp_path, *command, "--out", "a/b", **drawing)
            assert done.stderr == f"Saved a/b/{name} (image/png, 14 bytes).\n"
            assert (tmp_path / "a" / "b" / name).read_bytes() == PNG
        (tmp_path / "letter").write_text("")
        done = call(tmp_path, *command, "--out", "letter", **drawing)
    assert done.returncode == 1
    assert done.stderr == "Error: The file letter/picture.png cannot be written: File exists.\n"


def test_applying_an_agent_tells_of_the_tools_that_it_will_not_have(tmp_path: Path) -> None:
    clock = entry("time", "current_time", tool_parameters={"moon": 1})
    file = tmp_path / "agent.yml"
    file.write_text(agent_file(tools=[CALCULATOR, clock, "dalle/dalle3", "google/nothing"]))
    done = call(tmp_path, "app", "apply", "agent.yml")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "agent.yml: the tool time/current_time: its parameter moon is not honoured",
        "agent.yml: the tool dalle/dalle3: it needs the setting image_model",
        "agent.yml: the tool google/nothing: there is no built-in tool google/nothing",
    ]
    wrong = call(tmp_path, "app", "apply", "agent.yml", KAIWA_IMAGE_MODEL="nobody/m")
    assert "The setting image_model names 'nobody'" in sentence_of(wrong)


def test_knowledge_bases_are_tools_of_an_agent(tmp_path: Path) -> None:
    base = run(tmp_path, "knowledge", "create", "Our guide", "--economy", "--description", "Hours")
    name = f"dataset_{base.stdout.strip().replace('-', '_')}"
    kaiwa = {"knowledge": ["Our guide", "nowhere"]}
    make_key(tmp_path, agent_file(name="Helper", tools=[CALCULATOR], kaiwa=kaiwa))
    listed = run(tmp_path, "tools", "list", "Helper").stdout.splitlines()
    assert listed[-2:] == [f"{name}  knowledge  Our guide", "  Hours"]
    refused = call(tmp_path, "tools", "call", "Helper", name, '{"query": "hours"}')
    assert refused.returncode == 1
    assert "kaiwa knowledge search 'Our guide' QUESTION" in refused.stderr
    make_key(tmp_path, app_file(name="Talker", kaiwa=kaiwa))
    assert run(tmp_path, "tools", "list", "Talker").stdout == ""
