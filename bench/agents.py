"""Agents: what a turn with tools costs, and what many of them do to the chats beside them."""

import asyncio
from collections import defaultdict
from statistics import median
from time import monotonic

from bench import targets
from bench.figures import Table, each
from bench.load import Request, connect
from bench.runs import BUSY, Bench, Chats, Load, Run, ask_kaiwa, busy, kaiwa, kaiwa_on, measure
from bench.served import Served, serving_model
from bench.streams import spread

_TOOLS = ("maths/eval_expression", "time/current_time")
_CALLS = 5
_COUNT = 30
_CASES = {
    "no tools, 1 round": (f"20-0-0-{_CALLS}", ()),
    f"{_CALLS} calls, {_CALLS + 1} rounds": (f"20-0-0-{_CALLS}", _TOOLS),
}
_AGENTS = 200
_BESIDE = {
    "alone": None,
    f"beside {_AGENTS} agents, each round after 1 s": f"20-0-1000-{_CALLS}",
    f"beside {_AGENTS} agents, each round at once": f"20-0-0-{_CALLS}",
}


async def agents(bench: Bench) -> Table:
    """CPU per turn, with tools and without."""
    table = Table(
        f"An agent's turn, a 20-token answer after {_CALLS} tool calls (calculator, clock), 10 at"
        " once",
        "server and turn",
        "CPU per turn, ms (each round)",
        "× no tools",
        "target",
        "the database's own, ms",
        BUSY,
    )
    for database in bench.databases:
        found: dict[str, list[Run]] = defaultdict(list)
        with serving_model() as model:
            chats = [Chats(name, _COUNT, tools=tools) for name, tools in _CASES.values()]
            async with kaiwa(bench, model, database, *chats) as (served, apps):
                for _ in range(bench.rounds):
                    for case, prepared in zip(_CASES, apps, strict=True):
                        load = Load(_CASES[case][0], at_once=10, questions=300, warm_up=60)
                        run = await measure(served, ask_kaiwa(prepared), load, model, database)
                        assert not run.broken(load.tokens), case
                        found[case].append(run)
        _, with_tools = _CASES
        bare, *_ = found.values()
        for case, runs in found.items():
            costs = [run.cpu / len(run.heard) * 1e3 for run in runs]
            pairs = zip(runs, bare, strict=True)
            name = f"{kaiwa_on(database)}, {case}"
            apart = median([run.database / len(run.heard) * 1e3 for run in runs])
            table.add(
                name,
                each(costs, 2),
                f"{median([mine.cpu / other.cpu for mine, other in pairs]):.2f}",
                table.judge(kaiwa_on(database), targets.AGENT, median(costs))
                if case == with_tools
                else "",
                f"{apart:.2f}" if apart else "",
                busy(table, name, runs),
            )
    return table


async def crowd(bench: Bench) -> Table:
    """How late the words of plain chats come while agents work in the same process."""
    load = Load("200-20", at_once=50, questions=50, spread=2.0, warm_up=8)
    table = Table(
        f"{load.at_once} chats at 20 tokens a second, beside agents with {_CALLS} tool calls a"
        " turn",
        "server and chats",
        "token under way p50 / p99 / worst, ms",
        "agents' turns a second",
        "CPU, % of a core",
        BUSY,
    )
    for database in bench.databases:
        with serving_model() as model:
            named = [name for name in _BESIDE.values() if name]
            chats = [Chats(name, _AGENTS, tools=_TOOLS) for name in named]
            async with kaiwa(bench, model, database, Chats(load.model, 50), *chats) as (
                served,
                [talkers, *workers],
            ):
                asking = dict(zip(named, map(ask_kaiwa, workers), strict=True))
                for case, beside in _BESIDE.items():
                    working = _Working(served, asking[beside] if beside else None)
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(working.run())
                        run = await measure(served, ask_kaiwa(talkers), load, model, database)
                        rate = working.end()
                    assert not run.broken(load.tokens), case
                    name = f"{kaiwa_on(database)}, {case}"
                    table.add(
                        name,
                        f"{spread(run.delays)} / {max(run.delays) * 1e3:.0f}",
                        f"{rate:.0f}" if rate else "",
                        f"{run.cpu / run.seconds:.0%}"[:-1],
                        busy(table, name, [run]),
                    )
    return table


class _Working:
    """Agents that are asked again and again until it is enough."""

    def __init__(self, served: Served, request: Request | None) -> None:
        self._served = served
        self._request = request
        self._began = monotonic()
        self._turns = 0
        self._over = False

    async def run(self) -> None:
        if self._request:
            async with asyncio.TaskGroup() as tasks:
                for place in range(_AGENTS):
                    tasks.create_task(self._ask_on(self._request(place)))

    def end(self) -> float:
        """Turns a second until now; those that run are finished."""
        self._over = True
        return self._turns / (monotonic() - self._began)

    async def _ask_on(self, request: bytes) -> None:
        connection = await connect(self._served.port)
        while not self._over:
            heard = await connection.send(request)
            assert heard.whole, heard.status
            self._turns += 1
        connection.close()
