"""Each rule fires for what it watches and for nothing else, and an outage is one alert."""

from typing import Any

import msgspec
import pytest
from support.documents import ROOT
from support.watchdog import LIMITS, NOW, NOW_S, VENUES, evidence, facts, found, keys, recorder, report

from recorder.appliance.disk import DiskUse
from recorder.appliance.supervisor import Process
from recorder.errors import ConfigError
from recorder.process.health import (
    ColumnsFigures,
    DeriverFigures,
    JobFigures,
    JournalFigures,
    KeeperFigures,
    KeepFigures,
    LinkFailure,
    PollerFigures,
    Refusal,
    WriterFigures,
)
from recorder.settings import WatchdogSettings
from recorder.settings.watched import RuleSettings
from recorder.watchdog import rules
from recorder.watchdog.causes import Consequences
from recorder.watchdog.evidence import (
    BackupFacts,
    ClockEvidence,
    DatabaseEvidence,
    DiskEvidence,
    Evidence,
    FileSystem,
    MessageKind,
    Trends,
)

NORTH = "recorder-north"


def north(**changes: Any) -> Evidence:
    """Return evidence in which the recorder of one venue has other figures."""
    return evidence(reports={NORTH: report(NORTH, recorder(**changes))})


def trends(**changes: Any) -> Trends:
    return Trends(**{"no_data_s": dict.fromkeys(VENUES, 0.0), **changes})


def poller(**changes: Any) -> Evidence:
    return evidence(reports={"poller": report("poller", PollerFigures(**changes))})


def asked(**changes: Any) -> Evidence:
    return evidence(database=DatabaseEvidence("up", "", 0.0, facts(**changes)))


def lagging(lag_s: float) -> Evidence:
    figures = WriterFigures(database="up", journals={NORTH: JournalFigures(9, NOW - lag_s, lag_s)})
    return evidence(reports={"writer": report("writer", figures)})


def writing_columns(lag_s: float) -> Evidence:
    return evidence(reports={"columns": report("columns", ColumnsFigures(disk="up", lag_s=lag_s))})


def keeping(named: dict[str, KeepFigures] | None = None, **jobs: KeepFigures) -> Evidence:
    return evidence(reports={"keeper": report("keeper", KeeperFigures({**(named or {}), **jobs}))})


def deriving(state: str = "live", **changes: Any) -> Evidence:
    figures = msgspec.structs.replace(DeriverFigures(bars=300, database="up"), **changes)
    return evidence(reports={"deriver": report("deriver", figures, state=state)})


def disk(percent: float) -> Evidence:
    return evidence(disk=DiskEvidence([FileSystem("home", 100, 1, percent)], NOW_S))


def process(state: str, pid: int = 7) -> Process:
    return Process(NORTH, state, pid, 1, 5.0)


def days_left(days: float) -> Evidence:
    use = DiskUse(1, 1, None, 1, 1, full_after_s=days * 86_400, measured_over_s=7_200)
    return evidence(disk=DiskEvidence([], NOW_S, use, NOW_S))


