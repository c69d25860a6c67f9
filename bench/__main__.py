"""`make bench`, or `python -m bench [NAME…]`: run the benches and print their tables."""

import argparse
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

import uvloop

from bench import (
    agents,
    idle,
    ingest,
    long,
    pages,
    retrieval,
    search,
    soak,
    speaking,
    streams,
    uploads,
)
from bench.databases import SQLITE, serving_postgres
from bench.figures import Table, describe_machine, overview
from bench.runs import Bench
from bench.served import stay_on_others

BENCHES: dict[str, Callable[[Bench], Coroutine[None, None, Table]]] = {
    "paced": streams.paced,
    "at-once": streams.at_once,
    "latency": streams.latency,
    "crowd": streams.crowd,
    "long": long.long,
    "pages": pages.pages,
    "agents": agents.agents,
    "agents-crowd": agents.crowd,
    "speaking": speaking.speaking,
    "idle": idle.idle,
    "uploads": uploads.uploads,
    "pictures": uploads.pictures,
    "ingest": ingest.ingest,
    "search": search.search_base,
    "retrieval": retrieval.retrieval,
    "soak": soak.soak,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10, help="of the mixed load")
    found = parser.parse_args()
    if unknown := set(found.names) - set(BENCHES):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(describe_machine(), "\n", flush=True)
    stay_on_others()
    signal.signal(signal.SIGTERM, _end)
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="kaiwa-bench-") as name:
        folder = Path(name)
        with serving_postgres(folder / "postgres") as postgres:
            bench = Bench(folder, [SQLITE, postgres], found.rounds, found.minutes)
            for name in found.names or BENCHES:
                tables.append(uvloop.run(BENCHES[name](bench)))
                print(tables[-1], flush=True)
    print(overview(tables))


def _end(number: int, frame: object) -> None:
    """By an exception, so that what was started is ended too."""
    sys.exit(1)


if __name__ == "__main__":
    main()
