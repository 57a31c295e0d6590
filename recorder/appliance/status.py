"""The judgement on a running appliance, from supervisord's process list and the health reports of the programs."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from recorder.appliance.disk import DiskUse
from recorder.appliance.hints import hint
from recorder.appliance.processes import SUPERVISORD
from recorder.appliance.supervisor import Process
from recorder.process.health import (
    UNREADABLE,
    ColumnsFigures,
    DeriverFigures,
    JobFigures,
    JournalFigures,
    LinkFailure,
    PollerFigures,
    RecorderFigures,
    Refusal,
    Report,
    WitnessFigures,
    WriterFigures,
)
from recorder.shards import venue_of

START_S = 60.0
"""A program without a health report counts as starting for this long. It takes seconds, on a busy machine more."""


_NOT_STARTED = "it was not started; the settings changed since the start: `tapedeck upgrade` starts it"
_REPORTING = ("writer", "deriver", "columns", "keeper", "poller", "watchdog", "web")


class Line(msgspec.Struct):
    """One program."""

    program: str
    supervisor: str  # RUNNING, BACKOFF, ...; "absent" when supervisord does not have it
    state: str  # as the program reports it, or starting or silent; "" when it writes no report
    detail: str
    uptime_s: float
    messages_per_s: float | None = None
    data_age_s: float | None = None
    journal_lag_bytes: int | None = None
    rows_per_s: float | None = None
    bars_lag_s: float | None = None  # of the deriver: how far bars are behind the trades in Postgres
    columns_lag_s: float | None = None  # how far column files are behind the journals
    open_gaps: int | None = None
    streams: int | None = None  # that this process carries
    venue_streams: int | None = None  # that all processes of its venue carry, where there are several
    refused: int | None = None  # streams that the venue refused or for which no connection has room
    refusals: list[Refusal] = []  # the first of them, with reasons
    silent: list[str] = []  # "trade BTC-USD": streams that stopped bringing data
    quiet: list[str] = []  # streams that are silent because the venue has nothing newer, as its REST service said
    witness: WitnessFigures | None = None  # of a recorder
    jobs: dict[str, JobFigures] = {}  # of the poller
    last_error: LinkFailure | None = None  # of its connections, however long ago
    problem: str | None = None  # why it is not healthy


class Status(msgspec.Struct):
    """All programs."""

    home: str
    healthy: bool
    problems: list[str]
    rows: int
    programs: list[Line]
    disk: DiskUse | None = None
    notes: list[str] = []  # what a person should know although all is healthy


def judge(
    home: str,
    expected: Sequence[str],
    processes: Mapping[str, Process],
    reports: Mapping[str, Report],
    now: float,
    orphans: Sequence[str] = (),
    successors: Collection[str] = (),
) -> Status:
    """Combine the sources.

    Args:
        home: State directory of the appliance.
        expected: Programs that the settings ask for.
        processes: By name, as supervisord sees them; empty when it does not run.
        reports: Latest health reports, by program.
        now: Unix seconds.
        orphans: Programs that run although no supervisord answers.
        successors: Programs that may run to take over from another; what they lack is no problem of the appliance.
    """
    if not processes:
        return Status(home, False, [_not_running(home, orphans)], 0, [])
    writer = reports["writer"].figures if "writer" in reports else None
    loaded = writer if isinstance(writer, WriterFigures) else WriterFigures()
    lines = [
        _line(name, processes.get(name), reports.get(name), loaded.journals.get(name), now)
        for name in dict.fromkeys([*processes, *expected])
    ]
    for line in lines:
        if line.program in successors:
            line.problem = None
    _add_venue_streams(lines)
    problems = [f"{line.program}: {line.problem}" for line in lines if line.problem]
    return Status(home, not problems, problems, loaded.rows, lines)


def other_database(running: str, named: str) -> list[str]:
    """Return a note when the running appliance records into another database than the settings name.

    Args:
        running: Where it records into; empty where that is unknown.
        named: Where the settings say.
    """
    if not running or running == named:
        return []
    return [f"the running appliance records into {running}, but these settings name {named}"]


def _not_running(home: str, orphans: Sequence[str]) -> str:
    if SUPERVISORD in orphans:
        return f"the appliance in {home} is starting or stopping: its supervisord does not answer"
    if orphans:
        return (
            f"supervisord in {home} ended without stopping its programs, and {', '.join(orphans)} still run: "
            f"{hint('up')} recovers, {hint('down')} ends them"
        )
    return f"the appliance in {home} is not running; {hint('up')} starts it"


def _line(
    name: str, process: Process | None, report: Report | None, journal: JournalFigures | None, now: float
) -> Line:
    if process is None:
        return Line(name, "absent", "", "", 0.0, problem=_NOT_STARTED)
    line = Line(name, process.state, "", "", process.uptime_s)
    if process.state != "RUNNING":
        line.problem = f"supervisord reports {process.state}"
        return line
    if report is None or report.pid != process.pid:  # a report of an earlier process says nothing about this one
        if reports_itself(name):
            line.state = "starting" if process.uptime_s < START_S else "silent"
            line.problem = f"no health report since its start {process.uptime_s:.0f} s ago"
        return line
    line.state, line.detail = report.state, report.detail
    if report.state == UNREADABLE:
        line.problem = report.detail
        return line
    if report.stale(now):
        line.state, line.problem = "silent", f"no health report for {report.age_s(now):.0f} s"
        return line
    line.journal_lag_bytes = None if journal is None else journal.lag_bytes
    match report.figures:
        case WriterFigures() as writer:
            line.rows_per_s = writer.rows_per_s
            line.journal_lag_bytes = writer.lag_bytes
        case RecorderFigures() as recorder:
            _fill(line, recorder)
        case DeriverFigures() as deriver:
            line.rows_per_s, line.bars_lag_s = deriver.bars_per_s, deriver.lag_s
        case ColumnsFigures() as columns:
            line.rows_per_s, line.columns_lag_s = columns.rows_per_s, columns.lag_s
            line.journal_lag_bytes = columns.lag_bytes
        case PollerFigures() as poller:
            line.jobs = poller.jobs
    line.problem = _problem(line, now)
    return line


def _problem(line: Line, now: float) -> str | None:
    """Return why a program that reports is not healthy, with the causes that it knows."""
    if line.state == "live" and not line.refused:
        return None
    parts = [f"{line.state}: {line.detail}" if line.detail else line.state]
    if line.refused:
        reasons = "; ".join(f"{refusal.stream} ({refusal.reason})" for refusal in line.refusals[:2])
        streams = "1 stream" if line.refused == 1 else f"{line.refused} streams"
        parts.append(f"{streams} refused{f', such as {reasons}' if reasons else ''}")
    if line.last_error is not None and line.state != "live":
        parts.append(f"last error {max(0.0, now - line.last_error.at):.0f} s ago: {line.last_error.reason}")
    return "; ".join(parts)


def _fill(line: Line, figures: RecorderFigures) -> None:
    line.messages_per_s = figures.frames_per_s
    line.open_gaps = figures.open_gaps
    ages = [link.last_data_age_s for link in figures.links if link.last_data_age_s is not None]
    line.data_age_s = min(ages, default=None)
    line.streams = sum(link.streams for link in figures.links)
    line.refused = figures.unplaced + figures.refused
    line.refusals = figures.refusals
    line.silent = figures.silent
    line.quiet = figures.quiet
    line.witness = figures.witness
    line.last_error = figures.last_error


def _add_venue_streams(lines: Sequence[Line]) -> None:
    """Give the shards of one venue the number of streams that they carry together."""
    for line in lines:
        venue = venue_of(line.program)
        processes = [other.streams or 0 for other in lines if venue is not None and venue_of(other.program) == venue]
        if len(processes) > 1:
            line.venue_streams = sum(processes)


def reports_itself(program: str) -> bool:
    """Return whether a program writes a health report that status requires; Postgres and JupyterLab write none."""
    return program.startswith("recorder-") or program in _REPORTING
