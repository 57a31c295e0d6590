"""`tapedeck verify` judges only what the writer had the time to load."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.cli import verify
from recorder.process.health import HealthFile, JournalFigures, WriterFigures
from recorder.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(environ={"TAPEDECK_HOME": str(tmp_path)})


def writer_reports(settings: Settings, journal: JournalFigures, database: str = "up") -> None:
    HealthFile(settings.home, "writer").write(
        "live", "", WriterFigures(database=database, journals={"recorder-x": journal})
    )


def polls(monkeypatch: pytest.MonkeyPatch, between: Callable[[int], None]) -> list[bool]:
    """Replace the pauses of the wait; gives what each of three polls found."""
    found: list[bool] = []

    def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
        for number in range(3):
            found.append(condition())
            between(number)
        return found[-1]

    monkeypatch.setattr(verify, "wait_until", wait_until)
    return found


def test_it_waits_while_a_health_report_says_there_is_a_backlog(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = time.time() - 10.0
    writer_reports(settings, JournalFigures(5 << 30, called - 60.0))

    def progress(number: int) -> None:
        # Half-way the backlog is smaller, then all that was written before the call is loaded, though not all.
        writer_reports(settings, JournalFigures(1 << 20, called + (0.5 if number == 0 else 1.5)))

    found = polls(monkeypatch, progress)
    assert verify._wait_for_writer(settings, int(called * 1e9), 30.0) == verify.Waited(True)
    assert found == [False, False, True]


def test_it_waits_while_the_database_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    called = time.time() - 10.0
    writer_reports(settings, JournalFigures(0, time.time()), database="down: refused")
    found = polls(monkeypatch, lambda _: None)
    waited = verify._wait_for_writer(settings, int(called * 1e9), 30.0)
    assert waited.runs
    assert "after 30 s the writer still has to load" in waited.behind
    assert "the database is down: refused" in waited.behind
    assert found == [False, False, False]


def test_without_a_writer_there_is_nothing_to_wait_for(settings: Settings) -> None:
    assert verify._wait_for_writer(settings, time.time_ns(), 30.0) == verify.Waited(False)
    writer_reports(settings, JournalFigures(1, 0.0))
    path = settings.home / "health" / "writer.json"
    path.write_bytes(path.read_bytes().replace(b'"updated_at":', b'"updated_at":1.5,"was":'))
    os.utime(path, (1.5, 1.5))
    assert verify._wait_for_writer(settings, time.time_ns(), 30.0) == verify.Waited(False)
