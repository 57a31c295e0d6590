"""What lasts over a restart: counters that never fall, the book of alerts, the silence of a venue."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.watchdog import NOW, VENUES, evidence, recorder, report

from recorder.appliance.observation import Observation
from recorder.appliance.supervisor import Process
from recorder.process.health import JobFigures, PollerFigures, Report
from recorder.watchdog.alerts import Alert, Change, Held
from recorder.watchdog.book import AlertBook, Marked, Memory, read_memory, read_records, write_memory
from recorder.watchdog.evidence import MessageKind
from recorder.watchdog.history import KIND_NEW_S, History
from recorder.watchdog.totals import Total, Totals

NORTH = "recorder-north"


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), max_size=50))
def test_a_total_never_falls_and_counts_everything_that_was_seen(steps: list[tuple[int, bool, bool]]) -> None:
    totals, raw, since, shown, counted = Totals(), 0, 1.0, 0.0, 0
    for more, program_restarts, watchdog_restarts in steps:
        if program_restarts:
            raw, since = 0, since + 1
        raw += more
        counted += more
        if watchdog_restarts:
            totals = Totals(msgspec.json.decode(msgspec.json.encode(totals.kept), type=dict[str, Total]))
        total = totals.add("frames", raw, since)
        assert total >= shown
        shown = total
    assert shown == counted


def as_stored(_alert: Alert, before: Marked) -> Marked:
    """Return that nothing was noted since."""
    return before


def test_the_book_keeps_alerts_until_postgres_has_them(tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    held = Held("venue_no_data", "north", "no data", 601.0, NOW, alert_id=5, fired_at=NOW)
    fired = Change("firing", held, NOW)
    book.deliver(fired, "page", book.alert(fired, "page"))
    assert book.save()
    again = AlertBook(tmp_path)
    assert [(one.alert.alert_id, one.alert.state) for one in again.unsaved(as_stored)] == [(5, "firing")]
    again.saved(again.unsaved(as_stored))
    over = Change("resolved", held, NOW + 60)
    again.deliver(over, "page", again.alert(over, "page"))
    assert [(one.alert.state, one.alert.revision) for one in again.unsaved(as_stored)] == [("resolved", 2)]
    again.saved(again.unsaved(as_stored))
    again.save()
    assert AlertBook(tmp_path).unsaved(as_stored) == []
    assert [one.state for one in AlertBook(tmp_path).alerts()] == ["resolved"]


def test_an_action_is_a_revision_of_its_alert_and_lasts_until_its_end(tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    held = Held("program_stuck", NORTH, "it is stuck", 95.0, NOW, alert_id=5, fired_at=NOW)
    fired, over = Change("firing", held, NOW), Change("resolved", held, NOW + 60)
    book.deliver(fired, "page", book.alert(fired, "page"))
    for action in ("being restarted", "restarted", "restarted"):
        book.note_action(5, action)
    book.note_action(6, "of no alert")
    book.deliver(over, "page", book.alert(over, "page"))
    (alert,) = book.alerts()
    assert (alert.action, alert.revision, alert.summary) == ("restarted", 4, "it is stuck")


def test_a_kill_between_the_two_files_makes_no_second_alert(tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    pending = Held("venue_no_data", "north", "no data", 601.0, NOW)
    write_memory(tmp_path, Memory([pending]))
    fired = Change("firing", msgspec.structs.replace(pending, alert_id=5, fired_at=NOW), NOW)
    book.deliver(fired, "page", book.alert(fired, "page"))
    book.save()
    memory = read_memory(tmp_path, AlertBook(tmp_path).alerts())
    assert [(held.alert_id, held.firing) for held in memory.held] == [(5, True)]

    over = Change("resolved", memory.held[0], NOW + 9)
    write_memory(tmp_path, Memory(memory.held))
    book.deliver(over, "page", book.alert(over, "page"))
    book.save()
    assert read_memory(tmp_path, AlertBook(tmp_path).alerts()).held == []


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b"[1,2", b'{"held": 3}'])
def test_damaged_files_are_as_none(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "watchdog"
    folder.mkdir()
    for name in ("alerts.json", "round.json"):
        (folder / name).write_bytes(damage)
    assert read_records(tmp_path) == []
    assert read_memory(tmp_path, []).held == []


class Rounds:
    """Looks at an appliance, one after the other."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.now_s = 0.0
        self.step_s = 0.0

    def see(self, passed_s: float = 5.0, **changes: object) -> "Rounds":
        self.now_s += passed_s
        given = evidence(**changes)  # type: ignore[arg-type]
        seen = Observation(given.processes, given.reports, given.status)
        self.trends = self.history.update(seen, self.kinds, VENUES, NOW + self.now_s + self.step_s, self.now_s)
        return self

    kinds: list[MessageKind] | None = None


