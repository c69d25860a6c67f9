"""Which base a model chooses, and how much of what was found it is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import model_server as does
from tests.support.knowing import CATS, Shelf, cited, contents
from tests.support.model_server import ModelServer
from tests.support.networked import networked_app, serving_models
from tests.support.server import TestServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def networked(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[TestServer, ModelServer]]:
    folder: Path = tmp_path_factory.mktemp("knowing")
    async with serving_models(folder, context_sizes={"openai/small": 700}) as found:
        yield found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("2", ["Cats purr."]),
        ("Number 1.", [CATS]),
        ("0", []),
        ("9", [CATS, "Cats purr."]),
        ("I cannot say", [CATS, "Cats purr."]),
    ],
)
async def test_the_model_chooses_one_of_several_bases(
    networked: tuple[TestServer, ModelServer], said: str, found: list[str]
) -> None:
    server, models = networked
    shelf = Shelf(server, await server.knowledge_client())
    first, _ = await shelf.make(CATS, description="All about sleep")
    second, _ = await shelf.make("Cats purr.")
    client = await server.client(
        networked_app(
            kaiwa={"knowledge": [first, second]}, dataset_configs={"retrieval_model": "single"}
        )
    )
    models.play(does.speak(said), does.speak("Fine"))
    frames = await client.stream("cats", auto_generate_name=False)
    assert sorted(contents(cited(frames))) == sorted(found)
    choosing = models.requests[-2].body["messages"][-1]["content"]
    assert f"1. {first}: All about sleep\n2. {second}\n" in choosing
    assert choosing.count("cats") == 1


async def test_a_model_that_cannot_choose_is_told_of_all(
    networked: tuple[TestServer, ModelServer],
) -> None:
    server, models = networked
    shelf = Shelf(server, await server.knowledge_client())
    bases = [(await shelf.make(CATS))[0], (await shelf.make("Cats purr."))[0]]
    client = await server.client(
        networked_app(kaiwa={"knowledge": bases}, dataset_configs={"retrieval_model": "single"})
    )
    models.play(does.refuse(400, "no"), does.speak("Fine"))
    assert len(cited(await client.stream("cats", auto_generate_name=False))) == 2


async def test_no_more_is_told_than_the_model_has_room_for(
    networked: tuple[TestServer, ModelServer],
) -> None:
    server, models = networked
    shelf = Shelf(server, await server.knowledge_client())
    page = "\n\n".join(f"Cats {number} " + "and cats " * 100 for number in range(4))
    name, _ = await shelf.make(page)
    client = await server.client(networked_app(model="small", kaiwa={"knowledge": name}))
    models.play(does.speak("Fine"))
    frames = await client.stream("cats", auto_generate_name=False)
    told = models.requests[-1].body["messages"][0]["content"]
    found = contents(cited(frames))
    assert 1 <= len(found) < 4
    assert "\n".join(found) in told


async def test_what_the_model_finds_too_long_is_told_shorter(
    networked: tuple[TestServer, ModelServer],
) -> None:
    server, models = networked
    shelf = Shelf(server, await server.knowledge_client())
    name, _ = await shelf.make("Cats one.\n\nCats two.\n\nCats three.\n\nCats four.")
    client = await server.client(networked_app(kaiwa={"knowledge": name}))
    too_long = does.refuse(400, "prompt is too long: 9 tokens > 8 maximum")
    models.play(too_long, does.speak("Fine"))
    frames = await client.stream("cats", auto_generate_name=False)
    assert frames[-1].event == "message_end"
    found = contents(cited(frames))
    assert len(found) == 2
    assert "\n".join(found) + "\n</context>" in models.requests[-1].body["messages"][0]["content"]
