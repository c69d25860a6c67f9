"""What is fit for a terminal: one sentence of whatever has to be mended, and strangers' words."""

from collections.abc import Iterator
from typing import cast

import click

from kaiwa.errors import KaiwaError, OperatorError, StoreUnavailable

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_HARMLESS = "\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}\N{ZERO WIDTH JOINER}"
"""What Python calls unprintable, and ordinary texts hold."""


class PlainGroup(click.Group):
    """Commands whose foreseen errors are one sentence and the exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (OperatorError, KaiwaError, BaseExceptionGroup) as error:
            found = list(_leaves(error))
            if any(isinstance(leaf, KeyboardInterrupt) for leaf in found):
                raise click.Abort from error
            if not all(isinstance(leaf, OperatorError | KaiwaError) for leaf in found):
                raise
            raise click.ClickException(say(found[0])) from error


def say(error: BaseException) -> str:
    """The sentence, on one line."""
    text = str(error)
    if isinstance(error, StoreUnavailable) and error.__cause__:
        cause: object = getattr(error.__cause__, "orig", None) or error.__cause__
        text = f"The database cannot be used at the moment: {cause}."
    return " ".join(text.split())


def printable(text: str, *, but: str = "") -> str:
    """What strangers chose may not move the cursor or begin a line, save by a letter of `but`."""
    fine = but + _HARMLESS
    return "".join(one if one.isprintable() or one in fine else _UNKNOWN for one in text)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
