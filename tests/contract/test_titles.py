"""Names that a model gives to conversations."""

from typing import Any

import anyio
import pytest

from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(server: TestServer) -> Client:
    return await server.client(app_file(says("Fine.")))


async def begin(client: Client, question: str, *, named: bool = False) -> str:
    """The id of a new conversation."""
    reply = await client.ask(question, auto_generate_name=named)
    return reply.body["conversation_id"]


async def name_of(client: Client, conversation_id: str) -> str:
    found = (await client.get("/conversations", limit=100)).body["data"]
    return next(each["name"] for each in found if each["id"] == conversation_id)


async def name_becomes(client: Client, conversation_id: str, name: str) -> None:
    """Titles come after the answer, and no event tells when."""
    with anyio.fail_after(10):
        while await name_of(client, conversation_id) != name:  # noqa: ASYNC110 - see above
            await anyio.sleep(0.01)


async def test_a_first_question_gets_a_title_from_the_model(client: Client) -> None:
    named = await begin(client, "Hi (side: title)", named=True)
    [before] = (await client.get("/conversations")).body["data"]
    await name_becomes(client, named, "Saying hello 👋")
    [after] = (await client.get("/conversations")).body["data"]
    assert after["updated_at"] == before["updated_at"]


async def test_a_stream_gets_a_title_too_and_ends_before_it(client: Client) -> None:
    *_, end = await client.stream("Hi (side: late title)")
    assert end.event == "message_end"
    await name_becomes(client, end.data["conversation_id"], "Late")


async def test_only_a_first_question_that_wants_one_gets_a_title(client: Client) -> None:
    unnamed = await begin(client, "Hi (side: title)")
    await client.ask("And (side: title)", conversation_id=unnamed)
    later = await begin(client, "Hi (side: late title)", named=True)
    await name_becomes(client, later, "Late")
    assert await name_of(client, unnamed) == "Hi (side: title)"


async def test_a_name_given_by_hand_is_not_overwritten(client: Client) -> None:
    renamed = await begin(client, "Hi (side: late title)", named=True)
    await client.post(f"/conversations/{renamed}/name", name="Mine")
    later = await begin(client, "Hi (side: late title)", named=True)
    await name_becomes(client, later, "Late")
    assert await name_of(client, renamed) == "Mine"


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Hello", "Hello"),
        ("  Two\n\nlines\t ", "Two lines"),
        ("y" * 50, "y" * 50),
        ("y" * 51, "y" * 50 + "…"),
        ("日本語" * 30, ("日本語" * 17)[:50] + "…"),
        ("\n", "New conversation"),
    ],
)
async def test_until_then_the_name_is_the_questions_beginning(
    client: Client, question: str, name: str
) -> None:
    assert await name_of(client, await begin(client, question)) == name


@pytest.mark.parametrize(
    ("side", "name"),
    [
        ("title", "Saying hello 👋"),
        ("title after thought", "Deep"),
        ("thought apart", "Clear"),
        ("long title", "x" * 75 + "..."),
    ],
)
@pytest.mark.parametrize("wish", [True, "true", "True", 1])
async def test_a_title_can_be_asked_for(client: Client, side: str, name: str, wish: Any) -> None:
    conversation_id = await begin(client, f"Hi (side: {side})")
    await client.ask("Something else", conversation_id=conversation_id)
    path = f"/conversations/{conversation_id}/name"
    reply = await client.post(path, auto_generate=wish, name="ignored")
    assert (reply.status, reply.body["name"]) == (200, name)
    assert await name_of(client, conversation_id) == name


@pytest.mark.parametrize("side", ["fails", "babbles", "no title", "number", "list"])
async def test_a_title_that_cannot_be_had_leaves_the_name(client: Client, side: str) -> None:
    conversation_id = await begin(client, f"Hi (side: {side})")
    path = f"/conversations/{conversation_id}/name"
    for name in ("Mine", ""):
        await client.post(path, name=name)
        reply = await client.post(path, auto_generate=True)
        assert (reply.status, reply.body["name"]) == (200, name)


@pytest.mark.parametrize("wish", [False, "false", "False", 0, None])
async def test_a_name_by_hand_needs_no_model(client: Client, wish: Any) -> None:
    conversation_id = await begin(client, "Hi (side: title)")
    path = f"/conversations/{conversation_id}/name"
    reply = await client.post(path, auto_generate=wish, name="Mine")
    assert reply.body["name"] == "Mine"
