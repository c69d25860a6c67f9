"""Files with a question: taken or refused before it begins, seen by the model, then listed."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from pytest_socket import socket_allow_hosts

from tests.contract.test_uploads import get, picture, stored, upload
from tests.support.client import Client
from tests.support.file_server import Site, chunks, say
from tests.support.model_server import ModelServer, refuse, speak
from tests.support.networked import networked_app, serving_models
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

_RULES: dict[str, Any] = {
    "enabled": True,
    "allowed_file_types": ["image", "document"],
    "allowed_file_upload_methods": ["local_file", "remote_url"],
    "number_limits": 2,
    "image": {"detail": "low"},
}


@pytest.fixture(autouse=True)
def _all_of_loopback() -> None:  # pyright: ignore[reportUnusedFunction]
    """So that a server that may be asked has another address than those that may not."""
    socket_allow_hosts(["127.0.0.0/8", "::1"], allow_unix_socket=True)


class Stage:
    def __init__(self, server: TestServer, models: ModelServer, client: Client) -> None:
        self.server = server
        self.models = models
        self.client = client

    async def ask(self, *files: object, **more: Any) -> Any:
        return await self.client.post(
            "/chat-messages",
            query="What is this?",
            inputs={},
            response_mode="blocking",
            files=list(files),
            **more,
        )


@pytest.fixture(params=["openai", "anthropic"])
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> AsyncGenerator[Stage]:
    networks = ("127.0.0.2/32",)
    async with serving_models(tmp_path, fetch_networks=networks) as (server, models):
        models.play(speak("A square."))
        client = await server.client(networked_app(request.param, file_upload=_RULES))
        yield Stage(server, models, client)


def local(file_id: str, kind: str = "image") -> dict[str, str]:
    return {"type": kind, "transfer_method": "local_file", "upload_file_id": file_id}


def remote(url: str, kind: str = "image") -> dict[str, str]:
    return {"type": kind, "transfer_method": "remote_url", "url": url}


def shown(body: Any, number: int = -1) -> list[Any]:
    """The parts of one of the messages the model was told."""
    content = cast("str | list[Any]", body["messages"][number]["content"])
    parts: list[Any] = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return parts


def pictures(parts: list[Any]) -> list[str]:
    """Base64 of each."""
    found: list[str] = []
    for part in parts:
        if part["type"] == "image_url":
            assert part["image_url"]["detail"] == "low"
            head, _, data = part["image_url"]["url"].partition(",")
            assert head == "data:image/png;base64"
            found.append(data)
        elif part["type"] == "image":
            assert part["source"]["media_type"] == "image/png"
            found.append(part["source"]["data"])
    return found


def text_of(parts: list[Any]) -> str:
    return "".join(part["text"] for part in parts if part["type"] == "text")


async def test_an_uploaded_picture_is_seen_and_listed_and_seen_again(stage: Stage) -> None:
    file = (await upload(stage.client, picture(), user=stage.client.user)).body
    reply = await stage.ask(local(file["id"]))
    assert (reply.status, reply.body["answer"]) == (200, "A square.")
    parts = shown(stage.models.requests[-1].body)
    assert text_of(parts) == "What is this?"
    [seen] = pictures(parts)
    conversation = reply.body["conversation_id"]
    page = await stage.client.get("/messages", conversation_id=conversation)
    [listed] = page.body["data"][0]["message_files"]
    assert listed["type"] == "image"
    assert listed["belongs_to"] == "user"
    assert (await get(listed["url"]))[1] == picture()
    again = await stage.client.post(
        "/chat-messages",
        query="And now?",
        inputs={},
        response_mode="blocking",
        conversation_id=conversation,
    )
    assert again.status == 200
    told = stage.models.requests[-1].body
    earlier = [message for message in told["messages"] if message["role"] == "user"]
    assert pictures(shown({"messages": earlier}, 0)) == [seen]
    assert pictures(shown(told)) == []
    page = await stage.client.get("/messages", conversation_id=conversation)
    assert [len(message["message_files"]) for message in page.body["data"]] == [1, 0]


async def test_a_document_is_told_as_text_and_kept_out_of_the_question(stage: Stage) -> None:
    text = "Die Sonne 太阳".encode()
    user = stage.client.user
    file = (await upload(stage.client, text, "notes.txt", "text/plain", user=user)).body
    reply = await stage.ask(local(file["id"], "document"))
    assert reply.status == 200
    told = text_of(shown(stage.models.requests[-1].body))
    assert '<document name="notes.txt">\nDie Sonne 太阳' in told
    assert told.endswith("What is this?")
    page = await stage.client.get("/messages", conversation_id=reply.body["conversation_id"])
    assert page.body["data"][0]["query"] == "What is this?"


async def test_an_earlier_document_is_told_again_while_there_is_room(stage: Stage) -> None:
    client, user = stage.client, stage.client.user
    small = (await upload(client, b"The sun is yellow.", "sun.txt", "text/plain", user=user)).body
    large = "wide " * 40_000  # more than is left to the history of a model we do not know
    wide = (await upload(client, large.encode(), "wide.txt", "text/plain", user=user)).body
    both = [local(file["id"], "document") for file in (small, wide)]
    conversation = (await stage.ask(*both)).body["conversation_id"]
    assert (await stage.ask(conversation_id=conversation)).status == 200
    users = [m for m in stage.models.requests[-1].body["messages"] if m["role"] == "user"]
    earlier, question = [text_of(shown({"messages": users}, number)) for number in (0, 1)]
    assert earlier.startswith('<document name="sun.txt">\nThe sun is yellow.\n</document>\n\n')
    assert earlier.endswith("\n\nWhat is this?")
    assert "wide" not in earlier
    assert question == "What is this?"
    page = await client.get("/messages", conversation_id=conversation)
    assert [message["query"] for message in page.body["data"]] == ["What is this?"] * 2


async def test_a_remote_picture_is_fetched_once_and_kept(stage: Stage) -> None:
    async with Site("127.0.0.2") as site:
        site.pages["/a.png"] = say(picture(), "Content-Type: image/png")
        reply = await stage.ask(remote(site.url("/a.png")))
        assert reply.status == 200
        assert len(pictures(shown(stage.models.requests[-1].body))) == 1
        page = await stage.client.get("/messages", conversation_id=reply.body["conversation_id"])
        [listed] = page.body["data"][0]["message_files"]
        assert (await get(listed["url"]))[1] == picture()
        assert len(site.requests) == 1


async def test_what_may_not_come_is_refused_before_the_question_begins(stage: Stage) -> None:
    mine = (await upload(stage.client, picture(), user=stage.client.user)).body["id"]
    other = (await upload(stage.client, picture(), user="somebody else")).body["id"]
    text = (await upload(stage.client, b"text", "a.txt", "text/plain", user="abc-123")).body["id"]
    refusals: list[tuple[list[Any], str]] = [
        (["x"], "Invalid file format, must be dict"),
        ([{}], "Missing file type"),
        ([{"type": "hologram"}], "No matching enum found for value 'hologram'"),
        ([{"type": "image"}], "Missing file transfer method"),
        ([{"type": "image", "transfer_method": "x"}], "No matching enum found for value 'x'"),
        ([{"type": "image", "transfer_method": "remote_url"}], "Missing file url"),
        ([remote("ftp://a.example/b")], "Invalid file url"),
        ([{"type": "image", "transfer_method": "local_file"}], "Missing file upload_file_id"),
        ([local("nonsense")], "Invalid upload file"),
        ([local(str(uuid4()))], "Invalid upload file"),
        ([local(other)], "Invalid upload file"),
        ([local(text)], "Invalid upload file"),
        ([local(mine)] * 3, "Number of image files exceeds the maximum limit 2"),
        ([local(mine), local(mine), local(text, "document")], "Number of files exceeds"),
        ([remote("http://127.0.0.1:1/a.png")], "The file cannot be fetched"),
        ([remote("http://[::ffff:127.0.0.1]/a.png")], "The file cannot be fetched"),
    ]
    for files, message in refusals:
        reply = await stage.ask(*files)
        assert (reply.status, reply.body["code"]) == (400, "invalid_param"), message
        assert message in reply.body["message"]
    assert (await stage.client.get("/conversations")).body["data"] == []
    assert len(await stored(stage.server)) == 3
    assert stage.models.requests == []


async def test_a_remote_file_that_is_no_picture_leaves_nothing(stage: Stage) -> None:
    async with Site("127.0.0.2") as site:
        site.pages["/a.png"] = say(b"<html>hello</html>", "Content-Type: image/png")
        site.pages["/b.png"] = say(picture()[:30], "Content-Type: image/png")
        for path in site.pages:
            reply = await stage.ask(remote(site.url(path)))
            assert reply.status in (400, 415), reply.body
    assert await stored(stage.server) == []


async def test_a_remote_file_that_is_too_large_is_one_error_however_it_shows(
    tmp_path: Path, engine: str
) -> None:
    others = dict.fromkeys(("document_limit", "audio_limit", "video_limit"), 2000)
    networks = ("127.0.0.2/32",)
    serving = serving_models(tmp_path, fetch_networks=networks, image_limit=1000, **others)
    async with serving as (server, models), Site("127.0.0.2") as site:
        client = await server.client(networked_app(file_upload=_RULES))
        asking = Stage(server, models, client)
        for size in (1001, 3000):  # of which only the second is too large whatever it is
            body = picture().ljust(size, b"\0")
            site.pages["/told"] = say(body)
            site.pages["/untold"] = chunks(body)
            for path in ("/told", "/untold"):
                reply = await asking.ask(remote(site.url(path)))
                assert (reply.status, reply.body["code"]) == (413, "file_too_large")
                assert reply.body["message"].startswith(f"File size exceeded. {size} > ")
        assert await stored(server) == []


async def test_an_app_that_takes_no_files_passes_them_over(stage: Stage) -> None:
    client = await stage.server.client(networked_app("openai"))
    reply = await client.post(
        "/chat-messages", query="q", inputs={}, response_mode="blocking", files=[{"type": "x"}, 1]
    )
    assert reply.status == 200
    assert pictures(shown(stage.models.requests[-1].body)) == []


async def test_a_model_that_cannot_see_says_so(stage: Stage) -> None:
    app = networked_app("quoting", model="quoting", file_upload=_RULES)
    client = await stage.server.client(app)
    file = (await upload(client, picture(), user=client.user)).body["id"]
    blind = Stage(stage.server, stage.models, client)
    reply = await blind.ask(local(file))
    assert (reply.status, reply.body["code"]) == (400, "invalid_param")
    assert reply.body["message"] == "The model quoting cannot look at pictures."


_BLIND = "this model does not support image input"


async def test_a_model_that_turns_out_not_to_see_says_so(stage: Stage) -> None:
    stage.models.play(refuse(400, _BLIND))
    file = (await upload(stage.client, picture(), user=stage.client.user)).body["id"]
    reply = await stage.ask(local(file))
    assert (reply.status, reply.body["code"]) == (400, "completion_request_error")
    assert reply.body["message"] == "The model m cannot look at pictures."
    assert len(stage.models.requests) == 1


async def test_earlier_pictures_do_not_lock_a_conversation(stage: Stage) -> None:
    file = (await upload(stage.client, picture(), user=stage.client.user)).body["id"]
    conversation = (await stage.ask(local(file))).body["conversation_id"]
    stage.models.play(refuse(400, _BLIND), speak("Go on."))
    reply = await stage.ask(conversation_id=conversation)
    assert (reply.status, reply.body["answer"]) == (200, "Go on.")
    told = stage.models.requests[-1].body["messages"]
    assert [pictures(shown({"messages": told}, number)) for number in range(len(told))] == [
        [] for _ in told
    ]
    assert len([message for message in told if message["role"] == "user"]) == 2
