"""R2: a database that is away, or hangs, for a moment takes no answer with it.

KAIWA_TORTURE=N strikes N/10 times instead of once.
"""

import os
import secrets
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.e2e.outage import SETTLED, Fault, Outage, live_through_many
from tests.e2e.process import Process
from tests.e2e.torture import Tally
from tests.support.postgres import Postgres, postgres_server


def check_readyz(found: Outage) -> None:
    away = [status for at, status in found.readyz if found.left_at < at < found.back_at - SETTLED]
    assert set(away) == {503}
    assert found.readyz[-1][1] == 200


@pytest.mark.torture
def test_a_database_that_is_away_for_a_moment_takes_no_answer_with_it(
    tmp_path: Path, url: str, postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    def strike(_: Process) -> None:
        postgres.admit(url, False)
        postgres.cut(url)

    tally = Tally("database away, PostgreSQL")
    fault = Fault(strike, lambda _: postgres.admit(url, True))
    for found in live_through_many(tmp_path, url, fault, tally):
        check_readyz(found)
    tally.report(request)


@pytest.mark.torture
def test_a_database_that_hangs_for_a_moment_takes_no_answer_with_it(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stopped: list[int] = []

    def send(number: signal.Signals, processes: Iterable[int]) -> None:
        for process in processes:
            os.kill(process, number)

    def strike(_: Process) -> None:
        stopped[:] = postgres.processes(url)
        send(signal.SIGSTOP, stopped)

    tally = Tally("database hangs, PostgreSQL")
    # Nobody is asked whom to wake: what was stopped may hold a lock that every newcomer waits for.
    fault = Fault(strike, lambda _: send(signal.SIGCONT, stopped))
    with postgres_server(secrets.token_hex(6)) as postgres:  # no other test is to wait with it
        url = postgres.create()
        for found in live_through_many(tmp_path, url, fault, tally, database_timeout=0.3):
            check_readyz(found)
    tally.report(request)
