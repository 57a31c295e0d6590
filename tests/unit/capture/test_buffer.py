"""The flush: pending rows become a block, and frames that cannot be kept become a gap."""

import threading
from pathlib import Path

import pytest
from support.write_buffers import NOW, Read, Rig, S, integer, nanoseconds, quote, snapshot, trade

import recorder.journal.writer
from recorder.errors import JournalError, JournalFull
from recorder.events import CHANNELS
from recorder.settings import JournalSettings


def missing(read: Read, symbol: str = "A-USD") -> set[int]:
    """Return the trade ids that are declared missing."""
    declared: set[int] = set()
    for gap in read.gaps("trade", symbol):
        last_id, first_id = integer(gap["last_id"]), integer(gap["first_id"])
        if gap["state"] == b"open" and last_id is not None and first_id is not None:
            declared |= set(range(last_id + 1, first_id))
    return declared


def stored(read: Read) -> list[int | None]:
    return [integer(row["trade_id"]) for row in read.rows("trade")]


def test_nothing_pending_writes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    assert rig.buffer.flush()
    position = rig.journal.position
    assert rig.buffer.flush()
    assert rig.journal.position == position
    rig.journal.close()


def test_several_sessions_share_a_block_and_keep_their_frames_apart(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    first, second = rig.ingest("A-USD", session_id=1), rig.ingest("B-USD", session_id=2)
    for number in range(1, 4):
        first.take([trade(number)], NOW + number)
        second.take([trade(number, "B-USD"), quote(number, "B-USD")], NOW + number)
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert [(one.session_id, one.seq) for one in read.frames] == [
        (1, 1), (2, 1), (2, 2), (1, 2), (2, 3), (2, 4), (1, 3), (2, 5), (2, 6)
    ]  # fmt: skip
    assert {row["symbol"] for row in read.rows("instrument")} == {b"A-USD", b"B-USD"}


def test_a_killed_recorder_declares_exactly_what_it_had_not_written(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    ingest.take([snapshot(), trade(1), trade(2), quote(1)], NOW + S)
    rig.buffer.flush()
    ingest.take([trade(3), trade(4)], NOW + 2 * S)
    rig.kill()
    rig = Rig(tmp_path / "j", now_ns=NOW + 100 * S)
    rig.buffer.flush()
    rig.ingest("A-USD", session_id=2).take([trade(6), trade(7), quote(2), snapshot()], NOW + 9 * S)
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert stored(read) == [1, 2, 6, 7]
    assert missing(read) == {3, 4, 5}
    for channel in CHANNELS:
        (gap,) = read.gaps(channel)
        assert (gap["cause"], nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])) == (
            b"restart", NOW + S, NOW + 9 * S
        )  # fmt: skip


