"""Splits into training and test rows that share neither time nor event.

A label spans the time from its decision to its end. Training rows whose span touches that of a test row are purged,
as are those that begin within an embargo after it. All rows of an event are on one side.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
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


class Scheme(StrEnum):
    """How training rows are cross-validated; it follows from what the rows have in common."""

    PURGED = "purged combinatorial"  # one price or a few that move together: no training label touches a test label
    EXPANDING = "expanding by label end"  # many series over a long time: train on what was known, test what came next
    GROUPED = "grouped by event"  # unrelated questions, whose spans of months overlap by nature: events stay together


def cross_validation(spans: Spans, scheme: Scheme, folds: int, embargo_ns: int = 0) -> list[Split]:
    """Return the folds of a scheme; none where there are too few events or decision times.

    Args:
        spans: Rows in any order.
        scheme: Scheme of the set.
        folds: Number of test parts; expanding leaves the rows before the first of them untested.
        embargo_ns: Embargo around each test part; rows grouped by event need none.
    """
    require_embargo(embargo_ns)
    units = spans.start if spans.event is None else spans.event
    if len(np.unique(units)) < folds:
        return []
    if scheme is Scheme.EXPANDING:
        many = len(np.unique(spans.start)) > folds
        return list(walk_forward(spans, folds, embargo_ns)) if many else []
    if scheme is Scheme.GROUPED:
        part = event_order(spans) % folds
        return [Split(np.flatnonzero(part != one), np.flatnonzero(part == one)) for one in range(folds)]
    return list(combinatorial(spans, folds, 1, embargo_ns))


def stopping(spans: Spans, scheme: Scheme, fraction: float, embargo_ns: int = 0) -> Split:
    """Return a split of training rows for early stopping: the latest rows, or some of the events when grouped."""
    if scheme is not Scheme.GROUPED:
        return time_ordered(spans, fraction, embargo_ns)
    every = max(2, round(1 / fraction))
    stop = event_order(spans) % every == every - 1
    return Split(np.flatnonzero(~stop), np.flatnonzero(stop))


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
        ValueError: There are fewer decision times than parts, or the embargo is negative.
    """
    require_embargo(embargo_ns)
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
    require_embargo(embargo_ns)
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
    require_embargo(embargo_ns)
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


def require_grouped(spans: Spans, split: Split) -> None:
    """Refuse a split whose two sides share an event.

    Raises:
        LeakError: Training rows belong to events of the test rows; the message gives their number.
    """
    test = np.zeros(len(spans.start), np.bool_)
    test[split.test] = True
    leaking = int(_same_event(spans, test)[split.train].sum() + test[split.train].sum())
    if leaking:
        raise LeakError(f"{leaking} of {len(split.train)} training rows share an event with the test rows")


def require_embargo(embargo_ns: int) -> None:
    """Refuse a negative embargo, which would let training labels reach into the test.

    Raises:
        ValueError: The embargo is negative.
    """
    if embargo_ns < 0:
        raise ValueError(f"the embargo is {embargo_ns} ns: give 0 or more")


def _parts(spans: Spans, folds: int) -> Ints:
    rank = event_order(spans)
    units = int(rank.max()) + 1 if len(rank) else 0
    size = units // folds
    if size == 0:
        raise ValueError(f"{units} {'times' if spans.event is None else 'events'} make no {folds} folds")
    return np.minimum(rank // size, folds - 1)


def event_order(spans: Spans) -> Ints:
    """Return (n,) the number of each row's event in the order of their ends; without events, of its decision time."""
    if spans.event is None:
        return np.unique(spans.start, return_inverse=True)[1].astype(np.int64)
    units, row = np.unique(spans.event, return_inverse=True)
    ends = np.full(len(units), np.iinfo(np.int64).min)
    np.maximum.at(ends, row, spans.end)
    place = np.empty(len(units), np.int64)
    place[np.argsort(ends, kind="stable")] = np.arange(len(units))
    return np.asarray(place[row], np.int64)


def _same_event(spans: Spans, test: Bools) -> Bools:
    if spans.event is None:
        return np.zeros(len(spans.start), np.bool_)
    return np.isin(spans.event, np.unique(spans.event[test]))
