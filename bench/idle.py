"""What Kaiwa takes before anybody speaks to it: memory, the time of a start, an installation."""

import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

from bench import targets
from bench.data import open_data, prepare
from bench.databases import Database
from bench.figures import Table, Target, each
from bench.load import run_load
from bench.runs import HISTORY, Bench, ask_kaiwa, kaiwa_on
from bench.served import CORES, Served, serving_kaiwa, serving_model

_ROOT = Path(__file__).parents[1]
_INSTALLED = ("src", "examples", "docs", "Makefile", "pyproject.toml", "requirements.lock")
_PAPER = ("README.md", "LICENSE")
_MESSAGES = 100

_MEMORY = "memory after the start, MB"
_USED = f"memory after {_MESSAGES} messages, MB"
_FIRST = "process started → ready, first start, s"
_LATER = "process started → ready, later starts, s"
_TARGETS = {_MEMORY: targets.IDLE_MEMORY, _FIRST: targets.FIRST_START, _LATER: targets.LATER_START}


async def idle(bench: Bench) -> Table:
    """Memory is all that the system counts for the process, what it shares with others too."""
    table = Table("Idle", "what", "each round", "target")
    with serving_model() as model:
        for database in bench.databases:
            found: dict[str, list[float]] = defaultdict(list)
            for _ in range(bench.rounds):
                await _start_twice(bench, model, database, found)
            for what, values in found.items():
                name = f"{kaiwa_on(database)}: {what}"
                _add(table, name, kaiwa_on(database), values, _TARGETS.get(what))
    _install(bench.folder)  # whatever the cache lacks
    _add(table, "`make install`, s", "", [_install(bench.folder)], targets.INSTALL)
    return table


def _add(table: Table, name: str, who: str, values: list[float], target: Target | None) -> None:
    judged = table.judge(who, target, median(values)) if target else ""
    table.add(name, each(values, 2 if name.endswith(" s") else 0), judged)


async def _start_twice(
    bench: Bench, model: Served, database: Database, found: dict[str, list[float]]
) -> None:
    """Once on nothing, and once more."""
    folder = Path(mkdtemp(dir=bench.folder))
    with database.fresh() as url:
        with serving_kaiwa(folder, model, url) as served:
            found[_FIRST].append(served.ready_after)
        db = await open_data(folder, url)
        prepared = await prepare(db, "100-0")
        await prepared.add_conversations(10, HISTORY)
        await db.close()
        with serving_kaiwa(folder, model, url) as served:
            found[_LATER].append(served.ready_after)
            found[_MEMORY].append(served.memory("VmRSS") / 2**20)
            request = ask_kaiwa(prepared)
            await run_load(served.port, request, at_once=10, questions=_MESSAGES)
            found[_USED].append(served.memory("VmRSS") / 2**20)


def _install(folder: Path) -> float:
    """Seconds of `make install` in a checkout of its own."""
    place = Path(mkdtemp(dir=folder))
    for name in (*_INSTALLED, *_PAPER):
        copy = shutil.copytree if (_ROOT / name).is_dir() else shutil.copy
        copy(_ROOT / name, place / name)
    begun = time.monotonic()
    make = subprocess.Popen(
        ["make", "install", f"PYTHON={sys.executable}"],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.sched_setaffinity(make.pid, CORES)
    _, said = make.communicate()
    assert make.returncode == 0, said.decode()
    return time.monotonic() - begun
