"""Messages in, rows and gaps out: on a real journal, read back from its file."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taped import NOW, Read, Rig, S, delta, integer, nanoseconds, quote, snapshot, trade

from recorder.block import Frame
from recorder.events import CHANNELS, Refused, Resync, Stream
from recorder.frames import Oversized
from recorder.instruments import instrument_id


def test_every_frame_and_row_is_in_the_journal_in_order_and_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    intake = rig.intake("A-USD")
    chunks = [[snapshot(), trade(1)], [quote(1), delta(), trade(2)], [b'{"type":"status"}']]
    for number, chunk in enumerate(chunks):
        intake.take(chunk, NOW + number)
        if number == 1:
            rig.tape.flush()
    intake.report(ended_ns=NOW + S, reason="stopped", lost="restart")
    rig.tape.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    sent = [(frame, NOW + number) for number, chunk in enumerate(chunks) for frame in chunk]
    assert read.frames == [Frame(1, seq, at, frame) for seq, (frame, at) in enumerate(sent, 1)]
    assert [integer(row["trade_id"]) for row in read.rows("trade")] == [1, 2]
    assert [integer(row["frame_seq"]) for row in read.rows("quote")] == [3]
    assert [(row["kind"], integer(row["frame_seq"])) for row in read.rows("book")] == [(b"s", 1), (b"d", 4)]
    assert {row["symbol"] for row in read.rows("instrument")} == {b"A-USD"}
    last = read.rows("session")[-1]
    names = ("frames", "bytes", "trades", "quotes", "books", "quarantined")
    assert [integer(last[name]) for name in names] == [6, sum(len(frame) for frame, _ in sent), 2, 1, 2, 0]
    assert last["end_reason"] == b"stopped"
    assert {channel: len(read.gaps(channel)) for channel in CHANNELS} == dict.fromkeys(CHANNELS, 1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(st.sampled_from(["t", "q", "s", "d", "x", "o"]), max_size=6), st.booleans())))
def test_frames_in_are_frames_in_blocks_whatever_they_hold(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[list[str], bool]]
) -> None:
    folder = tmp_path_factory.mktemp("tape") / "j"
    rig = Rig(folder)
    intake = rig.intake("A-USD")
    count = trades = 0
    for kinds, flush in chunks:
        messages: list[bytes | Oversized] = []
        for kind in kinds:
            trades += kind == "t"
            made = {"t": trade(trades), "q": quote(1), "s": snapshot(), "d": delta(), "x": b"{nonsense"}
            messages.append(made[kind] if kind in made else Oversized(10**9, b"begins"))
        intake.take(messages, NOW)
        count += len(messages)
        if flush:
            rig.tape.flush()
    intake.report()
    rig.tape.flush()
    rig.journal.close()
    read = Read(folder)
    assert [frame.seq for frame in read.frames] == list(range(1, count + 1))
    assert len(read.rows("trade")) == trades
    bad = sum(kind in "xo" for kinds, _ in chunks for kind in kinds)
    assert len(read.rows("quarantine")) == bad
    assert integer(read.rows("session")[-1]["frames"]) == count
    # Each quarantined row says where its frame is: block, and place among the frames of the block.
    for stored in read.blocks:
        for part in stored.parts:
            if part.table == "quarantine":
                assert part.rows <= stored.frames
    for row in read.rows("quarantine"):
        place = (integer(row["segment"]), integer(row["position"]))
        stored = next(one for one in read.blocks if (one.position.segment, one.position.offset) == place)
        before = sum(one.frames for one in read.blocks[: read.blocks.index(stored)])
        item = integer(row["item"])
        assert item is not None
        payload = read.frames[before + item].payload
        assert row["sha256"] == hashlib.sha256(payload).digest()
        assert payload in (b"{nonsense", b"begins")


def test_an_unreadable_frame_opens_gaps_for_the_symbol_it_names_only(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    intake = rig.intake("A-USD", "B-USD")
    intake.take([trade(1), trade(1, "B-USD"), snapshot(), quote(5)], NOW + S)
    bad = b'{"type":"match","trade_id":"?","product_id":"A-USD"}'
    assert intake.take([bad], NOW + 2 * S).quarantined == 1
    assert rig.continuity.open_gaps() == 3
    taken = intake.take([trade(2), trade(2, "B-USD"), quote(6), delta(), snapshot()], NOW + 3 * S)
    assert taken.quarantined == 0
    assert rig.continuity.open_gaps() == 0
    rig.tape.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    (row,) = read.rows("quarantine")
    assert integer(row["instrument_id"]) == instrument_id("coinbase", "A-USD")
    assert (row["sample"], row["scope"]) == (bad, b"frame")
    states = {}
    for channel in CHANNELS:
        (gap,) = read.gaps(channel)
        states[channel] = gap["state"]
        assert (gap["cause"], nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])) == (
            b"unreadable", NOW + S, NOW + 3 * S
        )  # fmt: skip
        assert read.gaps(channel, "B-USD") == []
    # The next id follows, so no trade was in it; quotes and books cannot tell.
    assert states == {"trade": b"healed", "quote": b"unhealable", "book": b"unhealable"}


def test_a_frame_that_is_no_json_may_have_been_anybodys(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    intake = rig.intake("A-USD", "B-USD")
    intake.take([b"\xff\x00garbage"], NOW)
    assert rig.continuity.open_gaps() == 6


def test_a_notice_nobody_knows_is_quarantined_and_no_gap(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    intake = rig.intake("A-USD")
    assert intake.take([b'{"type":"new_feature","of":"Z-USD"}'], NOW).quarantined == 1
    assert rig.continuity.open_gaps() == 0


def test_an_oversized_message_is_a_gap_of_every_stream_and_keeps_its_beginning(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    intake = rig.intake("A-USD", "B-USD")
    intake.take([trade(1), Oversized(10**9, b"how it begins"), trade(2)], NOW)
    assert rig.continuity.open_gaps() == 5  # the trades of A went on
    rig.tape.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    (row,) = read.rows("quarantine")
    assert row["reason"] == b"message of 1000000000 bytes, above the limit: only its beginning was kept"
    assert [frame.payload for frame in read.frames] == [trade(1), b"how it begins", trade(2)]
    assert [integer(one["trade_id"]) for one in read.rows("trade")] == [1, 2]


def test_a_trade_of_an_absurd_time_is_quarantined_and_its_id_declared_missing(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    intake = rig.intake("A-USD")
    intake.take([trade(1), trade(2, time="0001-01-01T00:00:00Z"), trade(3)], NOW)
    rig.tape.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert [integer(one["trade_id"]) for one in read.rows("trade")] == [1, 3]
    assert [row["reason"] for row in read.rows("quarantine")] == [b"event time out of range"]
    (gap,) = read.gaps("trade")
    assert (integer(gap["last_id"]), integer(gap["first_id"]), gap["state"]) == (1, 3, b"open")


def test_a_book_that_fails_asks_for_another_and_is_a_gap_since_the_frame_before(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    intake = rig.intake("A-USD")
    intake.take([snapshot()], NOW + S)
    taken = intake.take([delta(price="9")], NOW + 2 * S)
    assert [type(output) for output in taken.said] == [Resync]
    assert rig.continuity.gaps["book"] == 1
    intake.resynced("A-USD")
    intake.take([delta(), snapshot()], NOW + 3 * S)
    assert rig.continuity.gaps["book"] == 0
    intake.report()
    rig.tape.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    (gap,) = read.gaps("book")
    assert (gap["cause"], nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])) == (
        b"crossed", NOW + S, NOW + 3 * S
    )  # fmt: skip
    (audit,) = read.rows("book_audit")
    assert [integer(audit[name]) for name in ("crossed", "resyncs", "checksums_failed")] == [1, 1, 0]
    assert len(read.rows("book")) == 4


def test_answers_of_the_venue_are_handed_to_the_link(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    taken = rig.intake("A-USD").take([b'{"type":"error","message":"no"}'], NOW)
    assert taken.said == [Refused(None, "no")]


def test_a_fault_of_the_adapter_costs_its_frame_and_not_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path / "j")
    intake = rig.intake("A-USD")
    decoder = intake._decoder
    right = decoder.decode

    def wrong(frame: bytes, ts_ns: int) -> object:
        if b"99" in frame:
            raise ZeroDivisionError("a fault of ours")
        return right(frame, ts_ns)

    monkeypatch.setattr(decoder, "decode", wrong)
    taken = intake.take([trade(98), trade(99), trade(100)], NOW)
    assert (len(taken.trades), taken.quarantined) == (2, 1)
    rig.tape.flush()
    rig.journal.close()
    assert b"fault in the adapter" in (Read(tmp_path / "j").rows("quarantine")[0]["reason"] or b"")


def test_lost_streams_are_declared_even_when_nothing_arrives(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    rig.intake("A-USD").lose([Stream("trade", "A-USD")], "refused")
    rig.tape.flush()
    rig.journal.close()
    (gap,) = Read(tmp_path / "j").gaps("trade")
    assert (gap["cause"], gap["ended_at"]) == (b"refused", None)
