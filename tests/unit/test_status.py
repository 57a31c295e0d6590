"""Status: healthy only when every program runs, speaks, and says it is live."""

from collections.abc import Iterable

import pytest
from rich.text import Text

from recorder.appliance import Process
from recorder.cli.status import Status, duration, judge, size, table
from recorder.health import Report

NOW = 1_800_000_000.0
NAMES = ["postgres", "recorder-x", "writer"]


def process(name: str, state: str = "RUNNING", pid: int = 7) -> Process:
    return Process(name, state, pid, 0, 60.0)


LINKS = [{"last_data_age_s": 0.2}, {"last_data_age_s": 3}]


def report(name: str, state: str = "live", detail: str = "", *, age_s: float = 0.5, pid: int = 7) -> Report:
    metrics = {
        "recorder-x": {
            "frames_per_s": 12.0,
            "open_gaps": 1,
            "links": [{"last_data_age_s": 0.2}, {"last_data_age_s": 3}],
        },
        "writer": {"rows": 99, "rows_per_s": 34.0, "lag_bytes": 2048, "journals": {"recorder-x": {"lag_bytes": 2048}}},
    }
    return Report(name, pid, NOW - 60, NOW - age_s, state, detail, metrics.get(name, {}))


def judged(processes: Iterable[Process], reports: Iterable[Report]) -> Status:
    return judge(NAMES, {p.name: p for p in processes}, {r.program: r for r in reports}, NOW)


ALL = [process(name) for name in NAMES]
GOOD = [report("recorder-x"), report("writer")]


def test_all_running_and_live_is_healthy_and_shows_its_figures() -> None:
    status = judged(ALL, GOOD)
    assert status.healthy
    assert status.rows == 99
    recorder = next(line for line in status.programs if line.program == "recorder-x")
    assert (recorder.messages_per_s, recorder.data_age_s, recorder.journal_lag_bytes) == (12.0, 0.2, 2048)
    assert recorder.open_gaps == 1
    assert table(status).row_count == 3


def test_shares_of_a_venue_are_shown_beside_each_other() -> None:
    names = ["recorder-x-00", "recorder-x-01", "recorder-y"]
    streams = dict(zip(names, (30, 33, 6), strict=True))
    reports = {
        name: Report(name, 7, NOW - 60, NOW, "live", "", {"links": [{"streams": streams[name], "refused": 0}]})
        for name in names
    }
    status = judge(names, {name: process(name) for name in names}, reports, NOW)
    assert [(line.streams, line.venue_streams) for line in status.programs] == [(30, 63), (33, 63), (6, None)]
    assert shown(status, "streams") == ["30 of 63", "33 of 63", "6"]
    assert "refused" not in titles(status)
    assert "silent" not in titles(status)


def test_refused_and_silent_streams_get_a_column_when_there_are_some() -> None:
    bad = report("recorder-x", "degraded", "silent: trade A")
    bad.metrics.update(refused=3, silent=["trade A"], links=[{"streams": 5, "refused": 2}])
    status = judged(ALL, [bad, report("writer")])
    assert shown(status, "refused") == ["", "5", ""]
    assert shown(status, "silent") == ["", "1", ""]
    assert status.problems == ["recorder-x: degraded: silent: trade A"]


def titles(status: Status) -> list[object]:
    return [column.header for column in table(status).columns]


def shown(status: Status, title: str) -> list[str]:
    """The cells of a column as text."""
    column = next(column for column in table(status).columns if column.header == title)
    return [Text.from_markup(str(cell)).plain for cell in column.cells]


def test_nothing_running_says_how_to_start() -> None:
    assert judged([], GOOD).problems == ["the appliance is not running; `make run` starts it"]


@pytest.mark.parametrize(
    ("processes", "reports", "problem"),
    [
        (
            [process("postgres"), process("recorder-x", "BACKOFF"), process("writer")],
            GOOD,
            "recorder-x: supervisord has",
        ),
        ([process("recorder-x"), process("writer")], GOOD, "postgres: supervisord has it as absent"),
        (ALL, [report("writer")], "recorder-x: it has not reported yet"),
        (ALL, [report("recorder-x", age_s=60), report("writer")], "recorder-x: its last word is 60 s old"),
        (ALL, [report("recorder-x"), report("writer", pid=8)], "writer: its last word is"),
        (ALL, [report("recorder-x"), report("writer", "waiting", "database down")], "writer: waiting: database down"),
    ],
)
def test_whatever_is_wrong_is_named(processes: list[Process], reports: list[Report], problem: str) -> None:
    status = judged(processes, reports)
    assert not status.healthy
    assert status.problems[0].startswith(problem)


def test_figures_read_as_a_person_says_them() -> None:
    assert [duration(s) for s in (42, 300, 7200, 1e6)] == ["42 s", "5 min", "2.0 h", "12 d"]
    assert [size(n) for n in (12, 2048, 5 << 20, 3 << 30)] == ["12 B", "2 KiB", "5 MiB", "3.0 GiB"]
