"""The truth logs of simulated REST services: which belong together, and their lines in the order of time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from recorder.errors import ConfigError
from recorder.truth import Line, ServiceStarted, Started, read_truth


class Part(NamedTuple):
    """One file of a log."""

    path: Path
    begin: ServiceStarted
    since_ns: int  # what was answered from here on is in it or in the files after it
    follows: bool  # whether nothing is missing between it and the part before


class Chosen(NamedTuple):
    """The logs of venues and those of services, among some files."""

    venues: list[Path]
    services: dict[str, list[Part]]  # by group of services, such as polymarket


def choose(paths: Sequence[Path]) -> Chosen:
    """Sort truth logs by what they are of.

    Raises:
        ConfigError: A file is not a truth log.
    """
    chosen = Chosen([], {})
    found: list[tuple[ServiceStarted, Path]] = []
    for path in paths:
        first = next(read_truth(path), None)
        if isinstance(first, Started):
            chosen.venues.append(path)
        elif isinstance(first, ServiceStarted):
            found.append((first, path))
        elif first is not None:  # None: the simulator was killed before its first line was complete
            raise ConfigError(f"{path} does not begin like a truth log")
    found.sort(key=lambda one: (one[0].services, one[0].t, one[0].part))
    for begin, path in found:
        parts = chosen.services.setdefault(begin.services, [])
        before = parts[-1].begin if parts else None
        same_run = before is not None and before.t == begin.t and before.part + 1 == begin.part
        follows = same_run or (before is not None and begin.part == 1)
        parts.append(Part(path, begin, begin.part_t or begin.t, follows))
    return chosen


def lines(part: Part) -> Iterator[Line]:
    """Yield the lines of a part behind the first.

    Raises:
        ConfigError: A line is none of a truth log.
    """
    reading = read_truth(part.path)
    next(reading, None)
    yield from reading
