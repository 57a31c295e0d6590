"""What the benches share: times of subjects that take turns, figures with their limits, and how both are printed."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
from rich.console import Console
from rich.table import Table


class Figure(msgspec.Struct):
    """A measured value and the limit that it must keep, if there is one."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def limit(self) -> str:
        """The limit, for a person."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    @property
    def verdict(self) -> str:
        """How far the value is from the limit, for a person."""
        limit = self.at_least if self.at_least is not None else self.at_most
        if limit is None:
            return ""
        word = "holds" if self.holds else "MISSED"
        return f"{word} by {abs(self.value / limit - 1):.0%}" if limit else word


def medians(reps: int, *subjects: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Return the median time of each subject. They take turns, and a first round does not count."""
    times: list[list[float]] = [[] for _ in subjects]
    for rep in range(reps + 1):
        for subject, measured in zip(subjects, times, strict=True):
            began = clock()
            subject()
            if rep:
                measured.append(clock() - began)
    return [statistics.median(measured) for measured in times]


def print_figures(title: str, figures: Sequence[Figure]) -> None:
    """Print figures with their limits."""
    rows = [(figure.name, f"{figure.value:.3g}", figure.limit, figure.verdict) for figure in figures]
    print_table(title, ("", "measured", "limit", ""), rows)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column is text and whose other columns are numbers."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, width=160).print(table)
