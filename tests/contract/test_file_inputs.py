"""Files in the inputs of a question: taken or refused, told to the model, kept for later turns."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pytest_socket import socket_allow_hosts

from kaiwa.app import now
from kaiwa.store.conversations import purge_conversations
from kaiwa.store.files import list_files, sweep_files
from tests.contract.test_files_in_turns import local, pictures, remote, shown, text_of
from tests.contract.test_uploads import get, picture, stored, upload
from tests.support.client import Client
from tests.support.file_server import Site, say
from tests.support.model_server import ModelServer, speak
from tests.support.networked import networked_app, serving_models
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio

_FORM: list[dict[str, Any]] = [
    {
        "file": {
            "label": "Photo",
            "variable": "photo",
            "allowed_file_types": ["image"],
            "allowed_file_upload_methods": ["local_file", "remote_url"],
        }
    },
    {
        "file-list": {
            "label": "Papers",
            "variable": "papers",
            "allowed_file_types": ["document", "custom"],
            "allowed_file_extensions": [".svg"],
            "allowed_file_upload_methods": ["local_file"],
            "max_length": 2,
        }
    },
    {"json_object": {"label": "Data", "variable": "data"}},
]


@pytest.fixture(autouse=True)
def _all_of_loopback() -> None:  # pyright: ignore[reportUnusedFunction]
    """So that a server that may be asked has another address than those that may not."""
    socket_allow_hosts(["127.0.0.0/8", "::1"], allow_unix_socket=True)


def app(wire: str = "openai", form: list[dict[str, Any]] = _FORM, **config: Any) -> str:
    return networked_app(
        wire,
        pre_prompt="Papers: [{{papers}}]. Photo: [{{photo}}].",
        opening_statement="About {{papers}}{{photo}}.",
        user_input_form=form,
        file_upload={"image": {"detail": "low"}},
        **config,
    )


class Stage:
    def __init__(self, server: TestServer, models: ModelServer, client: Client) -> None:
        self.server = server
        self.models = models
        self.client = client

    async def upload(self, *args: Any, user: str = "") -> str:
        reply = await upload(self.client, *args, user=user or self.client.user)
        assert reply.status == 201, reply.body
        return reply.body["id"]

    async def paper(self, text: str, name: str) -> str:
        return await self.upload(text.encode(), name, "text/plain")

    async def ask(self, conversation_id: str = "", /, **inputs: Any) -> Any:
        return await self.client.ask("Well?", inputs=inputs, conversation_id=conversation_id)

    async def begin(self, **inputs: Any) -> str:
        reply = await self.ask(**inputs)
        assert reply.status == 200, reply.body
        return reply.body["conversation_id"]

    async def conversation(self) -> dict[str, Any]:
        [found] = (await self.client.get("/conversations")).body["data"]
        return found

    def told(self) -> tuple[str, list[Any]]:
        """The system's text and the parts of the question, of the last request."""
        body = self.models.requests[-1].body
        if "system" in body:
            return str(body["system"]), shown(body)
        return text_of(shown(body, 0)), shown(body)


@pytest.fixture(params=["openai", "anthropic"])
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> AsyncGenerator[Stage]:
    networks = ("127.0.0.2/32",)
    async with serving_models(tmp_path, fetch_networks=networks) as (server, models):
        models.play(speak("Yes."))
        yield Stage(server, models, await server.client(app(request.param)))


async def test_clients_read_the_fields_as_the_file_has_them(stage: Stage) -> None:
    reply = await stage.client.get("/parameters")
    assert reply.body["user_input_form"] == _FORM
    assert reply.body["file_upload"]["enabled"] is False


