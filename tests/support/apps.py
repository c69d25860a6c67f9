"""Apps for tests, written as the files that operators apply: a script instead of a model."""

from itertools import count
from typing import Any

import yaml

_numbers = count(1)

Step = dict[str, Any]


def says(*pieces: str, **more: Any) -> Step:
    """A step that says these pieces, one delta each."""
    return {"pieces": list(pieces), **more}


def fails(kind: str = "server", message: str = "the model is out of order") -> Step:
    """A step at which the model fails."""
    return {"fail": {"kind": kind, "message": message}}


def app_file(
    *steps: Step, name: str = "", kaiwa: dict[str, Any] | None = None, **config: Any
) -> str:
    """An app whose model plays the steps; without any it says `You said: …`.

    `config` overrides keys of `model_config`. A name that is not given is a new one, hence a new
    app.
    """
    params = {"script": [{"steps": list(steps)}]} if steps else {}
    model = {"provider": "scripted", "name": "script", "completion_params": params}
    return yaml.safe_dump(
        {
            "app": {"mode": "chat", "name": name or f"App {next(_numbers)}"},
            "kind": "app",
            "version": "0.1.2",
            "model_config": {"model": model, "pre_prompt": "", **config},
            "kaiwa": kaiwa or {},
        }
    )
