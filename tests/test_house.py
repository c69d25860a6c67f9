"""The house rules that no other tool checks: sizes, tasks, catches, imports, and the paper."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import click
import msgspec
import pytest
import yaml
from msgspec import Struct

from kaiwa import errors
from kaiwa.api.routes import ROUTES, Route
from kaiwa.cli import cli
from kaiwa.domain.dsl import read_dsl
from kaiwa.providers.models.openai import OpenAIOptions
from kaiwa.providers.models.quoting import QuotingOptions
from kaiwa.providers.models.scripted import Reply, ScriptedOptions, Step
from kaiwa.providers.options import ServerOptions
from kaiwa.providers.registry import list_kinds, list_voices
from kaiwa.providers.tools.mcp_options import McpOptions
from kaiwa.providers.tools.openapi import OpenApiOptions
from kaiwa.providers.tools.services import KINDS
from kaiwa.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "kaiwa"
GUIDE = ROOT / "docs" / "guide"

LONGEST_FILE = 500
LONGEST_FUNCTION = 60
LONGEST_RELAY = 120
LONGEST_DOCSTRING = 5

BROAD_CATCHES = {
    "chat/agent.py": {"_run"},
    "chat/guard.py": {"_judge"},
    "chat/running.py": {"_run", "_quietly"},
    "chat/turn.py": {"run_turn", "_ask", "_close"},
    "chat/voice.py": {"_speak"},
    "knowledge/ingest.py": {"run"},
    "providers/embeddings/onnx.py": {"_open"},
    "providers/tools/mcp_connection.py": {"live"},
    "worker.py": {"_repeat"},
}
"""Where a turn, a job or a connection has to end in order, whatever happens: `except Exception`."""

KEPT_CATCHES = {
    "providers/http1.py": {"_hand_on"},
    "api/sse.py": {"_finish"},
    "store/lane.py": {"_answer"},
    "store/postgres.py": {"run_all", "_run_again"},
    "store/sqlite.py": {"run_writes", "_run_read"},
}
"""Where `except BaseException` need not raise again: it is handed to whoever waits for it."""

LATE_IMPORTS = {
    "files/parsers/child.py",
    "knowledge/shelf.py",
    "providers/embeddings/onnx.py",
    "providers/prices.py",
    "providers/registry.py",
    "providers/tools/services.py",
    "store/postgres.py",
    "store/sqlite.py",
}
"""What they load is heavy, or is not known before."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _modules() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def _functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, Function):
            yield node


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """All below the function that is not inside another one."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function):
            waiting += ast.iter_child_nodes(node)


def _pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _guide(name: str) -> str:
    return (GUIDE / name).read_text("utf-8")


def _blocks(language: str) -> list[tuple[str, str]]:
    """The page and text of each code block of this language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [
        (page.name, text)
        for page in _pages()
        for text in cast("list[str]", fence.findall(page.read_text("utf-8")))
    ]


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


# Code


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_a_file_is_not_too_long(path: Path):
    limit = LONGEST_RELAY if _name(path) == "chat/relay.py" else LONGEST_FILE
    assert len(path.read_text("utf-8").splitlines()) <= limit


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_a_function_is_not_too_long(path: Path):
    long = {
        function.name: length
        for function in _functions(path)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    }
    assert not long


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_a_module_says_what_it_is_for_in_a_few_lines(path: Path):
    docstring = ast.get_docstring(_tree(path))
    assert docstring
    assert len(docstring.splitlines()) <= LONGEST_DOCSTRING


IN_TASK_GROUPS = {"self._turns.create_task"}
"""Of asyncio's own task groups."""


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_tasks_start_only_in_task_groups(path: Path):
    banned = {"create_task", "ensure_future", "run_coroutine_threadsafe"}
    names = {
        node.attr
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) not in IN_TASK_GROUPS
    }
    names |= {node.id for node in ast.walk(_tree(path)) if isinstance(node, ast.Name)}
    assert not names & banned


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_broad_catches_stand_only_where_they_are_named(path: Path):
    for function in _functions(path):
        for node in _own_nodes(function):
            if isinstance(node, ast.ExceptHandler):
                _check_catch(_name(path), function.name, node)


def _check_catch(module: str, function: str, handler: ast.ExceptHandler) -> None:
    place = f"{module}:{handler.lineno} {function}"
    caught = handler.type
    parts = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    for part in parts:
        assert part is not None, f"{place}: a bare except"
        name = ast.unparse(part)
        if name == "Exception":
            assert function in BROAD_CATCHES.get(module, ()), f"{place}: except Exception"
        if name == "BaseException" and function not in KEPT_CATCHES.get(module, ()):
            last = handler.body[-1]
            assert isinstance(last, ast.Raise), f"{place}: except BaseException must raise"


def test_the_named_broad_catches_are_there():
    for module, names in (BROAD_CATCHES | KEPT_CATCHES).items():
        found = {function.name for function in _functions(SRC / module)}
        assert names <= found, module


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_no_import_hides_inside_a_function(path: Path):
    for function in _functions(path):
        for node in ast.walk(function):
            assert not isinstance(node, ast.Import | ast.ImportFrom), f"{function.name}"
    loads = {"import_module", "__import__"}
    late = [
        node
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in loads
    ]
    assert not late or _name(path) in LATE_IMPORTS


