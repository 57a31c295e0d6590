"""Loaded segments are removed by age and size; what is not loaded never is."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.journal_reader import segment_path, segments
from recorder.position import Position
from recorder.retention import Retention, SegmentFile, to_remove
from recorder.settings import JournalSettings

DAY_S = 86_400.0
NOW_S = 1_800_000_000.0


def file(name: str, size: int, age_days: float) -> SegmentFile:
    return SegmentFile(Path(name), size, NOW_S - age_days * DAY_S)


def names(files: list[SegmentFile]) -> set[str]:
    return {str(one.path) for one in files}


def test_what_is_too_old_goes_whatever_its_size() -> None:
    files = [file("new", 10, 1), file("old", 1, 8)]
    assert names(to_remove(files, NOW_S, days=7, max_bytes=1000)) == {"old"}


def test_the_oldest_go_when_there_is_too_much() -> None:
    files = [file("a", 40, 1), file("b", 40, 2), file("c", 40, 3)]
    assert names(to_remove(files, NOW_S, days=7, max_bytes=100)) == {"c"}


def test_an_older_file_is_not_kept_in_place_of_a_newer_one_because_it_is_small() -> None:
    files = [file("new", 10, 1), file("large", 100, 2), file("small", 5, 3)]
    assert names(to_remove(files, NOW_S, days=7, max_bytes=50)) == {"large", "small"}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 20)), max_size=12), st.floats(0, 20), st.integers(0, 300))
def test_what_stays_is_the_newest_within_both_limits(
    shapes: list[tuple[int, float]], days: float, max_bytes: int
) -> None:
    files = [file(str(number), size, age) for number, (size, age) in enumerate(shapes)]
    removed = to_remove(files, NOW_S, days, max_bytes)
    kept = [one for one in files if one not in removed]
    assert sum(one.size for one in kept) <= max_bytes
    assert all(NOW_S - one.modified_s <= days * DAY_S for one in kept)
    if kept and removed:
        assert min(one.modified_s for one in kept) >= max(one.modified_s for one in removed)


def folder_of(tmp_path: Path, name: str, count: int) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    for number in range(1, count + 1):
        path = segment_path(folder, number)
        path.write_bytes(bytes(100))
        os.utime(path, (NOW_S - (count - number + 30) * DAY_S,) * 2)
    return folder


def test_segments_that_are_not_stored_stay_however_old_they_are(tmp_path: Path) -> None:
    stored, unknown, behind = (folder_of(tmp_path, name, 4) for name in ("stored", "unknown", "behind"))
    retention = Retention(JournalSettings(retention_days=7))
    removed = retention.clean([(stored, Position(4, 900)), (unknown, None), (behind, Position(2, 0))], NOW_S)
    assert segments(stored) == [4]  # the newest tells the recorder where its streams stood
    assert segments(unknown) == [1, 2, 3, 4]
    assert segments(behind) == [2, 3, 4]
    assert removed == 400


def test_the_size_limit_is_over_all_journals(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path, name, 4) for name in "ab"]
    retention = Retention(JournalSettings(retention_days=1000, retention_gb=400 / (1 << 30)))
    retention.clean([(folder, Position(4, 0)) for folder in folders], NOW_S)
    assert [segments(folder) for folder in folders] == [[2, 3, 4], [2, 3, 4]]


def test_an_empty_folder_is_nothing_to_clean(tmp_path: Path) -> None:
    assert Retention(JournalSettings()).clean([(tmp_path, Position(1, 0))], NOW_S) == 0
