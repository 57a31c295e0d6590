"""Gaps of trades, proved by ids or their absence: when they open, end, split and heal, without a clock or a disk."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.continuities import NOW, QUOTES, TRADES, S, feed, fresh, latest, missing, trade, witness

from recorder.events import Gap


def test_ids_that_follow_each_other_leave_no_gap() -> None:
    continuity = fresh(TRADES)
    assert feed(continuity, 7, 8, 9, 10) == []
    assert continuity.open_gaps() == 0


def test_missing_ids_are_declared_with_both_ends() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    opened, ended = feed(continuity, 10)
    assert (opened.cause, opened.last_id, opened.ended_ns, opened.state) == ("sequence", 7, None, "open")
    assert (ended.last_id, ended.first_id, ended.state, ended.revision) == (7, 10, "open", 2)
    assert (ended.last_ts_event_ns, ended.first_ts_event_ns) == (trade(7).ts_event_ns, trade(10).ts_event_ns)
    assert continuity.open_gaps() == 0
    assert feed(continuity, 11) == []


def test_late_trades_fill_a_range_from_its_edges_until_it_is_healed() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, 7, 12)
    for number, left in ((8, {9, 10, 11}), (11, {9, 10}), (9, {10})):
        gaps += feed(continuity, number)
        assert missing(gaps) == left
    gaps += feed(continuity, 10)
    (healed,) = latest(gaps)
    assert (healed.state, missing(gaps)) == ("healed", set())
    assert feed(continuity, 13) == []  # the stream continued where it was


def test_a_late_trade_in_the_middle_of_a_missing_range_splits_it() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, 7, 12)
    gaps += feed(continuity, 10)
    lower, upper = sorted(latest(gaps), key=lambda gap: gap.last_id or 0)
    assert [(gap.last_id, gap.first_id) for gap in (lower, upper)] == [(7, 10), (10, 12)]
    gaps += feed(continuity, 11, 8, 9)
    assert missing(gaps) == set()
    assert {gap.state for gap in latest(gaps)} == {"healed"}


def test_a_repeat_changes_nothing() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7, 8, 9)
    assert feed(continuity, 8, 9, 7) == []
    assert feed(continuity, 10) == []


def test_ids_that_restart_are_a_reset_and_not_a_billion_missing() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 1_000_000)
    continuity.trade(trade(1, ts_s=2000))
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.state, gap.last_id, gap.first_id) == ("sequence_reset", "unhealable", 1_000_000, 1)
    assert gap.ended_ns is not None
    continuity.trade(trade(2, ts_s=2001))
    assert continuity.take_gaps() == []


def test_repeated_trades_from_before_a_reset_leave_the_new_ids_complete() -> None:
    """The past trades that begin a session hold ids from before and after the reset, sometimes the new ones first."""
    continuity = fresh(TRADES)
    for number, ts_s in ((1_000_001, 1), (1_000_002, 2), (1, 3), (2, 4)):
        continuity.trade(trade(number, ts_s=ts_s))
    continuity.lost([TRADES], "disconnect", NOW, 1)
    continuity.take_gaps()
    for number, ts_s in ((1, 3), (2, 4), (1_000_001, 1), (1_000_002, 2)):
        continuity.trade(trade(number, ts_s=ts_s))
    assert continuity.take_gaps() == []
    continuity.trade(trade(3, ts_s=5))
    (gap,) = continuity.take_gaps()
    assert (gap.cause, gap.state, gap.last_id, gap.first_id) == ("disconnect", "healed", 2, 3)


def test_ids_that_are_missing_after_a_reset_are_declared() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 1_000_000)
    continuity.trade(trade(1, ts_s=2000))
    continuity.lost([TRADES], "disconnect", NOW, 1)
    continuity.take_gaps()
    continuity.trade(trade(93, ts_s=2002))
    (gap,) = continuity.take_gaps()
    assert (gap.cause, gap.state, gap.last_id, gap.first_id) == ("disconnect", "open", 1, 93)
    continuity.trade(trade(96, ts_s=2003))
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.state, gap.last_id, gap.first_id) == ("sequence", "open", 93, 96)


def test_a_reset_while_disconnected_ends_that_gap_too() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 1000)
    continuity.lost([TRADES], "disconnect", NOW + S, 1)
    continuity.trade(trade(1, ts_s=2000))
    gaps = latest(continuity.take_gaps())
    assert [gap.cause for gap in gaps] == ["disconnect", "sequence_reset"]
    assert all(gap.ended_ns is not None for gap in gaps)
    assert continuity.open_gaps() == 0


def test_a_witness_of_an_unseen_trade_is_believed_the_second_time() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.witness(witness(9), NOW + S)
    assert continuity.take_gaps() == []
    continuity.witness(witness(9), NOW + 2 * S)
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.last_id, gap.first_id, gap.state) == ("sequence", 7, 10, "open")
    gaps = [gap, *feed(continuity, 8, 9)]
    assert {gap.state for gap in gaps[1:]} == {"open", "healed"}
    assert feed(continuity, 10) == []


def test_a_trade_overtaken_by_one_heartbeat_is_not_missing() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.witness(witness(8), NOW + S)
    feed(continuity, 8)
    continuity.witness(witness(8), NOW + 2 * S)
    assert continuity.take_gaps() == []


def test_a_witness_of_the_last_trade_heals_a_disconnect_without_waiting_for_a_trade() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.lost([TRADES], "disconnect", NOW + S, 1)
    continuity.watch(TRADES, 2, NOW + 5 * S)
    continuity.witness(witness(7), NOW + 6 * S)
    (gap,) = latest(continuity.take_gaps())
    assert (gap.state, gap.ended_ns) == ("healed", NOW + 6 * S)
    assert continuity.open_gaps() == 0


@pytest.mark.parametrize("number", [0, 3])
def test_a_witness_of_an_older_trade_means_nothing(number: int) -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    for at in range(3):
        continuity.witness(witness(number), NOW + at * S)
    assert continuity.take_gaps() == []


def test_a_witness_before_any_trade_means_nothing() -> None:
    continuity = fresh(TRADES)
    for at in range(3):
        continuity.witness(witness(7), NOW + at * S)
    assert continuity.take_gaps() == []


def test_a_disconnect_is_healed_when_the_next_id_follows() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.lost([TRADES], "disconnect", NOW + S, 1)
    continuity.lost([TRADES], "unreadable", NOW + 2 * S, 1)  # the gap continues: one gap, with its first cause
    assert continuity.open_gaps() == 1
    continuity.watch(TRADES, 2, NOW + 9 * S)
    feed(continuity)
    continuity.trade(trade(7, 10))  # the venue's last trade, again
    assert continuity.take_gaps() == []
    continuity.trade(trade(8, 11))
    (gap,) = continuity.take_gaps()
    assert (gap.cause, gap.state, gap.started_ns, gap.ended_ns) == ("disconnect", "healed", NOW + S, NOW + 11 * S)
    assert (gap.session_id, gap.last_id, gap.first_id) == (1, 7, 8)


def test_a_disconnect_with_trades_missing_stays_open_for_healing() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.lost([TRADES], "disconnect", NOW + S, 1)
    gaps = continuity.take_gaps() + feed(continuity, 12)
    assert missing(gaps) == {8, 9, 10, 11}
    gaps += feed(continuity, 8, 9, 10, 11)
    assert {gap.state for gap in latest(gaps)} == {"healed"}


def test_a_gap_before_the_first_trade_ends_with_it() -> None:
    continuity = fresh(TRADES)
    continuity.lost([TRADES], "refused", NOW, 1)
    continuity.trade(trade(50, 3))
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.state, gap.last_id, gap.first_id) == ("refused", "open", None, 50)
    assert gap.ended_ns == NOW + 3 * S


def test_ids_of_a_channel_that_need_not_follow_open_nothing() -> None:
    continuity = fresh(TRADES, contiguous=())
    assert feed(continuity, 7, 100, 3) == []


def test_where_ids_prove_nothing_a_gap_ends_when_the_venue_accepts_or_at_the_first_newer_trade() -> None:
    continuity = fresh(TRADES, contiguous=())
    feed(continuity, 500)
    continuity.lost([TRADES], "disconnect", NOW + S, 1)
    continuity.watch(TRADES, 2, NOW + 2 * S)
    continuity.trade(trade(400, at_s=3))  # a repeat: the stream has not advanced
    (gap,) = latest(continuity.take_gaps())
    assert (gap.ended_ns, gap.last_ts_event_ns) == (None, NOW + S // 2)
    continuity.trade(trade(900, at_s=4))
    (gap,) = continuity.take_gaps()
    assert (gap.state, gap.ended_ns, gap.first_ts_event_ns) == ("open", NOW + 4 * S, NOW + 900 * S // 1000)
    continuity.lost([TRADES], "disconnect", NOW + 5 * S, 2)
    continuity.watch(TRADES, 3, NOW + 6 * S)
    continuity.take_gaps()
    continuity.accepted(TRADES, NOW + 7 * S, 2)  # of the previous session: it does not concern this one
    assert continuity.take_gaps() == []
    continuity.accepted(TRADES, NOW + 7 * S, 3)
    (gap,) = continuity.take_gaps()
    assert (gap.state, gap.ended_ns, gap.first_ts_event_ns) == ("open", NOW + 7 * S, None)


def test_ids_that_rise_by_one_prove_that_a_renewed_subscription_is_complete() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 1)
    continuity.interrupted([TRADES], NOW + 2 * S, 1, books_unasked=False)
    continuity.trade(trade(2))
    (gap,) = latest(continuity.take_gaps())
    assert gap.state == "healed"


# ---- any order ------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.integers(2, 25), st.data())
def test_what_is_missing_is_exactly_what_never_came(last: int, data: st.DataObject) -> None:
    """Trades lost, late and repeated in any order, disconnects between them: declared = sent - received."""
    sent = list(range(1, last + 1))
    lost = data.draw(st.sets(st.sampled_from(sent[1:-1])) if last > 2 else st.just(set[int]()))
    received = [number for number in sent if number not in lost]
    late = data.draw(st.sets(st.sampled_from(received[1:-1])) if len(received) > 2 else st.just(set[int]()))
    order = [number for number in received if number not in late]
    for number in late:
        order.insert(data.draw(st.integers(1, len(order))), number)
    for number in data.draw(st.lists(st.sampled_from(received), max_size=4)):
        order.insert(data.draw(st.integers(order.index(number) + 1, len(order))), number)
    if order[-1] != last:
        order.append(last)
    continuity = fresh(TRADES)
    gaps: list[Gap] = []
    for number in order:
        if data.draw(st.booleans()):
            continuity.lost([TRADES], "disconnect", NOW, 1)
        gaps += feed(continuity, number)
    if continuity.open_gaps():
        gaps += feed(continuity, last + 1)
    assert missing(gaps) == lost
    assert continuity.open_gaps() == 0


def test_a_silent_stream_has_a_gap_since_its_last_data() -> None:
    streams = fresh(QUOTES)
    streams.silent([QUOTES], NOW + 5 * S)
    (gap,) = streams.take_gaps()
    assert (gap.cause, gap.started_ns, gap.session_id, gap.ended_ns) == ("silent", NOW + 5 * S, 1, None)
    streams.silent([QUOTES], NOW + 9 * S)
    streams.lost([QUOTES], "disconnect", NOW + 20 * S, 1)
    assert streams.take_gaps() == []
