"""Frames become rows and gaps in a real journal, which is read back from its file."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.write_buffers import NOW, Read, Rig, S, delta, integer, nanoseconds, quote, snapshot, trade

from recorder.capture.websocket.frames import Oversized
from recorder.events import CHANNELS, Refused, Resync, Stream
from recorder.identity import instrument_id
from recorder.journal.block import Frame


def test_every_frame_and_row_is_in_the_journal_in_order_and_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    chunks = [[snapshot(), trade(1)], [quote(1), delta(), trade(2)], [b'{"type":"status"}']]
    for number, chunk in enumerate(chunks):
        ingest.take(chunk, NOW + number)
        if number == 1:
            rig.buffer.flush()
    ingest.report(ended_ns=NOW + S, reason="stopped", lost="restart")
    rig.buffer.flush()
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
    folder = tmp_path_factory.mktemp("buffer") / "j"
    rig = Rig(folder)
    ingest = rig.ingest("A-USD")
    count = trades = 0
    for kinds, flush in chunks:
        messages: list[bytes | Oversized] = []
        for kind in kinds:
            trades += kind == "t"
            made = {"t": trade(trades), "q": quote(1), "s": snapshot(), "d": delta(), "x": b"{nonsense"}
            messages.append(made[kind] if kind in made else Oversized(10**9, b"begins"))
        ingest.take(messages, NOW)
        count += len(messages)
        if flush:
            rig.buffer.flush()
    ingest.report()
    rig.buffer.flush()
    rig.journal.close()
    read = Read(folder)
    assert [frame.seq for frame in read.frames] == list(range(1, count + 1))
    assert len(read.rows("trade")) == trades
    bad = sum(kind in "xo" for kinds, _ in chunks for kind in kinds)
    assert len(read.rows("quarantine")) == bad
    assert integer(read.rows("session")[-1]["frames"]) == count
    # Each quarantined row names the block and the index of its frame in the block.
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
    ingest = rig.ingest("A-USD", "B-USD")
    ingest.take([trade(1), trade(1, "B-USD"), snapshot(), quote(5)], NOW + S)
    bad = b'{"type":"match","trade_id":"?","product_id":"A-USD"}'
    assert ingest.take([bad], NOW + 2 * S).quarantined == 1
    assert rig.continuity.open_gaps() == 3
    taken = ingest.take([trade(2), trade(2, "B-USD"), quote(6), delta(), snapshot()], NOW + 3 * S)
    assert taken.quarantined == 0
    assert rig.continuity.open_gaps() == 0
    rig.buffer.flush()
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
    # The next id follows, so the frame held no trade; quotes and books cannot prove that.
    assert states == {"trade": b"healed", "quote": b"unhealable", "book": b"unhealable"}


def test_a_frame_that_is_not_json_is_a_gap_of_every_stream(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD", "B-USD")
    ingest.take([b"\xff\x00garbage"], NOW)
    assert rig.continuity.open_gaps() == 6


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"Ping", b"pong\n", b"INVALID OPERATION", b"busy [code 7]", b"null", b"<html>\nA-USD is late</html>"],
)
def test_a_text_that_is_no_message_costs_nothing_but_itself(tmp_path: Path, text: bytes) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD", "B-USD")
    ingest.take([trade(1), snapshot()], NOW)
    assert ingest.take([text], NOW + S).quarantined == 1
    assert rig.continuity.open_gaps() == 0
    rig.buffer.flush()
    rig.journal.close()
    (row,) = Read(tmp_path / "j").rows("quarantine")
    assert row["sample"] == text


def test_a_message_whose_first_byte_is_damaged_is_a_gap_of_the_symbol_it_names(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD", "B-USD")
    ingest.take([b"#" + trade(1)[1:]], NOW)
    assert rig.continuity.open_gaps() == 3


def test_an_unknown_notice_is_quarantined_without_a_gap(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    assert ingest.take([b'{"type":"new_feature","of":"Z-USD"}'], NOW).quarantined == 1
    assert rig.continuity.open_gaps() == 0


def test_an_oversized_message_is_a_gap_of_every_stream_and_keeps_its_beginning(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD", "B-USD")
    ingest.take([trade(1), Oversized(10**9, b"how it begins"), trade(2)], NOW)
    assert rig.continuity.open_gaps() == 5  # the trades of A continued
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    (row,) = read.rows("quarantine")
    assert row["reason"] == b"message of 1000000000 bytes, above the limit: only its beginning was kept"
    assert [frame.payload for frame in read.frames] == [trade(1), b"how it begins", trade(2)]
    assert [integer(one["trade_id"]) for one in read.rows("trade")] == [1, 2]


def test_a_trade_of_an_absurd_time_is_quarantined_and_its_id_declared_missing(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    ingest.take([trade(1), trade(2, time="0001-01-01T00:00:00Z"), trade(3)], NOW)
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert [integer(one["trade_id"]) for one in read.rows("trade")] == [1, 3]
    assert [row["reason"] for row in read.rows("quarantine")] == [b"event time out of range"]
    (gap,) = read.gaps("trade")
    assert (integer(gap["last_id"]), integer(gap["first_id"]), gap["state"]) == (1, 3, b"open")


def test_a_book_that_fails_asks_for_another_and_is_a_gap_since_the_frame_before(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    ingest.take([snapshot()], NOW + S)
    taken = ingest.take([delta(price="9")], NOW + 2 * S)
    assert [type(output) for output in taken.control] == [Resync]
    assert rig.continuity.gaps["book"] == 1
    ingest.count_resync("A-USD")
    ingest.take([delta(), snapshot()], NOW + 3 * S)
    assert rig.continuity.gaps["book"] == 0
    ingest.report()
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    (gap,) = read.gaps("book")
    assert (gap["cause"], nanoseconds(gap["started_at"]), nanoseconds(gap["ended_at"])) == (
        b"crossed", NOW + S, NOW + 3 * S
    )  # fmt: skip
    (audit,) = read.rows("book_audit")
    assert [integer(audit[name]) for name in ("crossed", "resyncs", "checksums_failed")] == [1, 1, 0]
    assert len(read.rows("book")) == 4


def test_answers_of_the_venue_are_returned_to_the_session(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    taken = rig.ingest("A-USD").take([b'{"type":"error","message":"no"}'], NOW)
    assert taken.control == [Refused(None, "no")]


def test_a_fault_of_the_adapter_costs_its_frame_and_not_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    decoder = ingest._decoder
    right = decoder.decode

    def wrong(frame: bytes, ts_ns: int) -> object:
        if b"99" in frame:
            raise ZeroDivisionError("a fault of ours")
        return right(frame, ts_ns)

    monkeypatch.setattr(decoder, "decode", wrong)
    taken = ingest.take([trade(98), trade(99), trade(100)], NOW)
    assert (len(taken.trades), taken.quarantined) == (2, 1)
    rig.buffer.flush()
    rig.journal.close()
    assert b"fault in the adapter" in (Read(tmp_path / "j").rows("quarantine")[0]["reason"] or b"")


def test_lost_streams_are_declared_even_when_nothing_arrives(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    rig.ingest("A-USD").declare_lost([Stream("trade", "A-USD")], "refused")
    rig.buffer.flush()
    rig.journal.close()
    (gap,) = Read(tmp_path / "j").gaps("trade")
    assert (gap["cause"], gap["ended_at"]) == (b"refused", None)


def test_rows_of_symbols_that_were_never_subscribed_are_counted_and_not_stored(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    strangers = [trade(1, symbol="Z-USD"), quote(1, symbol="Z-USD"), snapshot(symbol="a-usd"), trade(5, symbol="a-usd")]
    taken = ingest.take([trade(1), *strangers, quote(1), snapshot(), delta()], NOW + S)
    assert (len(taken.trades), len(taken.quotes), len(taken.books)) == (1, 1, 2)
    assert ingest.unsubscribed == 4
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    assert {row["symbol"] for row in read.rows("instrument")} == {b"A-USD"}
    assert len(read.rows("trade")) + len(read.rows("quote")) + len(read.rows("book")) == 4


def test_what_arrives_just_after_an_unsubscribe_is_stored(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    ingest.take([trade(1), quote(1)], NOW + S)
    ingest.unwatch(set(ingest.streams))
    taken = ingest.take([trade(2), quote(2)], NOW + 2 * S)
    assert (len(taken.trades), len(taken.quotes), ingest.unsubscribed) == (1, 1, 0)
    assert rig.continuity.gaps == dict.fromkeys(CHANNELS, 1)  # the gaps of the unsubscribe go on


def test_a_row_of_another_session_ends_no_gap(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    first, second = rig.ingest("A-USD"), rig.ingest("B-USD", session_id=2)
    first.declare_lost([Stream("quote", "A-USD")], "disconnect")
    second.take([quote(1, symbol="A-USD")], NOW + S)
    assert rig.continuity.gaps["quote"] == 1


@pytest.mark.parametrize("contiguous", [True, False])
def test_a_trade_of_an_absurd_time_is_a_gap_before_the_next_trade_comes(tmp_path: Path, contiguous: bool) -> None:
    rig = Rig(tmp_path / "j")
    if not contiguous:
        rig.continuity._contiguous = frozenset()
    ingest = rig.ingest("A-USD")
    ingest.take([trade(1), trade(2, time="2031-01-01T00:00:00Z")], NOW + S)
    assert rig.continuity.gaps == {"trade": 1, "quote": 0, "book": 0}
    ingest.take([trade(3)], NOW + 2 * S)
    rig.buffer.flush()
    rig.journal.close()
    (gap,) = Read(tmp_path / "j").gaps("trade")
    assert (integer(gap["last_id"]), integer(gap["first_id"]), gap["state"]) == (1, 3, b"open")


def test_a_clock_set_back_moves_gaps_along_and_no_session_ends_before_it_begins(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    ingest = rig.ingest("A-USD")
    rig.clock.advance(10)
    ingest.take([trade(1), quote(1)], rig.clock.wall_ns())
    rig.clock.advance(1)
    rig.clock.set(-3600)
    rig.buffer.check_clock()
    rig.clock.advance(1)
    now_ns = rig.clock.wall_ns()
    ingest.report(ended_ns=now_ns, reason="gone", lost="disconnect")
    rig.buffer.flush()
    rig.journal.close()
    read = Read(tmp_path / "j")
    (gap,) = read.gaps("quote")
    assert nanoseconds(gap["started_at"]) == now_ns - 2 * S
    session = read.rows("session")[-1]
    assert nanoseconds(session["started_at"]) == now_ns - 12 * S
    assert nanoseconds(session["ended_at"]) == now_ns
