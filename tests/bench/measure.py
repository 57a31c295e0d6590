"""What the benches share: times of subjects that take turns, and the table they print."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Line(NamedTuple):
    """A figure, and what it shall be."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def aim(self) -> str:
        """What it shall be, for a person."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""

    @property
    def held(self) -> bool:
        """Whether it is."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)


def medians(reps: int, *subjects: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Median time of each, the subjects taking turns; a first round does not count."""
    times: list[list[float]] = [[] for _ in subjects]
    for rep in range(reps + 1):
        for subject, taken in zip(subjects, times, strict=True):
            began = clock()
            subject()
            if rep:
                taken.append(clock() - began)
    return [statistics.median(taken) for taken in times]


def show(lines: Sequence[Line]) -> bool:
    """Print them; whether all aims were held."""
    table = Table("", "measured", "aim", "")
    for line in lines:
        table.add_row(line.name, f"{line.value:.3g}", line.aim, "" if line.held else "MISSED")
    Console(highlight=False).print(table)
    return all(line.held for line in lines)