def test_a_kill_between_a_new_segment_and_its_first_block_loses_nothing_undeclared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint that begins a segment must not include what is still pending."""
    rig = Rig(tmp_path / "j", settings=JournalSettings(reserve_mb=0, segment_minutes=1))
    ingest = rig.ingest("A-USD")
    ingest.take([trade(1), quote(1)], NOW + S)
    rig.buffer.flush()
    ingest.take([trade(2), quote(2)], NOW + 2 * S)
    rig.clock.advance(61)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rig.journal, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        rig.buffer.flush()
    rig.kill()
    rig = Rig(tmp_path / "j", now_ns=NOW + 100 * S)
    rig.buffer.flush()
    rig.ingest("A-USD", session_id=2).take([trade(3), quote(3)], NOW + 90 * S)
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert (stored(read), missing(read)) == ([1, 3], {2})
    assert [nanoseconds(gap["started_at"]) for gap in read.gaps("quote")] == [NOW + S]


def test_a_second_restart_in_a_row_keeps_the_first_gap(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    rig.ingest("A-USD").take([trade(1), quote(1)], NOW + S)
    rig.buffer.flush()
    for _ in range(3):
        rig.kill()
        rig = Rig(tmp_path / "j", now_ns=NOW + 100 * S)
        rig.buffer.flush()
    rig.ingest("A-USD", session_id=2).take([trade(5), quote(2)], NOW + 9 * S)
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert missing(read) == {2, 3, 4}
    assert {nanoseconds(gap["started_at"]) for gap in read.gaps("trade")} == {NOW + S}


@pytest.mark.parametrize("where", ["next_position", "append"])
def test_a_full_disk_sheds_and_declares_exactly_what_it_shed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    ingest.take([snapshot(), trade(1), quote(1)], NOW + S)
    rig.buffer.flush()
    ingest.take([trade(2), trade(3), quote(2)], NOW + 2 * S)

    def full(*_: object) -> None:
        raise JournalFull("no space")

    monkeypatch.setattr(rig.journal, where, full)
    assert not rig.buffer.flush()
    assert (rig.buffer.full, rig.buffer.shed_frames, rig.buffer.pending_bytes) == (True, 3, 0)
    assert ingest.take([trade(4), quote(3)], NOW + 3 * S).trades == []  # not even decoded
    assert not rig.buffer.flush()
    assert rig.buffer.shed_frames == 5
    monkeypatch.undo()
    assert rig.buffer.flush()
    assert not rig.buffer.full
    ingest.take([trade(6), trade(7), quote(4), snapshot()], NOW + 5 * S)
    ingest.report()
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert stored(read) == [1, 6, 7]
    assert missing(read) == {2, 3, 4, 5}
    for channel in CHANNELS:
        (gap,) = read.gaps(channel)
        assert gap["cause"] == b"disk_full"
        started_ns, ended_ns = nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])
        assert started_ns is not None
        assert NOW + S <= started_ns <= NOW + 2 * S
        assert ended_ns == NOW + 5 * S
    assert {row["symbol"] for row in read.rows("instrument")} == {b"A-USD"}
    assert integer(read.rows("session")[-1]["frames"]) == 12  # dropped frames are counted too


def test_a_session_that_ends_while_the_disk_is_full_is_reported_when_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    ingest.take([trade(1)], NOW + S)
    rig.buffer.flush()
    ingest.take([trade(2)], NOW + 2 * S)
    ingest.report(ended_ns=NOW + 3 * S, reason="closed", lost="disconnect")

    def full(*_: object) -> None:
        raise JournalFull("no space")

    monkeypatch.setattr(rig.journal, "append", full)
    assert not rig.buffer.flush()
    monkeypatch.undo()
    rig.buffer.flush()
    rig.ingest("A-USD", session_id=2).take([trade(3)], NOW + 9 * S)
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert (stored(read), missing(read)) == ([1, 3], {2})
    assert [row["end_reason"] for row in read.rows("session") if integer(row["session_id"]) == 1][-1] == b"closed"


def test_a_link_without_room_drops_frames_and_declares_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j", pending_bytes=1)
    ingest = rig.ingest("A-USD")
    ingest.take([trade(1)], NOW + S)
    rig.buffer.flush()
    ingest.take([trade(2)], NOW + 2 * S)
    assert ingest.take([trade(3), trade(4)], NOW + 3 * S).trades == []
    rig.buffer.flush()
    ingest.take([trade(5)], NOW + 4 * S)
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert (stored(read), missing(read), rig.buffer.shed_frames) == ([1, 2, 5], {3, 4}, 2)
    assert {gap["cause"] for gap in read.gaps("trade")} == {b"overflow"}
    assert [frame.seq for frame in read.frames] == [1, 2, 5]


def test_a_link_waits_for_room_and_goes_on_when_there_is_some(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j", pending_bytes=1)
    ingest = rig.ingest("A-USD")
    ingest.take([trade(1)], NOW + S)
    flusher = threading.Timer(0.05, rig.buffer.flush)
    flusher.start()
    assert len(ingest.take([trade(2)], NOW + 2 * S).trades) == 1
    flusher.join()
    rig.buffer.flush()
    rig.journal.close()
    assert stored(Read(tmp_path / "j")) == [1, 2]


def test_the_flush_thread_writes_what_comes_and_what_is_left_at_the_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    stop = threading.Event()
    blocks = rig.buffer.blocks
    body = rig.buffer.flush_loop(0.005)
    thread = threading.Thread(target=body, args=(stop,))
    thread.start()
    ingest.take([trade(1)], NOW)
    deadline = threading.Event()
    for _ in range(1000):
        if rig.buffer.blocks > blocks and rig.buffer.pending_bytes == 0:
            break
        deadline.wait(0.005)
    assert rig.buffer.blocks > blocks
    stop.set()
    ingest.take([trade(2)], NOW)
    thread.join(5)
    assert not thread.is_alive()
    rig.buffer.flush()
    rig.journal.close()
    assert stored(Read(tmp_path / "j")) == [1, 2]


def test_a_sync_that_fails_ends_the_thread_that_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path / "j")
    rig.ingest("A-USD").take([trade(1)], NOW)
    rig.buffer.flush()

    def fails(_file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(recorder.journal.writer, "_sync_data", fails)
    with pytest.raises(JournalError, match="Input/output"):
        rig.buffer.sync_loop(0.001)(threading.Event())
    monkeypatch.undo()
    rig.journal.close()
