"""Which gaps follow from which data: every path, without a clock or a disk."""

import itertools
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.block import Mark
from recorder.continuity import NO_HISTORY, Continuity
from recorder.events import Book, Channel, Gap, Quote, Stream, Trade, Witness

S = 10**9
NOW = 1_700_000_000 * S
TRADES, QUOTES, BOOKS = (Stream(channel, "A") for channel in ("trade", "quote", "book"))


def fresh(*streams: Stream, contiguous: Iterable[Channel] = ("trade",)) -> Continuity:
    """A continuity that watches these streams in session 1 since NOW."""
    continuity = Continuity(frozenset(contiguous), itertools.count(100).__next__)
    for stream in streams:
        continuity.watch(stream, 1, NOW)
    return continuity


def trade(number: int, at_s: float = 1, ts_s: float | None = None) -> Trade:
    """Trade `number`, received `at_s` after NOW; the venue's clock shows its number unless told otherwise."""
    ts_ns = NOW + int((number / 1000 if ts_s is None else ts_s) * S)
    return Trade("A", number, ts_ns, NOW + int(at_s * S), 1.0, 1.0, "b")


def quote(at_s: float) -> Quote:
    return Quote("A", NOW + int(at_s * S) - 5, NOW + int(at_s * S), int(at_s * 10), 1.0, 1.0, 2.0, 1.0)


def book(at_s: float, *, snapshot: bool) -> Book:
    return Book("A", NOW + int(at_s * S) - 5, NOW + int(at_s * S), snapshot, None, [], [])


def feed(continuity: Continuity, *numbers: int) -> list[Gap]:
    for number in numbers:
        continuity.trade(trade(number))
    return continuity.take_gaps()


def latest(gaps: Iterable[Gap]) -> list[Gap]:
    """The highest revision of each gap."""
    by_id: dict[int, Gap] = {}
    for gap in gaps:
        assert gap.revision == (by_id[gap.gap_id].revision + 1 if gap.gap_id in by_id else 1)
        by_id[gap.gap_id] = gap
    return list(by_id.values())


def missing(gaps: Iterable[Gap]) -> set[int]:
    """Ids that are declared missing."""
    return {
        number
        for gap in latest(gaps)
        if gap.state == "open" and gap.last_id is not None and gap.first_id is not None
        for number in range(gap.last_id + 1, gap.first_id)
    }


def test_ids_that_follow_each_other_leave_no_gap() -> None:
    continuity = fresh(TRADES)
    assert feed(continuity, 7, 8, 9, 10) == []
    assert continuity.open_gaps() == 0


def test_a_hole_is_declared_with_both_its_ends() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    opened, ended = feed(continuity, 10)
    assert (opened.cause, opened.last_id, opened.ended_ns, opened.state) == ("sequence", 7, None, "open")
    assert (ended.last_id, ended.first_id, ended.state, ended.revision) == (7, 10, "open", 2)
    assert (ended.last_ts_event_ns, ended.first_ts_event_ns) == (trade(7).ts_event_ns, trade(10).ts_event_ns)
    assert continuity.open_gaps() == 0
    assert feed(continuity, 11) == []


def test_late_trades_fill_a_hole_from_its_edges_until_it_is_healed() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, 7, 12)
    for number, left in ((8, {9, 10, 11}), (11, {9, 10}), (9, {10})):
        gaps += feed(continuity, number)
        assert missing(gaps) == left
    gaps += feed(continuity, 10)
    (healed,) = latest(gaps)
    assert (healed.state, missing(gaps)) == ("healed", set())
    assert feed(continuity, 13) == []  # the stream went on where it was


def test_a_late_trade_in_the_middle_of_a_hole_splits_it() -> None:
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


def test_ids_that_begin_anew_are_a_reset_and_not_a_billion_missing() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 1_000_000)
    continuity.trade(trade(1, ts_s=2000))
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.state, gap.last_id, gap.first_id) == ("sequence_reset", "unhealable", 1_000_000, 1)
    assert gap.ended_ns is not None
    continuity.trade(trade(2, ts_s=2001))
    assert continuity.take_gaps() == []


def test_trades_of_the_count_before_a_reset_told_again_leave_the_new_count_whole() -> None:
    """Past trades that greet a new session hold both counts, at times the new one first."""
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


