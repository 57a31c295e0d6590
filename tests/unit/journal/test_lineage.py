"""Only the successor of the last block loaded is simply loaded; and what a break declares ends with later data."""

import pytest

from recorder.events import Gap
from recorder.journal.block import Lineage, StreamCheckpoint
from recorder.journal.lineage import (
    REPEATED,
    Break,
    History,
    LoadState,
    decode_state,
    encode_state,
    ended_by_data,
    judge,
    supersedes,
)

S = 10**9


def kind(history: History, incarnation: int, seq: int, lineage: Lineage | None) -> str | None:
    """Return the kind of break that a block is."""
    verdict = judge(history, incarnation, seq, lineage)
    return verdict.kind if isinstance(verdict, Break) else verdict


@pytest.mark.parametrize(
    ("incarnation", "seq", "lineage", "expected"),
    [
        (2, 21, None, None),
        (2, 20, None, REPEATED),
        (1, 10, None, REPEATED),
        (2, 23, None, "missing"),
        (1, 11, None, "elsewhere"),
        (1, 13, None, "elsewhere"),
        (3, 21, Lineage(3, 2, 20), None),
        (3, 24, Lineage(3, 2, 23), "missing"),
        (3, 11, Lineage(3, 1, 10), "elsewhere"),
        (3, 16, Lineage(3, 1, 15), "elsewhere"),
        (3, 40, Lineage(3, 9, 39), "elsewhere"),
        (3, 1, Lineage(3), "elsewhere"),
        (3, 30, None, "elsewhere"),
    ],
)
def test_only_a_recorder_that_provably_knew_the_last_block_loaded_knew_what_is_missing(
    incarnation: int, seq: int, lineage: Lineage | None, expected: str | None
) -> None:
    history = History({1: 10, 2: 20}, head=2)
    assert kind(history, incarnation, seq, lineage) == expected


def test_a_journal_goes_on_elsewhere_after_one_that_replaced_it() -> None:
    history = History({1: 10}, head=1, replaces="another")
    assert kind(history, 1, 10, None) == REPEATED
    assert kind(history, 1, 11, None) == "elsewhere"
    history.loaded(1, 11)
    assert kind(history, 1, 12, None) is None


def pending() -> Gap:
    """Return a gap from trade 50 on, since second 100."""
    return Gap(7, "A", "trade", 1, "journal_damage", "open", "", 50, None, 100 * S, None, None, None, 1)


def mark(first_id: int | None, last_id: int | None) -> StreamCheckpoint:
    return StreamCheckpoint("A", "trade", 1, True, last_id, None, first_id, None, 0, None)


@pytest.mark.parametrize(
    ("first_id", "last_id", "written_s", "expected"),
    [
        (53, 54, 110, 53),
        (48, 54, 110, None),  # repeated ones before new ones
        (48, 50, 110, None),
        (53, 54, 90, 53),  # our clock was set back
    ],
)
def test_a_pending_gap_ends_before_the_first_number_behind_it(
    first_id: int, last_id: int, written_s: int, expected: int | None
) -> None:
    ended = ended_by_data(pending(), mark(first_id, last_id), True, written_s * S)
    assert ended is not None
    assert ended.first_id == expected
    assert ended.ended_ns == max(written_s, 100) * S


def test_data_from_before_a_pending_gap_does_not_end_it() -> None:
    assert ended_by_data(pending(), mark(30, 40), True, 90 * S) is None


@pytest.mark.parametrize(
    ("gap_id", "started_s", "behind_s", "expected"),
    [
        (8, 60, 110, True),
        (7, 60, 110, False),
        (8, 101, 110, False),
        (8, 60, 50, False),  # it follows blocks that were loaded late: nothing else declares that range
    ],
)
def test_a_gap_is_left_out_only_where_the_pending_one_declares_the_same(
    gap_id: int, started_s: int, behind_s: int, expected: bool
) -> None:
    assert supersedes(pending(), behind_s * S, gap_id, started_s * 1_000_000) is expected


def test_a_state_is_read_as_it_was_written() -> None:
    state = LoadState({("A", "trade"): mark(1, 2)}, {}, {("A", "trade"): pending()}, True, {3}, 5, "another")
    assert decode_state(encode_state(state)) == state
    assert decode_state(None) == LoadState()
