"""`tapedeck decode`: events and verdicts of a file of raw frames."""

import gzip
import json
from pathlib import Path

import pytest

from recorder.cli import main
from recorder.cli.decode.file_decoder import FileDecoder, iso
from recorder.cli.decode.frame_files import read_frames, receive_times, received
from recorder.errors import ConfigError, DecodeError
from recorder.events import Book, Output, Resync, Trade
from recorder.venues.base import Audit

FRAME = b'{"type":"match","trade_id":%d,"side":"sell","size":"0.5","price":"100.25","product_id":"BTC-USD","time":"%s"}'
TIME = b"2026-09-02T07:44:09.449472Z"


class Scripted:
    """A decoder that answers each frame with the outputs of a test."""

    def __init__(self, answers: dict[bytes, list[Output]]) -> None:
        self.audits = {"A": Audit(checksums_passed=3, checksums_failed=1)}
        self._answers = answers

    def decode(self, frame: bytes, ts_recv_ns: int) -> list[Output]:
        if frame not in self._answers:
            raise DecodeError(f"unknown {frame!r}")
        return self._answers[frame]


def trade(number: int) -> Trade:
    return Trade("A", number, 15 * 10**17 + number, 15 * 10**17, 1.5, 2.0, "b")


def test_events_have_the_names_of_the_tables(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    file = tmp_path / "frames.jsonl"
    file.write_bytes(FRAME % (7, TIME) + b"\n\n" + FRAME % (9, TIME) + b"\nnonsense\n")
    (tmp_path / "frames.recv_ts.txt").write_text("1795266563.5\n")
    assert main(["decode", "coinbase", str(file)]) == 0
    out, err = capsysbinary.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[0] == {
        "type": "trade",
        "symbol": "BTC-USD",
        "trade_id": 7,
        "ts_event": "2026-09-02T07:44:09.449472Z",
        "ts_recv": "2026-11-21T13:09:23.500000Z",
        "price": 100.25,
        "size": 0.5,
        "aggressor": "buy",
        "venue_trade_id": None,
    }
    assert rows[1]["ts_recv"] is None
    assert (rows[2]["type"], rows[2]["cause"], rows[2]["last_id"], rows[2]["first_id"]) == ("gap", "sequence", 7, 9)
    summary = json.loads(err)
    assert summary["frames"] == 3
    assert summary["events"] == {"trade": 2, "gap": 1}
    assert summary["quarantined"] == 1
    assert summary["sequence_breaks"] == 1


def test_a_late_trade_heals_the_gap_it_left() -> None:
    scripted = Scripted({b"1": [trade(1)], b"2": [trade(2)], b"3": [trade(3)]})
    decoder = FileDecoder(scripted, frozenset({"trade"}), lambda: 15 * 10**17)
    events = [row for frame in (b"1", b"3", b"2") for row in decoder.frame(frame, None)]
    assert [row["trade_id"] for row in events] == [1, 3, 2]
    assert [gap["state"] for gap in decoder.gaps()] == ["healed"]


def test_a_resync_is_a_gap_of_the_book_until_the_next_snapshot() -> None:
    book = Book("A", None, 15 * 10**17, True, None, [(1.0, 2.0)], [])
    scripted = Scripted({b"bad": [Resync("A", "checksum", "mismatch")], b"snap": [book]})
    decoder = FileDecoder(scripted, frozenset(), lambda: 15 * 10**17)
    rows = [row for frame in (b"snap", b"bad", b"snap", b"what") for row in decoder.frame(frame, None)]
    assert [row["kind"] for row in rows] == ["snapshot", "snapshot"]
    gaps = list(decoder.gaps())
    assert [(gap["channel"], gap["cause"]) for gap in gaps] == [("book", "checksum")]
    report = decoder.report()
    assert (report["checksums_passed"], report["checksums_failed"], report["quarantined"]) == (3, 1, 1)
    assert report["control"] == {"resync": 1}


def test_gzip_is_read_and_a_truncated_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = gzip.compress(b"".join(FRAME % (number, TIME) + b"\n" for number in range(2000)))
    file = tmp_path / "frames.jsonl.gz"
    file.write_bytes(content)
    assert len(list(read_frames(file))) == 2000
    file.write_bytes(content[: len(content) // 2])
    assert main(["decode", "coinbase", str(file)]) == 2
    assert "is cut short" in capsys.readouterr().err
    file.write_bytes(b"no gzip")
    with pytest.raises(ConfigError, match="not a complete gzip file"):
        list(read_frames(file))


def test_a_line_without_end_in_a_small_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "frames.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        for _ in range(65):
            packed.write(bytes(1 << 20))
    assert file.stat().st_size < 1 << 20
    with pytest.raises(ConfigError, match="has a line of 64 MiB or more"):
        list(read_frames(file))


def test_documents_that_span_lines_are_frames_each(tmp_path: Path) -> None:
    file = tmp_path / "frames.json"
    documents = [{"a": 1, "b": ["x\ny", {"c": None}]}, [1, 2], {"last": "}"}]
    for indent in (None, 0, 2):
        file.write_text("\n\n".join(json.dumps(document, indent=indent) for document in documents) + "\n")
        assert [json.loads(frame) for frame in read_frames(file)] == documents
    file.write_bytes(b'{"a":\n1}\n{"b"\n')
    assert list(read_frames(file)) == [b'{"a":', b"1}", b'{"b"']  # not documents, so each line is a frame
    file.write_bytes(b"PONG\n{}\n")
    assert list(read_frames(file)) == [b"PONG", b"{}"]
    file.write_bytes(b"\n")
    assert list(read_frames(file)) == []


def test_rest_answers_come_between_the_frames_by_their_time(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"1\n2\n3\n")
    (tmp_path / "a.recv_ts.txt").write_text("1785644622.1\n1785644622.2\n1785644622.3\n")
    asked = [(None, "x?a=1"), (1785644622.2, "y"), ("1785644622250000000", "z"), (1785644623, "w")]
    (tmp_path / "a.rest.jsonl").write_text(
        "".join(json.dumps({"ts": ts, "url": f"https://h/{path}", "raw": "{}"}) + "\n" for ts, path in asked)
    )
    order = [json.loads(item.frame)["rest"] if item.rest else item.frame for item in received(file)]
    assert order == ["/x?a=1", b"1", "/y", b"2", "/z", b"3", "/w"]
    (tmp_path / "a.rest.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="not a file of REST answers"):
        list(received(file))


def test_a_rest_answer_that_no_decoder_uses_is_counted_and_not_quarantined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(FRAME % (7, TIME) + b"\n")
    (tmp_path / "a.rest.jsonl").write_text('{"ts":null,"url":"https://h/products","raw":"[]"}\n')
    assert main(["decode", "coinbase", str(file)]) == 0
    summary = json.loads(capsys.readouterr().err)
    assert (summary["rest_answers"], summary["quarantined"]) == ({"read": 0, "unread": 1}, 0)


@pytest.mark.parametrize(("venue", "dialect"), [
    ("coinbase", "coinbase"), ("coinbase", "coinbase_advanced"), ("kraken", "kraken"), ("kraken", "kraken_v1"),
])  # fmt: skip
def test_the_dialect_of_a_file_is_recognised_by_its_frames(
    venue: str, dialect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(__file__).parents[2] / "captures" / dialect / "handmade.jsonl"
    assert main(["decode", venue, str(file)]) == 0
    summary = json.loads(capsys.readouterr().err)
    assert (summary["dialect"], summary["quarantined"]) == (dialect, 0)
    assert {"trade", "quote", "book"} <= set(summary["events"])


def test_a_file_of_rest_answers_is_refused_and_one_answer_between_frames_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"market": "0xab",\n "bids": []}')
    assert main(["decode", "polymarket", str(file)]) == 2
    assert "holds no frames of polymarket" in capsys.readouterr().err
    file.write_text('{"market":"0xab","bids":[]}\n{"event_type":"new_market"}\n')
    assert main(["decode", "polymarket", str(file)]) == 0
    summary = json.loads(capsys.readouterr().err)
    assert (summary["frames"], summary["quarantined"], sum(summary["no_frames"].values())) == (2, 0, 1)


def test_a_file_of_which_nothing_can_be_decoded_is_exit_code_1_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("dear diary\ntoday I learnt\n")
    assert main(["decode", "coinbase", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert '"quarantined": 2' in err
    assert f"no frame of {file} could be decoded; is it from coinbase?" in err
    file.write_text("")
    assert main(["decode", "coinbase", str(file)]) == 1
    assert f"{file} is empty" in capsys.readouterr().err
    file.write_bytes(b"nonsense\n" + FRAME % (7, TIME) + b"\n")
    assert main(["decode", "coinbase", str(file)]) == 0


def test_receive_times_that_are_not_instants_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "a.recv_ts.txt").write_text("1785644622178672600\n1785644622.25\n201603688723400\n?\n")
    assert list(receive_times(tmp_path / "a.jsonl.gz")) == [1785644622178672600, 1785644622250000000, None, None]


def test_instants_are_truncated_never_rounded() -> None:
    assert iso(1_785_644_622_999_999_999) == "2026-08-02T04:23:42.999999Z"
    assert iso(None) is None
