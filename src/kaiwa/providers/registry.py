"""From a kind's name to the model server it makes; a kind is loaded when first used.

A kind is a file in `models/`, else an installed entry point in the group `kaiwa.models`. So are
voices, in `speech/` and the group `kaiwa.speech`, the built-in tools, the files in `tools/`, what
listens, in `transcription/`, and what embeds without a server, in `embeddings/`.
"""

import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from kaiwa.errors import OperatorError
from kaiwa.ports import ChatModel, Embedder, Speaker, ToolOutput, Transcriber
from kaiwa.providers import embeddings, models, speech, tools, transcription
from kaiwa.providers.http import Operator

Create = Callable[[Mapping[str, object], Operator], ChatModel]

_GROUP = "kaiwa.models"
_SPEECH_GROUP = "kaiwa.speech"


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


def create_voice(kind: str, model: str) -> Speaker | None:
    """A voice of this kind, None when there is no such kind; reads files the first time.

    Raises `OperatorError` for one that cannot be loaded or used.
    """
    if kind in list_voices():
        create = cast("Callable[[str], Speaker]", _load_own(speech.__name__, kind))
    elif (found := _load_entry(_SPEECH_GROUP, kind, "voice")) is not None:
        create = cast("Callable[[str], Speaker]", found)
    else:
        return None
    return create(model)


@cache
def list_voices() -> list[str]:
    """Our own kinds of voices."""
    return [module.name for module in pkgutil.iter_modules(speech.__path__)]


def load_transcription(kind: str) -> Callable[..., Transcriber]:
    """What makes one that listens; reads files the first time. Raises `ImportError`."""
    return import_module(f"{transcription.__name__}.{kind}").create


def load_embedder(kind: str) -> Callable[[str], Embedder]:
    """What opens a model of a kind of our own, a file in `embeddings/`; reads files."""
    return import_module(f"{embeddings.__name__}.{kind}").create


def _load(kind: str) -> Create:
    if kind in _own_kinds():
        return cast(Create, _load_own(models.__name__, kind))
    create = _load_entry(_GROUP, kind, "model kind")
    if create is None:
        found_kinds = ", ".join(list_kinds())
        raise OperatorError(f"There is no model kind {kind!r}; the kinds found are: {found_kinds}.")
    return cast(Create, create)


def _load_own(package: str, kind: str) -> object:
    return import_module(f"{package}.{kind}").create


def _load_entry(group: str, kind: str, noun: str) -> object | None:
    """What a package of others' offers; None when none does."""
    for entry in entry_points(group=group, name=kind):
        try:
            found: object = entry.load()
        except (ImportError, AttributeError) as error:
            sentence = f"The {noun} {kind!r} ({entry.value}) cannot be loaded: {error}."
            raise OperatorError(sentence) from error
        create: object = getattr(found, "create", found)
        if callable(create):
            return create
        raise OperatorError(f"The {noun} {kind!r} ({entry.value}) has no create function.")
    return None


@cache
def _own_kinds() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(models.__path__)]
