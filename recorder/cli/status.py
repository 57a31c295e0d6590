"""What the appliance does now: gathered from supervisord and the programs' reports, judged, shown. Judging is pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.table import Table

from recorder.appliance import Process
from recorder.health import Report
from recorder.shares import venue_of


class Line(msgspec.Struct):
    """One program."""

    program: str
    supervisor: str  # RUNNING, BACKOFF, ...; "absent" when supervisord does not have it
    state: str  # its own word; "" when it writes no report
    detail: str
    uptime_s: float
    messages_per_s: float | None = None
    data_age_s: float | None = None
    journal_lag_bytes: int | None = None
    rows_per_s: float | None = None
    open_gaps: int | None = None
    streams: int | None = None  # it carries
    venue_streams: int | None = None  # that all processes of its venue carry, where there are several
    refused: int | None = None  # by the venue, or for want of connections
    silent: list[str] = []  # "trade BTC-USD": not one of which brings what it used to
    problem: str | None = None  # why it is not healthy


class Status(msgspec.Struct):
    """All programs."""

    healthy: bool
    problems: list[str]
    rows: int
    programs: list[Line]


def judge(
    expected: Sequence[str], processes: Mapping[str, Process], reports: Mapping[str, Report], now: float
) -> Status:
    """Put both sources together.

    Args:
        expected: Programs the settings ask for.
        processes: By name, as supervisord sees them; empty when it does not run.
        reports: Last words, by program.
        now: Unix seconds.
    """
    if not processes:
        return Status(False, ["the appliance is not running; `make run` starts it"], 0, [])
    writer = reports.get("writer")
    lags = _lags(writer)
    lines = [
        _line(name, processes.get(name), reports.get(name), lags.get(name), now)
        for name in dict.fromkeys([*processes, *expected])
    ]
    _add_shares(lines)
    problems = [f"{line.program}: {line.problem}" for line in lines if line.problem]
    return Status(not problems, problems, int(writer.metrics.get("rows", 0)) if writer else 0, lines)


def _lags(writer: Report | None) -> dict[str, int]:
    """Bytes of journal not yet loaded, by recorder."""
    journals = writer.metrics.get("journals", {}) if writer else {}
    return {name: int(values.get("lag_bytes", 0)) for name, values in journals.items()}


def _line(name: str, process: Process | None, report: Report | None, lag: int | None, now: float) -> Line:
    line = Line(name, process.state if process else "absent", "", "", process.uptime_s if process else 0.0)
    if process is None or process.state != "RUNNING":
        line.problem = f"supervisord has it as {line.supervisor}"
        return line
    if report is None:
        if reports_itself(name):
            line.state, line.problem = "silent", "it has not reported yet"
        return line
    line.state, line.detail = report.state, report.detail
    if report.stale(now) or report.pid != process.pid:
        line.state, line.problem = "silent", f"its last word is {report.age_s(now):.0f} s old"
        return line
    if report.state != "live":
        line.problem = f"{report.state}{f': {report.detail}' if report.detail else ''}"
    _fill_metrics(line, report.metrics, lag)
    return line


def _fill_metrics(line: Line, metrics: Mapping[str, Any], lag: int | None) -> None:
    line.messages_per_s = metrics.get("frames_per_s")
    line.rows_per_s = metrics.get("rows_per_s")
    line.open_gaps = metrics.get("open_gaps")
    line.journal_lag_bytes = metrics.get("lag_bytes", lag)
    ages = [age for link in metrics.get("links", ()) if (age := link.get("last_data_age_s")) is not None]
    line.data_age_s = min(ages, default=None)
    if "links" in metrics:
        links = metrics["links"]
        line.streams = sum(int(link.get("streams", 0)) for link in links)
        line.refused = int(metrics.get("refused", 0)) + sum(int(link.get("refused", 0)) for link in links)
        line.silent = list(metrics.get("silent", ()))


def _add_shares(lines: Sequence[Line]) -> None:
    """Tell the processes of one venue what they carry together."""
    for line in lines:
        venue = venue_of(line.program)
        processes = [other.streams or 0 for other in lines if venue is not None and venue_of(other.program) == venue]
        if len(processes) > 1:
            line.venue_streams = sum(processes)


def reports_itself(program: str) -> bool:
    """Whether a program writes a report; Postgres is not ours, and the simulator is only a prop."""
    return program.startswith("recorder-") or program in ("writer", "discovery")


def table(status: Status) -> Table:
    """The status for a terminal."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    result.add_column("program")
    result.add_column("process")
    result.add_column("state")
    extra = [title for title in ("refused", "silent") if any(getattr(line, title) for line in status.programs)]
    for title in ("up", "streams", *extra, "messages/s", "data age", "journal lag", "rows/s", "open gaps"):
        result.add_column(title, justify="right")
    for line in status.programs:
        colour = "red" if line.problem else "green"
        result.add_row(
            line.program,
            f"[{colour}]{line.supervisor}[/{colour}]",
            f"[{colour}]{line.state}[/{colour}]",
            duration(line.uptime_s),
            _streams(line),
            *(f"[red]{_count(line, title)}[/red]" for title in extra),
            "" if line.messages_per_s is None else f"{line.messages_per_s:,.0f}",
            "" if line.data_age_s is None else f"{line.data_age_s:.1f} s",
            "" if line.journal_lag_bytes is None else size(line.journal_lag_bytes),
            "" if line.rows_per_s is None else f"{line.rows_per_s:,.0f}",
            "" if line.open_gaps is None else str(line.open_gaps),
        )
    return result


def _streams(line: Line) -> str:
    if line.streams is None:
        return ""
    return f"{line.streams:,}" if line.venue_streams is None else f"{line.streams:,} of {line.venue_streams:,}"


def _count(line: Line, title: str) -> str:
    number = line.refused if title == "refused" else len(line.silent)
    return f"{number:,}" if number else ""


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3 min, 5.2 h, 12 d."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 100 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} d"


def size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
