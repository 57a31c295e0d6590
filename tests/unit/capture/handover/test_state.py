"""Which quotes of two connections are stored twice, and what a last block leaves to a successor."""

import random
from collections.abc import Sequence

import msgspec

from recorder.capture.handover.state import (
    HandedOver,
    Held,
    RowTail,
    RowTails,
    checkpoints_of,
    fingerprint,
    given_up,
    later_by,
    left_by,
    stored_already,
)
from recorder.events import Gap, Quote, Stream
from recorder.journal.block import StreamCheckpoint
from recorder.journal.writer import Recovered
from recorder.position import Position

GAP = Gap.opened(7, Stream("book", "A"), "disconnect", 5, session_id=1, last_id=None, last_ts_event_ns=None)
OPEN = StreamCheckpoint("A", "book", 1, True, 3, 4, 3, 4, 2, GAP)


def quote(bid: float, sequence: int | None = None) -> Quote:
    return Quote("A", 1, 9, sequence, bid, None, 2.0, None)


def recovered(state: bytes) -> Recovered:
    return Recovered([given_up(OPEN)], {}, [], 1, 1, Position(1, 1), state=state)


def stored(held: Sequence[int], tail: Sequence[int], *, later_ns: int | None = None) -> tuple[int, int] | None:
    """Return what `stored_already` does for rows that come every 10 ns; the old process had its newest at 100 ns."""
    rows = [Held(number, place * 10) for place, number in enumerate(held)]
    return stored_already(rows, RowTail("quote", "A", list(tail), 100), later_ns)


def test_what_follows_the_newest_stored_row_is_new() -> None:
    assert stored([1, 2, 3, 4], [1, 2, 3]) == (0, 3)
    assert stored([3, 4], [1, 2, 3]) == (0, 1)
    assert stored([1, 2], [1, 2]) == (0, 2)


def test_what_the_venue_sent_at_the_subscription_alone_is_stored() -> None:
    assert stored([7, 2, 3, 4], [1, 2, 3]) == (1, 3)
    assert stored([3, 1, 2, 3, 4], [1, 2, 3]) == (1, 4)


def test_a_row_that_did_not_come_here_is_not_found() -> None:
    assert stored([1, 2, 3], [1, 2, 3, 4]) is None
    assert stored([], [1]) is None
    assert stored([1], []) is None


def test_where_rows_repeat_the_place_is_that_at_which_all_before_it_agree() -> None:
    assert stored([1, 2, 1, 2, 3], [9, 1, 2]) == (0, 2)
    assert stored([1, 2, 1, 2, 3], [2, 1, 2], later_ns=-70) == (1, 4)
    assert stored([5, 1, 1, 1, 6], [5, 1, 1]) == (0, 3)


def test_among_equal_rows_the_time_of_receipt_shows_which_are_new() -> None:
    """A venue without times and numbers repeats a quote: those that came after the old process stopped are kept."""
    for equal in ([1, 1, 1, 1, 1], [7, 1, 1, 1, 1]):
        assert stored(equal, [1] * 10, later_ns=-88) in ((0, 2), (1, 2))
        assert stored(equal, [1] * 10, later_ns=-56) in ((0, 5), (1, 5))


def test_among_equal_rows_none_is_lost_where_no_time_shows_which_are_new() -> None:
    assert stored([1, 1, 1, 1, 1], [1] * 10) == (0, 1)
    assert stored([2, 1, 2, 1, 2, 1], [1, 2, 1, 2, 1]) == (0, 2)


def test_a_place_that_is_sure_shows_how_late_the_successor_receives() -> None:
    held = [Held(number, 1000 + number) for number in range(20)]
    assert later_by(held, RowTail("quote", "A", list(range(-5, 16)), 700)) == 315
    assert later_by(held, RowTail("quote", "A", [14, 15], 700)) is None, "two rows may agree by chance"
    assert later_by([Held(1, at) for at in range(20)], RowTail("quote", "A", [1] * 20, 700)) is None


def test_no_cut_of_a_random_stream_stores_a_row_twice_or_not_at_all() -> None:
    rng = random.Random(7)
    for _ in range(300):
        sent = [rng.randrange(4) for _ in range(rng.randrange(80, 200))]
        subscribed = rng.randrange(0, 40)
        stopped = rng.randrange(subscribed + 20, len(sent))
        held = [9, *sent[subscribed:]]  # it begins with the state at the subscription
        assert stored(held, sent[:stopped]) == (1, 1 + stopped - subscribed)


def test_a_fingerprint_is_of_the_content_alone() -> None:
    assert fingerprint(quote(1.0), connection_sequences=False) == fingerprint(quote(1.0), connection_sequences=False)
    assert fingerprint(quote(1.0), connection_sequences=False) != fingerprint(quote(1.5), connection_sequences=False)
    assert fingerprint(quote(1.0, 5), connection_sequences=True) == fingerprint(
        quote(1.0, 6), connection_sequences=True
    )
    assert fingerprint(quote(1.0, 5), connection_sequences=False) != fingerprint(
        quote(1.0, 6), connection_sequences=False
    )


def test_tails_keep_the_newest_quotes_of_each_stream() -> None:
    tails = RowTails(connection_sequences=False)
    tails.note("quote", [quote(float(number)) for number in range(20_000)])
    (tail,) = tails.all()
    assert (tail.channel, tail.symbol, len(tail.fingerprints), tail.last_recv_ns) == ("quote", "A", 1 << 14, 9)
    assert tail.fingerprints[-1] == fingerprint(quote(19_999.0), connection_sequences=False)


def test_an_offer_is_read_back_and_the_journal_itself_has_the_stream_no_longer() -> None:
    state = msgspec.msgpack.encode(HandedOver("token", [OPEN], [], 5))
    assert checkpoints_of(recovered(state)) == [OPEN]
    assert given_up(OPEN).gap is None
    assert not given_up(OPEN).watched


def test_a_block_that_offers_nothing_leaves_the_streams_where_they_are() -> None:
    for state in (b"", b"\x93", msgspec.msgpack.encode({"kind": "polls"})):
        assert left_by(recovered(state)) is None
        assert checkpoints_of(recovered(state)) == [given_up(OPEN)]


def test_a_later_release_may_add_fields() -> None:
    later = {"token": "t", "checkpoints": [], "tails": [], "drained_ns": 1, "kind": "handed_over", "added": {"x": 1}}
    left = left_by(recovered(msgspec.msgpack.encode(later)))
    assert left is not None
    assert left.token == "t"
