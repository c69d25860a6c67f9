"""The scripted model plays what it is told, and says what is wrong with a script."""

import asyncio
import time
from pathlib import Path

import anyio
import pytest

from kaiwa.domain.events import ReasoningDelta, TextDelta, ToolCallDelta, UsageDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage, ToolCall
from kaiwa.errors import (
    CompletionFailed,
    KaiwaError,
    ModelNotSupported,
    OperatorError,
    PromptTooLong,
    ProviderNotInitialized,
    ProviderQuotaExceeded,
    ToolsNotSupported,
)
from kaiwa.ports import ChatModel
from kaiwa.providers.http import Operator
from kaiwa.providers.registry import create_model
from tests.providers.asking import Heard, called, equipped, hear, hear_into, observed, question

pytestmark = pytest.mark.anyio

Script = list[object]


def scripted(*replies: Script | dict[str, object], **options: object) -> ChatModel:
    """A reply given as a list is its steps."""
    script = [{"steps": reply} if isinstance(reply, list) else reply for reply in replies]
    return create_model("scripted", {"replies": script, **options}, Operator())


async def test_without_a_script_it_echoes() -> None:
    heard = await hear(scripted(), question("How  are you, 世界?"))
    assert heard.text == "You said: How  are you, 世界?"
    assert [item[0] for item in heard.items][:4] == [
        TextDelta("You"),
        TextDelta(" said:"),
        TextDelta(" How"),
        TextDelta("  are"),
    ]


async def test_the_first_reply_that_fits_is_played() -> None:
    model = scripted(
        {"when": "HELLO", "system": "help", "steps": [{"text": "one"}]},
        {"when": "hello", "steps": [{"text": "two"}]},
        {"system": "you HELP", "steps": [{"text": "three"}]},
    )
    other = (PromptMessage("user", "Hello?"),)
    assert (await hear(model, question("Say hello"))).text == "one"
    assert (await hear(model, ModelRequest("m", other, {}))).text == "two"
    assert (await hear(model, question("Bye"))).text == "three"


async def test_the_steps_of_a_reply() -> None:
    steps: Script = [
        {"reasoning": "let me"},
        {"text": " 你好 you "},
        {"pieces": ["a b", "", "c"]},
        {"repeat": {"text": "x", "times": 3}},
        {"tool_calls": [{"id": "1", "name": "f", "arguments": "{}"}]},
        {"usage": {"prompt": 5, "completion": 6}},
    ]
    heard = await hear(scripted(steps))
    assert heard.deltas == [
        ReasoningDelta("let"),
        ReasoningDelta(" me"),
        *[TextDelta(text) for text in (" ", "你", "好", " you", " ", "a b", "c", "x", "x", "x")],
        ToolCallDelta(0, "1", "f", "{}"),
        UsageDelta(5, 6),
    ]
    assert all(len(item) == 1 for item in heard.items)


async def test_a_burst_is_one_item() -> None:
    steps: Script = [{"pieces": list("abcdef"), "burst": 4}, {"pieces": list("ghi")}]
    heard = await hear(scripted(steps, burst=2))
    assert [len(item) for item in heard.items] == [4, 2, 2, 1]


async def test_pace_and_silence_take_their_time() -> None:
    started = time.monotonic()
    steps: Script = [{"silence": 0.05}, {"pieces": list("abc"), "pace": 0.05}]
    await hear(scripted(steps))
    assert 0.14 < time.monotonic() - started < 1


async def test_hang_is_silence_until_it_is_cut() -> None:
    heard = Heard()
    with anyio.move_on_after(0.1) as scope:
        await hear_into(heard, scripted([{"text": "Hello"}, {"hang": True}]))
    assert scope.cancelled_caught
    assert heard.text == "Hello"


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("rate_limit", CompletionFailed, "[scripted] Rate Limit Error, oh"),
        ("server", CompletionFailed, "[scripted] Server Unavailable Error, oh"),
        ("connection", CompletionFailed, "[scripted] Connection Error, oh"),
        ("auth", CompletionFailed, "Incorrect API key provided"),
        ("quota", ProviderQuotaExceeded, "The quota of"),
        ("unknown_model", ModelNotSupported, "[scripted] oh"),
        ("too_long", PromptTooLong, "Query or prefix prompt is too long"),
        ("not_initialized", ProviderNotInitialized, "Model model-1 credentials is not"),
    ],
)
async def test_it_fails_as_a_real_server_does(
    kind: str, error: type[KaiwaError], message: str
) -> None:
    heard = Heard()
    steps: Script = [{"text": "Hello"}, {"fail": {"kind": kind, "message": "oh"}}]
    with pytest.raises(KaiwaError) as caught:
        await hear_into(heard, scripted(steps))
    assert type(caught.value) is error
    assert caught.value.message.startswith(message)
    assert heard.text == "Hello"


