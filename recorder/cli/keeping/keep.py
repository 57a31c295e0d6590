"""`tapedeck keep`: the jobs of the keeper, what they did, and a run by hand."""

import time
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from recorder.cli.common import Context, console
from recorder.errors import ConfigError, nearest
from recorder.keeper.job import Ran, next_at
from recorder.keeper.jobs import JOBS
from recorder.keeper.main import work_of
from recorder.keeper.run import last_run, run_once
from recorder.printable import printable
from recorder.process.screen import fold, shown
from recorder.process.terminal import say, say_json
from recorder.settings import Settings

_HEAD = ("job", "runs", "next", "last", "ended", "detail")


class KeepLine(msgspec.Struct):
    """One job, for `--json`."""

    job: str
    schedule: str
    summary: str
    state: str  # "on", "off"
    next: float | None  # unix seconds; None of a job that is off
    last_end: float | None
    last_state: str  # done, skipped, failed; "" before the first run
    last_detail: str
    problem: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(keep)


def keep(
    context: typer.Context,
    listed: Annotated[bool, typer.Option("--list", help="List the jobs; this is the default.")] = False,
    once: Annotated[
        str | None, typer.Option("--once", metavar="JOB", help="Run JOB now, apart from its schedule.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """List the jobs of the keeper with their next runs and last outcomes, or run one now.

    The keeper makes partitions, archives ended days and drops what is archived, trims journals, and watches the budget
    of the disk (settings keeper.*). The list needs no running keeper: outcomes are in the folder keeper of the home.
    A run by hand waits for nothing and never meets a run of the program: each job has a lock.

    Exit code: 0 when the run was done or there was nothing to do, 1 when it failed or found a problem, 2 when files of
    the archive are damaged or missing and must be brought back.

    Examples:

    `tapedeck keep`

    `tapedeck keep --once archive`
    """
    options: Context = context.obj
    settings = options.settings()
    if once is None:
        return _list(settings, as_json=as_json)
    if listed:
        raise ConfigError("--list and --once exclude each other: tapedeck keep --list shows what --once did")
    names = [job.name for job in JOBS]
    job = next((job for job in JOBS if job.name == once), None)
    if job is None:
        raise ConfigError(f"there is no job {once}{nearest(once, names)}; tapedeck keep --list names all")
    options.log_to_stderr(settings, "keep", "ERROR")
    ran = run_once(job, work_of(settings)._replace(by_hand=True))
    if ran is None:
        raise ConfigError(f"the job {once} runs at this moment; tapedeck keep --list shows how it ended")
    if as_json:
        say_json(ran)
    else:
        say(f"{once}: {ran.state}{f', {printable(ran.detail)}' if ran.detail else ''}")
        if ran.problem and ran.problem != ran.detail:
            say(f"problem: {printable(ran.problem)}")
    if ran.damaged:
        return 2
    return 1 if ran.state in ("failed", "waits") or ran.problem else 0


def _list(settings: Settings, *, as_json: bool) -> int:
    now = time.time()
    lines = []
    for job in JOBS:
        last: Ran = last_run(settings.home, job.name)
        on = settings.keeper.enabled and job.name not in settings.keeper.off
        lines.append(
            KeepLine(
                job.name, str(job.schedule), job.summary, "on" if on else "off",
                max(now, next_at(job.schedule, last, job.retry_s, now)) if on else None, last.ended or None, last.state,
                last.detail, last.problem,
            )
        )  # fmt: skip
    if as_json:
        say_json(lines, indented=True)
        return 0
    screen = console()
    screen.list_rows(_HEAD, [_row(line, now) for line in lines])
    for line in lines:
        if line.problem:
            for text in fold(f"{line.job}: {printable(line.problem)}", screen.width, "  "):
                screen.print(shown(text, style="red"))
    return 0


def _row(line: KeepLine, now: float) -> list[str]:
    return [
        line.job,
        line.schedule,
        "off" if line.next is None else _when(line.next, now),
        line.last_state or "not run yet",
        "" if line.last_end is None else _when(line.last_end, now),
        printable(line.last_detail),
    ]


def _when(at: float, now: float) -> str:
    form = "%H:%M:%S" if abs(at - now) < 43_200 else "%m-%d %H:%M"
    return datetime.fromtimestamp(at, UTC).strftime(form)
