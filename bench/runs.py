"""Servers under a load: Kaiwa on each database and the floor, by turns so that noise hits both."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from bench.data import Prepared, open_data, prepare
from bench.databases import Database, settle
from bench.figures import Table
from bench.load import Heard, Request, connect, get, post, run_load
from bench.model import Line
from bench.served import (
    OTHERS,
    Served,
    core_time,
    serving_floor,
    serving_kaiwa,
    serving_model,
    serving_nginx,
)

HISTORY = 20
PATH = "/v1/chat-messages"
FLOOR = "the floor"
NGINX = "nginx, bytes passed through"
_BUSY = 0.9
_STRANGE = 0.1
"""Of the server's core: what others may take before a note says so."""


@dataclass(frozen=True)
class Bench:
    """What every bench is given."""

    folder: Path
    databases: Sequence[Database]
    rounds: int
    minutes: float
    """How long the mixed load goes on."""


@dataclass(frozen=True)
class Load:
    """`questions` to the model of this name, `at_once` at a time, starts spread over `spread` s."""

    model: str
    at_once: int
    questions: int
    spread: float = 0
    warm_up: int = 16
    """Questions before it, 8 at a time."""

    @property
    def tokens(self) -> int:
        """Of one answer."""
        return int(self.model.partition("-")[0])


@dataclass(frozen=True)
class Chats:
    """What is in the database: `count` conversations of `length` messages with a model."""

    model: str
    count: int
    length: int = HISTORY
    tools: tuple[str, ...] | None = None
    """Of an agent: built-in ones, `provider/name`. None: an app that only talks."""
    speaks: bool = False
    """Whether its answers are spoken while they are written."""


@dataclass
class Run:
    """One server under one load; times of CPU in seconds."""

    heard: list[Heard]
    log: dict[int, Line]
    """What the model was asked, by the number of the question."""
    seconds: float
    cpu: float
    database: float
    model: float
    load: float
    core: float
    """What the server's core did in all."""

    @property
    def tokens(self) -> int:
        return sum(heard.frames for heard in self.heard)

    @property
    def delays(self) -> list[float]:
        return [delay for heard in self.heard for delay in heard.delays]

    def broken(self, tokens: int) -> list[Heard]:
        """The answers that did not come whole, every token in a frame of its own."""
        return [
            heard
            for heard in self.heard
            if (heard.status, heard.whole, heard.frames) != (200, True, tokens)
        ]


@asynccontextmanager
async def kaiwa(
    bench: Bench, model: Served, database: Database, *chats: Chats, **settings: str
) -> AsyncGenerator[tuple[Served, list[Prepared]]]:
    """A Kaiwa, and for each of `chats` an app with conversations."""
    # Gone afterwards: else what is written next goes to memory that the machine has to find first.
    with TemporaryDirectory(dir=bench.folder) as name, database.fresh() as url:
        folder = Path(name)
        db = await open_data(folder, url)
        found: list[Prepared] = []
        for chat in chats:
            found.append(await prepare(db, chat.model, chat.tools, speaks=chat.speaks))
            await found[-1].add_conversations(chat.count, chat.length)
        await db.close()
        settle(url)
        with serving_kaiwa(folder, model, url, **settings) as served:
            yield served, found


def ask_kaiwa(prepared: Prepared) -> Request:
    """The n-th question goes into the n-th conversation."""

    def request(number: int) -> bytes:
        body: dict[str, object] = {
            "inputs": {},
            "query": _question(number),
            "response_mode": "streaming",
            "user": "bench",
            "conversation_id": prepared.ids[number % len(prepared.ids)],
        }
        return post(PATH, prepared.key, body)

    return request


def ask_floor(model: str) -> Request:
    return lambda number: post(PATH, "", {"query": _question(number), "model": model})


def ask_model(model: str) -> Request:
    """As the floor asks it."""

    def request(number: int) -> bytes:
        messages = [{"role": "user", "content": _question(number)}]
        return post(PATH, "", {"model": model, "messages": messages, "stream": True})

    return request


def _question(number: int) -> str:
    return f"And what does it say next? {number}"


async def measure(
    served: Served, request: Request, load: Load, model: Served, database: Database | None = None
) -> Run:
    """The load, after a short one that warms the server up."""

    def spent() -> list[float]:
        apart = database.cpu() if database else 0.0
        others = (apart, model.cpu(), time.process_time(), core_time())
        return [time.monotonic(), served.cpu(), *others]

    await run_load(served.port, request, at_once=8, questions=load.warm_up)
    await _read_log(model)
    before = spent()
    heard = await run_load(
        served.port, request, at_once=load.at_once, questions=load.questions, spread=load.spread
    )
    after = spent()
    costs = [end - start for start, end in zip(before, after, strict=True)]
    return Run(heard, await _read_log(model), *costs)


async def _read_log(model: Served) -> dict[int, Line]:
    connection = await connect(model.port)
    heard = await connection.send(get("/log", ""))
    connection.close()
    lines = msgspec.json.decode(heard.body, type=list[Line])
    return {int(line.question.rpartition(" ")[2]): line for line in lines}


async def compare(bench: Bench, load: Load, *, nginx: bool = False) -> dict[str, list[Run]]:
    """The same load for the floor and for Kaiwa on each database, round by round, by their names.

    Raises `AssertionError` when an answer does not come whole.
    """
    found: dict[str, list[Run]] = {}

    def keep(what: str, run: Run) -> None:
        assert not run.broken(load.tokens), (what, run.broken(load.tokens)[0])
        found.setdefault(what, []).append(run)

    with serving_model() as model:
        for number in range(bench.rounds):
            if nginx:
                with serving_nginx(bench.folder / f"nginx-{number}", model) as served:
                    if served:
                        keep(NGINX, await measure(served, ask_model(load.model), load, model))
            with serving_floor(model) as served:
                keep(FLOOR, await measure(served, ask_floor(load.model), load, model))
            for database in bench.databases:
                chats = Chats(load.model, load.questions)
                async with kaiwa(bench, model, database, chats) as (served, [prepared]):
                    run = await measure(served, ask_kaiwa(prepared), load, model, database)
                    keep(kaiwa_on(database), run)
    return found


def kaiwa_on(database: Database) -> str:
    return f"Kaiwa, {database.name}"


BUSY = "load / model / database, % of a core"
"""The head of the column that `busy` fills."""


def busy(table: Table, what: str, runs: Sequence[Run]) -> str:
    """How busy the others were; a note below the table where somebody may have held it up."""
    shares = [
        median([spent / run.seconds for spent, run in zip(costs, runs, strict=True)])
        for costs in zip(*((run.load, run.model, run.database) for run in runs), strict=True)
    ]
    if shares[0] > _BUSY:
        table.note(f"**{what}: the load was busy for {shares[0]:.0%} of its time.**")
    elif sum(shares) > _BUSY * len(OTHERS):
        table.note(
            f"**{what}: load, model and database kept their {len(OTHERS)} core(s) busy for"
            f" {sum(shares) / len(OTHERS):.0%} of the time.**"
        )
    strange = median([(run.core - run.cpu) / run.seconds for run in runs])
    if strange > _STRANGE:
        table.note(f"{what}: other programs held the server's core for {strange:.0%} of the time.")
    return " / ".join(f"{share:.0%}"[:-1] for share in shares)
