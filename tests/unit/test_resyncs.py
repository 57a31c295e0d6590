"""When a fresh book is asked for."""

from recorder.resyncs import CALM_S, CAP_S, FIRST_S, Resyncs


def test_a_book_is_asked_for_at_once_and_only_once() -> None:
    resyncs = Resyncs()
    resyncs.want("A", 10.0)
    resyncs.want("A", 10.0)
    assert resyncs.due(10.0) == ["A"]
    assert resyncs.due(10.0) == []


def test_a_book_that_may_still_come_by_itself_is_given_the_time() -> None:
    resyncs = Resyncs()
    resyncs.want("A", 10.0, FIRST_S)
    assert resyncs.due(10.0 + FIRST_S - 0.1) == []
    resyncs.done("A", 10.0 + FIRST_S - 0.1)
    assert resyncs.due(10.0 + FIRST_S) == []
    resyncs.want("A", 20.0, FIRST_S)
    assert resyncs.due(20.0 + FIRST_S) == ["A"]


def test_a_book_that_does_not_come_is_asked_for_ever_later() -> None:
    resyncs = Resyncs()
    resyncs.want("A", 0.0)
    asked = [float(at) for at in range(2000) if resyncs.due(float(at))]
    waits = [later - earlier for earlier, later in zip(asked, asked[1:], strict=False)]
    assert waits[0] == FIRST_S
    assert waits == sorted(waits)
    assert max(waits) == CAP_S


def test_a_book_that_keeps_failing_is_not_asked_for_faster_because_snapshots_come() -> None:
    """A venue whose checksum is always wrong answers every request at once (ccxt #21997 looped for hours)."""
    resyncs = Resyncs()
    asked = 0
    for at in range(3600):
        resyncs.want("A", float(at))
        asked += len(resyncs.due(float(at)))
        resyncs.done("A", at + 0.5)
    assert asked < 25


def test_a_book_that_stood_long_enough_is_forgiven() -> None:
    resyncs = Resyncs()
    for at in range(5):
        resyncs.want("A", at * 100.0)
        assert resyncs.due(at * 100.0) == ["A"]
        resyncs.done("A", at * 100.0 + 1)
    resyncs.want("A", 2000.0 + CALM_S)
    assert resyncs.due(2000.0 + CALM_S) == ["A"]
    resyncs.done("A", 2001.0 + CALM_S)
    resyncs.want("A", 2002.0 + CALM_S)
    assert resyncs.due(2002.0 + CALM_S + FIRST_S) == ["A"]


def test_a_new_session_forgets_wishes_and_keeps_the_patience() -> None:
    resyncs = Resyncs()
    resyncs.want("A", 0.0)
    resyncs.due(0.0)
    resyncs.clear()
    assert resyncs.due(1000.0) == []
    resyncs.done("B", 5.0)  # of a book nobody wished for
    assert resyncs.due(1000.0) == []


def test_books_do_not_wait_for_each_other() -> None:
    resyncs = Resyncs()
    resyncs.want("A", 0.0)
    resyncs.due(0.0)
    resyncs.want("B", 0.5)
    assert resyncs.due(0.5) == ["B"]
