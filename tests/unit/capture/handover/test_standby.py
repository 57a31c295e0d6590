"""Two processes without sockets: the second keeps what it receives, and continues where the first stopped."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from support.write_buffers import Read, Rig, delta, integer, quote, snapshot, trade

from recorder.capture.handover.standby import Standby, StandbyIngest
from recorder.capture.handover.state import HandedOver, RowTails, left_by
from recorder.capture.ingest import Ingest
from recorder.events import CHANNELS, Quote, SessionRow, Stream
from recorder.journal.reader import segments
from recorder.journal.writer import recover
from recorder.venues.bitfinex.stream import Bitfinex
from recorder.venues.coinbase.stream import Coinbase

STREAMS = [Stream(channel, "A-USD") for channel in CHANNELS]


class Two:
    """The process that records, and its successor."""

    def __init__(self, folder: Path) -> None:
        self.old = Rig(folder / "recorder-coinbase")
        self.old.buffer.tails = RowTails(connection_sequences=False)
        self.sender: Ingest = self.old.ingest("A-USD", session_id=1)
        self.new = Rig(folder / "recorder-coinbase-b", first_gap_id=500)
        self.new.buffer.owns = False
        self.standby = Standby(1 << 20)
        row = SessionRow(2, "coinbase", "recorder-coinbase-b", 0, "ws://x", self.new.clock.wall_ns())
        self.successor = StandbyIngest(
            row, Coinbase().decoder(), self.new.buffer, self.standby, {}, connection_sequences=False
        )
        self.successor.watch(STREAMS, row.started_ns)

    def send(self, to: Iterable[Ingest], *frames: bytes) -> None:
        """Have sessions receive frames, one at a time."""
        for frame in frames:
            for rig in (self.old, self.new):
                rig.clock.advance(0.001)
            for ingest in to:
                ingest.take([frame], self.new.clock.wall_ns())

    def change(self) -> HandedOver:
        """Let the successor take over."""
        tails = self.old.buffer.tails
        assert tails is not None
        self.old.buffer.hand_over(
            lambda checkpoints: msgspec.msgpack.encode(HandedOver("token", checkpoints, tails.all(), 0))
        )
        left = left_by(recover(self.old.folder)[0])
        assert left is not None
        skip = {Stream(tail.channel, tail.symbol): self.successor.stored_already(tail, None) for tail in left.tails}
        sessions = self.standby.end()
        with self.new.buffer.taking_over(left.checkpoints) as unclaimed:
            for session in sessions:
                session.release({stream: places for stream, places in skip.items() if places is not None}, unclaimed)
            assert not unclaimed
        return left

    def rows(self, table: str, field: str) -> tuple[list[int | None], list[int | None]]:
        """Return a field of the rows that each process wrote."""
        old, new = ([integer(row[field]) for row in Read(rig.folder).rows(table)] for rig in (self.old, self.new))
        return old, new


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def test_nothing_is_missing_and_no_quote_is_stored_twice(two: Two) -> None:
    both = [two.sender, two.successor]
    two.send([two.sender], snapshot(), quote(1), trade(10))
    two.send([two.successor], snapshot(), quote(1))
    two.send(both, quote(2), trade(11), delta(price="1.1"), quote(3), trade(12))
    two.send([two.successor], quote(4), trade(13), delta(price="1.2"))  # on its way to the old one when it stops
    two.change()
    two.send(both, quote(5), trade(14))
    two.new.buffer.flush()
    assert two.rows("quote", "sequence") == ([1, 2, 3], [4, 5])
    old, new = two.rows("trade", "trade_id")
    assert (old, new) == ([10, 11, 12], [11, 12, 13, 14])
    assert Read(two.new.folder).rows("gap") == []
    assert [row["kind"] for row in Read(two.new.folder).rows("book")] == [b"s", b"d", b"d"]


def test_what_came_to_the_old_process_alone_is_waited_for(two: Two) -> None:
    two.send([two.sender], snapshot(), quote(1))
    two.send([two.successor], snapshot(), quote(1))
    two.send([two.sender], quote(2), trade(10), quote(3))
    tails = two.old.buffer.tails
    assert tails is not None
    quotes = next(tail for tail in tails.all() if tail.channel == "quote")
    assert two.successor.stored_already(quotes, None) is None
    two.send([two.successor], quote(2), trade(10), quote(3), quote(4))
    assert two.successor.stored_already(quotes, None) == (0, 3)


def test_an_answer_without_time_and_number_may_repeat_what_is_stored(tmp_path: Path) -> None:
    """Bitfinex sends the state at a subscription, and only its values show which quote it is."""
    row = SessionRow(2, "bitfinex", "recorder-bitfinex-b", 0, "ws://x", 0)
    rig = Rig(tmp_path / "recorder-bitfinex-b")
    successor = StandbyIngest(
        row, Bitfinex().decoder(), rig.buffer, Standby(1 << 20), {}, connection_sequences=Bitfinex.connection_sequences
    )
    answer = Quote("A", None, 5, 1, 1.0, None, 2.0, None)
    tails = RowTails(connection_sequences=True)
    tails.note("quote", [answer])
    (tail,) = tails.all()
    successor._held("quote", answer)
    assert successor.stored_already(tail, None) == (1, 1)


def test_the_progress_of_a_stream_never_falls_back(two: Two) -> None:
    two.send([two.successor], trade(10))
    for made_ns in (7, 9, 8):
        two.successor._held("quote", Quote("A-USD", made_ns, 10, 1, 1.0, None, 2.0, None))
    assert set(two.successor.progress) == {Stream("quote", "A-USD"), Stream("trade", "A-USD")}
    assert two.successor.progress[Stream("quote", "A-USD")].ts_event_ns == 9


def test_an_open_gap_goes_on_with_its_identity_and_ends_once(two: Two) -> None:
    two.send([two.sender], snapshot(), quote(1), trade(10))
    two.sender.declare_lost([Stream("book", "A-USD")], "sequence")
    two.send([two.successor], quote(1), snapshot())
    two.change()
    (before,), (after,) = Read(two.old.folder).gaps("book"), Read(two.new.folder).gaps("book")
    assert before["ended_at"] is None
    assert after["ended_at"] is not None
    assert after["gap_id"] == before["gap_id"]


def test_a_stream_that_is_new_here_begins_without_a_gap(two: Two) -> None:
    two.send([two.sender], quote(1))
    two.send([two.successor], quote(1))
    two.successor.watch([Stream("trade", "B-USD")], two.new.clock.wall_ns())
    two.send([two.successor], snapshot(), trade(1, "B-USD"), trade(2, "B-USD"))
    two.change()
    assert Read(two.new.folder).rows("gap") == []
    assert two.rows("trade", "trade_id")[1] == [1, 2]


def test_a_session_that_ends_before_leaves_no_trace(two: Two) -> None:
    two.send([two.sender], snapshot(), quote(1))
    two.send([two.successor], snapshot(), quote(1))
    assert two.standby.size
    two.successor.report(ended_ns=two.new.clock.wall_ns(), reason="closed", lost="disconnect")
    assert two.standby.size == 0
    assert two.standby.all() == []
    assert two.new.buffer.flush()
    assert segments(two.new.folder) == []


def test_the_old_journal_has_no_stream_any_longer_and_ignores_what_follows(two: Two) -> None:
    two.send([two.sender], snapshot(), quote(1), trade(10))
    two.send([two.successor], snapshot(), quote(1), trade(10))
    left = two.change()
    two.send([two.sender], quote(2))
    two.sender.report(ended_ns=two.old.clock.wall_ns(), reason="stopped", lost="restart")
    assert two.old.buffer.flush()
    recovered = recover(two.old.folder)[0]
    assert not any(one.watched or one.gap for one in recovered.checkpoints)
    assert recovered.sessions == []
    assert {one.channel for one in left.checkpoints if one.watched} == set(CHANNELS)
    assert two.rows("quote", "sequence")[0] == [1]
    assert Read(two.old.folder).rows("gap") == []
