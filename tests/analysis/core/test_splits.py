"""Splits leak neither time nor event, and equal those of skfolio where both are defined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.model_selection import CombinatorialPurgedCV, WalkForward

from analysis.splits import LeakError, Spans, Split, combinatorial, require_purged, time_ordered, walk_forward


def steps(n: int, label: int) -> Spans:
    """Return one row a step, each with a label of `label` steps."""
    at = np.arange(n, dtype=np.int64)
    return Spans(at, at + label)


@pytest.mark.parametrize(
    ("folds", "tests", "label", "embargo"), [(6, 2, 3, 4), (5, 2, 0, 0), (7, 3, 2, 1), (4, 2, 5, 0)]
)
def test_combinatorial_splits_are_those_of_skfolio_on_evenly_spaced_rows(
    folds: int, tests: int, label: int, embargo: int
) -> None:
    n = 103
    theirs = CombinatorialPurgedCV(n_folds=folds, n_test_folds=tests, purged_size=label, embargo_size=embargo)
    expected = {
        tuple(sorted(np.concatenate(test).tolist())): train.tolist() for train, test in theirs.split(np.zeros((n, 1)))
    }
    found = {
        tuple(split.test.tolist()): split.train.tolist()
        for split in combinatorial(steps(n, label), folds, tests, embargo)
    }
    assert found == expected


@pytest.mark.parametrize("label", [0, 3, 7])
def test_walk_forward_splits_are_those_of_skfolio_on_evenly_spaced_rows(label: int) -> None:
    n, size = 100, 20
    theirs = WalkForward(test_size=size, train_size=size - label, purged_size=label, expand_train=True)
    expected = [(train.tolist(), test.tolist()) for train, test in theirs.split(np.zeros((n, 1)))]
    found = [(split.train.tolist(), split.test.tolist()) for split in walk_forward(steps(n, label), 4)]
    assert found == expected


@st.composite
def spans(draw: st.DrawFn) -> Spans:
    """Draw rows of several events, several at one time, with labels of any length."""
    n = draw(st.integers(30, 120))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    start = rng.integers(0, 200, n)
    end = start + rng.integers(0, 30, n)
    event = rng.integers(0, draw(st.integers(8, 40)), n) if draw(st.booleans()) else None
    return Spans(start, end, event)


def leaks(rows: Spans, split: Split, embargo: int) -> bool:
    """Check every pair of rows directly."""
    for i in split.train:
        for j in split.test:
            if rows.event is not None and rows.event[i] == rows.event[j]:
                return True
            if rows.start[i] <= rows.end[j] + embargo and rows.end[i] >= rows.start[j]:
                return True
    return False


@settings(max_examples=40, deadline=None)
@given(spans(), st.integers(0, 20))
def test_no_training_row_of_a_combinatorial_split_overlaps_a_test_row(rows: Spans, embargo: int) -> None:
    tested = np.zeros(len(rows.start), np.int64)
    for split in combinatorial(rows, 5, 2, embargo):
        assert not leaks(rows, split, embargo)
        require_purged(rows, split, embargo)
        tested[split.test] += 1
    assert (tested == 4).all()  # each row is tested as often as any other


@settings(max_examples=40, deadline=None)
@given(spans(), st.integers(0, 20))
def test_walking_forward_trains_only_on_labels_known_before_the_first_test_decision(rows: Spans, embargo: int) -> None:
    for split in walk_forward(rows, 4, embargo):
        assert (rows.end[split.train] < rows.start[split.test].min() - embargo).all()
        assert not leaks(rows, split, 0)
        if rows.event is not None:
            assert not set(rows.event[split.train]) & set(rows.event[split.test])


def test_an_event_is_never_divided() -> None:
    rng = np.random.default_rng(1)
    event = np.repeat(np.arange(40), 5)
    start = rng.integers(0, 1000, 200)
    rows = Spans(start, start + 10, event)
    for split in combinatorial(rows, 4, 1):
        sizes = np.unique(event[split.test], return_counts=True)[1]
        assert (sizes == 5).all()


def test_training_on_overlapping_labels_is_refused() -> None:
    rows = steps(100, 10)
    naive = Split(np.arange(50), np.arange(50, 100))
    with pytest.raises(LeakError, match="10 of 50 training rows overlap"):
        require_purged(rows, naive)
    require_purged(rows, Split(np.arange(40), np.arange(50, 100)))


def test_training_on_the_other_token_of_a_tested_market_is_refused() -> None:
    rows = Spans(np.array([0, 100]), np.array([1, 101]), np.array([5, 5]))
    with pytest.raises(LeakError, match="share an event"):
        require_purged(rows, Split(np.array([0]), np.array([1])))


def test_training_reaches_back_only_as_far_as_configured() -> None:
    for split in walk_forward(steps(100, 2), 4, longest_train_ns=15):
        assert split.train.min() == split.test.min() - 15


def test_a_label_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before"):
        Spans(np.array([5]), np.array([4]))


def test_too_few_rows_or_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="make no 5 folds"):
        list(combinatorial(steps(3, 0), 5, 2))
    with pytest.raises(ValueError, match="decision times"):
        list(walk_forward(steps(3, 0), 5))
    with pytest.raises(ValueError, match="leaves at least one"):
        list(combinatorial(steps(30, 0), 5, 5))


def test_a_negative_embargo_is_refused() -> None:
    start = np.arange(100, dtype=np.int64)
    spans = Spans(start, start + 10)
    with pytest.raises(ValueError, match="the embargo is -50 ns"):
        time_ordered(spans, 0.3, -50)
    with pytest.raises(ValueError, match="the embargo is -1 ns"):
        list(walk_forward(spans, 3, -1))
