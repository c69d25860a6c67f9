"""Both engines for the suites of failures, and the table of what they have counted."""

from typing import Any

import pytest

from tests.e2e.torture import COUNTED, TORTURE

HEAD = ("suite", "strikes", "answers", "cut", "tail s", "MB more", "lost")


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The setting: empty for SQLite."""
    return request.getfixturevalue("url") if request.param == "postgres" else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What `make torture` prints; an answer that was lost is a test that failed."""
    if not TORTURE:
        return
    terminalreporter.section("torture")
    lines: list[tuple[str, ...]] = [HEAD]
    for status, lost in (("passed", "0"), ("failed", "SOME")):
        for report in terminalreporter.stats.get(status, ()):
            found: dict[str, Any] | None = dict(report.user_properties).get(COUNTED)
            if report.when == "call" and found:
                numbers = (str(found[name]) for name in ("strikes", "answers", "cut"))
                figures = (f"{found['tail']:.2f}", f"{found['grown']:.0f}")
                lines.append((found["suite"], *numbers, *figures, lost))
    for name, *numbers in lines:
        terminalreporter.write_line(f"{name:<28}" + "".join(f"{text:>10}" for text in numbers))
