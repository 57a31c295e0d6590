"""Health files: what is written is read whole, and age tells."""

import os
import threading
import time
from pathlib import Path

from recorder.health import STALE_S, HealthFile, read_all


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    HealthFile(tmp_path, "writer").write("live", "fine", {"rows": 3, "journals": {"recorder-x": {"lag_bytes": 0}}})
    report = read_all(tmp_path)["writer"]
    assert (report.state, report.detail, report.pid) == ("live", "fine", os.getpid())
    assert report.metrics == {"rows": 3, "journals": {"recorder-x": {"lag_bytes": 0}}}


def test_a_report_grows_stale(tmp_path: Path) -> None:
    HealthFile(tmp_path, "writer").write("live")
    report = read_all(tmp_path)["writer"]
    assert not report.stale(time.time())
    assert report.stale(report.updated_at + STALE_S + 1)


def test_a_reader_never_sees_half_a_report(tmp_path: Path) -> None:
    health = HealthFile(tmp_path, "recorder-x")
    health.write("live", "", {"big": 0})
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            health.write("live", "", {"big": "y" * 100_000})

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        assert all("recorder-x" in read_all(tmp_path) for _ in range(200))
    finally:
        stop.set()
        writer.join(10)


def test_foreign_and_damaged_files_are_left_out(tmp_path: Path) -> None:
    HealthFile(tmp_path, "writer").write("live")
    (tmp_path / "health" / "damaged.json").write_text('{"program": "dam')
    assert list(read_all(tmp_path)) == ["writer"]
    assert read_all(tmp_path / "nowhere") == {}


def test_a_disk_that_does_not_take_it_ends_nobody(tmp_path: Path) -> None:
    health = HealthFile(tmp_path, "writer")
    (tmp_path / "health").rmdir()
    assert health.write("live") is False


def test_a_clean_stop_withdraws_the_report(tmp_path: Path) -> None:
    health = HealthFile(tmp_path, "writer")
    health.write("live")
    health.remove()
    assert read_all(tmp_path) == {}