CASES: list[tuple[Evidence, set[tuple[str, str]]]] = [
    (evidence(), set()),
    (evidence(supervised=False), {("supervisord_gone", "")}),
    (evidence(processes={NORTH: process("FATAL", 0)}), {("program_down", NORTH)}),
    (evidence(processes={NORTH: process("EXITED", 0)}), {("program_down", NORTH)}),
    (evidence(processes={NORTH: process("STARTING")}), set()),
    (evidence(processes={NORTH: process("BACKOFF", 0)}, trends=trends(restarts={NORTH: 3})),
     {("program_restarting", NORTH)}),
    (evidence(reports={NORTH: report(NORTH, age_s=30)}), {("program_stuck", NORTH)}),
    (evidence(reports={NORTH: report(NORTH, age_s=8)}), set()),
    (evidence(reports={NORTH: report(NORTH, state="degraded")}), {("program_unwell", NORTH)}),
    (evidence(database=DatabaseEvidence("down", "refused", 0.0, facts())), {("database_down", "")}),
    (evidence(database=DatabaseEvidence("hung", "no answer", 9.0, facts())), {("database_hung", "")}),
    (lagging(61), {("database_lagging", "")}),
    (lagging(59), set()),
    (deriving(lag_s=61.0), {("bars_lagging", "deriver")}),
    (deriving(lag_s=59.0), set()),
    (deriving(state="waiting", lag_s=61.0, database="down: timeout"), {("bars_lagging", "deriver")}),
    (asked(backup=BackupFacts("damaged", "checksum mismatch", "x", 0.2, 9.0)), {("backup_unproved", "")}),
    (asked(backup=BackupFacts("proved", "", "x", 2.1, 9.0)), {("backup_unproved", "")}),
    (asked(backup=BackupFacts("proved", "", "x", 1.1, 9.0)), set()),
    (asked(backup=BackupFacts(None, None, None, None, 2.5)), {("backup_unproved", "")}),
    (asked(backup=BackupFacts(None, None, None, None, None)), set()),
    (asked(backup=BackupFacts("proved", "", "x", 0.1, 9.0, 2.1)), {("backup_old", "")}),
    (asked(backup=BackupFacts("proved", "", "x", 0.1, 9.0, 1.9)), set()),
    (keeping(check=KeepFigures(damaged=2, problem="2 files are damaged")), {("archive_damaged", "keeper")}),
    (keeping(budget=KeepFigures(let_go_bytes=9)), {("archive_let_go", "keeper")}),
    (keeping(budget=KeepFigures(problem="the budget is exceeded by 9 MiB")), {("disk_budget", "keeper")}),
    (keeping(vacuum=KeepFigures(last_state="failed", problem="no space")), {("keeper_job", "keeper")}),
    (keeping(vacuum=KeepFigures(next_at=NOW - 901)), {("keeper_job", "keeper")}),
    (keeping(vacuum=KeepFigures(next_at=NOW - 899)), set()),
    (keeping(vacuum=KeepFigures(next_at=NOW - 901, last_state="waits")), set()),
    (keeping(vacuum=KeepFigures(running_since=NOW - 4_000, period_s=86_400.0)), set()),
    (keeping(vacuum=KeepFigures(running_since=NOW - 90_000, period_s=86_400.0)), {("keeper_job", "keeper")}),
    (keeping({"restore-proof": KeepFigures(problem="not proved")}), set()),
    (writing_columns(lag_s=61.0), {("columns_lagging", "columns")}),
    (writing_columns(lag_s=59.0), set()),
    (asked(connections=52), {("database_connections", "")}),
    (asked(connections=51), set()),
    (asked(default_partitions=["trade"]), {("default_partition", "")}),
    (asked(partitions_ahead_days=2), {("partitions_ahead", "")}),
    (asked(breaks={NORTH: 1}), {("lineage", NORTH)}),
    (north(failures=6, last_error=LinkFailure("no route", NOW)), {("venue_connections", "north")}),
    (north(failures=5), set()),
    (north(heartbeat_failures=5), {("venue_heartbeats", "north")}),
    (north(heartbeat_failures=4), set()),
    (evidence(trends=trends(no_data_s={"north": 601.0, "south": 0.0})), {("venue_no_data", "north")}),
    (evidence(trends=trends(no_data_s={"north": 599.0, "south": 0.0})), set()),
    (north(silent=["trade A", "trade B"]), {("streams_silent", "north")}),
    (north(refused=2, refusals=[Refusal("trade A", "unknown symbol")]), {("streams_refused", "north")}),
    (north(followed_refused=2), set()),
    (north(looping=1), {("book_resync_loop", "north")}),
    (north(oldest_gap_s=1_900.0), {("gap_long", "north")}),
    (evidence(reports={NORTH: report(NORTH, recorder(oldest_gap_s=1_900.0))},
              database=DatabaseEvidence("up", "", 0.0, facts(gap_habits={"north": 700.0}))), set()),
    (evidence(trends=trends(shed={NORTH: 1, "recorder-south": 2})), {("frames_dropped", "")}),
    (evidence(trends=trends(frames={NORTH: 900}, quarantined={NORTH: 10})), {("quarantine_rate", NORTH)}),
    (evidence(trends=trends(frames={NORTH: 90}, quarantined={NORTH: 9})), set()),
    (evidence(trends=trends(new_kinds=[MessageKind(NORTH, "unknown message", 3)])), {("new_message_kind", NORTH)}),
    (disk(90), {("disk_filling", "home")}),
    (disk(95), {("disk_full", "home")}),
    (disk(89.9), set()),
    (days_left(6), {("disk_days", "")}),
    (days_left(8), set()),
    (evidence(trends=trends(poll_missed=6)), {("poll_slots_missed", "poller")}),
    (evidence(trends=trends(poll_rounds=20, poll_failed=3)), {("poll_success", "poller")}),
    (evidence(trends=trends(poll_rounds=19, poll_failed=19)), set()),
    (poller(jobs={"a": JobFigures(overdue=300), "b": JobFigures(overdue=201)}), {("poll_backlog", "poller")}),
    (poller(circuits=["gamma"]), {("circuit_open", "poller")}),
    (evidence(clock=ClockEvidence(True, -1.5)), {("clock_offset", "")}),
    (evidence(clock=ClockEvidence(None, None, -3.0)), {("clock_step", "")}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_a_rule_finds_what_it_watches_and_nothing_else(given: Evidence, expected: set[tuple[str, str]]) -> None:
    assert keys(given) == expected


def test_every_rule_is_found_by_a_case() -> None:
    seen = {rule for _, expected in CASES for rule, _ in expected}
    assert seen == set(rules.BY_ID) - {"venues_unreachable"}


def test_an_outage_of_a_venue_is_one_alert() -> None:
    silent = [f"trade {n}" for n in range(20)]
    ill = recorder(failures=9, heartbeat_failures=7, silent=silent, refused=3, looping=2, oldest_gap_s=9_000.0)
    given = evidence(
        reports={NORTH: report(NORTH, ill, state="degraded")},
        trends=trends(no_data_s={"north": 900.0, "south": 0.0}),
    )
    assert keys(given) == {("venue_heartbeats", "north")}


def test_a_connection_that_opens_and_never_answers_is_one_alert_whatever_is_counted_first() -> None:
    for failures in (5, 6, 60):
        assert keys(north(failures=failures, heartbeat_failures=5)) == {("venue_heartbeats", "north")}


def test_slots_that_a_backlog_or_a_set_clock_cost_are_no_second_alert() -> None:
    late = PollerFigures(jobs={"a": JobFigures(overdue=600)})
    given = evidence(reports={"poller": report("poller", late)}, trends=trends(poll_missed=60))
    assert keys(given) == {("poll_backlog", "poller")}
    given = evidence(clock=ClockEvidence(None, None, 90.0), trends=trends(poll_missed=60))
    assert keys(given) == {("clock_step", "")}


def test_without_postgres_its_consequences_stay_silent() -> None:
    writer = WriterFigures(database="down: no answer", journals={NORTH: JournalFigures(9, NOW - 300, 300.0)})
    given = evidence(
        reports={"writer": report("writer", writer, state="waiting")},
        database=DatabaseEvidence("hung", "no answer", 300.0, facts(default_partitions=["trade"], breaks={NORTH: 1})),
    )
    assert keys(given) == {("database_hung", "")}
    gone = evidence(
        processes={"postgres": Process("postgres", "FATAL", 0, 1, 0.0)},
        reports={"writer": report("writer", writer, state="waiting")},
        database=DatabaseEvidence("down", "refused", 0.0, None),
    )
    assert keys(gone) == {("program_down", "postgres")}


def test_a_full_disk_explains_the_writer_that_stops_loading_and_what_is_late_then() -> None:
    figures = WriterFigures(database="up", journals={NORTH: JournalFigures(9, NOW - 300, 300.0)})
    given = evidence(
        reports={"writer": report("writer", figures, state="degraded")},
        disk=DiskEvidence([FileSystem("home", 100, 1, 97)], NOW_S),
    )
    assert keys(given) == {("disk_full", "home")}
    of_journals = evidence(
        reports={"writer": report("writer", figures), NORTH: report(NORTH, state="degraded")},
        disk=DiskEvidence([FileSystem("journal", 100, 1, 97)], NOW_S),
    )
    assert keys(of_journals) == {("disk_full", "journal"), ("database_lagging", "")}
    both = [FileSystem("home", 100, 1, 97), FileSystem("journal", 100, 8, 92)]
    assert keys(evidence(disk=DiskEvidence(both, NOW_S))) == {("disk_full", "home"), ("disk_filling", "journal")}


def test_a_lag_is_reported_with_what_the_writer_says() -> None:
    figures = WriterFigures(database="up", journals={NORTH: JournalFigures(9, NOW - 300, 300.0)})
    (finding,) = found(evidence(reports={"writer": report("writer", figures, state="degraded")}))
    assert finding.text == "Postgres is 300 s behind the journals; the writer is degraded"


def test_a_damaged_journal_is_one_alert_though_the_writer_reports_it_too() -> None:
    given = evidence(
        reports={"writer": report("writer", state="degraded")},
        database=DatabaseEvidence("up", "", 0.0, facts(breaks={NORTH: 1})),
    )
    assert keys(given) == {("lineage", NORTH)}


def test_a_recorder_that_is_stuck_explains_the_silence_of_its_venue_only() -> None:
    given = evidence(
        reports={NORTH: report(NORTH, age_s=900)}, trends=trends(no_data_s={"north": 900.0, "south": 900.0})
    )
    assert keys(given) == {("program_stuck", NORTH), ("venue_no_data", "south")}


def test_a_consequence_that_outlasts_its_cause_by_a_moment_stays_silent() -> None:
    consequences = Consequences()
    failing = north(failures=9)
    both = evidence(reports={NORTH: report(NORTH, recorder(failures=9), age_s=40)})

    def left(given: Evidence, now_s: float) -> set[tuple[str, str]]:
        everything = rules.findings(given, LIMITS)
        left = {one.key for one in consequences.without(everything, LIMITS, now_s)[0]}
        consequences.remember(everything, LIMITS, now_s, {("program_stuck", NORTH)})
        return left

    assert left(both, 0.0) == {("program_stuck", NORTH)}
    assert left(failing, 60.0) == set()
    assert left(failing, 121.0) == {("venue_connections", "north")}
    assert left(both, 200.0) == {("program_stuck", NORTH)}
    assert left(evidence(), 205.0) == set()
    assert left(failing, 210.0) == {("venue_connections", "north")}, "it was gone, so this is another failure"


def test_a_cause_that_never_fires_keeps_nothing_silent_after_its_end() -> None:
    consequences = Consequences()
    late = WriterFigures(database="up", journals={NORTH: JournalFigures(9, NOW - 300, 300.0)})
    reports = {"writer": report("writer", late)}
    hung = evidence(reports=reports, database=DatabaseEvidence("hung", "no answer", 6.0, facts()))

    def left(given: Evidence, now_s: float) -> set[tuple[str, str]]:
        everything = rules.findings(given, LIMITS)
        left = {one.key for one in consequences.without(everything, LIMITS, now_s)[0]}
        consequences.remember(everything, LIMITS, now_s, set())
        return left

    assert left(hung, 0.0) == {("database_hung", "")}
    assert left(evidence(reports=reports), 5.0) == {("database_lagging", "")}


def test_the_simulator_explains_venues_and_polls() -> None:
    given = evidence(
        processes={"simulator": Process("simulator", "FATAL", 0, 1, 0.0)},
        reports={NORTH: report(NORTH, recorder(failures=9))},
        trends=trends(poll_missed=9, poll_rounds=100, poll_failed=90),
    )
    assert keys(given) == {("program_down", "simulator")}


def test_venues_that_all_fail_at_once_are_one_alert() -> None:
    failing = {f"recorder-{name}": report(f"recorder-{name}", recorder(failures=8)) for name in VENUES}
    assert keys(evidence(reports=failing)) == {("venues_unreachable", "")}


def test_settings_change_a_rule_or_leave_it_out() -> None:
    changes = {"venue_no_data": RuleSettings(threshold=5, for_s=1), "clock_step": RuleSettings(enabled=False)}
    limits = rules.limits(WatchdogSettings(rules=changes, disk_warn_percent=70))
    assert (limits["venue_no_data"].threshold, limits["venue_no_data"].for_s) == (5, 1)
    assert "clock_step" not in limits
    assert limits["disk_filling"].threshold == 70
    with pytest.raises(ConfigError, match=r"no rule 'venue_nodata'.*venue_no_data"):
        rules.limits(WatchdogSettings(rules={"venue_nodata": RuleSettings()}))


def described(rule: rules.Rule) -> str:
    """Return what the runbook says of a rule in its second line."""
    limit = getattr(WatchdogSettings(), rule.threshold) if isinstance(rule.threshold, str) else rule.threshold
    when = f"after {rule.for_s:g} s" if rule.for_s else "at once"
    return f"*{rule.severity}, fires {when}{f', limit {limit:g} {rule.unit}' if rule.unit else ''}*"


def test_every_rule_has_a_section_of_the_runbook_and_causes_that_exist() -> None:
    sections = (ROOT / "docs/runbook.md").read_text().split("\n## ")[1:]
    heads = [section.split("\n\n")[:2] for section in sections]
    assert heads == [[rule.id, described(rule)] for rule in rules.RULES]
    assert all("- Look at: " in section and "- Do: " in section for section in sections)
    places = {rule.id: place for place, rule in enumerate(rules.RULES)}
    for rule in rules.RULES:
        for cause in rule.caused_by:
            assert cause in places, (rule.id, cause)
            assert rule.id not in rules.BY_ID[cause].caused_by, "two rules would silence each other"
