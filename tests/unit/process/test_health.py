"""Health reports: complete, typed, and legible across versions."""

import os
import threading
import time
from pathlib import Path

import msgspec
import pytest

from recorder.process.health import (
    STALE_S,
    UNREADABLE,
    FakeVenueFigures,
    Figures,
    HealthFile,
    JobFigures,
    JournalFigures,
    LinkFailure,
    LinkFigures,
    PollerFigures,
    RecorderFigures,
    Refusal,
    SimulatorFigures,
    WriterFigures,
    read_all,
)

EVERY_KIND: list[Figures] = [
    RecorderFigures(
        links=[LinkFigures(state="LIVE", last_error=LinkFailure("no route", 1.5))],
        refusals=[Refusal("trade A", "unknown product")],
    ),
    WriterFigures(rows=3, journals={"recorder-x": JournalFigures(7, 2.5)}),
    PollerFigures({"discovery": JobFigures(1.0, rounds=2)}),
    SimulatorFigures({"kraken": FakeVenueFigures(clients=1)}),
]


@pytest.mark.parametrize("figures", EVERY_KIND, ids=lambda figures: type(figures).__name__)
def test_a_report_is_read_as_it_was_written(figures: Figures, tmp_path: Path) -> None:
    HealthFile(tmp_path, "writer").write("live", "fine", figures)
    report = read_all(tmp_path)["writer"]
    assert (report.state, report.detail, report.pid) == ("live", "fine", os.getpid())
    assert report.figures == figures
    assert '"kind":"' in (tmp_path / "health" / "writer.json").read_text()


def test_a_report_grows_stale(tmp_path: Path) -> None:
    HealthFile(tmp_path, "writer").write("live")
    report = read_all(tmp_path)["writer"]
    assert not report.stale(time.time())
    assert report.stale(report.updated_at + STALE_S + 1)


def test_a_reader_never_sees_half_a_report(tmp_path: Path) -> None:
    health = HealthFile(tmp_path, "recorder-x")
    health.write("live")
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            health.write("live", "y" * 100_000)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        assert all(read_all(tmp_path)["recorder-x"].state == "live" for _ in range(200))
    finally:
        stop.set()
        writer.join(10)


def rewrite(home: Path, figures: object) -> None:
    """Replace the figures of the writer's report by those of another version."""
    path = home / "health" / "writer.json"
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), "figures": figures}))


def test_fields_of_another_version_are_ignored_and_absent_ones_have_their_default(tmp_path: Path) -> None:
    HealthFile(tmp_path, "writer").write("live", "", WriterFigures(rows=3))
    rewrite(tmp_path, {"kind": "writer", "rows": 4, "invented_later": [1]})
    assert read_all(tmp_path)["writer"].figures == WriterFigures(rows=4)


@pytest.mark.parametrize("figures", [{"kind": "invented later"}, {"kind": "writer", "rows": "many"}, [1]])
def test_figures_that_cannot_be_read_are_reported_with_the_process_they_are_of(figures: object, tmp_path: Path) -> None:
    HealthFile(tmp_path, "writer").write("live", "", WriterFigures())
    rewrite(tmp_path, figures)
    report = read_all(tmp_path)["writer"]
    assert (report.state, report.pid, report.figures) == (UNREADABLE, os.getpid(), None)
    assert "cannot be read" in report.detail


@pytest.mark.parametrize("content", [b'{"program": "dam', b"", b"[]", b"\xff\xfe"])
def test_a_damaged_file_is_reported_and_hides_no_other(content: bytes, tmp_path: Path) -> None:
    HealthFile(tmp_path, "writer").write("live")
    (tmp_path / "health" / "recorder-x.json").write_bytes(content)
    reports = read_all(tmp_path)
    assert (reports["recorder-x"].state, reports["writer"].state) == (UNREADABLE, "live")
    assert "damaged" in reports["recorder-x"].detail


def test_a_home_without_reports_has_none(tmp_path: Path) -> None:
    assert read_all(tmp_path / "nowhere") == {}


def test_a_disk_that_does_not_take_a_report_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "health").write_text("in the way")
    assert HealthFile(tmp_path, "writer").write("live") is False


def test_a_clean_stop_withdraws_the_report(tmp_path: Path) -> None:
    health = HealthFile(tmp_path, "writer")
    health.write("live")
    health.remove()
    assert read_all(tmp_path) == {}


def test_everything_is_stored_when_every_journal_is_and_the_database_is_up() -> None:
    journals = {"a": JournalFigures(0, 200.0), "b": JournalFigures(512, 100.0)}
    assert WriterFigures(database="up", journals=journals).has_stored(100.0)
    assert not WriterFigures(database="up", journals=journals).has_stored(100.1)
    assert not WriterFigures(database="down: refused", journals=journals).has_stored(100.0)
