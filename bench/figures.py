"""Figures, the targets they are held against, and the tables they stand in."""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """What a figure has to be: at most, or at `least`."""

    work: str
    unit: str
    limit: float
    moonshot: float | None = None
    least: bool = False

    def shows(self, limit: float) -> str:
        return f"{'≥' if self.least else '≤'} {limit:g} {self.unit}"

    def is_met(self, value: float, limit: float) -> bool:
        return value >= limit if self.least else value <= limit

    def judge(self, value: float) -> str:
        """A cell: the target, and whether the figure beside it meets it."""
        if not self.is_met(value, self.limit):
            return f"{self.shows(self.limit)}: **no**"
        if self.moonshot is None or not self.is_met(value, self.moonshot):
            return f"{self.shows(self.limit)}: yes"
        return f"{self.shows(self.limit)}: yes, and {self.shows(self.moonshot)}"


class Table:
    """Rows of text, shown as Markdown."""

    def __init__(self, title: str, *head: str) -> None:
        self._title = title
        self._rows = [head]
        self._notes: list[str] = []
        self.judged: list[tuple[str, Target, float]] = []
        """What was measured, its target and its figure."""

    def add(self, *row: str) -> None:
        self._rows.append(row)

    def note(self, line: str) -> None:
        """Below the table."""
        self._notes.append(line)

    def judge(self, what: str, target: Target, value: float) -> str:
        """The cell beside the figure; it stands in the overview too."""
        self.judged.append((what, target, value))
        return target.judge(value)

    def __str__(self) -> str:
        head, *rows = ("| " + " | ".join(row) + " |" for row in self._rows)
        rule = "|---|" + "--:|" * (len(self._rows[0]) - 1)
        notes = [line for note in self._notes for line in (note, "")]
        return "\n".join([f"### {self._title}", "", head, rule, *rows, "", *notes])


def overview(tables: Iterable[Table]) -> Table:
    """Every figure that has a target."""
    table = Table("Against the targets", "work", "measured", "target", "met", "moonshot", "met")
    for what, target, value in (judged for table in tables for judged in table.judged):
        figure = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        row = [f"{target.work}: {what}" if what else target.work, f"{figure} {target.unit}"]
        for limit in (target.limit, target.moonshot):
            if limit is None:
                row += ["", ""]
            else:
                row += [target.shows(limit), "yes" if target.is_met(value, limit) else "**no**"]
        table.add(*row)
    return table


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line that fits these points best."""
    x = sum(point[0] for point in points) / len(points)
    y = sum(point[1] for point in points) / len(points)
    across = sum((point[0] - x) ** 2 for point in points)
    return sum((point[0] - x) * (point[1] - y) for point in points) / across if across else 0.0


def each(values: Iterable[float], digits: int = 1) -> str:
    """A cell with the figure of each round."""
    return " ".join(f"{value:.{digits}f}" for value in values)


def describe_machine() -> str:
    """Processor, cores, system, Python and commit; asked before anything is pinned to a core."""
    info = Path("/proc/cpuinfo").read_text()
    model = info.partition("model name")[2].partition(":")[2].partition("\n")[0].strip()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    return (
        f"{model or platform.machine()}, {cores} cores, Linux {platform.release()},"
        f" Python {platform.python_version()}, commit {commit or 'unknown'}"
    )