async def test_placeholders_show_what_the_model_was_given() -> None:
    messages = (
        PromptMessage("system", "Be {question}"),
        PromptMessage("user", "a"),
        PromptMessage("assistant", "b"),
        PromptMessage("user", "c {prompt}"),
    )
    steps: Script = [{"text": "{question}|{history}|{system}|{unknown}"}]
    heard = await hear(scripted(steps), ModelRequest("m", messages, {}))
    assert heard.text == "c {prompt}|1|Be {question}|{unknown}"
    heard = await hear(scripted([{"pieces": ["{prompt}"]}]), ModelRequest("m", messages[1:2], {}))
    assert heard.text == '[{"role":"user","text":"a"}]'


async def test_a_reply_may_wait_for_a_round_of_an_agent() -> None:
    calls: Script = [{"name": "clock"}, {"name": "sum", "arguments": '{"a": 1}'}]
    model = scripted(
        {"after": 0, "steps": [{"text": "I use {tools}.", "tool_calls": calls}]},
        {"after": 1, "steps": [{"tool_calls": [{"name": "clock", "id": "again"}]}]},
        {"when": "time", "steps": [{"text": "They say {observations} ({history} before)."}]},
    )
    heard = await hear(model, equipped())
    assert heard.text == "I use clock, sum."
    assert heard.tool_calls == {0: ("call_1", "clock", "{}"), 1: ("call_2", "sum", '{"a": 1}')}
    first = called(ToolCall("call_1", "clock", "{}"), ToolCall("call_2", "sum", '{"a": 1}'))
    round = (first, observed("call_1", "noon"), observed("call_2", "2"))
    assert (await hear(model, equipped(*round))).tool_calls == {0: ("again", "clock", "{}")}
    rounds = (*round, called(ToolCall("again", "clock", "{}")), observed("again", "one"))
    assert (await hear(model, equipped(*rounds))).text == "They say noon\n2\none (0 before)."
    later = (*rounds, PromptMessage("assistant", "One."), PromptMessage("user", "Now?"))
    assert (await hear(model, equipped(*later))).text == "I use clock, sum."


async def test_a_call_may_come_in_pieces() -> None:
    first = {"name": "f", "arguments": '{"a":'}
    further = {"index": 0, "id": "", "arguments": "1}"}
    heard = await hear(scripted([{"tool_calls": [first]}, {"tool_calls": [further]}]), equipped())
    assert heard.tool_calls == {0: ("call_1", "f", '{"a":1}')}


async def test_it_may_be_a_model_that_cannot_call_tools() -> None:
    model = scripted([{"text": "Thought: {tools}"}], tools=False)
    assert model.calls_tools is False
    assert (await hear(model, question())).text == "Thought: "
    with pytest.raises(ToolsNotSupported, match=r"The model model-1 cannot call tools\."):
        await hear(model, equipped())


async def test_an_app_may_carry_its_script() -> None:
    model = scripted([{"text": "from the options"}])
    script = [{"steps": [{"text": "from the app"}]}]
    assert (await hear(model, question(script=script))).text == "from the app"
    with pytest.raises(CompletionFailed, match=r"the app's script is wrong: .*`txt`"):
        await hear(model, question(script=[{"steps": [{"txt": "x"}]}]))


@pytest.mark.parametrize("head", ["", "replies:\n"])
async def test_a_script_may_be_a_file(head: str, tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(f"{head}- when: hi\n  steps:\n  - text: from the file\n", "utf-8")
    model = await asyncio.to_thread(scripted, script=str(path))
    assert (await hear(model, question("hi"))).text == "from the file"


@pytest.mark.parametrize(
    "content", [b"- when: [", b"- steps: 1", b"just text", b"\xff\xfe\xff", b"other: []"]
)
def test_a_wrong_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_bytes(content)
    with pytest.raises(OperatorError) as caught:
        scripted(script=str(path))
    assert str(caught.value).startswith(f"The script {path} cannot be used: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_wrong_replies_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"The script .* cannot be used"):
        scripted(script=str(tmp_path / "none.yaml"))
    with pytest.raises(OperatorError, match="kind"):
        scripted([{"fail": {"kind": "unheard of"}}])
    with pytest.raises(OperatorError, match="pace"):
        scripted([{"text": "x", "pace": -1}])
