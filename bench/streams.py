"""Answers that stream: what a token and a message cost, and how long they are under way."""

import asyncio
from collections.abc import Sequence
from statistics import median

from bench import targets
from bench.databases import Database
from bench.figures import Table, each, quantile
from bench.load import Request, run_load
from bench.runs import (
    BUSY,
    FLOOR,
    Bench,
    Chats,
    Load,
    Run,
    ask_floor,
    ask_kaiwa,
    busy,
    compare,
    kaiwa,
    kaiwa_on,
    measure,
)
from bench.served import Served, serving_floor, serving_model

_LATE = 0.2


def spread(seconds: Sequence[float]) -> str:
    """A cell: the median and the 99th percentile, in milliseconds."""
    return f"{quantile(seconds, 0.5) * 1e3:.2f} / {quantile(seconds, 0.99) * 1e3:.1f}"


async def paced(bench: Bench) -> Table:
    """CPU per token of answers at 50 tokens a second."""
    load = Load("100-50", at_once=100, questions=100, spread=2.0)
    table = Table(
        f"{load.at_once} streams at 50 tokens a second, {load.tokens}-token answers,"
        " starts spread out",
        "server",
        "CPU per token, µs (each round)",
        "× the floor",
        "target",
        "token under way p50 / p99, ms",
        BUSY,
    )
    found = await compare(bench, load, nginx=True)
    costs = {what: [run.cpu / run.tokens * 1e6 for run in runs] for what, runs in found.items()}
    for what, runs in found.items():
        pairs = zip(costs[what], costs[FLOOR], strict=True)
        ratio = median([mine / floor for mine, floor in pairs])
        kaiwas = what.startswith("Kaiwa")
        table.add(
            what,
            each(costs[what]),
            f"{ratio:.2f}",
            table.judge(what, targets.PACED, ratio) if kaiwas else "",
            spread([delay for run in runs for delay in run.delays]),
            busy(table, what, runs),
        )
    return table


async def at_once(bench: Bench) -> Table:
    """CPU per message of answers that come as fast as they can."""
    load = Load("100-0", at_once=10, questions=600)
    table = Table(
        f"Tokens as fast as they come, {load.tokens}-token answers, {load.at_once} at once",
        "server",
        "CPU per message, ms (each round)",
        "target",
        "the database's own, ms",
        "messages a second",
        "target",
        "tokens in one read",
        BUSY,
    )
    found = await compare(bench, load)
    engines = {kaiwa_on(database): database.name for database in bench.databases}
    for what, runs in found.items():
        costs = [run.cpu / load.questions * 1e3 for run in runs]
        rates = [load.questions / run.seconds for run in runs]
        apart = median([run.database / load.questions * 1e3 for run in runs])
        reads = sum(heard.reads for run in runs for heard in run.heard)
        target = targets.AT_ONCE.get(engines.get(what, ""))
        table.add(
            what,
            each(costs, 2),
            table.judge(what, target, median(costs)) if target else "",
            f"{apart:.2f}" if apart else "",
            each(rates, 0),
            table.judge(what, targets.RATE, median(rates)) if target else "",
            f"{sum(run.tokens for run in runs) / reads:.0f}",
            busy(table, what, runs),
        )
    return table


async def latency(bench: Bench) -> Table:
    """How long a question takes to the model, and its first word back."""
    load = Load("50-50-200", at_once=64, questions=384, spread=1.2)
    table = Table(
        f"{load.at_once} streams, {load.tokens}-token answers at 50 tokens a second, a model that"
        " thinks 200 ms",
        "server",
        "question sent → model called p50 / p99, ms",
        "target, p50",
        "model's first byte → first event p50 / p99, ms",
        "target, p50",
        "target, p99",
        BUSY,
    )
    for what, runs in (await compare(bench, load)).items():
        pairs = [(heard, run.log[heard.number]) for run in runs for heard in run.heard]
        called = [line.arrived - heard.asked_at for heard, line in pairs]
        first = [heard.first_at - line.spoke for heard, line in pairs]
        p50, p99 = quantile(first, 0.5) * 1e3, quantile(first, 0.99) * 1e3
        kaiwas = what.startswith("Kaiwa")
        table.add(
            what,
            spread(called),
            table.judge(what, targets.CALLED, quantile(called, 0.5) * 1e3) if kaiwas else "",
            spread(first),
            table.judge(what, targets.FIRST_P50, p50) if kaiwas else "",
            table.judge(what, targets.FIRST_P99, p99) if kaiwas else "",
            busy(table, what, runs),
        )
    return table


async def crowd(bench: Bench) -> Table:
    """How many streams one process holds."""
    table = Table(
        "Streams at once at 20 tokens a second, 200-token answers",
        "server and streams",
        "CPU per token, µs",
        "token under way p50 / p99 / worst, ms",
        "tokens later than 200 ms",
        "target",
        "answers not whole",
        "memory per stream, KB",
        "target",
        BUSY,
    )
    for count in targets.LATE:
        load = Load("200-20", at_once=count, questions=count, spread=4.0, warm_up=8)
        with serving_model() as model:
            with serving_floor(model) as served:
                held = await _hold(served, ask_floor(load.model), load, model)
                _add_crowd(table, FLOOR, load, *held)
            for database in bench.databases:
                chats = (Chats(load.model, count), Chats("5-0", count))
                async with kaiwa(bench, model, database, *chats) as (served, [slow, quick]):
                    # The second app's turns fill the database's caches before memory is looked at.
                    await run_load(served.port, ask_kaiwa(quick), at_once=8, questions=count)
                    held = await _hold(served, ask_kaiwa(slow), load, model, database)
                    _add_crowd(table, kaiwa_on(database), load, *held)
    return table


async def _hold(
    served: Served, request: Request, load: Load, model: Served, database: Database | None = None
) -> tuple[Run, int]:
    """The run, and by how many bytes the server grew in it at most."""
    run: Run | None = None
    sizes = [served.memory()]

    async def watch() -> None:
        while run is None:
            sizes.append(served.memory())
            await asyncio.sleep(0.25)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        run = await measure(served, request, load, model, database)
    return run, max(sizes) - sizes[0]


def _add_crowd(table: Table, what: str, load: Load, run: Run, grown: int) -> None:
    delays = run.delays
    late = sum(delay > _LATE for delay in delays)
    memory = grown / load.at_once / 1024
    name = f"{what}, {load.at_once}"
    judged = what != FLOOR
    table.add(
        name,
        f"{run.cpu / run.tokens * 1e6:.1f}",
        f"{spread(delays)} / {max(delays) * 1e3:.0f}",
        f"{late}",
        table.judge(what, targets.LATE[load.at_once], late) if judged else "",
        f"{len(run.broken(load.tokens))}",
        f"{memory:.0f}",
        table.judge(what, targets.STREAM_MEMORY, memory) if judged and load.at_once == 1000 else "",
        busy(table, name, [run]),
    )