async def test_documents_stand_in_the_prompt_and_pictures_beside_the_question(
    stage: Stage,
) -> None:
    photo = await stage.upload(picture())
    one, two = await stage.paper("Sonne 太阳", "one.txt"), await stage.paper("{{x}}", "two.txt")
    await stage.begin(photo=local(photo), papers=[local(one, "document"), local(two, "document")])
    system, question = stage.told()
    assert "Papers: [" in system
    for name, text in (("one.txt", "Sonne 太阳"), ("two.txt", "{x}")):
        lines = [f'<document name="{name}">', text, "</document>"]
        assert all(line in system.replace('\\"', '"') for line in lines)
    assert "Photo: []." in system
    assert text_of(question) == "Well?"
    assert len(pictures(question)) == 1


async def test_what_is_kept_is_read_everywhere_with_a_link_that_works(stage: Stage) -> None:
    photo, paper = await stage.upload(picture()), await stage.paper("text", "one.txt")
    begun = await stage.begin(photo=local(photo), papers=[local(paper, "document")])
    [message] = await stage.client.messages(begun)
    conversation = await stage.conversation()
    assert message["message_files"] == []
    assert conversation["introduction"] == "About one.txta.png."
    renamed = await stage.client.post(f"/conversations/{begun}/name", name="New")
    pinned = await stage.client.patch(f"/conversations/{begun}/pin")
    for inputs in (each["inputs"] for each in (message, conversation, renamed.body, pinned.body)):
        [kept], seen = inputs["papers"], inputs["photo"]
        link, paper_link = seen.pop("url"), kept.pop("url")
        assert seen == {
            "type": "image",
            "transfer_method": "local_file",
            "upload_file_id": photo,
            "related_id": photo,
            "filename": "a.png",
            "extension": "png",
            "mime_type": "image/png",
            "size": len(picture()),
        }
        assert (kept["upload_file_id"], kept["type"]) == (paper, "document")
        assert inputs["data"] is None
        assert link.startswith(stage.server.url)
        assert (await get(link))[1] == picture()
        assert (await get(paper_link))[1] == b"text"


async def test_a_later_turn_has_the_files_of_the_first_until_it_brings_others(
    stage: Stage,
) -> None:
    photo = await stage.upload(picture())
    begun = await stage.begin(photo=local(photo))
    assert (await stage.ask(begun)).status == 200
    [seen] = pictures(stage.told()[1])
    for earlier in range(1, len(stage.models.requests[-1].body["messages"]) - 1):
        assert pictures(shown(stage.models.requests[-1].body, earlier)) == []
    other = await stage.upload(picture(side=9))
    assert (await stage.ask(begun, photo=local(other))).status == 200
    [changed] = pictures(stage.told()[1])
    assert changed != seen
    # What breaks a rule of the form leaves what is there, as with every other kind.
    assert (await stage.ask(begun, photo="x", papers=[])).status == 200
    assert pictures(stage.told()[1]) == [changed]
    messages = await stage.client.messages(begun)
    ids = [message["inputs"]["photo"]["upload_file_id"] for message in messages]
    assert ids == [photo, photo, other, other]
    assert (await stage.conversation())["inputs"]["photo"]["upload_file_id"] == other
    reply = await stage.ask(begun, photo=local(str(uuid4())))
    assert (reply.status, reply.body["message"]) == (400, "Invalid upload file")


async def test_a_remote_file_is_fetched_once_and_may_be_sent_back_as_it_was_read(
    stage: Stage,
) -> None:
    async with Site("127.0.0.2") as site:
        site.pages["/b.png"] = say(picture(), "Content-Type: image/png")
        begun = await stage.begin(photo=remote(site.url("/b.png")))
        read = (await stage.conversation())["inputs"]["photo"]
        assert (read["transfer_method"], read["filename"]) == ("remote_url", "b.png")
        assert (await get(read["url"]))[1] == picture()
        again = await stage.ask(begun, photo=read)
        elsewhere = await stage.ask(photo=read)
        assert (again.status, elsewhere.status) == (200, 200)
        assert len(pictures(stage.told()[1])) == 1
        assert len(site.requests) == 1
    assert len(await stored(stage.server)) == 1


