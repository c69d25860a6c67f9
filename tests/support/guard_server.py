"""A real little service that moderates and fills variables, as an operator would run one.

async with GuardServer() as guards:
    guards.play(says(flagged=True))
    ...                                  # ask `guards.extension_url` or `guards.openai_url`
    guards.asked[-1].params["text"]
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from kaiwa.serve import open_socket


@dataclass(frozen=True)
class Asked:
    """One question as it came."""

    point: str
    """`moderations` of OpenAI's wire."""
    params: dict[str, Any]
    headers: dict[str, str]


Reply = dict[str, Any] | bytes | int
"""An object, a body that is said as it is, or a status."""
Behaviour = Callable[[Asked], Awaitable[Reply]]


def says(reply: Reply | None = None, **answer: Any) -> Behaviour:
    """Always the same."""

    async def play(_: Asked) -> Reply:
        return answer if reply is None else reply

    return play


def flags(*words: str, **answer: Any) -> Behaviour:
    """Flags whatever has one of the words in it, with this answer."""

    async def play(asked: Asked) -> Reply:
        found = any(word in str(asked.params) for word in words)
        if asked.point == "moderations":
            return {"results": [{"flagged": found}]}
        return {"flagged": found, **(answer if found else {})}

    return play


async def hangs(_: Asked) -> Reply:
    await asyncio.Event().wait()
    return 500


async def dies(_: Asked) -> Reply:
    raise ConnectionAbortedError


@dataclass
class GuardServer:
    """Listens on a free port of 127.0.0.1 while its context is open."""

    asked: list[Asked] = field(default_factory=list[Asked])
    url: str = ""
    behaviour: Behaviour = field(default_factory=lambda: flags())

    def play(self, behaviour: Behaviour) -> None:
        """What to do from the next question on; those before are forgotten."""
        self.behaviour = behaviour
        self.asked.clear()

    @property
    def extension_url(self) -> str:
        return f"{self.url}/extension"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        with closing(open_socket("127.0.0.1", 0)) as listener:
            await web.SockSite(self._runner, listener.dup()).start()
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        ours = request.path == "/extension"
        point, params = (body["point"], body["params"]) if ours else ("moderations", body)
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(point, params, headers)
        self.asked.append(asked)
        try:
            reply = await self.behaviour(asked)
        except ConnectionAbortedError:
            assert request.transport
            request.transport.abort()
            return web.Response(status=500)
        if isinstance(reply, int):
            return web.Response(status=reply, text="I will not.")
        if isinstance(reply, bytes):
            return web.Response(body=reply)
        return web.json_response(reply)
