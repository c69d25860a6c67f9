"""What every chat model keeps to, whatever its kind."""

from collections.abc import Sequence

import anyio
import pytest

from kaiwa.domain.events import Delta, TextDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage
from kaiwa.providers.http import Operator
from kaiwa.providers.registry import create_model, list_kinds
from tests.providers.asking import (
    NETWORK_KINDS,
    any_model,
    hear,
    hear_first,
    network_model,
    question,
)
from tests.support.model_server import ModelServer, hang_after

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("kind", list_kinds())]


async def test_it_says_something_and_no_piece_is_empty(
    kind: str, server: ModelServer, http: Operator
) -> None:
    heard = await hear(any_model(kind, server, http))
    assert heard.text
    assert all(heard.items)
    assert all(delta.text for delta in heard.deltas if isinstance(delta, TextDelta))


async def test_the_same_model_answers_many_at_once(
    kind: str, server: ModelServer, http: Operator
) -> None:
    model = any_model(kind, server, http)
    answers: list[str] = []

    async def ask() -> None:
        answers.append((await hear(model)).text)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert len(answers) == 20
    assert len(set(answers)) == 1


async def test_leaving_after_the_first_piece_does_no_harm(
    kind: str, server: ModelServer, http: Operator
) -> None:
    model = any_model(kind, server, http)
    async with model.stream(question()) as stream:
        assert await hear_first(stream)
    assert (await hear(model)).text


async def test_leaving_without_listening_does_no_harm(
    kind: str, server: ModelServer, http: Operator
) -> None:
    async with any_model(kind, server, http).stream(question()):
        pass


async def test_cancelling_it_in_the_middle_ends_it_at_once(
    kind: str, server: ModelServer, http: Operator
) -> None:
    server.play(hang_after("Hello"))
    model = any_model(kind, server, http)
    request = question(script=[{"steps": [{"text": "Hello"}, {"hang": True}]}])
    heard: list[str] = []
    scope = anyio.CancelScope()

    def take(deltas: Sequence[Delta]) -> None:
        heard.extend(delta.text for delta in deltas if isinstance(delta, TextDelta))
        if kind != "quoting" and heard == ["Hello"]:
            scope.deadline = anyio.current_time() + 0.05
        elif kind == "quoting":
            scope.cancel()

    with anyio.fail_after(5), scope:
        async with model.stream(request) as stream:
            await stream.pour(take)
    assert scope.cancelled_caught
    assert heard
    if kind in NETWORK_KINDS:
        await server.wait_left()


async def test_a_prompt_of_one_text_is_answered(
    kind: str, server: ModelServer, http: Operator
) -> None:
    messages = (PromptMessage("user", "Human: hello\n\nAssistant: "),)
    request = ModelRequest("model-1", messages, {}, completion=True)
    assert (await hear(any_model(kind, server, http), request)).text


async def test_options_nobody_knows_are_refused(kind: str, http: Operator) -> None:
    with pytest.raises(Exception, match=f"'{kind}' are wrong: .*`nonsense`"):
        create_model(kind, {"nonsense": 1}, http)


async def test_it_says_whether_it_can_follow_instructions(
    kind: str, server: ModelServer, http: Operator
) -> None:
    assert any_model(kind, server, http).generative is (kind != "quoting")


async def test_it_says_whether_it_can_call_tools(
    kind: str, server: ModelServer, http: Operator
) -> None:
    known = {"quoting": False, "scripted": True}.get(kind)
    assert any_model(kind, server, http).calls_tools is known
    if kind in NETWORK_KINDS:
        assert network_model(kind, server, http, tools="true").calls_tools is True
        assert network_model(kind, server, http, tools=False).calls_tools is False
