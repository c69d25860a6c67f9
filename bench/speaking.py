"""Answers that are spoken while they are written, and what that does to those beside them."""

import asyncio
import os
import time

from bench import targets
from bench.databases import SQLITE
from bench.figures import Table, quantile
from bench.load import Heard, run_load
from bench.runs import Bench, Chats, Load, ask_kaiwa, kaiwa
from bench.served import CORES, cpu_of_family, serving_model
from bench.streams import spread

_COUNT = 50
_LOAD = Load("200-20-0-0-20", at_once=_COUNT, questions=_COUNT, spread=2.0, warm_up=4)


async def speaking(bench: Bench) -> Table:
    """How late words and voices come; the CPU of the voice, espeak-ng, stands apart."""
    table = Table(
        f"{_COUNT} streams spoken by espeak-ng beside {_COUNT} silent ones, 20 tokens a second,"
        " sentences of 20 words",
        "streams",
        "spoken: token under way p50 / p99, ms",
        "silent: token under way p50 / p99, ms",
        "sentence whole → first audio p50 / p99, ms",
        "target",
        "CPU, % of a core",
        "the voice's own",
    )
    with serving_model() as model:
        chats = [Chats(_LOAD.model, _COUNT, speaks=speaks) for speaks in (True, False, False)]
        async with kaiwa(bench, model, SQLITE, *chats, speech_model="espeak") as (served, apps):
            os.sched_setaffinity(served.popen.pid, CORES)  # the voice's processes are to have all
            spoken, silent, mute = map(ask_kaiwa, apps)
            await run_load(served.port, spoken, at_once=4, questions=_LOAD.warm_up)
            for name, first in {"none spoken": mute, f"{_COUNT} spoken": spoken}.items():
                before = _spent(served.popen.pid, served.cpu())
                async with asyncio.TaskGroup() as tasks:
                    asked = [
                        tasks.create_task(
                            run_load(
                                served.port, request, at_once=_COUNT, questions=_COUNT,
                                spread=_LOAD.spread,
                            )
                        )
                        for request in (first, silent)
                    ]  # fmt: skip
                after = _spent(served.popen.pid, served.cpu())
                mine, others = [task.result() for task in asked]
                _check([*mine, *others])
                costs = [end - start for start, end in zip(before, after, strict=True)]
                seconds, cpu, voice = costs
                late = [heard.spoken_at - heard.sentence_at for heard in mine if heard.spoken_at]
                table.add(
                    name,
                    spread([delay for heard in mine for delay in heard.delays]),
                    spread([delay for heard in others for delay in heard.delays]),
                    spread(late) if late else "",
                    table.judge("", targets.SPOKEN, quantile(late, 0.99) * 1e3) if late else "",
                    f"{cpu / seconds:.0%}"[:-1],
                    f"{voice / seconds:.0%}"[:-1],
                )
                if first is spoken and len(late) < _COUNT:
                    table.note(f"**{_COUNT - len(late)} answers were not spoken.**")
    return table


def _spent(pid: int, cpu: float) -> list[float]:
    """The time, the server's own CPU, and that of its children."""
    return [time.monotonic(), cpu, cpu_of_family(pid) - cpu]


def _check(found: list[Heard]) -> None:
    for heard in found:
        assert (heard.status, heard.whole, heard.frames) == (200, True, _LOAD.tokens), heard
