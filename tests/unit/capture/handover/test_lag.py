"""A successor whose connections are late does not ask the old process to stop."""

from recorder.capture.handover import taking
from recorder.capture.handover.lag import Lag, Progress, progress_of_checkpoints
from recorder.events import Stream
from recorder.journal.block import StreamCheckpoint

QUOTES, TRADES = Stream("quote", "A"), Stream("trade", "A")


def theirs(quote: int, trade_ns: int) -> dict[Stream, Progress]:
    return {QUOTES: Progress(None, quote), TRADES: Progress(trade_ns, None)}


def measuring() -> Lag:
    """Return a measurement that began at 0 s; from 1 s on, quote 7 and a trade of 70 ns have to come."""
    lag = Lag()
    lag.note(theirs(5, 50), 0.0)
    assert not lag.aims
    lag.note(theirs(7, 70), 1.0)
    assert lag.aims
    return lag


def test_what_comes_soon_is_not_late() -> None:
    lag = measuring()
    assert not lag.small(theirs(6, 70), [QUOTES, TRADES], 1.5)
    assert not lag.small({TRADES: Progress(70, None)}, [QUOTES, TRADES], 1.5)
    assert lag.small(theirs(7, 70), [QUOTES, TRADES], 2.0)


def test_what_comes_late_is_measured_once_more() -> None:
    lag = measuring()
    assert not lag.small(theirs(8, 90), [QUOTES, TRADES], 5.0)
    assert lag.behind_s == 4.0
    assert not lag.aims


def test_streams_of_others_and_quiet_ones_are_not_waited_for() -> None:
    assert measuring().small({QUOTES: Progress(None, 7)}, [QUOTES], 1.1)
    lag = Lag()
    lag.note(theirs(5, 50), 0.0)
    lag.note(theirs(5, 70), 1.0)
    assert lag.small({TRADES: Progress(71, None)}, [QUOTES, TRADES], 1.1)


def test_a_row_that_the_successor_never_receives_is_given_up() -> None:
    """The old process read it after the measurement began, although it came before the successor subscribed."""
    lag = measuring()
    assert not lag.small(theirs(7, 50), [QUOTES, TRADES], 10.0)
    assert lag.aims
    assert not lag.small(theirs(7, 50), [QUOTES, TRADES], 12.0)
    assert not lag.aims


def test_sequences_of_a_connection_show_nothing() -> None:
    one = StreamCheckpoint("A", "quote", 1, True, 9, None, None, None, 0, None)
    assert progress_of_checkpoints([one], connection_sequences=True) == {QUOTES: Progress(None, None)}
    assert progress_of_checkpoints([one], connection_sequences=False) == {QUOTES: Progress(None, 9)}


def test_streams_that_disagree_do_not_show_how_late_a_connection_is() -> None:
    """The old process has them over several connections, of which one may be seconds late."""
    assert taking._agreed([3, 1, 2]) == 2
    assert taking._agreed([0, 0, -8 * 10**9]) is None
    assert taking._agreed([]) is None