def test_a_reset_while_disconnected_ends_that_gap_too() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 1000)
    continuity.lost([TRADES], "disconnect", NOW + S, 1)
    continuity.trade(trade(1, ts_s=2000))
    gaps = latest(continuity.take_gaps())
    assert [gap.cause for gap in gaps] == ["disconnect", "sequence_reset"]
    assert all(gap.ended_ns is not None for gap in gaps)
    assert continuity.open_gaps() == 0


def witness(number: int) -> Witness:
    return Witness("A", number, NOW)


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


def test_a_trade_overtaken_by_one_heartbeat_is_no_hole() -> None:
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
    continuity.lost([TRADES], "unreadable", NOW + 2 * S, 1)  # it goes on: one gap, from its first cause
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


def test_a_quote_gap_ends_with_the_next_quote_and_cannot_be_healed() -> None:
    continuity = fresh(QUOTES)
    continuity.lost([QUOTES], "disconnect", NOW + S, 1)
    continuity.quote(quote(4))
    (gap,) = latest(continuity.take_gaps())
    assert (gap.state, gap.reason, gap.ended_ns) == ("unhealable", NO_HISTORY, NOW + 4 * S)
    assert gap.first_id == 40


def test_a_book_gap_ends_with_a_snapshot_and_not_with_a_delta() -> None:
    continuity = fresh(BOOKS)
    continuity.lost([BOOKS], "checksum", NOW + S, 1)
    continuity.take_gaps()
    continuity.book(book(2, snapshot=False))
    assert continuity.take_gaps() == []
    assert continuity.gaps["book"] == 1
    continuity.book(book(3, snapshot=True))
    (gap,) = continuity.take_gaps()
    assert (gap.state, gap.ended_ns) == ("unhealable", NOW + 3 * S)
    assert continuity.gaps["book"] == 0


def test_a_clock_stepped_back_cannot_end_a_gap_before_it_began() -> None:
    continuity = fresh(QUOTES)
    continuity.lost([QUOTES], "disconnect", NOW + 9 * S, 1)
    continuity.quote(quote(2))
    (gap,) = latest(continuity.take_gaps())
    assert gap.ended_ns == gap.started_ns == NOW + 9 * S


def test_data_of_streams_nobody_watches_is_no_business_of_ours() -> None:
    continuity = fresh()
    continuity.trade(trade(7))
    continuity.quote(quote(1))
    continuity.book(book(1, snapshot=True))
    continuity.witness(witness(1), NOW)
    continuity.lost([TRADES], "disconnect", NOW, 1)
    continuity.unwatch(TRADES, NOW)
    assert continuity.take_gaps() == []
    assert continuity.marks() == []


@pytest.mark.parametrize("stream", [TRADES, QUOTES, BOOKS])
def test_what_is_still_on_its_way_after_an_unsubscribe_does_not_end_its_gap(stream: Stream) -> None:
    continuity = fresh(stream)
    feed(continuity, *[7] * (stream is TRADES))
    continuity.unwatch(stream, NOW + S)
    assert continuity.open_gaps() == 0  # wanted by a person, so no alarm
    for one in (trade(8, 2), trade(9, 2)):
        continuity.trade(one)
    continuity.witness(witness(7), NOW + 2 * S)
    continuity.quote(quote(2))
    continuity.book(book(2, snapshot=True))
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.ended_ns, gap.started_ns) == ("unsubscribed", None, NOW + S)
    continuity.watch(stream, 2, NOW + 50 * S)
    continuity.trade(trade(30, 60))
    continuity.quote(quote(60))
    continuity.book(book(60, snapshot=True))
    ended = next(gap for gap in continuity.take_gaps() if gap.cause == "unsubscribed")
    assert ended.ended_ns == NOW + 60 * S
    assert stream is not TRADES or (ended.last_id, ended.first_id) == (7, 30)


def marked(continuity: Continuity) -> list[Mark]:
    """The marks of all streams, as a journal gives them back."""
    encoded = msgspec.msgpack.encode(continuity.marks())
    return msgspec.msgpack.decode(encoded, type=list[Mark])


