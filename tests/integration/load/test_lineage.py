"""What a database lacks of a journal is loaded exactly once, or declared with exact ends."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.lineage import Lab

from recorder.journal.reader import JournalReader, StoredBlock
from recorder.position import Position


@pytest.fixture
def lab(tmp_path: Path, database: str) -> Iterator[Lab]:
    made = Lab(tmp_path, database)
    yield made
    made.close()


def blocks(lab: Lab) -> list[StoredBlock]:
    """Return the blocks of the journal."""
    reader = JournalReader(lab.folder)
    found = [item for item in reader.read(reader.first(), 1 << 62) if isinstance(item, StoredBlock)]
    reader.close()
    return found


def settle(lab: Lab) -> None:
    """Record and load a little more, so that gaps can end."""
    lab.record(3)
    lab.load()
    assert lab.undeclared() == []
    assert lab.open_ended() == 0
    assert lab.health()[2].lag_bytes == 0


def broken(lab: Lab, word: str, count: int = 1) -> None:
    """Assert that a loss was found, that it stands in quarantine, and that the writer says so."""
    reasons = lab.breaks()
    assert len(reasons) == count
    assert word in reasons[-1]
    quarantined = [row[0] for row in lab.query("SELECT reason FROM quarantine WHERE scope = 'block'")]
    assert reasons[-1] in quarantined
    state, detail, _ = lab.health()
    assert state == "degraded"
    assert reasons[-1] in detail


def test_ordinary_restarts_of_both_sides_are_no_damage(lab: Lab) -> None:
    for number in range(12):
        lab.record(number % 4)
        if number % 3 == 1:
            lab.rotate()
        if number % 2:
            lab.load()
        lab.restart(lost=number % 3)
        if number % 4 == 3:
            lab.reload()
    lab.load()
    settle(lab)
    assert lab.breaks() == []
    assert lab.swallowed() == 0
    assert lab.query("SELECT FROM quarantine") == []
    assert lab.health()[:2] == ("live", "")
    assert lab.query("SELECT count(*) FROM journal_incarnation")[0][0] == 12


def three_segments_behind(lab: Lab) -> None:
    """Load half of a segment, then record the other half and three more segments."""
    lab.record(4)
    lab.load()
    lab.record(4)
    for _ in range(3):
        lab.rotate()
        lab.record(5)


@pytest.mark.parametrize("again", [False, True], ids=["the writer runs", "the writer starts"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_segment_that_is_missing_is_declared_and_loading_goes_on_behind_it(
    lab: Lab, number: int, again: bool
) -> None:
    three_segments_behind(lab)
    lab.segment(number).unlink()
    if again:
        lab.reload()
    stored = "SELECT count(*) FROM trade"
    lab.load_until(lambda: lab.breaks() or lab.query(stored)[0][0] == len(lab.sent))
    lab.load()
    lost = 8 if number == 1 else 10
    if number == 1 and not again and not lab.breaks():
        lost = 0  # a writer that has the file open reads it to its end, unless it first looks which files are there
    else:
        broken(lab, "missing")
    settle(lab)
    assert lab.swallowed() == 0
    assert lab.query(stored)[0][0] == len(lab.sent) - lost


def test_a_segment_cut_between_two_blocks_is_declared(lab: Lab) -> None:
    three_segments_behind(lab)
    second = [block for block in blocks(lab) if block.position.segment == 2]
    os.truncate(lab.segment(2), second[3].position.offset)
    lab.load()
    broken(lab, "are missing")
    settle(lab)
    assert lab.swallowed() == 0


def test_a_session_whose_row_was_in_a_missing_segment_is_known_from_the_next_one(lab: Lab) -> None:
    lab.record(2)
    lab.load()
    lab.restart(lost=1)
    lab.record(2)
    lab.rotate()
    lab.record(2)
    lab.segment(2).unlink()
    lab.load_until(lab.breaks)
    lab.load()
    broken(lab, "missing")
    settle(lab)
    orphans = "SELECT FROM quote WHERE session_id NOT IN (SELECT session_id FROM session)"
    assert lab.query(orphans) == []
    assert open_sessions(lab) == 1


def cut_out(path: Path, first: int, last: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:first] + data[last:])


def test_blocks_cut_out_of_the_middle_are_declared(lab: Lab) -> None:
    three_segments_behind(lab)
    second = [block for block in blocks(lab) if block.position.segment == 2]
    cut_out(lab.segment(2), second[2].position.offset, second[4].position.offset)
    lab.load()
    broken(lab, "are missing")
    settle(lab)
    assert lab.swallowed() == 0


@pytest.mark.parametrize("number", [1, 2])
def test_repeated_blocks_are_loaded_once(lab: Lab, number: int) -> None:
    three_segments_behind(lab)
    some = [block for block in blocks(lab) if block.position.segment == number]
    path = lab.segment(number)
    data = path.read_bytes()
    again = data[some[1].position.offset : some[-2].next.offset]
    path.write_bytes(data + again)
    lab.reload()
    settle(lab)
    assert lab.breaks() == []
    assert lab.query("SELECT count(*) FROM trade")[0][0] == len(lab.sent)
    assert lab.query("SELECT sum(duplicate) FROM load_ledger WHERE table_name = 'trade'")[0][0] == 0


def test_an_older_database_is_filled_again_from_the_kept_segments(lab: Lab) -> None:
    three_segments_behind(lab)
    lab.dump()
    lab.load()
    lab.restart(lost=2)
    lab.record(3)
    lab.load()
    lab.restore()
    lab.load()
    settle(lab)
    assert lab.breaks() == []
    assert lab.query("SELECT count(*) FROM trade")[0][0] == len(lab.sent)


def test_an_older_database_declares_what_was_removed_meanwhile(lab: Lab) -> None:
    three_segments_behind(lab)
    lab.dump()
    lab.load()
    lab.restart(lost=2)
    lab.record(3)
    lab.load()
    for number in (1, 2, 3):
        lab.segment(number).unlink()
    lab.restore()
    lab.load()
    broken(lab, "missing")
    settle(lab)
    assert lab.swallowed() == 0
    assert lab.query("SELECT count(*) FROM session WHERE ended_at IS NULL")[0][0] == 1


def test_a_new_database_declares_what_was_removed_before_it_began(lab: Lab) -> None:
    three_segments_behind(lab)
    for number in (1, 2):
        lab.segment(number).unlink()
    lab.reload()
    lab.query("TRUNCATE trade, quote, book, gap, session, quarantine, journal, journal_break CASCADE")
    lab.reload()
    broken(lab, "were removed before this database")
    settle(lab)
    assert lab.swallowed() == 0


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_journal_restored_from_an_older_copy_is_noticed_at_once(lab: Lab, tmp_path: Path, kill: bool) -> None:
    lab.record(4)
    lab.load()
    lab.copy(tmp_path / "copy")
    for _ in range(3):
        lab.restart(lost=2)
        lab.record(5)
    lab.load()
    lab.record(3)  # not loaded: lost with the newer journal
    lab.rig.kill()
    lab.put_back(tmp_path / "copy")
    lab.send_to_no_one(3)
    if kill:
        lab.reload()
        state, detail, figures = lab.health()
        assert (state, figures.lag_bytes > 0) == ("degraded", True)
        assert "more than the journal holds" in detail
    lab.start()
    lab.record(2)
    lab.loader._discovered_s = float("-inf")
    lab.load()
    broken(lab, "older copy")
    settle(lab)
    assert lab.query("SELECT max(trade_id) FROM trade")[0][0] == lab.sent[-1]
    assert lab.query("SELECT count(*) FROM session WHERE ended_at IS NULL")[0][0] == 1


def lose_folder(lab: Lab) -> None:
    shutil.rmtree(lab.folder)


def lose_segments(lab: Lab) -> None:
    for path in lab.folder.glob("*.tape"):
        path.unlink()


@pytest.mark.parametrize("running", [False, True], ids=["the writer starts", "the writer runs"])
@pytest.mark.parametrize("lose", [lose_folder, lose_segments])
def test_a_journal_that_was_removed_ends_in_gaps_that_end_with_the_first_new_data(
    lab: Lab, lose: Callable[[Lab], None], running: bool
) -> None:
    lab.record(4)
    lab.restart(lost=1)
    lab.record(4)
    lab.load()
    lab.record(4)
    lab.rig.kill()
    lose(lab)
    lab.send_to_no_one(2)
    lab.loader._discovered_s = float("-inf")
    if running:
        lab.load()
    lab.start()
    lab.send_to_no_one(1)
    lab.loader._discovered_s = float("-inf")
    lab.load() if running else lab.reload()
    broken(lab, "removed")
    settle(lab)
    assert lab.swallowed() == 0
    assert lab.query("SELECT count(*) FROM session WHERE ended_at IS NULL")[0][0] == 1
    assert lab.query("SELECT count(*) FROM trade")[0][0] == len(lab.sent) - 8


def open_sessions(lab: Lab) -> int:
    return int(str(lab.query("SELECT count(*) FROM session WHERE ended_at IS NULL")[0][0]))


def test_trades_that_a_venue_repeats_to_an_older_journal_end_no_gap_before_it_begins(lab: Lab, tmp_path: Path) -> None:
    lab.record(2)
    lab.load()
    lab.rig.kill()
    lab.copy(tmp_path / "copy")
    lab.start()
    lab.record(4)
    lab.load()
    lab.rig.kill()
    lab.put_back(tmp_path / "copy")
    lab.start()
    lab.repeat(5)
    lab.loader._discovered_s = float("-inf")
    lab.load()
    broken(lab, "older copy")
    settle(lab)
    assert lab.query("SELECT * FROM gap WHERE first_id <= last_id OR ended_at < started_at") == []
    assert lab.query("SELECT count(*) FROM trade")[0][0] == len(lab.sent)


def test_a_journal_that_is_put_back_goes_on_after_the_one_that_had_replaced_it(lab: Lab, tmp_path: Path) -> None:
    lab.record(4)
    lab.load()
    for number in (1, 2):
        lab.rig.kill()
        lab.copy(tmp_path / f"copy {number}")
        shutil.rmtree(lab.folder)
        lab.send_to_no_one(2)
        lab.start()  # a journal of another identity
        lab.send_to_no_one(1)
        lab.restart(lost=1)  # with open gaps, that the first journal does not know
        lab.loader._discovered_s = float("-inf")
        lab.load()
        broken(lab, "removed", 2 * number - 1)
        lab.rig.kill()
        lab.put_back(tmp_path / f"copy {number}")
        lab.send_to_no_one(2)
        lab.start()
        lab.loader._discovered_s = float("-inf")
        lab.load()
        broken(lab, "was put back", 2 * number)
        settle(lab)
        assert open_sessions(lab) == 1


def test_sessions_of_a_newer_journal_end_when_one_is_put_back_that_was_never_loaded(lab: Lab, tmp_path: Path) -> None:
    lab.record(1)
    lab.rig.kill()
    lab.copy(tmp_path / "copy")
    shutil.rmtree(lab.folder)
    lab.send_to_no_one(2)
    lab.start()
    lab.record(4)
    lab.load()
    lab.rig.kill()
    lab.put_back(tmp_path / "copy")
    lab.start()
    lab.loader._discovered_s = float("-inf")
    lab.load()
    broken(lab, "removed")
    settle(lab)
    assert open_sessions(lab) == 1


def test_an_older_journal_with_blocks_that_were_never_loaded_hides_no_later_loss(lab: Lab, tmp_path: Path) -> None:
    lab.record(2)
    lab.restart(lost=1)  # its gaps go on, and end in the third segment
    lab.restart(lost=1)
    lab.record(2)
    lab.segment(1).unlink()
    aside = lab.segment(2).rename(tmp_path / "aside")
    lab.load()
    broken(lab, "removed before this database")
    lab.rig.kill()
    shutil.copy(aside, lab.segment(2))
    lab.copy(tmp_path / "copy")
    lab.start()
    lab.record(2)
    lab.load()
    lab.rig.kill()
    lab.put_back(tmp_path / "copy")
    lab.send_to_no_one(3)
    lab.start()
    lab.loader._discovered_s = float("-inf")
    lab.load()
    broken(lab, "older copy", 3)
    settle(lab)
    assert open_sessions(lab) == 1
    assert lab.query("SELECT count(*) FROM trade")[0][0] == len(lab.sent) - 4  # of the first segment


@pytest.mark.parametrize("numbers", [[2], [1, 2]], ids=["an open session", "and open gaps"])
def test_what_a_recorder_does_not_know_after_damage_to_loaded_blocks_has_an_end_nevertheless(
    lab: Lab, numbers: list[int]
) -> None:
    lab.record(2)
    lab.restart(lost=1)
    lab.load()
    assert lab.open_ended() > 0
    newest = blocks(lab)[-1].position.segment
    found = [one for one in blocks(lab) if one.position.segment == newest]
    data = bytearray(lab.segment(newest).read_bytes())
    for number in numbers:
        data[found[number].position.offset + 30] ^= 1
    lab.segment(newest).write_bytes(data)
    lab.restart(lost=1)
    lab.loader._discovered_s = float("-inf")
    lab.load()
    settle(lab)
    assert lab.breaks() == []
    assert open_sessions(lab) == 1


def test_two_machines_with_copies_of_one_journal_load_both_exactly_once(lab: Lab, tmp_path: Path) -> None:
    lab.record(4)
    lab.load()
    lab.rig.kill()
    lab.copy(tmp_path / "second")
    lab.start()
    lab.record(3)
    lab.load()
    lab.rig.kill()
    lab.loader.reset()
    lab.journals = tmp_path / "second"
    lab.folder = lab.journals / lab.folder.name
    lab.send_to_no_one(2)
    lab.start()
    lab.loader = lab.writer()
    lab.record(3)
    lab.load()
    broken(lab, "older copy")
    settle(lab)
    assert lab.query("SELECT count(*) FROM trade")[0][0] == len(lab.sent)


def test_a_position_beyond_the_end_is_no_lag_of_zero(lab: Lab) -> None:
    lab.record(6)
    lab.load()
    last = blocks(lab)[-2].position
    os.truncate(lab.segment(last.segment), last.offset)
    lab.loader._discovered_s = float("-inf")
    lab.load()
    state, detail, figures = lab.health()
    assert state == "degraded"
    assert "more than the journal holds" in detail
    assert figures.lag_bytes > 0
    lab.restart(lost=1)
    lab.load()
    settle(lab)
    assert lab.query("SELECT count(*) FROM trade")[0][0] == len(lab.sent)
    assert Position(0, 0) < lab.tail().place
