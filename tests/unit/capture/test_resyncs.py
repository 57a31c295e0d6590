"""When a fresh book is requested."""

import itertools

from recorder.capture.resyncs import CAP_S, COOLDOWN_S, FIRST_S, LOOP, Resyncs


def test_a_book_is_requested_at_once_and_only_once() -> None:
    resyncs = Resyncs()
    resyncs.request("A", 10.0)
    resyncs.request("A", 10.0)
    assert resyncs.due(10.0) == ["A"]
    assert resyncs.due(10.0) == []


def test_a_book_that_may_still_come_by_itself_gets_the_time() -> None:
    resyncs = Resyncs()
    resyncs.request("A", 10.0, FIRST_S)
    assert resyncs.due(10.0 + FIRST_S - 0.1) == []
    resyncs.done("A", 10.0 + FIRST_S - 0.1)
    assert resyncs.due(10.0 + FIRST_S) == []
    resyncs.request("A", 20.0, FIRST_S)
    assert resyncs.due(20.0 + FIRST_S) == ["A"]


def test_a_book_that_does_not_come_is_requested_ever_less_often() -> None:
    resyncs = Resyncs()
    resyncs.request("A", 0.0)
    asked = [float(at) for at in range(2000) if resyncs.due(float(at))]
    waits = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert waits[0] == FIRST_S
    assert waits == sorted(waits)
    assert max(waits) == CAP_S


def test_a_book_that_keeps_failing_is_not_requested_faster_because_snapshots_come() -> None:
    """A venue whose checksum is always wrong answers every request at once (ccxt #21997 looped for hours)."""
    resyncs = Resyncs()
    asked = 0
    for at in range(3600):
        resyncs.request("A", float(at))
        asked += len(resyncs.due(float(at)))
        resyncs.done("A", at + 0.5)
    assert asked < 25


def test_a_book_that_was_good_long_enough_begins_with_short_waits() -> None:
    resyncs = Resyncs()
    for at in range(5):
        resyncs.request("A", at * 100.0)
        assert resyncs.due(at * 100.0) == ["A"]
        resyncs.done("A", at * 100.0 + 1)
    resyncs.request("A", 2000.0 + COOLDOWN_S)
    assert resyncs.due(2000.0 + COOLDOWN_S) == ["A"]
    resyncs.done("A", 2001.0 + COOLDOWN_S)
    resyncs.request("A", 2002.0 + COOLDOWN_S)
    assert resyncs.due(2002.0 + COOLDOWN_S + FIRST_S) == ["A"]


def test_a_snapshot_that_was_not_requested_changes_nothing() -> None:
    resyncs = Resyncs()
    resyncs.done("B", 5.0)
    assert resyncs.due(1000.0) == []


def test_books_do_not_wait_for_each_other() -> None:
    resyncs = Resyncs()
    resyncs.request("A", 0.0)
    resyncs.due(0.0)
    resyncs.request("B", 0.5)
    assert resyncs.due(0.5) == ["B"]


def test_a_book_that_never_comes_right_is_reported_until_it_was_good_for_a_while() -> None:
    resyncs = Resyncs()
    at_s = 0.0
    for _ in range(LOOP):
        assert resyncs.looping(at_s) == []
        resyncs.request("A", at_s)
        at_s += 100.0
        assert resyncs.due(at_s) == ["A"]
        resyncs.done("A", at_s)
    assert resyncs.looping(at_s) == ["A"]
    assert resyncs.looping(at_s + COOLDOWN_S + 1) == []


def test_a_book_that_was_unsubscribed_before_it_came_is_not_counted_on() -> None:
    resyncs = Resyncs()
    resyncs.request("A", 0.0)
    assert [resyncs.due(at_s) for at_s in (0.0, 2.0, 6.0, 14.0, 30.0)] == [["A"]] * 5
    assert resyncs.looping(31.0) == ["A"]
    resyncs.forget("A")
    assert resyncs.looping(31.0) == []
    resyncs.request("A", 40.0)
    assert resyncs.due(40.0) == ["A"], "subscribed again, it begins with short waits"