def test_after_a_restart_every_watched_stream_has_a_gap_since_its_last_frame() -> None:
    before = fresh(TRADES, QUOTES, BOOKS)
    feed(before, 7)
    before.unwatch(QUOTES, NOW + S)
    before.lost([BOOKS], "checksum", NOW + 2 * S, 1)
    after = Continuity(frozenset({"trade"}), itertools.count(500).__next__)
    after.restore(marked(before), {1: NOW + 8 * S}, NOW + 60 * S)
    causes = {gap.channel: (gap.cause, gap.started_ns, gap.last_id) for gap in latest_any(after.take_gaps())}
    assert causes["trade"] == ("restart", NOW + 8 * S, 7)
    assert causes.get("book", ("checksum", NOW + 2 * S, None)) == ("checksum", NOW + 2 * S, None)
    assert causes.get("quote", ("unsubscribed", NOW + S, None))[0] == "unsubscribed"
    assert after.open_gaps() == 2
    after.watch(TRADES, 2, NOW + 61 * S)
    (healed,) = feed(after, 8)
    assert (healed.state, healed.cause) == ("healed", "restart")


def latest_any(gaps: Iterable[Gap]) -> list[Gap]:
    return list({gap.gap_id: gap for gap in gaps}.values())


def test_a_restart_without_a_frame_begins_its_gap_where_the_stream_was_asked_for() -> None:
    after = Continuity(frozenset({"trade"}), itertools.count(500).__next__)
    after.restore(marked(fresh(TRADES)), {}, NOW + 60 * S)
    (gap,) = after.take_gaps()
    assert gap.started_ns == NOW


def test_marks_are_of_what_moved_and_give_the_span_of_a_block() -> None:
    continuity = fresh(TRADES, QUOTES)
    feed(continuity, 7, 8, 9)
    first = {mark.channel: (mark.first_id, mark.last_id) for mark in continuity.marks()}
    assert first == {"trade": (7, 9), "quote": (None, None)}
    assert continuity.marks() == []
    feed(continuity, 10)
    (mark,) = continuity.marks()
    assert (mark.first_id, mark.last_id) == (10, 10)


def test_quotes_and_books_are_whole_up_to_the_last_seen() -> None:
    continuity = fresh(QUOTES)
    continuity.marks()
    continuity.saw(continuity.quotes, [quote(1), quote(2), quote(3)])
    (mark,) = continuity.marks()
    assert (mark.first_id, mark.last_id) == (10, 30)
    assert (mark.first_ts_event_ns, mark.last_ts_event_ns) == (quote(1).ts_event_ns, quote(3).ts_event_ns)


# ---- a journal that took nothing ---------------------------------------------------------------------


def test_what_a_full_disk_did_not_take_is_a_gap_from_before_it() -> None:
    continuity = fresh(TRADES, QUOTES)
    feed(continuity, 7)
    continuity.marks()
    feed(continuity, 8, 9)
    continuity.shed(1, "disk_full", NOW + 3 * S)
    gaps = {gap.channel: gap for gap in continuity.take_gaps()}
    assert (gaps["trade"].last_id, gaps["trade"].started_ns, gaps["trade"].cause) == (7, NOW + 3 * S, "disk_full")
    assert gaps["quote"].cause == "disk_full"
    assert missing([gaps["trade"], *feed(continuity, 12)]) == {8, 9, 10, 11}


def test_a_gap_that_began_after_shed_data_is_moved_to_before_it() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.marks()
    feed(continuity, 8, 9)
    continuity.lost([TRADES], "disconnect", NOW + 4 * S, 1)
    continuity.shed(1, "disk_full", NOW + 3 * S)
    gaps = continuity.take_gaps()
    assert (gaps[-1].last_id, gaps[-1].started_ns, gaps[-1].revision) == (7, NOW + 3 * S, 2)
    assert missing(gaps + feed(continuity, 11)) == {8, 9, 10}


def test_shed_data_of_a_session_that_has_a_successor_is_declared_too() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.marks()
    feed(continuity, 8, 9)
    continuity.lost([TRADES], "disconnect", NOW + 4 * S, 1)
    continuity.watch(TRADES, 2, NOW + 5 * S)
    continuity.shed(1, "disk_full", NOW + 3 * S)
    assert missing(continuity.take_gaps() + feed(continuity, 11)) == {8, 9, 10}


