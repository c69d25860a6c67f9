"""Apps that answer from knowledge bases: the bases, and what an answer cites."""

from typing import Any
from uuid import uuid4

from tests.support.client import Client, Frame
from tests.support.knowledge import add_found, make_base
from tests.support.server import TestServer

CATS, DOGS, FISH = "Cats sleep all day.", "Dogs bark at night.", "猫は魚が好き。"
PAGE = f"{CATS}\n\n{DOGS}\n\n{FISH}"


class Shelf:
    """Bases of the default workspace, where the apps are."""

    def __init__(self, server: TestServer, client: Client) -> None:
        self.server = server
        self.client = client

    async def make(self, text: str = PAGE, **more: Any) -> tuple[str, str]:
        """A base's name and id; found by its words."""
        name = f"Base {uuid4()}"[:40]
        base = await make_base(self.client, name=name, indexing_technique="economy", **more)
        await add_found(self.server, self.client, base, text)
        return name, base


def cited(frames: list[Frame]) -> list[dict[str, Any]]:
    return frames[-1].data["metadata"]["retriever_resources"]


def contents(found: list[dict[str, Any]]) -> list[str]:
    return [one["content"] for one in found]
