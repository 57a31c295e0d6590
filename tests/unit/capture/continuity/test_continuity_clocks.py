"""Ids prove, times do not: wrong stamps of a venue and a clock of ours that was set."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.continuities import NOW, QUOTES, TRADES, S, feed, fresh, latest, missing

from recorder.capture.continuity import Continuity
from recorder.capture.evidence.gap_times import AHEAD_NS
from recorder.events import Gap, Quote, Trade
from recorder.journal.block import StreamCheckpoint

DAY = 86_000


def print_of(number: int, at_s: float, ts_s: float) -> Trade:
    """Return a trade received `at_s` after NOW and stamped `ts_s` after NOW."""
    return Trade("A", number, NOW + int(ts_s * S), NOW + int(at_s * S), 1.0, 1.0)


@pytest.mark.parametrize("error_s", [3, 60, 3600, DAY, -3, -3600, -DAY])
@pytest.mark.parametrize("odd", [2, 3, 6])
def test_missing_ids_are_declared_whatever_the_stamp_of_one_print(error_s: float, odd: int) -> None:
    continuity = fresh(TRADES)
    gaps: list[Gap] = []
    for number in (1, 2, 3, 6, 7, 20):
        continuity.trade(print_of(number, number, number + (error_s if number == odd else 0)))
        gaps += continuity.take_gaps()
    assert missing(gaps) == {4, 5, *range(8, 20)}
    assert continuity.open_gaps() == 0


@pytest.mark.parametrize("contiguous", [["trade"], []])
@pytest.mark.parametrize("error_s", [60, 3600, DAY])
def test_a_gap_ends_with_good_trades_soon_after_a_stamp_ahead(contiguous: list[str], error_s: float) -> None:
    continuity = fresh(TRADES, contiguous=contiguous)  # type: ignore[arg-type]
    continuity.trade(print_of(1, 1, 1))
    continuity.trade(print_of(2, 2, 2 + error_s))
    continuity.lost([TRADES], "disconnect", NOW + 3 * S, 1)
    continuity.trade(print_of(9, 8, 7.9))
    (gap,) = latest(continuity.take_gaps())
    assert (gap.started_ns, gap.ended_ns) == (NOW + 3 * S, NOW + 8 * S)
    assert gap.last_ts_event_ns is not None
    assert gap.last_ts_event_ns <= gap.started_ns  # what was lost was made after the stamp that is remembered


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0, 0, 0, 2, 4000, DAY, -2, -4000, -DAY])), max_size=30))
def test_what_is_not_there_is_declared_and_nothing_else_whatever_the_stamps(steps: list[tuple[int, int]]) -> None:
    continuity, number, received, gaps = fresh(TRADES), 100, [100], []
    continuity.trade(print_of(100, 0, 0))
    for at, (step, error_s) in enumerate(steps, 1):
        number += step
        received.append(number)
        continuity.trade(print_of(number, at, at + error_s))
        gaps += continuity.take_gaps()
    assert missing(gaps) == set(range(100, number)) - set(received)
    assert continuity.open_gaps() == 0


def test_a_repeat_with_a_wrong_stamp_seems_a_restart_only_until_the_ids_go_on() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, 7, 8, 9)
    continuity.trade(print_of(8, 2, 3))
    gaps += continuity.take_gaps()
    continuity.trade(print_of(10, 3, 3))
    continuity.trade(print_of(13, 4, 4))
    gaps += continuity.take_gaps()
    assert missing(gaps) == {11, 12}


@pytest.mark.parametrize(("odd", "again_s"), [((3, 5), 6), ((3,), 3600), ((3,), 2 * 3600)])
@pytest.mark.parametrize("process", ["same", "next"])
def test_a_trade_stamped_ahead_that_a_snapshot_repeats_is_no_restart(
    odd: tuple[int, ...], again_s: int, process: str
) -> None:
    continuity = fresh(TRADES)
    sent = [print_of(number, number / 8, number / 8 + (3600 if number in odd else 0)) for number in range(1, 9)]
    for one in sent:
        continuity.trade(one)
    continuity.lost([TRADES], "disconnect", NOW + 2 * S, 1)
    if process == "next":
        continuity = restored(continuity.take_checkpoints(), again_s * S, 2 * S)
    continuity.take_gaps()
    for one in sent:
        continuity.trade(msgspec.structs.replace(one, ts_recv_ns=NOW + again_s * S))
    assert continuity.take_gaps() == []
    continuity.trade(print_of(9, again_s, again_s))
    (gap,) = continuity.take_gaps()
    assert (gap.state, gap.last_id, gap.first_id) == ("healed", 8, 9)


@pytest.mark.parametrize("ahead_s", [0, 60, 3600])
def test_a_restart_of_ids_is_noticed_whatever_the_venue_stamps(ahead_s: float) -> None:
    """The venue's clock is wrong all the time: by `ahead_s`."""
    continuity = fresh(TRADES)
    for number, at_s in ((1_000_001, 1.0), (1_000_002, 2.0), (1_000_001, 3.0), (1_000_002, 3.0)):
        continuity.trade(print_of(number, at_s, number - 1_000_000 + ahead_s))
    assert continuity.take_gaps() == []
    for number, at_s in ((1, 4.0), (2, 5.0), (5, 6.0)):
        continuity.trade(print_of(number, at_s, at_s + ahead_s))
    gaps = latest(continuity.take_gaps())
    assert [(gap.cause, gap.last_id, gap.first_id) for gap in gaps] == [
        ("sequence_reset", 1_000_002, 1),
        ("sequence", 2, 5),
    ]


