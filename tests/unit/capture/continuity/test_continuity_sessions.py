"""Gaps of streams whose session, subscription, process or disk ended: their begin, end and checkpoints."""

import itertools
from collections.abc import Iterable

import msgspec
import pytest
from support.continuities import (
    BOOKS,
    NOW,
    QUOTES,
    TRADES,
    S,
    book,
    feed,
    fresh,
    latest,
    missing,
    quote,
    trade,
    witness,
)

from recorder.capture.continuity import Continuity
from recorder.capture.evidence.gap_states import NO_HISTORY
from recorder.events import Gap, Stream, Witness
from recorder.journal.block import StreamCheckpoint, note_checkpoints


def test_a_quote_gap_ends_with_the_next_quote_and_cannot_be_healed() -> None:
    continuity = fresh(QUOTES)
    continuity.lost([QUOTES], "disconnect", NOW + S, 1)
    continuity.quote(quote(4), continuity.quotes)
    (gap,) = latest(continuity.take_gaps())
    assert (gap.state, gap.reason, gap.ended_ns) == ("unhealable", NO_HISTORY, NOW + 4 * S)
    assert gap.first_id == 40


def test_a_book_gap_ends_with_a_snapshot_and_not_with_a_delta() -> None:
    continuity = fresh(BOOKS)
    continuity.lost([BOOKS], "checksum", NOW + S, 1)
    continuity.take_gaps()
    continuity.book(book(2, snapshot=False), continuity.books)
    assert continuity.take_gaps() == []
    assert continuity.gaps["book"] == 1
    continuity.book(book(3, snapshot=True), continuity.books)
    (gap,) = continuity.take_gaps()
    assert (gap.state, gap.ended_ns) == ("unhealable", NOW + 3 * S)
    assert continuity.gaps["book"] == 0


def test_a_gap_over_a_clock_that_was_set_back_covers_both_times() -> None:
    continuity = fresh(QUOTES)
    continuity.lost([QUOTES], "disconnect", NOW + 9 * S, 1)
    continuity.quote(quote(2), continuity.quotes)
    (gap,) = latest(continuity.take_gaps())
    assert (gap.started_ns, gap.ended_ns) == (NOW + 2 * S, NOW + 9 * S)


def test_data_of_streams_that_are_not_watched_is_ignored() -> None:
    continuity = fresh()
    continuity.trade(trade(7))
    continuity.quote(quote(1), continuity.quotes)
    continuity.book(book(1, snapshot=True), continuity.books)
    continuity.witness(witness(1), NOW)
    continuity.lost([TRADES], "disconnect", NOW, 1)
    continuity.unwatch(TRADES, NOW)
    assert continuity.take_gaps() == []
    assert continuity.take_checkpoints() == []


@pytest.mark.parametrize("stream", [TRADES, QUOTES, BOOKS])
def test_what_is_still_on_its_way_after_an_unsubscribe_does_not_end_its_gap(stream: Stream) -> None:
    continuity = fresh(stream)
    feed(continuity, *[7] * (stream is TRADES))
    continuity.unwatch(stream, NOW + S)
    assert continuity.open_gaps() == 0  # a person ended it, so it is no alarm
    for one in (trade(8, 2), trade(9, 2)):
        continuity.trade(one)
    continuity.witness(witness(7), NOW + 2 * S)
    continuity.quote(quote(2), continuity.quotes)
    continuity.book(book(2, snapshot=True), continuity.books)
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.ended_ns, gap.started_ns) == ("unsubscribed", None, NOW + S)
    continuity.watch(stream, 2, NOW + 50 * S)
    continuity.trade(trade(30, 60))
    continuity.quote(quote(60), continuity.quotes)
    continuity.book(book(60, snapshot=True), continuity.books)
    ended = next(gap for gap in continuity.take_gaps() if gap.cause == "unsubscribed")
    assert ended.ended_ns == NOW + 60 * S
    assert stream is not TRADES or (ended.last_id, ended.first_id) == (7, 30)


def test_a_stream_handed_over_is_lost_by_its_new_session_only() -> None:
    continuity = fresh(QUOTES)
    continuity.hand_over(QUOTES, 2)
    continuity.lost([QUOTES], "disconnect", NOW + S, 1)
    assert continuity.take_gaps() == []
    continuity.lost([QUOTES], "disconnect", NOW + S, 2)
    (gap,) = continuity.take_gaps()
    assert (gap.cause, gap.session_id) == ("disconnect", 2)


@pytest.mark.parametrize("stream", [TRADES, QUOTES])
def test_what_still_comes_of_a_subscription_being_ended_ends_no_gap(stream: Stream) -> None:
    """The venue gets the unsubscribe later than we sent it; its messages between unsubscribe and subscribe are lost."""
    continuity = fresh(stream, contiguous=())

    def data(at_s: float) -> None:
        if stream is TRADES:
            continuity.trade(trade(int(at_s * 1000), at_s=at_s))
        else:
            continuity.quote(quote(at_s), continuity.quotes)

    data(1)
    continuity.interrupted([stream], NOW + 2 * S, 1, books_unasked=False)
    data(3)
    (gap,) = latest(continuity.take_gaps())
    assert (gap.cause, gap.ended_ns) == ("disconnect", None)
    continuity.accepted(stream, NOW + 4 * S, 1)
    data(5)
    (gap,) = continuity.take_gaps()
    assert gap.ended_ns == NOW + (4 if stream is TRADES else 5) * S