async def test_what_may_not_come_is_refused_before_the_question_begins(stage: Stage) -> None:
    mine = await stage.upload(picture())
    other = await stage.upload(picture(), user="somebody else")
    text = await stage.paper("text", "a.txt")
    paper = local(text, "document")
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"photo": "x"}, "photo in input form must be a file"),
        ({"photo": [local(mine)]}, "photo in input form must be a file"),
        ({"papers": paper}, "papers in input form must be a list of files"),
        ({"papers": [paper, 1]}, "papers in input form must be a list of files"),
        ({"papers": [paper] * 3}, "papers in input form must be less than 2 files"),
        ({"photo": {"a": 1}}, "Missing file type"),
        ({"photo": {"type": "hologram"}}, "No matching enum found for value 'hologram'"),
        ({"photo": {"type": "image"}}, "Missing file transfer method"),
        ({"photo": {"type": "image", "transfer_method": "x"}}, "No matching enum found"),
        ({"photo": {"type": "image", "transfer_method": "remote_url"}}, "Missing file url"),
        ({"photo": remote("ftp://a.example/b")}, "Invalid file url"),
        ({"photo": local("")}, "Missing file upload_file_id"),
        ({"photo": local("nonsense")}, "Invalid upload file"),
        ({"photo": local(str(uuid4()))}, "Invalid upload file"),
        ({"photo": local(other)}, "Invalid upload file"),
        ({"photo": local(text)}, "Invalid upload file"),
        ({"photo": paper}, "Files of type document are not taken by this app"),
        ({"papers": [local(mine)]}, "Invalid upload file"),
        ({"papers": [local(mine, "custom")]}, "Invalid upload file"),
        ({"papers": [remote("http://a.example/b", "document")]}, "Invalid transfer method"),
        ({"photo": remote("http://127.0.0.1:1/a.png")}, "The file cannot be fetched"),
    ]
    for inputs, message in refusals:
        reply = await stage.ask(**inputs)
        assert (reply.status, reply.body["code"]) == (400, "invalid_param"), message
        assert message in reply.body["message"]
    assert (await stage.client.get("/conversations")).body["data"] == []
    assert len(await stored(stage.server)) == 3
    assert stage.models.requests == []


async def test_a_remote_file_of_another_kind_is_refused_by_name(stage: Stage) -> None:
    async with Site("127.0.0.2") as site:
        site.pages["/a.txt"] = say(b"text", "Content-Type: text/plain")
        url = site.url("/a.txt")
        reply = await stage.ask(photo=remote(url))
    assert reply.body["message"] == f"File validation failed for file: {url}"
    assert await stored(stage.server) == []


async def test_a_required_file_is_asked_for_once(stage: Stage) -> None:
    form = [{"file": {"label": "P", "variable": "photo", "required": True}}]
    client = await stage.server.client(app(form=form))
    nothings: list[Any] = [None, "", {}, []]
    for nothing in nothings:
        reply = await client.ask("Well?", inputs={"photo": nothing})
        assert (reply.status, reply.body["code"]) == (400, "invalid_param")
        assert reply.body["message"] == "photo is required in input form"
    photo = (await upload(client, picture(), user=client.user)).body["id"]
    begun = await client.ask("Well?", inputs={"photo": local(photo)})
    again = await client.ask("Well?", conversation_id=begun.body["conversation_id"])
    assert (begun.status, again.status) == (200, 200)


async def test_files_by_their_ending_alone(stage: Stage) -> None:
    rules = {"allowed_file_types": ["custom"], "allowed_file_extensions": ["txt"]}
    form = [{"file": {"label": "P", "variable": "papers", **rules}}]
    client = await stage.server.client(app(form=form))
    taken = await upload(client, b"The sun", "a.txt", "text/plain", user=client.user)
    refused = await upload(client, b"# The sun", "a.md", "text/markdown", user=client.user)
    assert (taken.status, refused.status) == (201, 415)
    for kind in ("custom", "document"):
        begun = await client.ask("Well?", inputs={"papers": local(taken.body["id"], kind)})
        again = await client.ask("Well?", conversation_id=begun.body["conversation_id"])
        assert (begun.status, again.status) == (200, 200)
        assert "The sun" in stage.told()[0]


