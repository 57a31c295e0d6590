"""The reporting loop: health each second, a summary each interval, "stopping" at the end."""

import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.process.health import HealthFile, JournalFigures, WriterFigures, read_all
from recorder.process.reporting import Health, Rate, reporting, summary
from recorder.settings import MonitoringSettings


def test_health_and_summary_are_reported_until_the_stop(tmp_path: Path) -> None:
    checks, stop = [], threading.Event()

    def check() -> Health:
        checks.append(read_all(tmp_path))
        if len(checks) == 2:
            stop.set()
        return Health("degraded", "slow", WriterFigures(rows=len(checks)))

    with capture_logs() as lines:
        reporting(HealthFile(tmp_path, "writer"), check, MonitoringSettings(metrics_interval_s=0.01))(stop)
    assert checks[0] == {}
    first = checks[1]["writer"]
    assert (first.state, first.detail, first.figures) == ("degraded", "slow", WriterFigures(rows=1))
    assert read_all(tmp_path)["writer"].state == "stopping"
    assert [(line["program"], line["state"], line["rows"]) for line in lines] == [
        ("writer", "degraded", 1), ("writer", "degraded", 2),
    ]  # fmt: skip


def test_a_summary_has_lists_and_tables_by_their_length() -> None:
    figures = WriterFigures(rows=5, database="up", journals={"recorder-x": JournalFigures()})
    assert summary(figures) == {
        "rows": 5, "rows_per_s": 0.0, "duplicates": 0, "quarantined": 0, "transactions": 0, "lag_bytes": 0,
        "database": "up", "journals": 1,
    }  # fmt: skip


def test_a_rate_counts_from_the_last_call_and_is_never_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 12.0, 14.0, 15.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    rate = Rate()
    assert [rate.per_s(count) for count in (8, 2, 5)] == [4.0, 0.0, 3.0]
