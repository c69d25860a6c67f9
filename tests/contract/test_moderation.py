"""Words that must not be asked or answered, over real HTTP."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support.apps import agent_file, app_file, calls, fails, says
from tests.support.client import Client, Frame
from tests.support.moderating import NO, SORRY, events, moderated, shown, views
from tests.support.server import TestServer, serving
from tests.support.talking import stop, take

pytestmark = pytest.mark.anyio

CALCULATOR = "maths/eval_expression"
SUM = ("eval_expression", '{"expression": "6 * 7"}')
ON = {"enabled": True}
FIELDS = [
    {"paragraph": {"variable": "about", "label": "About"}},
    {"number": {"variable": "count", "label": "Count"}},
]


def told(frames: list[Frame]) -> str:
    """All text that was ever shown, also what was taken back."""
    kinds = ("message", "agent_message", "message_replace")
    return "".join(frame.data["answer"] for frame in frames if frame.event in kinds)


def thoughts_of(frames: list[Frame]) -> dict[str, str]:
    found = [frame.data for frame in frames if frame.event == "agent_thought"]
    return {one["id"]: one["thought"] for one in found}


@pytest.mark.parametrize("kind", ["chat", "agent"])
async def test_a_question_with_such_a_word_gets_the_preset_and_asks_no_model(
    server: TestServer, kind: str
) -> None:
    make = agent_file if kind == "agent" else app_file
    client = await server.client(
        make(fails(), sensitive_word_avoidance=moderated(keywords="other\nSeCret"))
    )
    if kind == "agent":
        frames = await client.stream("Tell me the SECRET")
    else:
        frames, _ = await views(client, "Tell me the SECRET")
    assert events(frames) == ["message", "message_end"]
    assert shown(frames) == NO
    usage = frames[-1].data["metadata"]["usage"]
    assert (usage["total_tokens"], usage["total_price"], usage["latency"]) == (0, "0.0", 0)
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert (message["query"], message["answer"]) == ("Tell me the SECRET", NO)
    assert (message["outcome"], message["error"]) == ("normal", None)
    assert message["agent_thoughts"] == []


async def test_texts_of_the_form_are_looked_at_and_numbers_are_not(server: TestServer) -> None:
    client = await server.client(
        app_file(
            says("Fine."),
            user_input_form=FIELDS,
            sensitive_word_avoidance=moderated(keywords="secret\n7"),
        )
    )
    fine = await client.ask("Hello", inputs={"about": "nothing", "count": 7})
    assert fine.body["answer"] == "Fine."
    refused = await client.ask("Hello", inputs={"about": "my Ｓecret", "count": 1})
    assert refused.body["answer"] == NO


async def test_a_refused_question_is_told_to_no_other_model(server: TestServer) -> None:
    client = await server.client(
        app_file(
            says("Fine."),
            sensitive_word_avoidance=moderated(),
            suggested_questions_after_answer=ON,
        )
    )
    refused = await client.ask("A secret (side: array) (side: title)")
    where = refused.body["conversation_id"]
    reply = await client.get(f"/messages/{refused.body['id']}/suggested")
    assert reply.body["data"] == []
    renamed = await client.post(f"/conversations/{where}/name", auto_generate=True)
    assert renamed.body["name"] == "A secret (side: array) (side: title)"
    fine = await client.ask("(side: title)", conversation_id=where)
    assert fine.body["answer"] == "Fine."
    renamed = await client.post(f"/conversations/{where}/name", auto_generate=True)
    assert renamed.body["name"] == "Saying hello 👋"


async def test_a_refused_first_question_names_its_conversation_itself(server: TestServer) -> None:
    client = await server.client(app_file(says("Fine."), sensitive_word_avoidance=moderated()))
    await client.ask("A secret (side: title)")
    [conversation] = (await client.get("/conversations")).body["data"]
    assert conversation["name"] == "A secret (side: title)"


@pytest.mark.parametrize(
    ("keywords", "pieces", "before"),
    [
        ("secret", ["It is ", "a se", "c", "ret", ", yes"], "It is a "),
        ("secret", ["secret"], ""),
        ("密码", ["这是", "密", "码", "。"], "这是"),
        ("ｓｅｃｒｅｔ", ["The S", "ECRE", "T"], "The "),
        ("bad\nbadly broken", ["so ba", "dly"], "so "),
    ],
)
async def test_an_answer_is_replaced_before_the_word_is_shown(
    server: TestServer, keywords: str, pieces: list[str], before: str
) -> None:
    guarded = moderated(keywords=keywords)
    client = await server.client(
        app_file(says(*pieces), {"hang": True}, sensitive_word_avoidance=guarded)
    )
    frames, _ = await views(client, "Hello")
    assert events(frames)[-2:] == ["message_replace", "message_end"]
    assert events(frames).count("message_replace") == 1
    assert told(frames) == before + SORRY
    replaced = frames[-2].data
    assert replaced["id"] == replaced["message_id"]
    assert replaced["reason"] == ""
    usage = frames[-1].data["metadata"]["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0


async def test_what_only_looks_like_a_word_costs_no_frame_and_no_letter(server: TestServer) -> None:
    pieces = ["A se", "cre", "d s", "ecr", "e", " secre"]
    client = await server.client(app_file(says(*pieces), sensitive_word_avoidance=moderated()))
    frames, _ = await views(client, "Hello")
    assert shown(frames) == "".join(pieces)
    assert len([frame for frame in frames if frame.event == "message"]) <= len(pieces)
    assert "message_replace" not in events(frames)


async def test_only_the_side_that_is_to_be_looked_at_is(server: TestServer) -> None:
    asked = await server.client(
        app_file(says("a secret"), sensitive_word_avoidance=moderated(sides=("inputs",)))
    )
    assert (await asked.ask("Hello")).body["answer"] == "a secret"
    said = await server.client(
        app_file(says("fine"), sensitive_word_avoidance=moderated(sides=("outputs",)))
    )
    assert (await said.ask("a secret")).body["answer"] == "fine"


async def test_what_is_held_is_said_when_the_answer_is_stopped(server: TestServer) -> None:
    client = await server.client(
        app_file(says("It is", " a sec"), {"hang": True}, sensitive_word_avoidance=moderated())
    )
    async with client.streaming("Hello") as stream:
        frames = await take(stream, 2)
        assert shown(frames) == "It is a "
        await stop(client, frames[0])
        frames += await stream.rest()
    assert events(frames)[-2:] == ["message", "message_end"]
    assert shown(frames) == "It is a sec"
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert (message["answer"], message["outcome"]) == ("It is a sec", "stopped")


async def test_what_is_held_is_said_when_the_model_fails(server: TestServer) -> None:
    client = await server.client(
        app_file(says("It is a sec"), fails(), sensitive_word_avoidance=moderated())
    )
    frames = await client.stream("Hello")
    assert events(frames) == ["message", "message", "error"]
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert message["answer"] == shown(frames) == "It is a sec"


async def test_a_conversation_goes_on_after_an_answer_was_taken_back(server: TestServer) -> None:
    replies = [
        {"when": "first", "steps": [says("a secret")]},
        {"steps": [{"text": "{prompt}"}]},
    ]
    model = {"provider": "scripted", "name": "s", "completion_params": {"script": replies}}
    client = await server.client(app_file(model=model, sensitive_word_avoidance=moderated()))
    first = await client.ask("the first")
    assert first.body["answer"] == SORRY
    second = await client.ask("the next", conversation_id=first.body["conversation_id"])
    assert SORRY in second.body["answer"]


async def test_moderation_is_the_apps_current_one(server: TestServer) -> None:
    name = "Later moderated"
    client = await server.client(app_file(says("a secret"), name=name))
    first = await client.ask("Hello")
    assert first.body["answer"] == "a secret"
    await server.make_app(
        app_file(says("a secret"), name=name, sensitive_word_avoidance=moderated())
    )
    second = await client.ask("Hello", conversation_id=first.body["conversation_id"])
    assert second.body["answer"] == SORRY


async def test_reasoning_that_is_shown_is_looked_at(server: TestServer) -> None:
    steps: list[dict[str, Any]] = [{"reasoning": "the secret is 42"}, says("Fine.")]
    client = await server.client(app_file(*steps, sensitive_word_avoidance=moderated()))
    frames, _ = await views(client, "Hello")
    assert shown(frames) == SORRY
    assert "secret" not in told(frames)
    hiding = await server.client(
        app_file(*steps, sensitive_word_avoidance=moderated(), kaiwa={"reasoning": "hide"})
    )
    frames, _ = await views(hiding, "Hello")
    assert shown(frames) == "Fine."


async def test_an_agents_answer_is_taken_back_with_what_its_thoughts_have_shown(
    server: TestServer,
) -> None:
    client = await server.client(
        agent_file(
            [says("Let me see."), calls(*SUM)],
            [says("It is a se", "cret."), calls(*SUM)],
            tools=[CALCULATOR],
            sensitive_word_avoidance=moderated(),
        )
    )
    frames = await client.stream("Hello")
    assert frames[-1].event == "message_end"
    assert "secret" not in "".join(frame.raw for frame in frames)
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert message["answer"] == shown(frames) == SORRY
    assert message["outcome"] == "normal"
    kept = {one["id"]: one["thought"] for one in message["agent_thoughts"]}
    assert kept == thoughts_of(frames)
    assert set(kept.values()) == {""}
    assert len(kept) == 2


async def test_a_call_that_would_need_a_yes_does_not_wait_in_an_answer_taken_back(
    server: TestServer,
) -> None:
    client = await server.client(
        agent_file(
            [calls(*SUM), says("the secret")],
            tools=[CALCULATOR],
            sensitive_word_avoidance=moderated(),
            kaiwa={"approve": ["eval_expression"]},
        )
    )
    frames = await client.stream("Hello")
    assert shown(frames) == SORRY
    where = frames[0].data["message_id"]
    reply = await client.post(f"/messages/{where}/approvals", decision="approve")
    assert reply.status == 400


async def test_an_agent_that_calls_tools_in_words_is_looked_at_too(tmp_path: Path) -> None:
    wordy = {"wordy": {"kind": "scripted", "tools": False}}
    said = 'Thought: the secret\nAction: {"action": "eval_expression", "action_input": "1"}'
    script = [{"steps": [{"pieces": [said[:15], said[15:]]}]}]
    model = {"provider": "wordy", "name": "w", "completion_params": {"script": script}}
    async with serving(tmp_path, providers=wordy) as server:
        client = await server.client(
            agent_file(tools=[CALCULATOR], model=model, sensitive_word_avoidance=moderated())
        )
        frames = await client.stream("Hello")
        assert "secret" not in "".join(frame.raw for frame in frames)
        [message] = await client.messages(frames[0].data["conversation_id"])
        assert message["answer"] == shown(frames) == SORRY
        assert [one["thought"] for one in message["agent_thoughts"]] == [""]


async def test_rounds_of_an_agent_keep_every_letter(server: TestServer) -> None:
    client = await server.client(
        agent_file(
            [says("One se", "c"), calls(*SUM)],
            [says("ret", " is fine. s")],
            tools=[CALCULATOR],
            sensitive_word_avoidance=moderated(),
        )
    )
    frames = await client.stream("Hello")
    [message] = await client.messages(frames[0].data["conversation_id"])
    assert message["answer"] == "One sec\nret is fine. s"
    assert [one["thought"] for one in message["agent_thoughts"]] == ["One sec", "ret is fine. s"]


async def test_one_line_tells_what_was_found_without_its_text(
    server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = app_file(says("a secret"), sensitive_word_avoidance=moderated())
    app = await server.make_app(file)
    client = server.client_of(await server.make_key(app))
    await client.ask("my secret")
    answered = await client.ask("Hello")
    await client.ask("Hello")
    found = [record.getMessage() for record in caplog.records if "flagged" in record.getMessage()]
    assert [line.rpartition(" in app ")[2] for line in found] == [
        f"{app.id}, {count} since the start" for count in (1, 1, 2)
    ]
    assert f"the outputs of message {answered.body['id']}" in found[1]
    assert "secret" not in caplog.text
    counted = server.house.context.checks.flagged
    assert (counted[app.id, "inputs"], counted[app.id, "outputs"]) == (1, 2)


async def test_the_log_has_their_texts_when_the_operator_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = app_file(says("a secret"), sensitive_word_avoidance=moderated())
    async with serving(tmp_path, log_flagged=True) as server:
        client: Client = await server.client(file)
        await client.ask("my secret")
        await client.ask("Hello")
    assert "'my secret'" in caplog.text
    assert "'a secret'" in caplog.text