# Documents


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_is_documented(route: Route):
    text = _guide("knowledge-api.md" if route.knowledge else "api.md")
    heading = f"### {route.method} {route.path}\n"
    assert heading in text
    section = text.partition(heading)[2].partition("\n### ")[0]
    assert "curl" in section
    assert all(f"`{name.lstrip('*')}`" in section for name in route.query if name != "*user")


def _error_classes() -> list[type[errors.KaiwaError]]:
    found = [errors.KaiwaError]
    for error in found:
        found += error.__subclasses__()
    return [error for error in found if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", _error_classes(), ids=lambda error: error.__name__)
def test_an_error_code_is_documented(error: type[errors.KaiwaError]):
    assert f"| `{error.code}` | {error.status} |" in _guide("api.md")


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_a_setting_is_documented_with_its_default(name: str):
    row = re.search(rf"^\| `{name}` \| (.*?) \| (.*?) \| (.+) \|$", _guide("settings.md"), re.M)
    assert row
    assert row[1] == f"`KAIWA_{name.upper()}`"
    default = getattr(Settings(), name)
    if isinstance(default, tuple):
        default = msgspec.json.encode(default).decode()
    assert row[2] == (f"`{default}`" if default not in ("", {}) else "none")


@pytest.mark.parametrize("kind", list_kinds())
def test_a_kind_of_model_is_documented(kind: str):
    assert f"### `{kind}`\n" in _guide("models.md")


@pytest.mark.parametrize("kind", list_voices())
def test_a_kind_of_voice_is_documented(kind: str):
    assert f"\n| `{kind}` |" in _guide("voice.md")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_service_is_documented(kind: str):
    assert f"### `{kind}`\n" in _guide("services.md")


@pytest.mark.parametrize("options", [OpenApiOptions, McpOptions])
def test_an_option_of_a_service_is_documented(options: type[Struct]):
    text = _guide("services.md")
    assert [name for name in options.__struct_fields__ if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize(
    "options", [OpenAIOptions, ServerOptions, QuotingOptions, ScriptedOptions, Reply, Step]
)
def test_an_option_of_a_model_is_documented(options: type[Struct]):
    text = _guide("models.md")
    assert [name for name in options.__struct_fields__ if f"`{name}`" not in text] == []


def _commands(group: click.Group, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


@pytest.mark.parametrize("command", [*_commands(cli, "kaiwa")])
def test_a_command_is_documented(command: str):
    assert any(f"`{command}" in page.read_text("utf-8") for page in GUIDE.glob("*.md"))


@pytest.mark.parametrize("path", _pages(), ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    text = _without_code(path.read_text("utf-8"))
    for target in cast("list[str]", re.findall(r"\]\(([^)\s]+)\)", text)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert found.is_relative_to(ROOT), target
        if anchor:
            assert anchor in _anchors(found), target


@cache
def _anchors(path: Path) -> set[str]:
    """As forges make them of headings."""
    text = _without_code(path.read_text("utf-8"))
    headings = cast("list[str]", re.findall(r"^#+ (.+)$", text, re.M))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_apps_and_scripts_in_the_documents_can_be_used_as_they_stand():
    apps = 0
    for page, text in _blocks("yaml"):
        found: Any = yaml.safe_load(text)
        if isinstance(found, list):
            msgspec.convert(found, tuple[Reply, ...])
            continue
        if "model_config" in found:
            apps += 1
            _, notes = read_dsl(text, page)
            assert notes == []
            for reply in (
                found["model_config"]["model"].get("completion_params", {}).get("script", ())
            ):
                msgspec.convert(reply, Reply)
    assert apps > 2


def test_settings_in_the_documents_can_be_used_as_they_stand(tmp_path: Path):
    for page, text in _blocks("toml"):
        if "[project." in text:
            tomllib.loads(text)
            continue
        file = tmp_path / f"{page}.toml"
        file.write_text(text, "utf-8")
        assert load_settings(file, {})
    for _, text in _blocks("json"):
        if "…" not in text:
            assert msgspec.json.decode(text)


def test_python_in_the_documents_is_python():
    blocks = _blocks("python")
    assert blocks
    for page, text in blocks:
        compile(text, page, "exec")


# The repository


def test_the_licence_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")


def test_the_changelog_has_a_place_for_what_is_new():
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-mcp.lock", "requirements-dev.lock"]
)
def test_a_lock_file_has_hashes_and_no_addresses(name: str):
    text = (ROOT / name).read_text("utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=)", text, re.M)


def test_no_path_of_one_machine_is_written_down():
    own = re.compile(r"(?:\.\./)+shared\b|(?<![\w.\-/])/(?:home|root|Users|work)/\w")
    kinds = {".py", ".md", ".yml", ".toml", ".html", ".js", ".css", ".mako", ".lock"}
    folders = [ROOT / name for name in ("src", "tests", "bench", "docs", "examples", ".ci")]
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    for path in files:
        if path.suffix in kinds or path.name in ("Makefile", "run"):
            found = own.search(path.read_text("utf-8"))
            assert found is None, f"{path}: {found}"


def test_what_the_demo_is_made_of_ships_with_the_package():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    shipped = build["targets"]["wheel"]["force-include"]
    for part in ("examples/demo.yml", "examples/about.md", "docs/guide"):
        assert (ROOT / part).exists()
        assert shipped[part] == f"kaiwa/{part}"
