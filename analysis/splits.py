"""Splits into training and test rows that share neither time nor event.

A label spans the time from its decision to its end. Training rows whose span touches that of a test row are purged,
as are those that begin within an embargo after it. All rows of an event are on one side.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.arrays import Bools, Gaps, Ints


class LeakError(ValueError):
    """Training rows hold information about test rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Times and events of rows, which a split needs."""

    start: Ints  # (n,) decision time, ns
    end: Ints  # (n,) end of the label, ns
    event: Ints | None = None  # (n,) number of the event, common to its markets and both of their tokens

    def __post_init__(self) -> None:
        if (self.end < self.start).any():
            raise ValueError("a label ends before its decision")

    def take(self, rows: Ints) -> "Spans":
        """Return some of the rows."""
        return Spans(self.start[rows], self.end[rows], None if self.event is None else self.event[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Positions of training and test rows."""

    train: Ints
    test: Ints


def walk_forward(
    spans: Spans, folds: int, embargo_ns: int = 0, least_train: int = 1, longest_train_ns: int | None = None
) -> Iterator[Split]:
    """Yield splits that train on what was known, test on what came next, and move on.

    The rows are divided by decision time into folds + 1 parts with the same number of distinct times; each part except
    the first is tested once. A row trains a fold if its label ended before the part's first decision, less the embargo.

    Args:
        spans: Rows in any order.
        folds: Number of test parts.
        embargo_ns: How long before the first test decision a training label must have ended.
        least_train: Folds with fewer training rows are left out.
        longest_train_ns: How far back training reaches; without it, to the first row.

    Raises:
        ValueError: There are fewer decision times than parts.
    """
    times = np.unique(spans.start)
    size = len(times) // (folds + 1)
    if folds < 1 or size == 0:
        raise ValueError(f"{len(times)} decision times make no {folds} folds")
    part = np.minimum(np.searchsorted(times, spans.start) // size, folds)
    for fold in range(1, folds + 1):
        cut = int(times[fold * size])
        test = part == fold
        train = spans.end < cut - embargo_ns
        if longest_train_ns is not None:
            train &= spans.start >= cut - longest_train_ns
        train &= ~_same_event(spans, test)
        if train.sum() >= least_train:
            yield Split(np.flatnonzero(train), np.flatnonzero(test))


def time_ordered(spans: Spans, test_fraction: float, embargo_ns: int = 0) -> Split:
    """Test the last rows by decision time and train on what was known before the first of them.

    Args:
        spans: Rows in any order.
        test_fraction: Fraction of the rows to test, above 0 and below 1; rows decided at one instant stay together.
        embargo_ns: How long before the first test decision a training label must have ended.
    """
    if not 0 < test_fraction < 1 or not len(spans.start):
        raise ValueError("test_fraction must lie between 0 and 1, and there must be rows")
    cut = int(np.sort(spans.start)[int(len(spans.start) * (1 - test_fraction))])
    test = spans.start >= cut
    train = (spans.end < cut - embargo_ns) & ~_same_event(spans, test)
    return Split(np.flatnonzero(train), np.flatnonzero(test))


def combinatorial(spans: Spans, folds: int, test_folds: int, embargo_ns: int = 0) -> Iterator[Split]:
    """Yield a split for every choice of `test_folds` out of `folds` parts as test, the rest as purged training.

    Parts are divided by time: single rows by decision, events undivided and by their end.

    Source: Lopez de Prado (2018), chapter 12.
    """
    if not 1 <= test_folds < folds:
        raise ValueError("the test takes at least one fold and leaves at least one")
    part = _parts(spans, folds)
    for chosen in combinations(range(folds), test_folds):
        test = np.isin(part, chosen)
        train = purged(spans, ~test, test, embargo_ns)
        yield Split(np.flatnonzero(train), np.flatnonzero(test))


def purged(spans: Spans, train: Bools, test: Bools, embargo_ns: int = 0) -> Bools:
    """Return (n,) the training rows whose label touches no test label, its embargo or its event.

    Args:
        spans: Rows.
        train: (n,) True for the rows proposed for training.
        test: (n,) True for the test rows.
        embargo_ns: Time after the end of each test label in which no training label may begin.
    """
    tested = Gaps(spans.start[test], spans.end[test] + embargo_ns + 1)
    touched = tested.missing(spans.start, spans.end + 1) > 0
    return train & ~test & ~touched & ~_same_event(spans, test)


def require_purged(spans: Spans, split: Split, embargo_ns: int = 0) -> None:
    """Refuse a split that leaks.

    Raises:
        LeakError: Training rows overlap the test in time or share its events; the message gives their number.
    """
    n = len(spans.start)
    train, test = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    train[split.train] = True
    test[split.test] = True
    leaking = int(train.sum() - purged(spans, train, test, embargo_ns).sum())
    if leaking:
        raise LeakError(
            f"{leaking} of {len(split.train)} training rows overlap the test rows in time or share an event; "
            "use walk_forward or combinatorial with their spans"
        )


def _parts(spans: Spans, folds: int) -> Ints:
    if spans.event is None:
        units, rank = np.unique(spans.start, return_inverse=True)
    else:
        units, row = np.unique(spans.event, return_inverse=True)
        ends = np.full(len(units), np.iinfo(np.int64).min)
        np.maximum.at(ends, row, spans.end)
        place = np.empty(len(units), np.int64)
        place[np.argsort(ends, kind="stable")] = np.arange(len(units))
        rank = place[row]
    size = len(units) // folds
    if size == 0:
        raise ValueError(f"{len(units)} {'times' if spans.event is None else 'events'} make no {folds} folds")
    return np.minimum(rank // size, folds - 1)


def _same_event(spans: Spans, test: Bools) -> Bools:
    if spans.event is None:
        return np.zeros(len(spans.start), np.bool_)
    return np.isin(spans.event, np.unique(spans.event[test]))
