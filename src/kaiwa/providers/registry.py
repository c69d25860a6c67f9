"""From a kind's name to the model server it makes; a kind is loaded when first used.

A kind is a file in `models/`, else an installed entry point in the group `kaiwa.models`. So are
the built-in tools, the files in `tools/`, and what listens, in `transcription/`.
"""

import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from kaiwa.errors import OperatorError
from kaiwa.ports import ChatModel, ToolOutput, Transcriber
from kaiwa.providers import models, tools, transcription
from kaiwa.providers.http import Operator

Create = Callable[[Mapping[str, object], Operator], ChatModel]

_GROUP = "kaiwa.models"


def create_model(kind: str, options: Mapping[str, object], http: Operator) -> ChatModel:
    """A model server of this kind; reads files, so call it where waiting is allowed.

    Raises `OperatorError` for an unknown kind, one that cannot be loaded, and wrong options.
    """
    return _load(kind)(options, http)


def list_kinds() -> list[str]:
    """Our own kinds and the installed ones, sorted."""
    return sorted({*_own_kinds(), *entry_points(group=_GROUP).names})


def load_tool(module: str, function: str) -> Callable[..., Awaitable[str | ToolOutput]]:
    """The function of a built-in tool; reads files the first time."""
    return getattr(import_module(f"{tools.__name__}.{module}"), function)


def load_transcription(kind: str) -> Callable[..., Transcriber]:
    """What makes one that listens; reads files the first time. Raises `ImportError`."""
    return import_module(f"{transcription.__name__}.{kind}").create


def _load(kind: str) -> Create:
    if kind in _own_kinds():
        return import_module(f"{models.__name__}.{kind}").create
    for entry in entry_points(group=_GROUP, name=kind):
        try:
            found: object = entry.load()
        except (ImportError, AttributeError) as error:
            sentence = f"The model kind {kind!r} ({entry.value}) cannot be loaded: {error}."
            raise OperatorError(sentence) from error
        create: object = getattr(found, "create", found)
        if callable(create):
            return cast(Create, create)
        raise OperatorError(f"The model kind {kind!r} ({entry.value}) has no create function.")
    found_kinds = ", ".join(list_kinds())
    raise OperatorError(f"There is no model kind {kind!r}; the kinds found are: {found_kinds}.")


@cache
def _own_kinds() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(models.__path__)]
