"""A database that cannot be written for a moment takes no answer with it, and can still be read.

KAIWA_TORTURE=N strikes N/10 times instead of once.
"""

import resource
from pathlib import Path

import pytest

from tests.e2e.outage import Fault, live_through_many
from tests.e2e.process import Process
from tests.e2e.torture import Tally
from tests.support.postgres import Postgres

PAGE = 4096
"""Nothing can be added to SQLite's log within so many bytes."""


@pytest.mark.torture
def test_a_disk_without_room_takes_no_answer_with_it(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The system refuses the process, as a quota would, to write where its files are longer."""

    def limit(process: Process, size: int) -> None:
        bounds = (size, resource.RLIM_INFINITY)
        resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, bounds)

    tally = Tally("no room on the disk, SQLite")
    fault = Fault(lambda it: limit(it, PAGE), lambda it: limit(it, resource.RLIM_INFINITY))
    for found in live_through_many(tmp_path, "", fault, tally):
        assert {status for _, status in found.readyz} == {200}  # it can still be read
    tally.report(request)


@pytest.mark.torture
def test_a_server_that_takes_no_writes_takes_no_answer_with_it(
    tmp_path: Path, url: str, postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    """As after a failover: all connections break, and those made anew find a standby."""

    def strike(_: Process) -> None:
        postgres.demote(url, True)
        postgres.cut(url)

    tally = Tally("standby, PostgreSQL")
    live_through_many(tmp_path, url, Fault(strike, lambda _: postgres.demote(url, False)), tally)
    tally.report(request)
