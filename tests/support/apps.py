"""Apps for tests, written as the files that operators apply: a script instead of a model."""

from collections.abc import Sequence
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


def agent_file(
    *rounds: list[Step] | Step,
    tools: Sequence[str | dict[str, Any]] = (),
    kaiwa: dict[str, Any] | None = None,
    name: str = "",
    model: dict[str, Any] | None = None,
    agent_mode: dict[str, Any] | None = None,
    **config: Any,
) -> str:
    """An agent whose model plays these rounds; `tools` are built-in ones, `provider/name`.

    `agent_mode` and `config` override keys of it, and of `model_config`.
    """
    entries = [_tool_entry(tool) if isinstance(tool, str) else tool for tool in tools]
    script = [
        {"after": number, "steps": steps if isinstance(steps, list) else [steps]}
        for number, steps in enumerate(rounds)
    ]
    played = {"provider": "scripted", "name": "script", "completion_params": {"script": script}}
    return yaml.safe_dump(
        {
            "app": {"mode": "agent-chat", "name": name or f"Agent {next(_numbers)}"},
            "kind": "app",
            "version": "0.1.2",
            "model_config": {
                "model": model or played,
                "pre_prompt": "Use your tools.",
                "agent_mode": {
                    "enabled": True,
                    "strategy": "function_call",
                    "tools": entries,
                    **(agent_mode or {}),
                },
                **config,
            },
            "kaiwa": kaiwa or {},
        }
    )


def _tool_entry(named: str) -> dict[str, Any]:
    provider, _, name = named.partition("/")
    return {
        "enabled": True,
        "provider_id": provider,
        "provider_name": provider,
        "provider_type": "builtin",
        "tool_name": name,
        "tool_label": name,
        "tool_parameters": {},
    }


def calls(name: str, arguments: str = "{}", *more: tuple[str, str], text: str = "") -> Step:
    """A step that calls a tool, or several at once."""
    found = [(name, arguments), *more]
    called = [{"name": each, "arguments": given} for each, given in found]
    return {"tool_calls": called, "text": text}
