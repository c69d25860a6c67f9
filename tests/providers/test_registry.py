"""Kinds of model servers are found by name."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from kaiwa.errors import OperatorError
from kaiwa.providers.http import Operator
from kaiwa.providers.registry import create_model, list_kinds


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """An installed package that brings model kinds along."""
    (tmp_path / "parrot.py").write_text(
        "from kaiwa.providers.models.quoting import QuotingModel\n"
        "def create(options, http):\n    return QuotingModel()\n"
    )
    info = tmp_path / "parrot-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[kaiwa.models]\nparrot = parrot\nparrot-too = parrot:create\n"
        "broken = parrot:nothing\nempty = parrot:__name__\nopenai = parrot\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    sys.modules.pop("parrot", None)


def test_our_own_kinds_are_listed() -> None:
    assert {"anthropic", "openai", "quoting", "scripted"} <= set(list_kinds())


def test_an_unknown_kind_is_one_sentence() -> None:
    with pytest.raises(OperatorError) as caught:
        create_model("oracle", {}, Operator())
    assert str(caught.value) == (
        f"There is no model kind 'oracle'; the kinds found are: {', '.join(list_kinds())}."
    )


@pytest.mark.parametrize("kind", ["", ".", "__init__", "os", "../models", "quoting.create"])
def test_a_name_cannot_load_anything_else(kind: str) -> None:
    with pytest.raises(OperatorError, match="There is no model kind"):
        create_model(kind, {}, Operator())


@pytest.mark.usefixtures("plugin")
def test_an_installed_package_brings_its_kinds() -> None:
    assert {"parrot", "parrot-too"} <= set(list_kinds())
    assert not create_model("parrot", {}, Operator()).generative
    assert not create_model("parrot-too", {}, Operator()).generative
    assert create_model("openai", {}, Operator()).generative


@pytest.mark.usefixtures("plugin")
def test_a_package_that_cannot_be_loaded_is_one_sentence() -> None:
    with pytest.raises(OperatorError, match=r"'broken' .* cannot be loaded"):
        create_model("broken", {}, Operator())
    with pytest.raises(OperatorError, match=r"'empty' .* has no create function"):
        create_model("empty", {}, Operator())