def events(count: int, started_at: float = NOW - 900) -> dict[str, Report | None]:
    figures = recorder(events=count, frames=count, quarantined=count // 10)
    return {NORTH: Report(NORTH, 7, started_at, NOW, "live", "", figures)}


def test_a_venue_is_silent_from_its_last_event_on_also_over_a_restart() -> None:
    rounds = Rounds(History({}, None))
    rounds.see(reports=events(10)).see(reports=events(11))
    assert rounds.trends.no_data_s["north"] == 0.0
    rounds.see(100.0, reports=events(11))
    assert rounds.trends.no_data_s["north"] == 100.0
    later = Rounds(History(rounds.history.quiet_s, None))
    later.see(reports=events(11)).see(50.0, reports=events(11))
    assert later.trends.no_data_s["north"] == 150.0
    later.see(reports=events(0, NOW)).see(reports=events(0, NOW))
    assert later.trends.no_data_s["north"] == 160.0, "a restart brings no data"
    assert later.see(reports=events(1, NOW)).trends.no_data_s["north"] == 0.0
    nothing = {NORTH: report(NORTH, recorder(links=[]))}
    assert later.see(1_000.0, reports=nothing).trends.no_data_s["north"] == 0.0, "nothing is subscribed"


def test_rates_count_over_restarts_of_a_program() -> None:
    rounds = Rounds(History({}, None))
    rounds.see(reports=events(1_000)).see(20.0, reports=events(1_100)).see(20.0, reports=events(50, NOW))
    assert rounds.trends.frames[NORTH] == 150
    assert rounds.see(400.0, reports=events(60, NOW)).trends.frames[NORTH] <= 60


def test_restarts_are_counted_within_their_window() -> None:
    rounds = Rounds(History({}, None))
    for pid in (7, 8, 9, 10):
        rounds.see(processes={NORTH: Process(NORTH, "RUNNING", pid, 0, 1.0)})
    assert rounds.trends.restarts == {NORTH: 3}
    rounds.see(processes={NORTH: Process(NORTH, "BACKOFF", 0, 1, 0.0)})
    assert rounds.trends.restarts == {NORTH: 4}
    assert rounds.see(700.0, processes={NORTH: Process(NORTH, "RUNNING", 10, 0, 9.0)}).trends.restarts == {}


def test_a_step_of_the_clock_is_shown_for_some_minutes() -> None:
    rounds = Rounds(History({}, None))
    rounds.see()
    rounds.step_s = -3.0
    rounds.see()
    assert rounds.history.step_s == pytest.approx(-3.0)
    rounds.see()
    assert rounds.history.step_s == pytest.approx(-3.0)
    rounds.see(400.0)
    assert rounds.history.step_s == 0.0


def test_polls_are_counted_over_an_hour() -> None:
    rounds = Rounds(History({}, None))
    for number in range(1, 30):
        jobs = {"a": JobFigures(rounds=number * 10, failed=number, missed=number)}
        rounds.see(60.0, reports={"poller": report("poller", PollerFigures(jobs=jobs))})
    assert (rounds.trends.poll_rounds, rounds.trends.poll_failed) == (280, 28)
    assert 9 <= rounds.trends.poll_missed <= 11, "within ten minutes"


def test_a_new_kind_of_message_is_new_for_an_hour() -> None:
    rounds = Rounds(History({}, None))
    old, new = MessageKind(NORTH, "unknown message", 3), MessageKind(NORTH, "price is no number", 1)
    assert rounds.see().trends.new_kinds == []
    rounds.kinds = [old]
    assert rounds.see().trends.new_kinds == [], "what is there at the first look is known"
    rounds.kinds = [old, new]
    assert rounds.see().trends.new_kinds == [new]
    assert rounds.see(KIND_NEW_S + 1).trends.new_kinds == []
