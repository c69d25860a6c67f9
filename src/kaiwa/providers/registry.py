"""From a kind's name to the model server it makes; a kind is loaded when first used.

A kind is a file in `models/`, else an installed entry point in the group `kaiwa.models`.
"""

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from kaiwa.errors import OperatorError
from kaiwa.ports import ChatModel
from kaiwa.providers import models
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
