"""Restarts on disk: nothing is forgotten by a kill, and Postgres gets each revision."""

from pathlib import Path

from support.watchdog import NOW

from recorder.watchdog.acting.book import MOST, RestartBook
from recorder.watchdog.acting.policy import History, Stuck

STUCK = Stuck("recorder-north", 7, 95.0)


def test_a_restart_is_on_disk_before_it_is_made_and_a_kill_makes_its_outcome_unknown(tmp_path: Path) -> None:
    book = RestartBook(tmp_path)
    book.memory.programs["recorder-north"] = History(1, 300.0)
    restart = book.begin(STUCK, NOW)
    assert restart is not None
    again = RestartBook(tmp_path)  # the watchdog was killed
    assert again.memory.programs["recorder-north"].pause_s == 300.0
    (found,) = again.unsaved()
    assert (found.outcome, found.reason, found.revision) == ("unknown", "the watchdog ended meanwhile", 2)
    assert again.action("recorder-north", NOW - 1, None).startswith(
        "restarted at 2027-01-15 08:00:00 UTC, and the watchdog"
    )
    assert again.counts == {}


def test_each_revision_is_stored_once(tmp_path: Path) -> None:
    book = RestartBook(tmp_path)
    restart = book.begin(STUCK, NOW)
    assert restart is not None
    begun = book.unsaved()
    book.end(restart, "restarted", NOW + 16, killed=True)
    book.saved(begun)
    assert [(one.revision, one.outcome, one.killed) for one in book.unsaved()] == [(2, "restarted", True)]
    book.saved(book.unsaved())
    assert book.unsaved() == [] == RestartBook(tmp_path).unsaved()
    assert book.counts == {"recorder-north": 1}


def test_what_was_done_is_told_to_a_person(tmp_path: Path) -> None:
    book = RestartBook(tmp_path)
    assert book.action("recorder-north", NOW, None) == ""
    restart = book.begin(STUCK, NOW)
    assert restart is not None
    assert book.action("recorder-north", NOW, None) == "being restarted since 2027-01-15 08:00:00 UTC"
    book.end(restart, "restarted", NOW + 16, killed=True)
    assert book.action("recorder-north", NOW, None) == (
        "restarted at 2027-01-15 08:00:00 UTC, killed because it did not end by itself"
    )
    assert book.action("recorder-north", NOW + 1, None) == "", "that was about an earlier alert"
    assert book.action("writer", NOW, None) == ""
    assert book.action("recorder-north", NOW - 60, NOW - 1) == "", "that alert was over"
    second = book.begin(STUCK, NOW + 600)
    assert second is not None
    book.end(second, "failed", NOW + 640, killed=False, reason="no answer")
    assert book.action("recorder-north", NOW, None) == (
        "could not be restarted at 2027-01-15 08:10:00 UTC: no answer, the last of 2 restarts"
    )


def test_a_disk_that_does_not_take_it_forbids_the_restart(tmp_path: Path) -> None:
    (tmp_path / "watchdog").write_text("no folder")
    book = RestartBook(tmp_path)
    assert book.begin(STUCK, NOW) is None
    assert book.unsaved() == []
    assert book.counts == {}


def test_a_damaged_file_begins_again_and_the_list_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "watchdog").mkdir()
    (tmp_path / "watchdog" / "restarts.json").write_text("{")
    book = RestartBook(tmp_path)
    for number in range(MOST + 5):
        assert book.begin(STUCK, NOW + number) is not None
    assert len(RestartBook(tmp_path).unsaved()) == MOST