def test_marks_given_back_do_not_forget_what_came_since() -> None:
    continuity = fresh(TRADES)
    marks = continuity.marks()  # of the subscription alone
    feed(continuity, 8)
    continuity.give_back([], marks)
    continuity.shed(1, "disk_full", NOW)
    (gap,) = continuity.take_gaps()
    assert gap.last_id == 7


def test_gaps_given_back_come_again_before_newer_ones() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, 7, 9)
    continuity.give_back(gaps, continuity.marks())
    assert continuity.take_gaps() == gaps


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


def test_where_ids_prove_nothing_a_gap_ends_when_the_venue_accepts_or_at_the_first_newer_trade() -> None:
    continuity = fresh(TRADES, contiguous=())
    feed(continuity, 500)
    continuity.lost([TRADES], "disconnect", NOW + S, 1)
    continuity.watch(TRADES, 2, NOW + 2 * S)
    continuity.trade(trade(400, at_s=3))  # told once more: the stream stands no further
    (gap,) = latest(continuity.take_gaps())
    assert (gap.ended_ns, gap.last_ts_event_ns) == (None, NOW + S // 2)
    continuity.trade(trade(900, at_s=4))
    (gap,) = continuity.take_gaps()
    assert (gap.state, gap.ended_ns, gap.first_ts_event_ns) == ("open", NOW + 4 * S, NOW + 900 * S // 1000)
    continuity.lost([TRADES], "disconnect", NOW + 5 * S, 2)
    continuity.watch(TRADES, 3, NOW + 6 * S)
    continuity.take_gaps()
    continuity.accepted(TRADES, NOW + 7 * S, 2)  # of the session before: it says nothing of this one
    assert continuity.take_gaps() == []
    continuity.accepted(TRADES, NOW + 7 * S, 3)
    (gap,) = continuity.take_gaps()
    assert (gap.state, gap.ended_ns, gap.first_ts_event_ns) == ("open", NOW + 7 * S, None)


def test_a_stream_handed_over_is_lost_by_its_new_session_only() -> None:
    continuity = fresh(QUOTES)
    continuity.hand_over(QUOTES, 2)
    continuity.lost([QUOTES], "disconnect", NOW + S, 1)
    assert continuity.take_gaps() == []
    continuity.lost([QUOTES], "disconnect", NOW + S, 2)
    (gap,) = continuity.take_gaps()
    assert (gap.cause, gap.session_id) == ("disconnect", 2)


def test_what_was_active_is_told_once_and_a_repeat_of_the_venue_counts() -> None:
    continuity = fresh(TRADES, QUOTES, BOOKS)
    continuity.trade(trade(5))
    continuity.marks()
    assert continuity.active_streams() == [TRADES]
    assert continuity.active_streams() == []
    continuity.alive(BOOKS)
    continuity.saw(continuity.quotes, [quote(1)])
    assert continuity.active_streams() == [QUOTES, BOOKS]
    continuity.marks()
    continuity.active_streams()
    continuity.witness(Witness("A", 9, NOW), NOW)
    continuity.witness(Witness("A", 9, NOW), NOW)  # heartbeats that know better than the stream: it is silent
    continuity.marks()
    assert continuity.active_streams() == []


@pytest.mark.parametrize("stream", [TRADES, QUOTES])
def test_what_still_comes_of_a_subscription_being_ended_ends_no_gap(stream: Stream) -> None:
    """The venue hears of the end later than we say so; what it has to say between end and beginning is lost."""
    continuity = fresh(stream, contiguous=())

    def data(at_s: float) -> None:
        if stream is TRADES:
            continuity.trade(trade(int(at_s * 1000), at_s=at_s))
        else:
            continuity.quote(quote(at_s))

    data(1)
    continuity.interrupted([stream], NOW + 2 * S, 1)
    data(3)
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.ended_ns) == ("disconnect", None)
    continuity.accepted(stream, NOW + 4 * S, 1)
    data(5)
    (gap,) = continuity.take_gaps()
    assert gap.ended_ns == NOW + (4 if stream is TRADES else 5) * S


def test_ids_that_rise_by_one_prove_a_renewed_subscription_whole_by_themselves() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 1)
    continuity.interrupted([TRADES], NOW + 2 * S, 1)
    continuity.trade(trade(2))
    (gap,) = latest(continuity.take_gaps())
    assert gap.state == "healed"
