"""What stands between a question on disk and the model: moderation, then the operator's data."""

from collections.abc import Mapping

import anyio

from kaiwa.chat.ask import Asking
from kaiwa.chat.guard import Guard
from kaiwa.chat.order import Ready
from kaiwa.domain.message import Inputs
from kaiwa.errors import KaiwaError
from kaiwa.ports import Extension


async def settle_question(asking: Asking, ready: Ready, guard: Guard | None) -> str | None:
    """What is asked, which may be another question than was sent; None when nothing is.

    What is stored stays as it was sent. Raises `ModerationFailed`, and what `Extension.fill`
    raises. Files in the inputs are shown to nobody.
    """
    inputs = {name: value for name, value in ready.inputs.items() if name not in ready.taken}
    query = ready.order.query
    if guard:
        through = await guard.let_through(inputs, query)
        if through is None:
            return None
        inputs, query = through
    inputs = inputs | await _fill(ready, inputs, query)
    theirs = {name: value for name, value in inputs.items() if name not in ready.taken}
    asking.ask_instead(theirs, query_with_files(ready, query))
    return query


def query_with_files(ready: Ready, query: str) -> str:
    """What the end user says, behind what stands in the documents that came with it."""
    text = ready.order.taken.text
    return f"{text}\n\n{query}" if text else query


async def _fill(ready: Ready, inputs: Inputs, query: str) -> Inputs:
    """The variables that extensions fill, all asked at once."""
    wanted = {tool.variable for tool in ready.config.external_data_tools}
    extensions = {name: one for name, one in ready.kit.extensions.items() if name in wanted}
    return await _ask_all(extensions, ready, inputs, query) if extensions else {}


async def _ask_all(
    extensions: Mapping[str, Extension], ready: Ready, inputs: Inputs, query: str
) -> Inputs:
    found: Inputs = {}
    failures: list[KaiwaError] = []

    async def fill(variable: str, extension: Extension) -> None:
        try:
            found[variable] = await extension.fill(ready.order.app.id, variable, inputs, query)
        except KaiwaError as error:
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for variable, extension in extensions.items():
            tasks.start_soon(fill, variable, extension)
    if failures:
        raise failures[0]
    return found