def stored(continuity: Continuity) -> list[StreamCheckpoint]:
    """Return the checkpoints of all streams as a journal returns them."""
    encoded = msgspec.msgpack.encode(continuity.take_checkpoints())
    return msgspec.msgpack.decode(encoded, type=list[StreamCheckpoint])


def test_after_a_restart_every_watched_stream_has_a_gap_since_its_last_frame() -> None:
    before = fresh(TRADES, QUOTES, BOOKS)
    feed(before, 7)
    before.unwatch(QUOTES, NOW + S)
    before.lost([BOOKS], "checksum", NOW + 2 * S, 1)
    after = Continuity(frozenset({"trade"}), itertools.count(500).__next__)
    after.restore(stored(before), {1: NOW + 8 * S}, NOW + 9 * S)
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


def test_a_restart_without_a_frame_begins_its_gap_when_the_stream_was_subscribed() -> None:
    after = Continuity(frozenset({"trade"}), itertools.count(500).__next__)
    after.restore(stored(fresh(TRADES)), {}, NOW + S)
    (gap,) = after.take_gaps()
    assert gap.started_ns == NOW


def test_checkpoints_name_the_streams_that_moved_and_the_span_of_a_block() -> None:
    continuity = fresh(TRADES, QUOTES)
    feed(continuity, 7, 8, 9)
    first = {
        checkpoint.channel: (checkpoint.first_id, checkpoint.last_id) for checkpoint in continuity.take_checkpoints()
    }
    assert first == {"trade": (7, 9), "quote": (None, None)}
    assert continuity.take_checkpoints() == []
    feed(continuity, 10)
    (checkpoint,) = continuity.take_checkpoints()
    assert (checkpoint.first_id, checkpoint.last_id) == (10, 10)


def test_quotes_and_books_are_complete_up_to_the_last_one() -> None:
    continuity = fresh(QUOTES)
    continuity.take_checkpoints()
    continuity.saw(continuity.quotes, [quote(1), quote(2), quote(3)])
    (checkpoint,) = continuity.take_checkpoints()
    assert (checkpoint.first_id, checkpoint.last_id) == (10, 30)
    assert (checkpoint.first_ts_event_ns, checkpoint.last_ts_event_ns) == (quote(1).ts_event_ns, quote(3).ts_event_ns)


def test_an_active_stream_is_returned_once_and_a_repeat_of_the_venue_counts() -> None:
    continuity = fresh(TRADES, QUOTES, BOOKS)
    continuity.trade(trade(5))
    continuity.take_checkpoints()
    assert continuity.active_streams() == [TRADES]
    assert continuity.active_streams() == []
    continuity.alive(BOOKS)
    continuity.saw(continuity.quotes, [quote(1)])
    assert continuity.active_streams() == [QUOTES, BOOKS]
    continuity.take_checkpoints()
    continuity.active_streams()
    continuity.witness(Witness("A", 9, NOW), NOW)
    continuity.witness(Witness("A", 9, NOW), NOW)  # only the heartbeat advances: the stream is silent
    continuity.take_checkpoints()
    assert continuity.active_streams() == []


# ---- a journal that took nothing ---------------------------------------------------------------------


def test_what_a_full_disk_did_not_take_is_a_gap_from_before_it() -> None:
    continuity = fresh(TRADES, QUOTES)
    feed(continuity, 7)
    continuity.take_checkpoints()
    feed(continuity, 8, 9)
    continuity.shed(1, "disk_full", NOW + 3 * S)
    gaps = {gap.channel: gap for gap in continuity.take_gaps()}
    assert (gaps["trade"].last_id, gaps["trade"].started_ns, gaps["trade"].cause) == (7, NOW + 3 * S, "disk_full")
    assert gaps["quote"].cause == "disk_full"
    assert missing([gaps["trade"], *feed(continuity, 12)]) == {8, 9, 10, 11}


def test_a_gap_that_began_after_shed_data_is_moved_to_before_it() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.take_checkpoints()
    feed(continuity, 8, 9)
    continuity.lost([TRADES], "disconnect", NOW + 4 * S, 1)
    continuity.shed(1, "disk_full", NOW + 3 * S)
    gaps = continuity.take_gaps()
    assert (gaps[-1].last_id, gaps[-1].started_ns, gaps[-1].revision) == (7, NOW + 3 * S, 2)
    assert missing(gaps + feed(continuity, 11)) == {8, 9, 10}


def test_shed_data_of_a_session_that_has_a_successor_is_declared_too() -> None:
    continuity = fresh(TRADES)
    feed(continuity, 7)
    continuity.take_checkpoints()
    feed(continuity, 8, 9)
    continuity.lost([TRADES], "disconnect", NOW + 4 * S, 1)
    continuity.watch(TRADES, 2, NOW + 5 * S)
    continuity.shed(1, "disk_full", NOW + 3 * S)
    assert missing(continuity.take_gaps() + feed(continuity, 11)) == {8, 9, 10}


