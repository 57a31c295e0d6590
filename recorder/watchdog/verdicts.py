"""What /health and /critical say of a round: a verdict on everything, and the reasons of an emergency. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from recorder.appliance.status import Line
from recorder.settings import WatchdogSettings
from recorder.shards import venue_of
from recorder.watchdog.alerts import Held
from recorder.watchdog.conditions import backlog
from recorder.watchdog.delivery.marks import Marks
from recorder.watchdog.evidence import Evidence
from recorder.watchdog.rules import severity

Verdict = Literal["ok", "warning", "critical", "unknown"]
_GAP_S = 60.0  # a gap of this age is shown; the rule gap_long judges it
_NONE = Marks()
_RESTARTS = 3  # within 10 minutes; a recorder that restarted as often does not just start
_TOO_MANY = "53300"  # SQLSTATE of a login that finds no free connection


class Item(msgspec.Struct):
    """The verdict on one thing."""

    name: str
    verdict: Verdict
    text: str = ""
    age_s: float | None = None  # of the evidence; None where there is none
    value: float | None = None


class AlertLine(msgspec.Struct):
    """An alert that is pending or fires."""

    rule: str
    subject: str
    severity: str
    state: str
    text: str
    for_s: float  # how long the condition has held
    acknowledged: bool = False
    silenced_until: float | None = None  # unix seconds


class HealthPage(msgspec.Struct):
    """The answer of /health."""

    recording: bool  # whether our programs record what the venues send
    healthy: bool  # what `tapedeck status` says
    age_s: float  # of the round
    items: list[Item]
    alerts: list[AlertLine]


class CriticalPage(msgspec.Struct):
    """The answer of /critical."""

    critical: bool
    reasons: list[Item]
    warnings: list[Item]
    age_s: float


def recording_problems(evidence: Evidence) -> list[str]:
    """Return why recording does not work: a recorder that does not run, is stuck, or drops frames.

    An outage of a venue or of Postgres is no reason: it is recorded as a gap, or waits in the journal. Nor is a
    recorder that is being started, for which supervisord and `START_S` set the time, unless that happens again and
    again.
    """
    problems = []
    lines = evidence.lines()
    if evidence.supervised:
        for name, line in lines.items():
            if venue_of(name) is None or _changes(line, evidence):
                continue
            if line.supervisor != "RUNNING" or line.state == "silent":
                problems.append(f"{name}: {line.problem or line.supervisor}")
    else:
        fresh = [name for name, _ in evidence.recorders() if evidence.fresh(name)]
        problems += [
            f"recorder of {venue}: no report, and no supervisord"
            for venue in evidence.venues
            if venue not in {venue_of(name) for name in fresh}
        ]
    problems += [f"{name} drops frames" for name, frames in evidence.trends.shed.items() if frames]
    return problems


def _changes(line: Line, evidence: Evidence) -> bool:
    """Return whether a program is being started or stopped, as at every restart of it."""
    return line.supervisor in ("STARTING", "STOPPING") and evidence.trends.restarts.get(line.program, 0) < _RESTARTS


def health(
    evidence: Evidence, held: Sequence[Held], settings: WatchdogSettings, now_s: float, marks: Marks = _NONE
) -> HealthPage:
    """Return the page /health.

    Args:
        evidence: Of the last round.
        held: Its conditions.
        settings: Of the watchdog.
        now_s: Monotonic.
        marks: Acknowledgements and silences.
    """
    passed_s = max(0.0, now_s - evidence.at_s)
    items = [*_programs(evidence, passed_s), *_venues(evidence, passed_s), *_database(evidence, settings, now_s)]
    items += [*_polls(evidence, settings, passed_s), *_machine(evidence, settings, now_s)]
    alerts = [
        AlertLine(
            one.rule,
            one.subject,
            severity(one.rule),
            "firing" if one.firing else "pending",
            one.text,
            one.held_s,
            one.firing and marks.acknowledged(one.alert_id),
            marks.silenced_until(one.rule, one.subject, evidence.at + passed_s),
        )
        for one in held
    ]
    recording = not recording_problems(evidence) and passed_s <= _oldest_s(settings)
    return HealthPage(recording, evidence.status.healthy, passed_s, items, alerts)


def critical(evidence: Evidence, settings: WatchdogSettings, now_s: float) -> CriticalPage:
    """Return the page /critical; arguments as for `health`."""
    passed_s = max(0.0, now_s - evidence.at_s)
    items = [Item("recording", "critical", problem, passed_s) for problem in recording_problems(evidence)]
    items += [*_database(evidence, settings, now_s), *_polls(evidence, settings, passed_s)]
    items += [*_machine(evidence, settings, now_s), _no_data(evidence, settings, passed_s)]
    if passed_s > _oldest_s(settings):
        items.append(Item("watchdog", "critical", f"the last round ended {passed_s:.0f} s ago", passed_s))
    reasons = [item for item in items if item.verdict == "critical"]
    return CriticalPage(bool(reasons), reasons, [item for item in items if item.verdict == "warning"], passed_s)


def _oldest_s(settings: WatchdogSettings) -> float:
    return 3 * settings.every_s + 30


def _programs(evidence: Evidence, passed_s: float) -> Iterator[Item]:
    found: Verdict = "ok" if evidence.supervised else "critical"
    text = "" if evidence.supervised else "; ".join(evidence.status.problems)
    yield Item("supervisord", found, text, passed_s)
    lines = evidence.lines()
    for name in sorted({*lines, *evidence.reports}):
        report, line = evidence.reports.get(name), lines.get(name)
        age_s = passed_s if report is None else report.age_s(evidence.at) + passed_s
        if line is None:
            state: Verdict = "unknown"
            yield Item(f"program {name}", state, "supervisord does not say", age_s)
        elif line.supervisor != "RUNNING" or line.state == "silent":
            yield Item(f"program {name}", "critical", line.problem or "", age_s)
        elif line.problem:
            yield Item(f"program {name}", "warning", line.problem, age_s)
        else:
            yield Item(f"program {name}", "ok", line.detail, age_s)


def _venues(evidence: Evidence, passed_s: float) -> Iterator[Item]:
    states = {state.venue: state for state in evidence.venue_states()}
    for venue in evidence.venues:
        state = states.get(venue)
        quiet_s = evidence.trends.no_data_s.get(venue)
        if state is None:
            yield Item(f"venue {venue}", "unknown", "its recorder has not reported", None, quiet_s)
            continue
        ages = [evidence.reports[program].age_s(evidence.at) for program in state.programs]
        problems = []
        if state.failures:
            problems.append(f"{state.failures} connections in a row brought no data")
        if state.silent:
            problems.append(f"{len(state.silent)} streams are silent")
        if state.refused:
            problems.append(f"{state.refused} streams are refused")
        if state.looping:
            problems.append(f"{state.looping} books do not come right")
        if state.oldest_gap_s > _GAP_S:
            problems.append(f"a gap has gone on for {state.oldest_gap_s:.0f} s")
        verdict: Verdict = "warning" if problems else "ok"
        yield Item(f"venue {venue}", verdict, "; ".join(problems), max(ages) + passed_s, quiet_s)


def _database(evidence: Evidence, settings: WatchdogSettings, now_s: float) -> Iterator[Item]:
    database = evidence.database
    facts = database.facts
    age_s = None if facts is None else now_s - facts.at_s
    if database.state == "up":
        yield Item("postgres", "ok", "", age_s)
    elif database.state == "unknown":
        yield Item("postgres", "unknown", database.reason, age_s)
    else:
        exhausted = _TOO_MANY in database.reason
        yield Item("postgres", "critical" if exhausted else "warning", f"{database.state}: {database.reason}", age_s)
    if facts is not None and facts.max_connections:
        percent = 100 * facts.connections / facts.max_connections
        text = f"{facts.connections} of {facts.max_connections} in use"
        limits = settings.connections_warn_percent, settings.connections_critical_percent
        yield Item("postgres connections", _above(percent, *limits), text, age_s, percent)
    lag_s = evidence.lag_s()
    if lag_s is not None:
        lag_s += max(0.0, now_s - evidence.at_s) if database.state != "up" else 0.0
        verdict: Verdict = "critical" if lag_s > settings.lag_critical_s else "ok"
        report = evidence.reports["writer"]
        age_s = report.age_s(evidence.at) + max(0.0, now_s - evidence.at_s)
        yield Item("journals", verdict, f"Postgres is {lag_s:.0f} s behind", age_s, lag_s)
    if facts is not None:
        parts: Mapping[str, Sequence[str]] = {
            "default partitions": facts.default_partitions,
            "lineage": [
                f"{name}: {count} breaks or damaged blocks within an hour" for name, count in facts.breaks.items()
            ],
        }
        for name, found in parts.items():
            yield Item(name, "warning" if found else "ok", ", ".join(found), now_s - facts.at_s)


def _polls(evidence: Evidence, settings: WatchdogSettings, passed_s: float) -> Iterator[Item]:
    overdue = backlog(evidence)
    if overdue is None:
        return
    age_s = evidence.reports["poller"].age_s(evidence.at) + passed_s
    limits = settings.backlog_warn, settings.backlog_critical
    verdict: Verdict = "critical" if overdue > limits[1] else "warning" if overdue > limits[0] else "ok"
    yield Item("poll backlog", verdict, f"{overdue:,} slots are overdue", age_s, overdue)
    trends = evidence.trends
    if trends.poll_rounds:
        percent = 100 * (1 - trends.poll_failed / trends.poll_rounds)
        verdict = "ok"
        if percent < settings.success_warn_percent:
            verdict = "critical" if percent < settings.success_critical_percent else "warning"
        text = f"{trends.poll_rounds - trends.poll_failed} of {trends.poll_rounds} rounds within an hour succeeded"
        yield Item("poll success", verdict, text, age_s, percent)


def _machine(evidence: Evidence, settings: WatchdogSettings, now_s: float) -> Iterator[Item]:
    for disk in evidence.disk.systems:
        verdict = _above(disk.percent, settings.disk_warn_percent, settings.disk_critical_percent)
        text = f"{disk.percent:.1f} % in use, {disk.free / 2**30:.1f} GiB free"
        yield Item(f"disk of {disk.name}", verdict, text, now_s - evidence.disk.at_s, disk.percent)
    clock = evidence.clock
    known = {True: "synchronised", False: "not synchronised", None: "the kernel does not say"}[clock.synchronised]
    jumped = f", jumped by {clock.step_s:+.1f} s" if clock.step_s else ""
    clock_verdict: Verdict = "warning" if clock.step_s else "ok"
    yield Item("clock", clock_verdict, known + jumped, now_s - evidence.at_s, clock.offset_s)


def _no_data(evidence: Evidence, settings: WatchdogSettings, passed_s: float) -> Item:
    quiet_s = min(evidence.trends.no_data_s.values(), default=0.0) + passed_s
    verdict: Verdict = "critical" if evidence.trends.no_data_s and quiet_s > settings.no_data_s else "ok"
    return Item("market data", verdict, f"no venue has brought data for {quiet_s:.0f} s", passed_s, quiet_s)


def _above(value: float, warning: float, critical: float) -> Verdict:
    return "critical" if value >= critical else "warning" if value >= warning else "ok"
