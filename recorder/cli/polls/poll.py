"""`tapedeck poll`: the jobs of the poller, when they run and what became of them; and a round by hand."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import psycopg2
import typer

from recorder.appliance.embedded_postgres import database_url
from recorder.appliance.processes import alive, wait_until
from recorder.cli.columns import duration
from recorder.cli.common import Context, console, unreachable
from recorder.clock import SystemClock
from recorder.errors import ConfigError, RestUnavailable, StoreError, StoreUnavailable, nearest
from recorder.poller.by_hand.once import dry_run as run_dry
from recorder.poller.by_hand.once import run_once
from recorder.poller.by_hand.requests import Reply, Requests
from recorder.poller.healing.job import NO_DATABASE
from recorder.poller.job import Daily, Job
from recorder.poller.jobs import all_jobs, jobs_of, services_of
from recorder.poller.journal import NAME, RunRow
from recorder.poller.services import Services
from recorder.poller.slots import Schedule
from recorder.printable import one_line, printable
from recorder.process.health import JobFigures, PollerFigures, read_all
from recorder.process.screen import listing, shown
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import READER, classify, connect

_LAST = """
SELECT DISTINCT ON (job) job, extract(epoch FROM slot)::float8, state, reason, extract(epoch FROM started_at)::float8,
       duration_s
  FROM poll_run WHERE started_at IS NOT NULL AND slot > now() - interval '30 days'
 ORDER BY job, slot DESC, started_at DESC"""
_READ_S = 10.0  # a running poller has read a request by then
_ROUND_S = 900.0
_HEAD = ("job", "slots", "next", "last", "ended", "reason")


class JobLine(msgspec.Struct):
    """One job, for `--json`."""

    job: str
    schedule: str
    state: str  # "on", "off"
    next: float | None  # unix seconds: when the poller wakes it, or would
    last_slot: float | None = None
    last_end: float | None = None
    last_state: str = ""
    last_reason: str = ""
    summary: str = ""
    problem: str = ""
    counts: dict[str, int] = {}  # what the job counts, since the start of the poller


class JobList(msgspec.Struct):
    """The answer of `--list`."""

    running: bool
    source: str  # where the outcomes come from
    jobs: list[JobLine]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(poll)


def poll(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="Name of a job, such as discovery; with --once.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the jobs; without JOB this is the default.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Run one round of JOB now, apart from its schedule.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --once: ask, and show what would be stored.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """List the jobs of the poller with their next runs and last outcomes, or run one now.

    The poller asks REST services on a schedule: each job has slots, such as every full hour, UTC. What became of each
    slot is in table poll_run: done, late, missed (asleep, busy, stopped, clock), failed or skipped, with the reason.
    The list needs no running poller; it says where it has the outcomes from.

    A round by hand is journalled like every other one, and accounts for no slot. The running poller runs it; without
    one this command does. With --dry-run this command asks the services and keeps nothing.

    Settings: `poller.off` names jobs that do not run, `poller.every_s.JOB` changes a period.

    Exit code: 0 when the round was done or skipped, 1 when it failed.

    Examples:

    `tapedeck poll`

    `tapedeck poll discovery --once`

    `tapedeck psql -c "SELECT job, state, reason, sum(slots) FROM poll_run GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"`
    """
    options: Context = context.obj
    settings = options.settings()
    if job is None or listed:
        if once or dry_run:
            raise ConfigError("--once and --dry-run need the name of a job: tapedeck poll discovery --once")
        return _list(settings, as_json=as_json)
    if not once:
        raise ConfigError(f"say what to do with {job}: tapedeck poll {job} --once runs a round of it now")
    chosen = _chosen(settings, job)
    options.log_to_stderr(settings, "poll", "ERROR")
    if dry_run:
        return dry(settings, chosen, as_json=as_json)
    return say_run(by_hand(settings, chosen, jobs_of(settings, SystemClock())), as_json=as_json)


def say_run(run: RunRow, *, as_json: bool) -> int:
    """Print what became of a round, and return the exit code."""
    if as_json:
        say_json(run._asdict(), indented=True)
    else:
        say(f"{run.job}: {run.state}{f' ({run.reason})' if run.reason else ''}; {run.answers} answers, "
            f"{run.bytes:,} bytes, {run.rows:,} rows, {run.odd} odd, {run.duration_s or 0.0:.1f} s")  # fmt: skip
    return 1 if run.state == "failed" else 0


def _chosen(settings: Settings, name: str) -> Job:
    jobs = {one.name: one for one in jobs_of(settings, SystemClock())}
    if name in jobs:
        return jobs[name]
    every = [one.name for one in all_jobs(settings, SystemClock())]
    if name in every:
        raise ConfigError(f"the job {name} is off; remove it from poller.off")
    raise ConfigError(f"there is no job {name!r}{nearest(name, every)}")


# ---- a round by hand ---------------------------------------------------------------------------------------


def run_here(
    settings: Settings, job: Job, jobs: Sequence[Job], goes_on: Callable[[RunRow], bool] = lambda _run: False
) -> RunRow:
    """Run a round in this process, and others as long as they are wanted; return what became of the last.

    Raises:
        ConfigError: a poller runs.
    """
    stop = threading.Event()
    services = Services(services_of(settings, stop))
    try:
        return run_once(settings, jobs, job.name, services, stop, goes_on)
    except KeyboardInterrupt:
        say("tapedeck: interrupted; the next round of this job does what is left", err=True)
        raise
    finally:
        stop.set()
        services.close()


def by_hand(settings: Settings, job: Job, jobs: Sequence[Job]) -> RunRow:
    """Let the running poller run a round, or run it here where there is none.

    Args:
        settings: The settings.
        job: The job.
        jobs: All jobs, where it is run here.

    Raises:
        ConfigError: the poller does not answer, or does not run it.
        StoreUnavailable: the round needs the database.
    """
    run = _ask_poller(settings, job) if running(settings) else run_here(settings, job, jobs)
    if run.state == "skipped" and run.reason.endswith(NO_DATABASE):
        raise StoreUnavailable(f"the job {job.name} needs it")
    return run


def _ask_poller(settings: Settings, job: Job) -> RunRow:
    """Let the running poller run a round.

    Raises:
        ConfigError: it does not answer, or does not run it.
        RestUnavailable: it stopped before the round ended.
    """
    report = read_all(settings.home).get(NAME)
    requests = Requests(settings.home)
    token = requests.ask(job.name)
    say(f"tapedeck: the running poller runs {job.name}", err=True)
    found: list[Reply] = []

    def answered() -> bool:
        reply = requests.reply(token)
        if reply is not None:
            found.append(reply)
        return bool(found)

    def ended() -> bool:
        return answered() or (report is not None and not alive(report.pid))

    try:
        if not wait_until(answered, _READ_S) and requests.withdraw(token):
            raise ConfigError("the running poller does not read requests; `tapedeck status` says how it is")
        if not found and not wait_until(ended, _ROUND_S):
            raise ConfigError(f"the round of {job.name} has not ended yet; `tapedeck poll --list` shows it")
    except KeyboardInterrupt:
        goes_on = not requests.withdraw(token)
        say(
            f"tapedeck: interrupted; {'the poller goes on with the round' if goes_on else 'no round was begun'}",
            err=True,
        )
        raise
    if not found:
        raise RestUnavailable(f"the poller ended in the middle of a round of {job.name}; the next one does what is due")
    if found[0].run is None:
        raise ConfigError(found[0].refused)
    return RunRow(*found[0].run)


def running(settings: Settings) -> bool:
    """Return whether a poller holds the journal of these settings."""
    try:
        lock = os.open(settings.journal.dir / NAME / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def dry(settings: Settings, job: Job, *, as_json: bool) -> int:
    """Run a round of a job that keeps nothing, print what it would store, and return the exit code.

    Raises:
        ConfigError: the job changes the database itself.
        StoreUnavailable: the round needs the database.
    """
    if job.changes_database:
        raise ConfigError(f"{job.name} changes the database itself, so it has no dry run")
    stop = threading.Event()
    services = Services(services_of(settings, stop))
    try:
        round, outcome = run_dry(job, services, stop)
    finally:
        stop.set()
        services.close()
    if outcome.state == "skipped" and outcome.detail == NO_DATABASE:
        raise StoreUnavailable(f"the job {job.name} needs it")
    counts = {table: len(rows) for table, rows in round.plain.items()}
    if as_json:
        say_json(
            {"state": outcome.state, "detail": outcome.detail, "answers": round.opened.answers, "rows": counts,
             "odd": round.odd_count, "examples": _plain(round.examples(3))},
            indented=True,
        )  # fmt: skip
        return 0
    detail = f" ({outcome.detail})" if outcome.detail else ""
    received = f"{round.opened.answers} answers, {round.opened.bytes:,} bytes"
    say(f"{job.name}: {outcome.state}{detail}; {received}; nothing was stored")
    for table, rows in round.examples(3).items():
        say(f"{table}: {counts[table]:,} rows, such as")
        for row in rows:
            say("  " + ", ".join(f"{name}={value}" for name, value in row.items() if value is not None)[:400])
    for sample in round.odd_samples:
        say(f"odd: {sample}")
    return 0


def _plain(values: object) -> object:
    return msgspec.to_builtins(values, enc_hook=str)


# ---- the list ----------------------------------------------------------------------------------------------


def _list(settings: Settings, *, as_json: bool) -> int:
    result = job_list(settings)
    if as_json:
        say_json(result, indented=True)
        return 0
    now = time.time()
    rows = []
    for line in result.jobs:
        following = line.state if line.state == "off" or line.next is None else _in(line.next - now)
        ended = "" if line.last_end is None else f"{duration(max(0.0, now - line.last_end))} ago"
        reason = one_line(line.problem or line.last_reason)
        rows.append([printable(line.job), line.schedule, following, line.last_state or "never", ended, reason])
    screen = console()
    for number, text in listing(_HEAD, rows, screen.width):
        bad = number >= 0 and (result.jobs[number].problem or result.jobs[number].last_state == "failed")
        screen.print(shown(text, "bold" if number < 0 else "red" if bad else ""), soft_wrap=True)
    say(result.source, err=True)
    return 0


def _in(seconds: float) -> str:
    return "now" if seconds <= 0 else f"in {duration(seconds)}"


def job_list(settings: Settings) -> JobList:
    """Return every job with its next run and last outcome, from the health report where the poller runs."""
    now = time.time()
    report = read_all(settings.home).get("poller")
    works = report is not None and not report.stale(now) and running(settings)
    figures = report.figures.jobs if report is not None and isinstance(report.figures, PollerFigures) else {}
    off = set(settings.poller.off)
    lines = [_line(job, job.name in off, figures.get(job.name), now) for job in all_jobs(settings, SystemClock())]
    sentence = "outcomes are those of the running poller"
    if not works:
        sentence = "the poller is not running; outcomes are those of its last report, next runs are those of its start"
    if any(not line.last_state for line in lines):
        try:
            _fill(lines, _last_runs(settings))
            sentence += ", and earlier ones those in the database"
        except StoreUnavailable as error:
            sentence += f"; earlier ones are unknown, because {unreachable(settings, error)}"
        except (StoreError, ConfigError) as error:
            sentence += f"; earlier ones are unknown, because the database cannot be read: {str(error)[:120]}"
    return JobList(works, sentence, lines)


def _line(job: Job, off: bool, figures: JobFigures | None, now: float) -> JobLine:
    schedule = Schedule.of(job.trigger)
    following = None if off else schedule.after(int(now * 1e9)) / 1e9
    line = JobLine(job.name, schedule_text(job), "off" if off else "on", following, summary=job.summary)
    if figures is not None:
        line.next = figures.next_at or following
        line.last_slot, line.last_end = figures.last_slot, figures.last_end
        line.last_state, line.last_reason, line.problem = figures.last_state, figures.last_reason, figures.problem
        line.counts = figures.counts
    return line


def schedule_text(job: Job) -> str:
    """Return when a job runs, for a person."""
    match job.trigger:
        case Daily(hour, minute):
            return f"{hour:02}:{minute:02} UTC"
        case trigger:
            offset = f" + {trigger.offset_s} s" if trigger.offset_s else ""
            return f"every {duration(trigger.period_s)}{offset}"


def _last_runs(settings: Settings) -> Mapping[str, Sequence[Any]]:
    connection = connect(database_url(settings, READER), application_name="tapedeck", role=READER)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_LAST)
            return {str(row[0]): row[1:] for row in cursor.fetchall()}
    except psycopg2.errors.UndefinedTable:
        return {}
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


def _fill(lines: Sequence[JobLine], runs: Mapping[str, Sequence[Any]]) -> None:
    for line in lines:
        if not line.last_state and line.job in runs:
            slot, state, reason, started, took = runs[line.job]
            line.last_slot, line.last_state, line.last_reason = slot, state, reason
            line.last_end = started + (took or 0.0)
