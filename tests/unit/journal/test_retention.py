"""Loaded segments are removed by age and size; what a known database has not loaded is not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.clock import ManualClock
from recorder.journal.block import BlockHeader
from recorder.journal.reader import segment_path, segments
from recorder.journal.retention import Limits, Retention, SegmentFile, ages, read_claims, to_remove, write_claim
from recorder.journal.writer import Journal
from recorder.position import Position
from recorder.settings import JournalSettings

DAY_S = 86_400.0
S = 10**9
OWN, OTHER = "7-100", "7-200"


def file(name: str, size: int, age_days: float) -> SegmentFile:
    return SegmentFile(Path(name), size, age_days * DAY_S)


def names(files: list[SegmentFile]) -> set[str]:
    return {str(one.path) for one in files}


def test_what_is_too_old_goes_whatever_its_size() -> None:
    assert names(to_remove([file("new", 10, 1), file("old", 1, 8)], days=7, max_bytes=1000)) == {"old"}


def test_the_oldest_go_when_there_is_too_much() -> None:
    files = [file("a", 40, 1), file("b", 40, 2), file("c", 40, 3)]
    assert names(to_remove(files, days=7, max_bytes=100)) == {"c"}


def test_an_older_file_is_not_kept_in_place_of_a_newer_one_because_it_is_small() -> None:
    files = [file("new", 10, 1), file("large", 100, 2), file("small", 5, 3)]
    assert names(to_remove(files, days=7, max_bytes=50)) == {"large", "small"}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 20)), max_size=12), st.floats(0, 20), st.integers(0, 300))
def test_what_stays_is_the_newest_within_both_limits(
    shapes: list[tuple[int, float]], days: float, max_bytes: int
) -> None:
    files = [file(str(number), size, age) for number, (size, age) in enumerate(shapes)]
    removed = to_remove(files, days, max_bytes)
    kept = [one for one in files if one not in removed]
    assert sum(one.size for one in kept) <= max_bytes
    assert all(one.age_s <= days * DAY_S for one in kept)
    if kept and removed:
        assert max(one.age_s for one in kept) <= min(one.age_s for one in removed)


def test_the_age_of_a_segment_is_what_was_recorded_after_it() -> None:
    assert ages([0, 60 * S, 100 * S, 130 * S], longest_s=60) == [70, 30, 0, 0]


@pytest.mark.parametrize("step_s", [8 * DAY_S, -8 * DAY_S])
def test_a_clock_that_steps_makes_nothing_older_than_one_segment(step_s: float) -> None:
    begins = [number * 60 * S for number in range(6)]
    stepped = [*begins[:3], *(begin + int(step_s) * S for begin in begins[3:])]
    assert all(age_s <= 5 * 60 for age_s in ages(stepped, longest_s=60))


def test_a_segment_with_a_damaged_begin_counts_for_nothing() -> None:
    assert ages([0, None, 60 * S, 90 * S], longest_s=60) == [30, 30, 0, 0]


def folder_of(
    tmp_path: Path, name: str, count: int, segment_s: float = 3600.0, clock: ManualClock | None = None
) -> Path:
    """Return a journal of this many segments."""
    clock = clock or ManualClock()
    journal = Journal.open(tmp_path / name, "venue", JournalSettings(reserve_mb=0, segment_minutes=1), clock)
    for _ in range(count):
        journal.next_position(lambda: ([], []))
        journal.append(BlockHeader(clock.wall_ns(), [], [], []), [])
        clock.advance(segment_s)
    journal.close()
    return tmp_path / name


def kept(**limits: float) -> Retention:
    return Retention(JournalSettings.model_validate({"reserve_mb": 0, "segment_minutes": 60, **limits}))


def test_segments_that_are_not_stored_stay_however_old_they_are(tmp_path: Path) -> None:
    stored, behind = (folder_of(tmp_path, name, 4) for name in ("stored", "behind"))
    kept(retention_days=0).clean([(stored, Position(4, 900)), (behind, Position(2, 0))], OWN)
    assert segments(stored) == [3, 4]  # nothing was recorded after 3; the newest restores the streams
    assert segments(behind) == [2, 3, 4]


def test_the_size_limit_is_over_all_journals(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path, name, 4) for name in "ab"]
    size = segment_path(folders[0], 1).stat().st_size
    kept(retention_days=1000, retention_gb=4.5 * size / (1 << 30)).clean(
        [(one, Position(4, 0)) for one in folders], OWN
    )
    assert [segments(folder) for folder in folders] == [[2, 3, 4], [2, 3, 4]]


def test_what_a_process_recorded_ages_while_that_of_the_other_slot_records(tmp_path: Path) -> None:
    """After a handover nothing follows in the old journal: its segments must not stay for ever."""
    clock = ManualClock()
    old = folder_of(tmp_path, "recorder-kraken", 3, clock=clock)
    new = folder_of(tmp_path, "recorder-kraken-b", 4, clock=clock)
    other = folder_of(tmp_path, "recorder-okx", 3)
    kept(retention_days=2.5 / 24).clean([(one, Position(4, 0)) for one in (old, new, other)], OWN)
    assert segments(old) == [3]  # it restores the streams
    assert segments(new) == [1, 2, 3, 4]
    assert segments(other) == [1, 2, 3]


def test_an_empty_folder_is_nothing_to_clean(tmp_path: Path) -> None:
    assert kept().clean([(tmp_path, Position(1, 0))], OWN) == 0


def test_what_another_database_has_not_loaded_stays(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "j", 5)
    write_claim(folder, OTHER, Position(2, 70))
    kept(retention_gb=0).clean([(folder, Position(5, 0))], OWN)
    assert segments(folder) == [2, 3, 4, 5]
    write_claim(folder, OTHER, Position(4, 70))
    kept(retention_gb=0).clean([(folder, Position(5, 0))], OWN)
    assert segments(folder) == [4, 5]


def test_a_claim_that_cannot_be_read_or_is_ahead_of_the_journal_keeps_everything(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "j", 4)
    write_claim(folder, OTHER, Position(9, 0))
    kept(retention_gb=0).clean([(folder, Position(4, 0))], OWN)
    (folder / "loaded" / f"{OTHER}.json").write_text("not JSON")
    kept(retention_gb=0).clean([(folder, Position(4, 0))], OWN)
    assert segments(folder) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("limits", "present"),
    [({"retention_days": 0.1}, ()), ({"reserve_mb": 1 << 40}, ()), ({}, [OWN])],
    ids=["it loads nothing", "the disk is full", "it was dropped"],
)
def test_a_database_is_forgotten_in_the_end(tmp_path: Path, limits: dict[str, float], present: list[str]) -> None:
    folder = folder_of(tmp_path, "j", 5)
    write_claim(folder, OTHER, Position(1, 70))
    settings = JournalSettings.model_validate({"segment_minutes": 60, "reserve_mb": 0, "retention_gb": 0, **limits})
    Retention(settings).clean([(folder, Position(5, 0))], OWN, present)
    assert segments(folder) == [5]
    assert list(read_claims(folder)) == []


def test_a_journal_with_limits_of_its_own_is_trimmed_by_them_and_counts_with_no_other(tmp_path: Path) -> None:
    recorder, poller = (folder_of(tmp_path, name, 6, segment_s=DAY_S) for name in ("recorder-x", "poller"))
    settings = JournalSettings(reserve_mb=0, segment_minutes=3000, retention_days=1000)
    retention = Retention(settings, {"poller": Limits(days=2, gb=1)})
    retention.clean([(recorder, Position(6, 0)), (poller, Position(6, 0))], OWN)
    assert segments(recorder) == [1, 2, 3, 4, 5, 6]
    assert segments(poller) == [3, 4, 5, 6], "two days were recorded after 3"
