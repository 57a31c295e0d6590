"""The judgement of the check from outside, on what files and Postgres may hold."""

import time
from typing import Any

import pytest

from recorder.outside.bounded import Fault, bounded
from recorder.outside.judgement import CRITICAL, OK, WARNING, Seen, add_rows, judge, watchdog_dead
from recorder.outside.postgres import Rows
from recorder.outside.processes import Running
from recorder.outside.texts import printable
from recorder.printable import one_line
from recorder.process.health import STALE_S

NOW = 1_800_000_000.0
ODD: list[Any] = [None, True, -1, 1e300, float("nan"), "text", [], [[]], [None], {}, {"links": [{}]}]


def seen(name: str, report: dict[str, Any] | None, **changes: Any) -> Seen:
    found = {name: Running([7], stopped=False, uptime_s=1000.0, memory=1)}
    reports = {} if report is None else {name: report}
    return Seen(NOW, found, reports, {}, full=False)._replace(**changes)


def live(**changes: Any) -> dict[str, Any]:
    return {"pid": 7, "updated_at": NOW, "state": "live", "detail": "", "figures": {}} | changes


def test_a_program_is_judged_by_its_process_and_its_report() -> None:
    assert judge("writer", seen("writer", live())) == (OK, "")
    assert judge("writer", seen("writer", None)) == (CRITICAL, "has not reported since its start")
    assert judge("writer", seen("writer", live(pid=8))) == (CRITICAL, "has not reported since its start")
    assert judge("writer", seen("writer", live(), found={})) == (CRITICAL, "is not running")
    assert judge("watchdog", seen("watchdog", live(), found={}, states={"watchdog": "BACKOFF"})) == (
        WARNING,
        "is not running (BACKOFF)",
    )
    old = live(updated_at=NOW - 2 * STALE_S)
    assert judge("writer", seen("writer", old)) == (CRITICAL, "runs, and has not reported for 20 s")
    assert judge("writer", seen("writer", old, full=True))[1].endswith("; the disk takes no report")
    assert judge("writer", seen("writer", live(state="waiting", detail="down"))) == (WARNING, "is waiting: down")
    assert judge("recorder-x", seen("recorder-x", live(figures={"refused": 2}))) == (WARNING, "has 2 streams refused")
    assert judge("simulator", seen("simulator", None)) == (OK, "")


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_reports_never_end_the_check(odd: Any) -> None:
    for key in live():
        for name in ("writer", "recorder-x", "watchdog"):
            state = seen(name, live(**{key: odd}))
            judge(name, state)
            watchdog_dead(state)
            for rows in (Rows({}, {}, "", "not asked", unknown=True), Rows({"total": odd}, {"last": odd}, "", "")):
                add_rows(rows, state, [], [], {})
    for key in ("links", "journals", "database", "rows"):
        for name in ("writer", "recorder-x"):
            add_rows(Rows({}, {}, "", "", unknown=True), seen(name, live(figures={key: odd})), [], [], {})


def test_an_appliance_without_rows_for_five_minutes_is_critical_unless_it_is_young() -> None:
    for uptime_s, expected in ((1000.0, [(CRITICAL, "no row in the last 5 minutes")]), (100.0, [])):
        found = {"supervisord": Running([1], stopped=False, uptime_s=uptime_s, memory=1)}
        problems: list[tuple[int, str]] = []
        rows = Rows({"total": {"quote": 7}}, {"quote": 0, "trade": None, "book": 0, "last": None}, "", "")
        add_rows(rows, seen("writer", live(), found=found), problems, [], {})
        assert problems == expected


def test_a_full_disk_is_no_proof_that_the_watchdog_is_dead() -> None:
    old = live(updated_at=NOW - 300)
    assert watchdog_dead(seen("watchdog", old))
    assert not watchdog_dead(seen("watchdog", old, full=True))
    assert not watchdog_dead(seen("watchdog", live()))
    stopped = {"watchdog": Running([7], stopped=True, uptime_s=1000.0, memory=1)}
    assert watchdog_dead(seen("watchdog", live(), found=stopped))


def test_work_that_hangs_is_left_behind() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        bounded(lambda: time.sleep(60), 0.2)
    assert time.monotonic() - began < 10
    assert bounded(lambda: ["x", 1], 10.0) == ["x", 1]
    with pytest.raises(Fault, match="a fault in the check itself: ZeroDivisionError"):
        bounded(lambda: 1 // 0, 10.0)


@pytest.mark.parametrize("text", ["plain", "a\nb", "\x1b[2J", "x\u202ey", "\u2028", "\udc80", "ü€"])
def test_words_are_escaped_as_everywhere_else(text: str) -> None:
    assert printable(text).strip() == one_line(text.replace("\u2028", "\n")).strip()