async def test_a_model_that_cannot_see_says_so(stage: Stage) -> None:
    client = await stage.server.client(app("quoting", model="quoting"))
    photo = (await upload(client, picture(), user=client.user)).body["id"]
    reply = await client.ask("Well?", inputs={"photo": local(photo)})
    assert (reply.status, reply.body["code"]) == (400, "invalid_param")
    assert reply.body["message"] == "The model quoting cannot look at pictures."


async def test_an_object_that_looks_like_a_file_opens_nobody_elses(stage: Stage) -> None:
    begun = await stage.begin(photo=local(await stage.upload(picture())))
    kept = (await stage.conversation())["inputs"]["photo"]
    other = await stage.upload(picture(), user="somebody else")
    forged = {**kept, "upload_file_id": other, "related_id": other, "url": "https://a.example/b"}
    assert (await stage.ask(begun, data=forged)).status == 200
    messages = await stage.client.messages(begun)
    for inputs in (messages[-1]["inputs"], (await stage.conversation())["inputs"]):
        assert inputs["data"] == forged
    # Nor is it the file it says it is when it stands where a file is wanted.
    assert (await stage.ask(photo=forged)).body["message"] == "Invalid upload file"
    renamed = {**kept, "filename": "../other.png", "mime_type": "text/html", "size": 0}
    await stage.ask(begun, photo=renamed)
    read = (await stage.conversation())["inputs"]["photo"]
    assert (read["filename"], read["mime_type"]) == ("a.png", "image/png")


async def test_they_are_used_while_the_conversation_is_there_and_go_with_it(stage: Stage) -> None:
    alone, shared = await stage.upload(picture()), await stage.upload(picture())
    begun = await stage.begin(photo=local(alone))
    await stage.ask(begun, photo=local(shared))
    other = await stage.ask(photo=local(shared))
    db, later = stage.server.house.context.db, now() + timedelta(days=9)
    assert await sweep_files(db, later) == []
    assert [listed.used for listed in await list_files(db)] == [True, True]
    assert (await stage.client.delete(f"/conversations/{begun}")).status == 200
    assert (await stage.ask(photo=local(alone))).body["message"] == "Invalid upload file"
    assert (await stage.ask(photo=local(shared))).status == 200
    await purge_conversations(db, later, stage.server.house.blobs.delete)
    [key] = await stored(stage.server)
    assert shared in key
    assert (await stage.ask(other.body["conversation_id"])).status == 200
    assert len(pictures(stage.told()[1])) == 1


async def test_a_question_that_waits_has_the_file_of_the_one_before_it(stage: Stage) -> None:
    begun = await stage.begin(photo=local(await stage.upload(picture())))
    stage.models.play(speak("Yes yes yes yes", pace=0.4), speak("Yes."))
    async with Site("127.0.0.2") as site, asyncio.TaskGroup() as tasks:
        site.pages["/b.png"] = say(picture(side=9), "Content-Type: image/png")
        for given in ({}, {"photo": remote(site.url("/b.png"))}, {}):
            tasks.create_task(stage.ask(begun, **given))
            await asyncio.sleep(0.4)
    assert len(site.requests) == 1
    messages = await stage.client.messages(begun)
    photos = [message["inputs"]["photo"] for message in messages]
    first, _, fetched, last = (photo["upload_file_id"] for photo in photos)
    assert [photo["filename"] for photo in photos] == ["a.png", "a.png", "b.png", "b.png"]
    assert fetched == last != first
    [_, before, after] = [request.body for request in stage.models.requests[1:]]
    assert pictures(shown(before)) == pictures(shown(after))
