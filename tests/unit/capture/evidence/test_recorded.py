"""The memory of what was recorded that outlives the journal."""

import json
from collections.abc import Callable
from pathlib import Path

from recorder.capture.continuity import Continuity
from recorder.capture.evidence import recorded
from recorder.capture.evidence.recorded import NO_RECORD, RecordedStreams
from recorder.events import Stream
from recorder.journal.block import StreamCheckpoint

TRADES, BOOK = Stream("trade", "BTC-USD"), Stream("book", "BTC-USD")
NS = 10**9


def remembered(home: Path, name: str = "recorder-one", carries: Callable[[str], bool] = bool) -> RecordedStreams:
    return RecordedStreams.load(home, name, "one", carries)


def test_a_stream_that_no_journal_knows_has_a_gap_since_it_was_first_recorded(tmp_path: Path) -> None:
    remembered(tmp_path).note([(TRADES, 5 * NS), (BOOK, 6 * NS)])
    known = StreamCheckpoint("BTC-USD", "book", None, True, None, None, None, None, 6 * NS, None)
    forgotten = remembered(tmp_path).forgotten([known], lambda _symbol: True, "origin")
    assert [(one.symbol, one.channel, one.since_ns) for one in forgotten] == [("BTC-USD", "trade", 5 * NS)]
    continuity = Continuity(frozenset(), lambda: 1)
    continuity.restore(forgotten, {}, 100 * NS)
    (gap,) = continuity.take_gaps()
    assert (gap.cause, gap.reason, gap.started_ns, gap.ended_ns) == ("journal_damage", NO_RECORD, 5 * NS, None)


def test_the_earliest_time_counts_and_a_file_is_written_only_for_news(tmp_path: Path) -> None:
    one = remembered(tmp_path)
    one.note([(TRADES, 5 * NS)])
    file = tmp_path / "recorded" / "recorder-one.json"
    before = file.stat().st_ino
    one.note([(TRADES, 9 * NS)])
    assert file.stat().st_ino == before
    one.note([(TRADES, 2 * NS)])
    assert json.loads(file.read_text()) == [["BTC-USD", "trade", 2 * NS]]


def test_every_loss_has_gaps_of_its_own_and_other_shards_theirs(tmp_path: Path) -> None:
    one = remembered(tmp_path)
    one.note([(TRADES, 5 * NS)])
    (first,), (second,) = (one.forgotten([], lambda _symbol: True, origin) for origin in ("a", "b"))
    assert first.gap is not None
    assert second.gap is not None
    assert first.gap.gap_id != second.gap.gap_id
    assert one.forgotten([], lambda _symbol: False, "a") == []


def test_a_damaged_file_and_a_long_list_cost_only_what_they_held(tmp_path: Path) -> None:
    (tmp_path / "recorded").mkdir()
    file = tmp_path / "recorded" / "recorder-one.json"
    file.write_bytes(b'[["BTC-USD","trade"')
    one = remembered(tmp_path)
    assert one.forgotten([], lambda _symbol: True, "a") == []
    most = recorded.MOST_STREAMS
    one.note((Stream("trade", f"S{number}"), number + 1) for number in range(most + 5))
    kept = json.loads(file.read_text())
    assert (len(kept), kept[0][0], kept[-1][0]) == (most, "S5", f"S{most + 4}")


def test_with_another_number_of_processes_a_symbol_keeps_its_beginning(tmp_path: Path) -> None:
    remembered(tmp_path).note([(TRADES, 5 * NS), (Stream("trade", "ETH-USD"), 6 * NS)])
    second = remembered(tmp_path, "recorder-one-01", lambda symbol: symbol == "BTC-USD")
    assert [one.symbol for one in second.forgotten([], lambda symbol: symbol == "BTC-USD", "a")] == ["BTC-USD"]
    second.note([(TRADES, 9 * NS), (BOOK, 7 * NS)])
    (tmp_path / "recorded" / "recorder-one.json").unlink()
    moved = remembered(tmp_path, "recorder-one-01").forgotten([], bool, "a")
    assert ("trade", "BTC-USD", 5 * NS) in {(one.channel, one.symbol, one.since_ns) for one in moved}
    remembered(tmp_path).note([(Stream("trade", "ETH-USD"), 6 * NS)])
    one_again = remembered(tmp_path)
    since = {(one.channel, one.symbol): one.since_ns for one in one_again.forgotten([], bool, "a")}
    assert since == {("trade", "BTC-USD"): 5 * NS, ("trade", "ETH-USD"): 6 * NS, ("book", "BTC-USD"): 7 * NS}
