"""A session that takes over from another: what its predecessor carried is delivered or declared."""

from pathlib import Path

import pytest
from support.write_buffers import NOW, Read, Rig, S, delta, nanoseconds, quote, snapshot, trade

from recorder.capture.ingest import Ingest
from recorder.events import CHANNELS, SessionRow, Stream
from recorder.venues.coinbase.stream import Coinbase

STREAMS = [Stream(channel, "A-USD") for channel in CHANNELS]


def taken_over(folder: Path, refused: set[Stream]) -> Read:
    """Return the journal of a handover in which the venue refused some streams to the successor."""
    rig = Rig(folder)
    first = rig.ingest("A-USD", session_id=1)
    first.take([trade(1), quote(1), snapshot()], NOW + S)
    second = Ingest(
        SessionRow(2, "coinbase", "recorder", 1, "ws://x", NOW + 2 * S), Coinbase().decoder(), rig.buffer, first
    )
    second.watch(STREAMS, NOW + 2 * S)
    second.take([snapshot()], NOW + 3 * S)
    first.take([trade(2), quote(2)], NOW + 4 * S)
    second.inherit(refused)
    second.report()
    rig.buffer.flush()
    rig.journal.close()
    return Read(folder)


def test_a_stream_refused_to_the_successor_has_a_gap_from_the_handover_on(tmp_path: Path) -> None:
    journal = taken_over(tmp_path / "journal", {Stream("quote", "A-USD"), Stream("trade", "A-USD")})
    for channel in ("quote", "trade"):
        (gap,) = [row for row in journal.gaps(channel) if row["cause"] == b"refused"]
        assert gap["ended_at"] is None, channel
    assert [row for row in journal.gaps("book") if row["cause"] == b"refused"] == []


def test_a_handover_in_which_every_stream_is_accepted_leaves_no_gap(tmp_path: Path) -> None:
    journal = taken_over(tmp_path / "journal", set())
    assert [row for channel in CHANNELS for row in journal.gaps(channel) if row["ended_at"] is None] == []


def handed_over(
    folder: Path, late: list[bytes], repeated: list[bytes], *, drained_s: float = 5, caught_up: bool = True
) -> Read:
    """Return the journal of a handover: `late` reach the old session after the switch, `repeated` the new one too."""
    rig = Rig(folder)
    first = rig.ingest("A-USD", session_id=1)
    first.take([trade(1), quote(1), snapshot()], NOW + S)
    second = Ingest(
        SessionRow(2, "coinbase", "recorder", 1, "ws://x", NOW + 2 * S), Coinbase().decoder(), rig.buffer, first
    )
    second.watch(STREAMS, NOW + 2 * S)
    second.take([snapshot(), quote(3)], NOW + 3 * S)
    first.take(late, NOW + 4 * S)
    second.take(repeated, NOW + 5 * S)
    first.drained_ns = NOW + int(drained_s * S)
    assert second.predecessor_caught_up is caught_up
    second.inherit(set())
    rig.buffer.flush()
    rig.journal.close()
    return Read(folder)


def test_a_message_that_both_sessions_bring_is_no_gap_whichever_is_first(tmp_path: Path) -> None:
    journal = handed_over(tmp_path / "journal", [quote(3), quote(4), delta()], [quote(4), delta()])
    assert [journal.gaps(channel) for channel in CHANNELS] == [[], [], []]


def test_a_message_that_came_too_late_to_the_old_session_is_declared_by_its_times(tmp_path: Path) -> None:
    journal = handed_over(tmp_path / "journal", [quote(2), quote(3), delta()], [delta()])
    (gap,) = journal.gaps("quote")
    assert (gap["cause"], gap["state"]) == (b"overtaken", b"unhealable")
    assert gap["last_ts_event"] == gap["first_ts_event"]
    assert (nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])) == (NOW + 3 * S, NOW + 4 * S)
    assert journal.gaps("book") == []


def test_what_an_old_session_had_not_read_at_its_end_is_declared(tmp_path: Path) -> None:
    journal = handed_over(tmp_path / "journal", [], [quote(4), quote(5)], caught_up=False)
    for channel in ("quote", "book"):
        (gap,) = journal.gaps(channel)
        ends = nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])
        assert (gap["cause"], ends) == (b"overtaken", (NOW + S, NOW + 3 * S))


