"""Everything at once for minutes: does memory stay flat, and is there an error?"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic

from bench import targets
from bench.data import Prepared
from bench.figures import Table, slope
from bench.load import Connection, Heard, connect, get, post
from bench.runs import PATH, Bench, Chats, kaiwa, kaiwa_on
from bench.served import Served, serving_model

_PERIOD = 5.0
_SETTLING = 0.2
"""The share of the time after which memory should be flat."""
_TOKENS = 100
_NEW = 4
"""Every so many questions begin a conversation."""


async def soak(bench: Bench) -> Table:
    """The slope is that of memory over the last 80 % of the time."""
    table = Table(
        f"Mixed load, minutes: {bench.minutes:g}; streams paced and at once, blocking answers,"
        " pages, stops, clients that leave",
        "server",
        "answers and pages",
        "errors",
        "target",
        "memory, MB (six moments)",
        "growth, MB/min",
        "target",
        "CPU, % of a core",
    )
    for database in bench.databases:
        with serving_model() as model:
            chats = (Chats(f"{_TOKENS}-50", 1000), Chats(f"{_TOKENS}-0", 1000))
            async with kaiwa(bench, model, database, *chats) as (served, [slow, quick]):
                before = served.cpu()
                mix = _Mix(served, slow, quick, bench.minutes * 60)
                points = await mix.run()
                cpu = served.cpu() - before
        growth = slope([point for point in points if point[0] >= _SETTLING * bench.minutes])
        chosen = points[:: max(1, len(points) // 5)]
        name = kaiwa_on(database)
        table.add(
            name,
            ", ".join(f"{kind} {count:,}" for kind, count in mix.done.items()),
            f"{len(mix.failed)}",
            table.judge(name, targets.ERRORS, len(mix.failed)),
            " ".join(f"{memory:.0f}" for _, memory in chosen),
            f"{growth:.2f}",
            table.judge(name, targets.GROWTH, growth),
            f"{cpu / bench.minutes / 60:.0%}"[:-1],
        )
        for failed in mix.failed[:3]:
            table.note(f"{name}: `{failed}`")
    return table


class _Mix:
    """Clients of many kinds."""

    def __init__(self, served: Served, slow: Prepared, quick: Prepared, seconds: float) -> None:
        self._served = served
        self._slow = slow
        self._quick = quick
        self._begun = monotonic()
        self._until = self._begun + seconds
        self._numbers = itertools.count()
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []

    async def run(self) -> list[tuple[float, float]]:
        """Until the time is over; minutes, and the server's own memory in MB."""
        points: list[tuple[float, float]] = []
        async with asyncio.TaskGroup() as tasks:
            for count, kind, act, pause in (
                (20, "paced", self._hear_paced, 0.0),
                (4, "at once", self._hear_at_once, 0.05),
                (2, "blocking", self._hear_whole, 0.1),
                (2, "pages", self._turn_pages, 0.05),
                (2, "stops", self._stop, 0.1),
                (2, "leaving", self._leave, 0.1),
            ):
                for _ in range(count):
                    tasks.create_task(self._repeat(kind, act, pause))
            while monotonic() < self._until:
                await asyncio.sleep(_PERIOD)
                minutes = (monotonic() - self._begun) / 60
                points.append((minutes, self._served.memory() / 2**20))
        return points

    async def _repeat(
        self, kind: str, act: Callable[[Connection], Awaitable[bool]], pause: float
    ) -> None:
        connection = await connect(self._served.port)
        while monotonic() < self._until:
            fine = await act(connection)
            self.done[kind] += 1
            if not fine:
                heard = await connection.hear_rest()
                self.failed.append(f"{kind}: {heard.status} {heard.frames} {heard.body[:200]!r}")
                connection.close()
            if connection.is_closing():
                connection = await connect(self._served.port)
            await asyncio.sleep(pause)
        connection.close()

    def _question(self, app: Prepared, mode: str = "streaming") -> bytes:
        number = next(self._numbers)
        body: dict[str, object] = {
            "inputs": {},
            "query": f"And what does it say next? {number}",
            "response_mode": mode,
            "user": "bench",
        }
        if number % _NEW:
            body["conversation_id"] = app.ids[number % len(app.ids)]
        return post(PATH, app.key, body)

    async def _hear_paced(self, connection: Connection) -> bool:
        return _is_whole(await connection.send(self._question(self._slow)))

    async def _hear_at_once(self, connection: Connection) -> bool:
        return _is_whole(await connection.send(self._question(self._quick)))

    async def _hear_whole(self, connection: Connection) -> bool:
        heard = await connection.send(self._question(self._quick, "blocking"))
        return heard.status == 200 and heard.body.count(b"word") == _TOKENS

    async def _turn_pages(self, connection: Connection) -> bool:
        app = self._quick
        number = next(self._numbers)
        chosen = app.ids[number % len(app.ids)]
        path = f"messages?user=bench&conversation_id={chosen}"
        if number % 2:
            path = "conversations?user=bench"
        heard = await connection.send(get(f"/v1/{path}", app.key))
        return heard.status == 200 and heard.body.count(b'"inputs"') == 20

    async def _stop(self, connection: Connection) -> bool:
        connection.ask(self._question(self._slow))
        task_id = (await connection.hear_first()).task_id
        other = await connect(self._served.port)
        body: dict[str, object] = {"user": "bench"}
        stopped = await other.send(post(f"{PATH}/{task_id}/stop", self._slow.key, body))
        other.close()
        heard = await connection.hear_rest()
        return stopped.status == heard.status == 200 and heard.whole and heard.frames < _TOKENS

    async def _leave(self, connection: Connection) -> bool:
        connection.ask(self._question(self._slow))
        heard = await connection.hear_first()
        connection.close()
        return heard.status == 200 and heard.frames > 0


def _is_whole(heard: Heard) -> bool:
    return (heard.status, heard.whole, heard.frames) == (200, True, _TOKENS)