def test_checkpoints_given_back_keep_what_came_since() -> None:
    continuity = fresh(TRADES)
    checkpoints = continuity.take_checkpoints()  # of the subscription alone
    feed(continuity, 8)
    continuity.give_back([], checkpoints)
    continuity.shed(1, "disk_full", NOW)
    (gap,) = continuity.take_gaps()
    assert gap.last_id == 7


def test_gaps_given_back_come_again_before_newer_ones() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, 7, 9)
    continuity.give_back(gaps, continuity.take_checkpoints())
    assert continuity.take_gaps() == gaps


def test_trades_that_an_earlier_process_declared_missing_fill_its_gap_when_they_come_after_a_restart() -> None:
    """Kraken greets each session with the last fifty trades, whatever a killed recorder had missed of them."""
    known: dict[tuple[str, str], StreamCheckpoint] = {}
    before = fresh(TRADES)
    declared = feed(before, 1, 10)
    note_checkpoints(known, before.take_checkpoints())
    feed(before, 11)
    note_checkpoints(known, before.take_checkpoints())  # nothing about the ranges is in it
    after = Continuity(frozenset({"trade"}), itertools.count(500).__next__)
    after.restore(known.values(), {1: NOW + S}, NOW + 2 * S)
    after.watch(TRADES, 2, NOW + 2 * S)
    after.take_gaps()
    for number in range(2, 10):
        after.trade(trade(number, at_s=3))
    gaps = after.take_gaps()
    assert missing(declared) == set(range(2, 10))
    assert {gap.gap_id for gap in gaps} == {declared[0].gap_id}
    assert gaps[-1].state == "healed"
    assert min(gap.revision for gap in gaps) > max(gap.revision for gap in declared)


def test_a_checkpoint_that_the_journal_did_not_take_names_its_ranges_again() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, 1, 10)
    refused = continuity.take_checkpoints()
    continuity.give_back(gaps, refused)
    (again,) = continuity.take_checkpoints()
    assert again.missing == refused[0].missing
    assert again.missing is not None
    assert [(gap.last_id, gap.first_id) for gap in again.missing] == [(1, 10)]


def after_a_restart_of_ids(*numbers: int) -> Continuity:
    """Return a stream that had the ids 1 to 30, and has these since the venue restarted them."""
    continuity = fresh(TRADES)
    for number in range(1, 31):
        continuity.trade(trade(number, ts_s=number / 1000))
    for number in numbers:
        continuity.trade(trade(number, at_s=2, ts_s=1 + number / 1000))
    return continuity


def test_repeats_from_before_a_restart_of_ids_fill_no_hole_of_the_new_ones() -> None:
    """Kraken greets each session with the last fifty trades, those of before the restart among them."""
    continuity = after_a_restart_of_ids(*range(1, 11), *range(16, 20))
    declared = continuity.take_gaps()
    for number in range(1, 31):
        continuity.trade(trade(number, at_s=3, ts_s=number / 1000))
    assert missing([*declared, *continuity.take_gaps()]) >= set(range(11, 16))


def test_a_repeat_from_before_a_restart_of_ids_is_not_the_next_one_of_the_new_ids() -> None:
    continuity = after_a_restart_of_ids(*range(1, 20))
    continuity.lost([TRADES], "disconnect", NOW + 3 * S, 1)
    declared = continuity.take_gaps()
    for number in range(1, 31):
        continuity.trade(trade(number, at_s=4, ts_s=number / 1000))
    assert continuity.gaps["trade"] == 1
    continuity.trade(trade(31, at_s=5, ts_s=1 + 31 / 1000))
    assert missing([*declared, *continuity.take_gaps()]) >= set(range(20, 31))


def test_new_trades_after_a_restart_of_ids_fill_no_hole_of_the_old_ones() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, *range(1000, 1005), *range(1011, 1020))
    for number in range(1005, 1018):
        continuity.trade(trade(number, at_s=3, ts_s=2 + number / 1000))
    gaps += continuity.take_gaps()
    assert missing(gaps) == set(range(1005, 1011))
    (reset,) = [gap for gap in latest(gaps) if gap.cause == "sequence_reset"]
    assert (reset.last_id, reset.first_id) == (1019, 1005)


def test_late_trades_that_a_full_disk_drops_are_missing_again() -> None:
    continuity = fresh(TRADES)
    gaps = feed(continuity, *range(1, 6), *range(11, 16))
    continuity.take_checkpoints()
    gaps += feed(continuity, 6)
    continuity.take_checkpoints()  # the journal takes this block, and not the next
    late = feed(continuity, 7, 8, 9)
    continuity.give_back(late, continuity.take_checkpoints())
    feed_after = feed(continuity, 10)
    continuity.shed(1, "disk_full", NOW + 2 * S)
    assert missing([*gaps, *feed_after, *continuity.take_gaps()]) == {7, 8, 9, 10}
