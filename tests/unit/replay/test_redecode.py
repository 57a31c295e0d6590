"""A replay finds exactly the rows that another adapter makes of the same frames."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.recordings import (
    BEGIN_NS,
    CHUNK_NS,
    Blind,
    Doubled,
    Inverted,
    Late,
    Shifted,
    damage,
    feed,
    match,
    record,
    stored_blocks,
)

from recorder.cli import main
from recorder.errors import ConfigError
from recorder.journal.reader import JournalReader, StoredBlock
from recorder.pgcopy import scalars
from recorder.pgcopy.decode import conform, split
from recorder.position import Position
from recorder.replay.compare import compare
from recorder.replay.redecode import RedecodedBlock, Replayer, Skipped, redecode
from recorder.replay.report import ReplayReport
from recorder.venues.base import Decoder
from recorder.venues.coinbase.stream import CoinbaseDecoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "tapedeck" / "recorder-coinbase"


def report_of(
    folder: Path, decoder: Callable[[], Decoder] = CoinbaseDecoder, from_ns: int = 0, until_ns: int | None = None
) -> ReplayReport:
    reader = JournalReader(folder)
    report = ReplayReport("test")
    for item in redecode(reader, decoder, from_ns, until_ns):
        report.add(item, 3)
    reader.close()
    return report


def counts(report: ReplayReport, table: str) -> tuple[int, int, int, int]:
    found = report.tables[table]
    return found.same, found.changed, found.added, found.removed


def test_the_adapter_that_recorded_finds_nothing_to_change(folder: Path) -> None:
    record(folder, CoinbaseDecoder, feed())
    report = report_of(folder)
    assert not report.differs
    assert counts(report, "trade") == (80 + 4 + 4, 0, 0, 0)
    assert counts(report, "quote") == (40, 0, 0, 0)
    assert counts(report, "book") == (42, 0, 0, 0)
    assert report.quarantined_before == report.quarantined_now == 4


def test_blocks_that_a_journal_repeats_are_decoded_once(folder: Path) -> None:
    record(folder, CoinbaseDecoder, feed())
    before = report_of(folder)
    some = stored_blocks(folder)
    path = folder / f"{some[-1].position.segment:08d}.tape"
    data = path.read_bytes()
    path.write_bytes(data + data[some[2].position.offset : some[-2].next.offset])
    report = report_of(folder)
    assert not report.differs
    assert {table: counts(report, table) for table in report.tables} == {
        table: counts(before, table) for table in before.tables
    }


def test_a_journal_with_control_records_of_an_earlier_version_is_refused(folder: Path) -> None:
    """Without them, the rows of overlapping sessions would be stored twice."""
    record(folder, CoinbaseDecoder, [*feed(2), [b'{"tapedeck":"joins"}']])
    with pytest.raises(ConfigError, match="can be loaded, but not replayed"):
        report_of(folder)


def test_an_inverted_side_is_shown_row_by_row(folder: Path) -> None:
    record(folder, Inverted, feed())
    report = report_of(folder)
    assert counts(report, "trade") == (0, 88, 0, 0)
    assert counts(report, "quote") == (40, 0, 0, 0)
    example = report.examples[0]
    assert example.old is not None
    assert example.new is not None
    assert {key for key in example.old if example.old[key] != example.new[key]} == {"aggressor"}
    assert (example.old["aggressor"], example.new["aggressor"]) == ("b", "s")
    assert example.new["symbol"] == "BTC-USD"
    assert len(report.examples) == 3


def test_a_wrong_id_is_a_removed_and_an_added_row(folder: Path) -> None:
    record(folder, Shifted, feed())
    _, changed, added, removed = counts(report_of(folder), "trade")
    assert added == removed > 0
    assert changed == 88 - added  # neighbours in one block share an id


def test_a_wrong_event_time_is_a_changed_row(folder: Path) -> None:
    record(folder, Late, feed())
    assert counts(report_of(folder), "trade") == (0, 88, 0, 0)


def test_quarantined_frames_add_their_rows(folder: Path) -> None:
    record(folder, Blind, feed())
    report = report_of(folder)
    assert counts(report, "quote") == (0, 0, 40, 0)
    assert counts(report, "trade") == (48, 0, 40, 0)
    assert (report.quarantined_before, report.quarantined_now) == (84, 4)


def test_frames_that_can_no_longer_be_decoded_are_reported_with_their_reason(folder: Path) -> None:
    record(folder, CoinbaseDecoder, feed())
    report = report_of(folder, Blind)
    assert counts(report, "quote") == (0, 0, 0, 40)
    assert (report.quarantined_before, report.quarantined_now) == (4, 84)
    assert "unknown message type ticker" in report.undecodable
    assert any(reason.startswith("fault in the adapter: KeyError") for reason in report.undecodable)


def test_rows_that_were_made_twice_are_removed_once(folder: Path) -> None:
    record(folder, Doubled, feed())
    report = report_of(folder)
    assert counts(report, "quote") == (40, 0, 0, 40)
    assert counts(report, "book") == (42, 0, 0, 42)


def test_only_the_requested_range_is_compared_but_sessions_are_decoded_from_their_beginning(folder: Path) -> None:
    record(folder, Inverted, feed(20))
    decoders: list[CoinbaseDecoder] = []

    def decoder() -> CoinbaseDecoder:
        decoders.append(CoinbaseDecoder())
        return decoders[-1]

    report = report_of(folder, decoder, BEGIN_NS + 10 * CHUNK_NS, BEGIN_NS + 15 * CHUNK_NS)
    assert report.blocks == 5
    assert report.sessions_without_beginning == 0
    assert len(decoders) == 1


def test_each_session_has_a_decoder_of_its_own(folder: Path) -> None:
    record(folder, CoinbaseDecoder, feed(5), session_id=1)
    record(folder, CoinbaseDecoder, feed(5, 100), session_id=2, begin_ns=BEGIN_NS + 10**9)
    decoders: list[CoinbaseDecoder] = []

    def decoder() -> CoinbaseDecoder:
        decoders.append(CoinbaseDecoder())
        return decoders[-1]

    assert not report_of(folder, decoder).differs
    assert len(decoders) == 2


def test_sessions_whose_beginning_was_deleted_are_decoded_from_where_they_begin(folder: Path) -> None:
    record(folder, Inverted, feed(10), ended=False)
    blocks = stored_blocks(folder)
    reader = JournalReader(folder)
    replayer = Replayer("coinbase", CoinbaseDecoder, reader.journal_id)
    redone = []
    for item in reader.read(blocks[4].position, 1 << 40, with_frames=True):
        assert isinstance(item, StoredBlock)
        redone.append(replayer.block(item, reader.frames_of(item)))
    assert sum(one.sessions_without_beginning for one in redone) == 1
    assert all(len(one.diffs["trade"].changed) >= 4 for one in redone)
    assert not any(one.diffs["book"].differs for one in redone)


def test_a_block_whose_frames_are_damaged_is_skipped_and_named(folder: Path) -> None:
    record(folder, Inverted, feed(10))
    block = damage(folder, "")
    report = report_of(folder)
    assert report.skipped == 1
    place = f"{block.position.segment}:{block.position.offset}"
    assert report.skipped_examples == [f"{place}: its section of {block.frames} frames is damaged; its rows stay"]
    assert report.tables["trade"].changed > 0


def test_bytes_that_are_not_a_block_are_skipped_and_named(folder: Path) -> None:
    record(folder, Inverted, feed(10))
    path = folder / "00000001.tape"
    block = stored_blocks(folder)[5]
    data = bytearray(path.read_bytes())
    data[block.position.offset] ^= 1
    path.write_bytes(data)
    report = report_of(folder)
    assert report.skipped == 1
    assert report.blocks == 9


def test_rows_of_a_damaged_section_come_back_and_their_gaps_can_be_healed(folder: Path) -> None:
    record(folder, CoinbaseDecoder, feed(10))
    damage(folder, "trade")
    report = report_of(folder)
    assert report.restorable_gaps == 2
    assert report.tables["trade"].added == 4
    assert report.differs
    assert report.skipped == 0


def test_an_impossible_event_time_is_quarantined_as_it_is_when_recorded(folder: Path) -> None:
    record(folder, CoinbaseDecoder, [[match(1, BEGIN_NS), match(2, BEGIN_NS + 10 * 86_400 * 10**9)]])
    (redone,) = list(redecode(JournalReader(folder), CoinbaseDecoder))
    assert isinstance(redone, RedecodedBlock)
    assert redone.undecodable.keys() == redone.undecodable_before == {1}
    assert redone.undecodable[1].reason == "event time out of range"
    assert not redone.differs


def test_rows_of_an_older_layout_are_compared_in_the_current_one() -> None:
    old = scalars.tuple_of(scalars.int8(5), scalars.text("x"))
    (row,) = split(conform(old, ("a", "gone"), ("new", "a")))
    assert row == scalars.tuple_of(scalars.int8(None), scalars.int8(5))


def test_equal_rows_in_another_order_are_the_same() -> None:
    one, two = (scalars.tuple_of(*(scalars.int8(n) for n in (1, k, 3, 4, 5))) for k in (7, 8))
    diff = compare("quote", one + two, two + one)
    assert diff.same == 2
    assert not diff.differs


def test_skipped_places_are_counted_beyond_those_that_are_named() -> None:
    report = ReplayReport("test")
    for offset in range(50):
        report.add(Skipped(Position(1, offset), "gone"), 3)
    assert report.skipped == 50
    assert len(report.skipped_examples) == 20


# ---- command ----------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    monkeypatch.setenv("TAPEDECK__JOURNAL__DIR", str(tmp_path / "journal" / "tapedeck"))
    for name in ("TAPEDECK_CONFIG", "DATABASE_URL", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_shows_old_and_new_and_changes_nothing(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(folder, Inverted, feed(5))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["replay", "--journal", "recorder-coinbase"]) == 0
    out = capsys.readouterr().out
    assert "trade BTC-USD trade_id=1" in out
    assert "aggressor b -> s" in out
    assert "nothing was changed; --apply corrects the stored rows" in out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--journal", "recorder-nowhere"], "there is no journal 'recorder-nowhere' in "),
        (["--from", "yesterday"], "--from 'yesterday' is not an instant; write it like 2026-11-21T13:30:00Z"),
        (["--from", "2026-11-21", "--to", "2026-11-20"], "--from must be before --to"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_code_2(
    home: Path, folder: Path, arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record(folder, CoinbaseDecoder, feed(1))
    assert main(["replay", *arguments]) == 2
    err = capsys.readouterr().err
    assert fragment in err
    assert err.count("\n") == 1


def test_a_journal_of_an_unknown_venue_is_one_sentence_and_exit_code_2(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(folder, CoinbaseDecoder, feed(1))
    monkeypatch.setattr("recorder.venues.VENUES", {})
    assert main(["replay"]) == 2
    assert "unknown venue 'coinbase'" in capsys.readouterr().err


def test_no_journal_at_all_is_one_sentence_and_exit_code_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay"]) == 2
    assert "there is no journal in " in capsys.readouterr().err
