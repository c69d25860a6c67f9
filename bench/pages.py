"""Pages of messages and of conversations, out of a million messages."""

from collections.abc import Mapping
from statistics import median
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from bench import targets
from bench.data import Prepared
from bench.figures import Table, Target, each, quantile
from bench.load import Heard, Request, get, run_load
from bench.runs import BUSY, Bench, Chats, Load, Run, busy, kaiwa, kaiwa_on, measure
from bench.served import Served, serving_model

_APPS = [Chats("100-0", count=100, length=100)] * 100
_LIMIT = 20
_PAGES = 2000


class _Row(Struct):
    id: str


class _Page(Struct):
    data: list[_Row]


async def pages(bench: Bench) -> Table:
    """CPU and latency, at the end and behind a cursor."""
    load = Load("100-0", at_once=10, questions=_PAGES, warm_up=200)
    table = Table(
        f"Pages of {_LIMIT} out of {sum(app.count * app.length for app in _APPS):,} messages,"
        f" {load.at_once} requests at once",
        "server and page",
        "CPU per page, ms (each round)",
        "target",
        "the database's own, ms",
        "p50 / p99, ms",
        "target, p99",
        BUSY,
    )
    for database in bench.databases:
        found: dict[str, list[Run]] = {}
        with serving_model() as model:
            async with kaiwa(bench, model, database, *_APPS) as (served, apps):
                kinds = await _kinds(served, apps)
                for _ in range(bench.rounds):
                    for kind, request in kinds.items():
                        run = await measure(served, request, load, model, database)
                        _check(run.heard)
                        found.setdefault(kind, []).append(run)
        for kind, runs in found.items():
            _add(table, f"{kaiwa_on(database)}, {kind}", load, runs)
    return table


async def _kinds(served: Served, apps: list[Prepared]) -> Mapping[str, Request]:
    """By what is asked for: requests for the conversations of all apps in turn."""

    def page(path: str, number: int, **query: str) -> bytes:
        app = apps[number % len(apps)]
        text = urlencode({"user": "bench", "limit": _LIMIT, **query})
        return get(f"/v1/{path}?{text}", app.key)

    def messages(number: int, **query: str) -> bytes:
        ids = apps[number % len(apps)].ids
        chosen = ids[number // len(apps) % len(ids)]
        return page("messages", number, conversation_id=chosen, **query)

    def conversations(number: int, **query: str) -> bytes:
        return page("conversations", number, **query)

    first = await _cursors(served, messages, 0)
    last = await _cursors(served, conversations, -1)
    return {
        "newest messages": messages,
        "messages before one": lambda n: messages(n, first_id=first[n]),
        "newest conversations": conversations,
        "conversations after one": lambda n: conversations(n, last_id=last[n]),
    }


async def _cursors(served: Served, request: Request, place: int) -> list[str]:
    """The ids at this place of the first pages."""
    heard = await run_load(served.port, request, at_once=10, questions=_PAGES)
    _check(heard)
    heard.sort(key=lambda one: one.number)
    return [msgspec.json.decode(one.body, type=_Page).data[place].id for one in heard]


def _check(heard: list[Heard]) -> None:
    """Every page is full."""
    for one in heard:
        assert one.status == 200, one
        assert len(msgspec.json.decode(one.body, type=_Page).data) == _LIMIT, one


def _add(table: Table, name: str, load: Load, runs: list[Run]) -> None:
    costs = [run.cpu / load.questions * 1e3 for run in runs]
    apart = median([run.database / load.questions * 1e3 for run in runs])
    taken = [(one.ended_at - one.asked_at) * 1e3 for run in runs for one in run.heard]
    p99 = quantile(taken, 0.99)
    target: Target = (
        targets.PAGE_OF_CONVERSATIONS if "conversations" in name else targets.PAGE_OF_MESSAGES
    )
    table.add(
        name,
        each(costs, 2),
        table.judge(name, target, median(costs)),
        f"{apart:.2f}" if apart else "",
        f"{median(taken):.1f} / {p99:.1f}",
        table.judge(name, targets.PAGE_P99, p99),
        busy(table, name, runs),
    )