def test_a_restart_of_ids_is_noticed_soon_after_one_stamp_ahead() -> None:
    continuity = fresh(TRADES)
    continuity.trade(print_of(1_000_001, 1, 3600))
    continuity.trade(print_of(1_000_002, 2, 2))
    for number, at_s in ((1, 8.0), (2, 9.0)):
        continuity.trade(print_of(number, at_s, at_s))
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.last_id, gap.first_id) == ("sequence_reset", 1_000_002, 1)


def test_a_trade_stamped_ahead_that_is_repeated_behind_a_restart_of_ids_is_no_gap() -> None:
    continuity = fresh(TRADES)
    ahead = print_of(1_000_001, 1, 3600)
    continuity.trade(ahead)
    for number, at_s in ((1_000_002, 2.0), (1, 8.0)):
        continuity.trade(print_of(number, at_s, at_s))
    continuity.take_gaps()
    continuity.trade(msgspec.structs.replace(ahead, ts_recv_ns=NOW + 9 * S))
    continuity.trade(print_of(2, 10, 10))
    continuity.trade(print_of(4, 11, 11))
    assert missing(continuity.take_gaps()) == {3}


def test_a_restart_of_ids_survives_the_restart_of_the_process() -> None:
    before = fresh(TRADES)
    for number, at_s in ((1_000_001, 1.0), (1_000_002, 2.0), (1, 3.0), (2, 4.0)):
        before.trade(print_of(number, at_s, at_s))
    after = restored(before.take_checkpoints(), 5 * S)
    after.take_gaps()
    for number, at_s in ((1, 3.0), (2, 4.0), (1_000_001, 1.0), (1_000_002, 2.0), (3, 7.0)):
        after.trade(print_of(number, 8, at_s))
    (gap,) = after.take_gaps()
    assert (gap.cause, gap.state, gap.last_id, gap.first_id) == ("restart", "healed", 2, 3)


def restored(checkpoints: list[StreamCheckpoint], now_ns: int, last_ns: int = 4 * S) -> Continuity:
    """Return the continuity of the next process, at NOW + now_ns; session 1 had its last frame at NOW + last_ns."""
    after = Continuity(frozenset({"trade"}), itertools.count(500).__next__)
    after.restore(checkpoints, {1: NOW + last_ns}, NOW + now_ns)
    return after


def test_an_old_checkpoint_with_a_time_ahead_does_not_blind_the_next_process() -> None:
    before = fresh(TRADES)
    feed(before, 7)
    (checkpoint,) = before.take_checkpoints()
    checkpoint.last_ts_event_ns = NOW + DAY * S
    after = restored([checkpoint], 9 * S)
    state = after.state(TRADES)
    assert state is not None
    assert (state.last_ts_event_ns or 0) <= NOW + 4 * S + AHEAD_NS
    after.trade(print_of(12, 10, 10))
    assert missing(after.take_gaps()) == {8, 9, 10, 11}


def test_a_clock_set_back_across_a_restart_leaves_the_gap_where_the_loss_was() -> None:
    """The first process ran an hour ahead. Quotes have no time of the venue, but trades beside them show the time."""
    before = fresh(TRADES, QUOTES)
    hour = 3600 * S
    before.trade(Trade("A", 1, NOW + 3 * S, NOW + hour + 3 * S, 1.0, 1.0))
    before.saw(before.quotes, [Quote("A", None, NOW + hour + 4 * S, 5, 1.0, 1.0, 2.0, 1.0)])
    after = restored(before.take_checkpoints(), 60 * S, last_ns=hour + 4 * S)
    after.quote(Quote("A", None, NOW + 61 * S, 9, 1.0, 1.0, 2.0, 1.0), after.quotes)
    (gap,) = [one for one in latest_from(after) if one.channel == "quote"]
    assert (gap.started_ns, gap.ended_ns) == (NOW + 3 * S, NOW + 61 * S)
    assert gap.last_ts_event_ns == NOW + 3 * S


def test_a_clock_set_back_while_a_gap_is_open_moves_its_begin_along() -> None:
    continuity = fresh(QUOTES)
    continuity.lost([QUOTES], "disconnect", NOW + 3600 * S, 1)
    continuity.clock_set(-3595 * S)
    continuity.quote(Quote("A", None, NOW + 7 * S, 9, 1.0, 1.0, 2.0, 1.0), continuity.quotes)
    (gap,) = latest_from(continuity)
    assert (gap.started_ns, gap.ended_ns) == (NOW + 5 * S, NOW + 7 * S)


def latest_from(continuity: Continuity) -> list[Gap]:
    """Return the highest revision of each gap of a process that may have resumed some."""
    return list({gap.gap_id: gap for gap in continuity.take_gaps()}.values())
