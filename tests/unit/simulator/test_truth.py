"""The truth log is written before the sockets, and read up to its last complete line."""

from pathlib import Path

import pytest

from recorder.errors import ConfigError
from recorder.truth import BookItem, Sent, Started, TradeItem, TruthLog, read_truth


def test_committed_lines_are_read_back_in_order(tmp_path: Path) -> None:
    log = TruthLog(tmp_path / "deep" / "truth.jsonl")
    log.line(Started("kraken", 1, 2, 3))
    assert log.item(TradeItem(0, "BTC/USD", 7, 1000, "1.50", "0.10", "b")) == 1
    assert log.item(BookItem(0, "BTC/USD", None, 5, True, [("1.0", "2.0")], [], 10)) == 2
    log.line(Sent(1, 9, [(1, 2)]))
    log.commit()
    lines = list(read_truth(tmp_path / "deep" / "truth.jsonl"))
    log.close()
    assert lines == [
        Started("kraken", 1, 2, 3),
        TradeItem(1, "BTC/USD", 7, 1000, "1.50", "0.10", "b"),
        BookItem(2, "BTC/USD", None, 5, True, [("1.0", "2.0")], [], 10),
        Sent(1, 9, [(1, 2)]),
    ]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_bytes(b'{"k":"end","t":1}\n{"k":"sent","c":1')
    assert len(list(read_truth(path))) == 1


def test_a_line_that_is_not_of_a_truth_log_is_named_by_file_and_number(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_bytes(b'{"k":"end","t":1}\n{"k":"weather"}\n')
    with pytest.raises(ConfigError, match=r"truth\.jsonl line 2 is not a line of a truth log"):
        list(read_truth(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read truth log"):
        list(read_truth(tmp_path / "nowhere"))