def test_what_an_old_session_had_not_read_is_declared_although_the_new_one_has_single_rows(tmp_path: Path) -> None:
    journal = handed_over(tmp_path / "journal", [], [], drained_s=1.5, caught_up=False)
    for channel in ("quote", "book"):
        (gap,) = journal.gaps(channel)
        ends = nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])
        assert (gap["cause"], ends) == (b"overtaken", (NOW + S, NOW + 3 * S))


def test_a_quiet_old_session_that_had_nothing_left_to_read_leaves_no_gap(tmp_path: Path) -> None:
    journal = handed_over(tmp_path / "journal", [], [], drained_s=4.1)
    assert [journal.gaps(channel) for channel in CHANNELS] == [[], [], []]


def test_what_an_old_session_had_not_read_is_declared_when_the_new_one_ends_during_the_takeover(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "journal")
    first = rig.ingest("A-USD", session_id=1)
    first.take([trade(1), quote(1), snapshot()], NOW + S)
    second = Ingest(
        SessionRow(2, "coinbase", "recorder", 1, "ws://x", NOW + 2 * S), Coinbase().decoder(), rig.buffer, first
    )
    second.watch(STREAMS, NOW + 2 * S)
    second.take([snapshot(), quote(3), quote(4)], NOW + 3 * S)
    second.report(ended_ns=NOW + 4 * S, reason="closed", lost="disconnect")
    rig.buffer.flush()
    rig.journal.close()
    for channel in ("quote", "book"):
        gaps = Read(tmp_path / "journal").gaps(channel)
        begins = {row["cause"]: nanoseconds(row["started_at"]) for row in gaps}
        assert begins == {b"overtaken": NOW, b"disconnect": NOW + 3 * S}
        assert [nanoseconds(row["ended_at"]) for row in gaps if row["cause"] == b"overtaken"] == [NOW + 3 * S]


def during_a_handover(folder: Path) -> tuple[Rig, Ingest, Ingest]:
    """Return a session that carries all streams, and one that will take them over."""
    rig = Rig(folder, contiguous=frozenset())
    first = rig.ingest("A-USD", session_id=1)
    first.take([trade(1), quote(1), snapshot()], NOW + S)
    row = SessionRow(2, "coinbase", "recorder", 1, "ws://x", NOW + 2 * S)
    second = Ingest(row, Coinbase().decoder(), rig.buffer, first)
    second.watch(STREAMS, NOW + 2 * S)
    return rig, first, second


ACCEPTED = (
    b'{"type":"subscriptions","channels":[{"name":"matches","product_ids":["A-USD"]},'
    b'{"name":"ticker","product_ids":["A-USD"]},{"name":"level2_batch","product_ids":["A-USD"]}]}'
)


@pytest.mark.parametrize("by_data", [True, False], ids=["by data", "at the end"])
def test_a_stream_that_the_successor_subscribes_again_has_a_gap_until_that_has_begun(
    by_data: bool, tmp_path: Path
) -> None:
    rig, first, second = during_a_handover(tmp_path / "journal")
    second.declare_interrupted(STREAMS, books_unasked=True)
    first.take([trade(2), quote(2), delta()], NOW + 3 * S)
    if by_data:
        second.take([snapshot(), quote(3)], NOW + 4 * S)  # of its old subscription
    second.inherit(set())
    second.take([trade(5), quote(5), snapshot()], NOW + 5 * S)
    assert rig.continuity.open_gaps() == 3
    second.take([ACCEPTED, trade(6), quote(6), snapshot()], NOW + 6 * S)
    assert rig.continuity.open_gaps() == 0
    rig.buffer.flush()
    rig.journal.close()
    for channel in CHANNELS:
        (gap,) = [row for row in Read(tmp_path / "journal").gaps(channel) if row["cause"] == b"disconnect"]
        began_ns, ended_ns = nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])
        assert began_ns is not None
        assert began_ns <= NOW + 4 * S, channel
        assert ended_ns == NOW + 6 * S, channel


def test_a_stream_dropped_and_added_again_during_a_handover_is_complete_again_after_it(tmp_path: Path) -> None:
    rig, first, second = during_a_handover(tmp_path / "journal")
    first.unwatch(frozenset(STREAMS))
    second.watch(STREAMS, NOW + 3 * S)
    second.inherit(set())
    second.take([trade(5), quote(5), snapshot()], NOW + 5 * S)
    rig.buffer.flush()
    rig.journal.close()
    for channel in CHANNELS:
        (gap,) = [row for row in Read(tmp_path / "journal").gaps(channel) if row["cause"] == b"unsubscribed"]
        assert nanoseconds(gap["ended_at"]) == NOW + 5 * S, channel
