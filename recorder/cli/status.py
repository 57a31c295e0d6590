"""The command `status`: every program of the appliance, its data, its lag, and the disk."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from recorder.appliance import disk
from recorder.appliance.disk import DiskUse
from recorder.appliance.observation import observe
from recorder.appliance.status import Line, Status
from recorder.appliance.supervisor import Process, Supervisor
from recorder.cli import activity
from recorder.cli.columns import Column, duration, size, table_of
from recorder.cli.common import console
from recorder.cli.in_force import not_in_force
from recorder.printable import printable
from recorder.process.health import JobFigures
from recorder.process.screen import Screen, fold, shown
from recorder.process.terminal import say_json
from recorder.settings import Settings

_FAILED_SHOWN = 3
_GAPS = (
    "gaps: subscribed streams whose gap is going on; `tapedeck gaps --all` lists these and what ended, not healed yet"
)
_DISK_EVERY_S = 60.0  # of `--watch`: the sizes of thousands of files are read


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
    trades: Annotated[
        bool, typer.Option("--trades", help="Show messages, errors and trades of the last interval, too.")
    ] = False,
) -> int:
    """Show every program, its data and its lag. Exit code 0 only when all is healthy.

    The column `gaps` counts the subscribed streams that miss data at this moment: the gaps that `tapedeck gaps --all`
    calls "going on". A gap that has ended and is not healed yet is not in it, since nothing is being missed.

    The line `disk` adds up the journals of all recorders and of the poller, loaded or not, the embedded Postgres with
    its WAL, the truth logs of simulated venues, and the logs.

    Lines in yellow name settings that are not in force, because they changed after the start, and what to do.

    `--trades` shows what the watchdog computed of the last interval (watchdog.trades_interval_s): messages, reconnects
    and errors of each venue, and VWAP, high, low, buy/sell ratio and large trades of each instrument.

    Example: `tapedeck status --watch`, `tapedeck status --trades`, `tapedeck status --json | jq .problems`
    """
    settings: Settings = context.obj.settings()
    screen = console()
    if watch:
        _watch(settings, screen, trades=trades)
    folder = Path.cwd() if context.obj.config is None else None
    listed = Supervisor(settings.home).processes()
    current = gather(settings, listed)
    current.notes += not_in_force(settings, listed, folder)
    current.disk = disk.measure(settings, time.time()) if current.programs else None
    if as_json:
        found = activity.current(settings.home, time.time()) if trades else None
        say_json(current if found is None else msgspec.to_builtins(current) | {"activity": found}, indented=True)
    else:
        show(current, screen)
        if trades:
            screen.print(activity.view(activity.current(settings.home, time.time()), screen.width, time.time()))
    return 0 if current.healthy else 1


def _watch(settings: Settings, screen: Screen, *, trades: bool) -> None:
    pause = threading.Event()
    use, measured = disk.measure(settings, time.time()), time.monotonic()
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            if time.monotonic() - measured > _DISK_EVERY_S:
                use, measured = disk.measure(settings, time.time()), time.monotonic()
            current = gather(settings)
            current.disk = use
            parts = [view(current, screen.width)]
            if trades:
                now = time.time()
                parts.append(activity.view(activity.current(settings.home, now), screen.width, now))
            live.update(Group(*parts), refresh=True)
            pause.wait(1.0)


def gather(settings: Settings, found: Sequence[Process] | None = None) -> Status:
    """Return the status of an appliance.

    Args:
        settings: Of the appliance.
        found: supervisord's answer, where the caller has it already.
    """
    return observe(settings, found).status


def show(current: Status, screen: Screen) -> None:
    """Print the status."""
    screen.print(view(current, screen.width))


def view(current: Status, width: int) -> RenderableType:
    """Return the status for a terminal of this many columns."""
    parts: list[RenderableType] = [table(current, width)] if current.programs else []
    if current.disk is not None:
        parts += [shown(line) for line in disk_lines(current.disk, width)]
    for line in current.programs:
        parts += [shown(text) for text in job_lines(line.jobs, time.time(), width)]
        parts += [shown(text) for text in witness_lines(line, width)]
    if any(line.open_gaps for line in current.programs):
        parts += [shown(text) for text in fold(_GAPS, width, "  ")]
    parts += [shown(text, style="yellow") for note in current.notes for text in fold(printable(note), width, "  ")]
    parts += [shown(problem, style="red") for problem in current.problems]
    return Group(*parts)


def columns(lines: Sequence[Line]) -> list[Column]:
    """Return every column that says something about these programs."""
    wanted = [
        Column("program", [line.program for line in lines], 100, right=False),
        Column("process", [line.supervisor for line in lines], 80, right=False),
        Column("state", [line.state for line in lines], 90, right=False),
        Column("up", [duration(line.uptime_s) for line in lines], 10),
        Column("streams", [_streams(line) for line in lines], 50),
        Column("refused", [_number(line.refused or None) for line in lines], 75),
        Column("silent", [_number(len(line.silent) or None) for line in lines], 74),
        Column("msg/s", [_number(line.messages_per_s) for line in lines], 70),
        Column("age", ["" if line.data_age_s is None else f"{line.data_age_s:.1f} s" for line in lines], 30),
        Column("lag", [_lag(line) for line in lines], 60),
        Column("rows/s", [_number(line.rows_per_s) for line in lines], 40),
        Column("gaps", [_number(line.open_gaps) for line in lines], 20),
    ]
    unusual = {
        "process": any(line.supervisor != "RUNNING" for line in lines),
        "refused": any(line.refused for line in lines),
        "silent": any(line.silent for line in lines),
    }
    return [column for column in wanted if unusual.get(column.title, True)]


def table(current: Status, width: int) -> Table:
    """Return the table of the programs for a terminal of this many columns."""

    def style(title: str, row: int) -> str:
        colour = "red" if current.programs[row].problem else "green"
        return {"process": colour, "state": colour, "refused": "red", "silent": "red"}.get(title, "")

    return table_of(columns(current.programs), width, style)


def disk_lines(use: DiskUse, width: int) -> list[str]:
    """Return the disk space and its growth, in lines of at most this width."""
    named = (("database", use.database), ("truth logs", use.truth), ("logs", use.logs))
    parts = [f"journals {size(use.journal)} with what is loaded"]
    parts += [f"{name} {size(count)}" for name, count in named if count is not None]
    text = f"disk: {size(use.used)} used ({', '.join(parts)}), {size(use.free)} free"
    return [*fold(text, width, "  "), *fold(f"disk: {_growth(use)}", width, "  ")]


def job_lines(jobs: Mapping[str, JobFigures], now: float, width: int) -> list[str]:
    """Return how the jobs of the poller are, in lines of at most this width; `tapedeck poll` shows each."""
    if not jobs:
        return []
    counts: dict[str, int] = {}
    for job in jobs.values():
        state = "running" if job.running_since is not None else job.last_state or "waiting for the first slot"
        counts[state] = counts.get(state, 0) + 1
    last = max((job.last_end or 0.0, name) for name, job in jobs.items())
    newest = f"; latest {last[1]} {duration(max(0.0, now - last[0]))} ago" if last[0] else ""
    failed = [f"{name} failed ({job.last_reason[:80]})" for name, job in jobs.items() if job.last_state == "failed"]
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    return fold("; ".join([f"polls: {len(jobs)} jobs, {states}{newest}", *failed[:_FAILED_SHOWN]]), width, "  ")


def witness_lines(line: Line, width: int) -> list[str]:
    """Return what the REST service of a venue said about silent streams and books, in lines of at most this width."""
    if line.witness is None or not (line.quiet or line.witness.verdicts):
        return []
    silent = f"{len(line.quiet)} silent: quiet by REST; " if line.quiet else ""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(line.witness.verdicts.items()))
    return fold(f"{line.program}: {silent}REST said so far: {verdicts or 'nothing'}", width, "  ")


def _growth(use: DiskUse) -> str:
    """Return what grows, and when the disk is full."""
    if not use.measured_over_s:
        return f"growth is known after {disk.MIN_SPAN_S / 60:.0f} min"
    full = "" if use.full_after_s is None else f"full in {duration(use.full_after_s)} at the present rate"
    if use.growth_per_day is None:
        text = "the database is elsewhere, and all that is kept here is bounded"
    elif use.growth_per_day > 0:
        text = f"the database grows {size(use.growth_per_day)} a day"
    else:
        text = "the database does not grow"
    return f"{text} (measured over {duration(use.measured_over_s)}){f'; {full}' if full else ''}"


def _streams(line: Line) -> str:
    if line.streams is None:
        return ""
    return f"{line.streams:,}" if line.venue_streams is None else f"{line.streams:,} of {line.venue_streams:,}"


def _lag(line: Line) -> str:
    """Return how far Postgres is behind a journal, bars behind the trades, or column files behind the journals."""
    if line.columns_lag_s is not None:
        return f"{line.columns_lag_s:.1f} s"
    if line.bars_lag_s is not None:
        return f"{line.bars_lag_s:.1f} s"
    return "" if line.journal_lag_bytes is None else size(line.journal_lag_bytes)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
