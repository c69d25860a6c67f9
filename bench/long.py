"""What a turn costs in a long conversation, beside one in a short one of the same server."""

import json
from collections import defaultdict
from statistics import median

from bench import targets
from bench.figures import Table, each
from bench.runs import BUSY, Bench, Chats, Load, Run, ask_kaiwa, busy, kaiwa, kaiwa_on, measure
from bench.served import serving_model

_COUNT = 30
_CONTEXT = 2800
"""Tokens; the prompt and about 20 exchanges."""
# Two names for one way to speak; the context is bounded for the first alone.
_BOUNDED, _FREE = "100-0", "100-0-0"
_CASES = {
    "20 messages": Chats(_BOUNDED, _COUNT, 20),
    "1,000 messages": Chats(_BOUNDED, _COUNT, 1000),
    "1,000 messages, told again up to the usual 32,768 tokens": Chats(_FREE, _COUNT, 1000),
}


async def long(bench: Bench) -> Table:
    """CPU per message, with the same history told again, and with as much as a model takes."""
    table = Table(
        f"A turn in a conversation of 1,000 messages; the model takes {_CONTEXT:,} tokens",
        "server and conversation",
        "CPU per message, ms (each round)",
        "× among 20",
        "target",
        "messages told the model",
        BUSY,
    )
    load = Load(_BOUNDED, at_once=10, questions=300, warm_up=60)
    sizes = {"context_sizes": json.dumps({f"bench/{_BOUNDED}": _CONTEXT})}
    for database in bench.databases:
        found: dict[str, list[Run]] = defaultdict(list)
        with serving_model() as model:
            chats = _CASES.values()
            async with kaiwa(bench, model, database, *chats, **sizes) as (served, apps):
                for _ in range(bench.rounds):
                    for case, prepared in zip(_CASES, apps, strict=True):
                        run = await measure(served, ask_kaiwa(prepared), load, model, database)
                        assert not run.broken(load.tokens), case
                        found[case].append(run)
        short, *_ = found.values()
        for case, runs in found.items():
            pairs = zip(runs, short, strict=True)
            ratio = median([mine.cpu / other.cpu for mine, other in pairs])
            name = f"{kaiwa_on(database)}, {case}"
            table.add(
                name,
                each((run.cpu / load.questions * 1e3 for run in runs), 2),
                f"{ratio:.2f}",
                table.judge(kaiwa_on(database), targets.LONG, ratio)
                if case == "1,000 messages"
                else "",
                f"{median([line.messages for run in runs for line in run.log.values()]):.0f}",
                busy(table, name, runs),
            )
    return table
