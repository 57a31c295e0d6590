"""Requests and answers, and how a refusal without a name finds its stream."""

import itertools

from recorder.capture.requests import AGAIN_S, ANSWER_S, FEW, QUIET_S, UNANSWERED_AGAIN_S, Subscriber
from recorder.events import Accepted, Refused, Stream

A, B, C = (Stream("trade", symbol) for symbol in ("A-USD", "B-USD", "C-USD"))


def asked(*streams: Stream) -> Subscriber:
    subscriber = Subscriber()
    subscriber.ask(streams, 0.0)
    return subscriber


def test_it_is_settled_when_every_stream_is_answered() -> None:
    subscriber = asked(A, B)
    assert not subscriber.settled
    assert subscriber.take(Accepted(A)) is None
    assert not subscriber.settled
    subscriber.live(B)  # its data came, which means the same
    assert subscriber.settled
    assert subscriber.accepted == {A, B}
    assert subscriber.tick(1000.0) == ([], [])


def test_a_refusal_that_names_its_stream_leaves_the_others_alone() -> None:
    subscriber = asked(A, B)
    refusal = Refused(B, "no such product")
    assert subscriber.take(refusal) == refusal
    subscriber.take(Accepted(A))
    assert subscriber.settled


def test_the_stream_of_an_unnamed_refusal_is_found_by_requests_one_by_one() -> None:
    subscriber = asked(A, B, C)
    assert subscriber.take(Refused(None, "one of them")) is None
    refused = []
    now_s = 0.0
    for _ in range(3):
        streams, _ = subscriber.tick(now_s)
        while not streams:
            now_s += 0.5
            streams, _ = subscriber.tick(now_s)
        (stream,) = streams
        assert subscriber.tick(now_s) == ([], [])  # one at a time
        if stream == B:
            refusal = subscriber.take(Refused(None, "not this one"))
            assert refusal is not None
            refused.append(refusal)
        else:
            subscriber.take(Accepted(stream))
    assert refused == [Refused(B, "not this one")]
    assert subscriber.settled
    assert subscriber.accepted == {A, C}
    assert now_s <= 2 * QUIET_S


def test_several_refusals_of_one_request_do_not_hit_other_streams() -> None:
    """Coinbase refuses each of the streams that ask for one stream (its trades and their heartbeat)."""
    subscriber = asked(A, B)
    subscriber.take(Refused(None, "the trades"))
    assert subscriber.tick(0.1) == ([], [])
    assert subscriber.take(Refused(None, "their heartbeat")) is None
    assert subscriber.tick(1.9) == ([], [])
    streams, _ = subscriber.tick(1.9 + QUIET_S)
    assert streams == [A]
    refusal = subscriber.take(Refused(None, "the trades"))
    assert refusal is not None
    assert refusal.stream == A
    assert subscriber.tick(2.0 + QUIET_S) == ([], [])
    assert subscriber.take(Refused(None, "their heartbeat")) is None


def test_a_stream_that_lives_after_all_is_refused_no_more() -> None:
    subscriber = asked(A)
    subscriber.put_off(Refused(A, "no"), 0.0)
    subscriber.live(A)
    assert subscriber.refused == {}
    assert subscriber.tick(AGAIN_S) == ([], [])


def test_a_stream_without_an_answer_is_requested_alone_and_then_refused() -> None:
    subscriber = asked(A)
    assert subscriber.tick(ANSWER_S - 0.1) == ([], [])
    streams, unanswered = subscriber.tick(ANSWER_S)
    assert (streams, unanswered) == ([A], [])
    streams, unanswered = subscriber.tick(2 * ANSWER_S)
    assert streams == []
    assert [refusal.stream for refusal in unanswered] == [A]
    assert subscriber.settled


def test_many_streams_without_an_answer_are_requested_together_once_more_and_then_refused() -> None:
    """One by one, the tokens of markets that ended would keep a connection unsettled for hours."""
    many = [Stream("trade", f"T{number}-USD") for number in range(FEW + 3)]
    subscriber = asked(*many)
    subscriber.take(Accepted(many[0]))
    streams, unanswered = subscriber.tick(ANSWER_S)
    assert (streams, unanswered) == (many[1:], [])
    subscriber.take(Accepted(many[1]))
    streams, unanswered = subscriber.tick(2 * ANSWER_S)
    assert (streams, [refusal.stream for refusal in unanswered]) == ([], many[2:])
    assert subscriber.settled
    for refusal in unanswered:
        subscriber.put_off(refusal, 2 * ANSWER_S)
    streams, _ = subscriber.tick(2 * ANSWER_S + AGAIN_S)
    assert streams == many[2:]


def test_a_refused_stream_is_requested_again_later_since_listings_change() -> None:
    subscriber = asked(A)
    subscriber.put_off(Refused(A, "not yet"), 0.0)
    subscriber.take(Refused(A, "not yet"))
    assert subscriber.settled
    assert subscriber.tick(AGAIN_S - 1) == ([], [])
    streams, _ = subscriber.tick(AGAIN_S)
    assert streams == [A]
    assert subscriber.tick(AGAIN_S + 1) == ([], [])
    subscriber.take(Accepted(A))
    assert (subscriber.accepted, subscriber.refused) == ({A}, {})


def test_a_stream_stays_refused_and_the_session_settled_while_it_is_requested_again() -> None:
    subscriber = asked(A)
    subscriber.take(Refused(A, "no"))
    subscriber.put_off(Refused(A, "no"), 0.0)
    subscriber.tick(AGAIN_S)
    assert subscriber.settled
    assert subscriber.waiting
    assert subscriber.refused[A].reason == "no"


def test_a_stream_without_an_answer_is_requested_again_soon_and_then_ever_less_often() -> None:
    subscriber = asked(A)
    requested, now_s = [], 0.0
    while now_s < 3000.0:
        streams, unanswered = subscriber.tick(now_s)
        requested += [now_s] * bool(streams)
        for refusal in unanswered:
            subscriber.put_off(refusal, now_s, unanswered=True)
        now_s += 1.0
    assert requested[0] == ANSWER_S
    waits_s = [later - earlier - ANSWER_S for earlier, later in itertools.pairwise(requested)]
    expected_s = [min(AGAIN_S, UNANSWERED_AGAIN_S * 2**number) for number in range(len(waits_s))]
    assert waits_s == expected_s
    assert len(waits_s) > 8
    subscriber.live(A)
    assert subscriber.put_off(Refused(A, "no answer"), 0.0, unanswered=True) == UNANSWERED_AGAIN_S


def test_a_dropped_stream_is_neither_awaited_nor_requested_again() -> None:
    subscriber = asked(A, B)
    subscriber.take(Accepted(A))
    subscriber.put_off(Refused(B, "no"), 0.0)
    subscriber.drop([A, B])
    assert subscriber.settled
    assert (subscriber.accepted, subscriber.refused) == (set(), {})
    assert subscriber.tick(10 * AGAIN_S) == ([], [])


def test_a_stream_requested_alone_and_dropped_makes_room_for_the_next() -> None:
    subscriber = asked(A, B)
    subscriber.take(Refused(None, "one of them"))
    subscriber.tick(0.0)
    subscriber.tick(QUIET_S)
    subscriber.drop([A])
    streams, _ = subscriber.tick(QUIET_S + 0.1)
    assert streams == [B]


def test_an_error_that_belongs_to_no_request_changes_nothing() -> None:
    subscriber = asked(A)
    subscriber.take(Accepted(A))
    assert subscriber.take(Refused(None, "out of the blue")) is None
    assert subscriber.settled
    assert subscriber.accepted == {A}
