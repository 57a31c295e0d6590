"""`tapedeck verify`: proves that nothing is lost or stored twice. Its report and its progress for a person."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from recorder.appliance.embedded_postgres import database_url
from recorder.appliance.hints import hint
from recorder.appliance.processes import wait_until
from recorder.cli.columns import size
from recorder.cli.common import console
from recorder.cli.streams.symbols import short
from recorder.clock import SystemClock
from recorder.errors import ConfigError
from recorder.printable import printable
from recorder.process.health import Report as HealthReport
from recorder.process.health import WriterFigures, read_all
from recorder.process.screen import fold, grid
from recorder.process.slots import SLOTS, program_of
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import READER, connect
from recorder.verify.check import ARCHIVE, Report
from recorder.verify.check import verify as check
from recorder.verify.lineage import JournalComparison, compare
from recorder.verify.polls import PollCheck

_ALSO_WRITTEN = ("gap", "instrument", "quarantine")
_LEGEND = (
    "sent: messages that the venue wrote to a connection; one that two sessions stored counts twice, in stored too.",
    "declared: messages that were sent and are not stored, inside a gap that says so.",
    "missing: messages that are not stored, and no gap says so.",
    "twice: rows stored more often than sent. wrong: rows with values that were never sent.",
)
_LEGEND_SERVED = (
    "served: what services answered to the poller and must be stored. declared: not stored, in a round that failed or "
    "in a hole (poll_hole).",
    "stored: rows compared value by value. unknown: of our own book, which no answer has, or marked as odd.",
)
_LOSSES = "lost parts of journals (removed, damaged, or restored from an older copy), all declared in gap:"
_WAITING = "waiting for the writer"
_STALL_NS = 5_000_000_000  # a busy machine may leave messages in its sockets for this long


class Waited(NamedTuple):
    """How the wait for the writer ended."""

    runs: bool  # whether a writer runs; without one there is nothing to wait for
    behind: str = ""  # why not all that was received is stored; "" when it is


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(
    context: typer.Context,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="Truth log of the simulator: a file, or its folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    wait: Annotated[float, typer.Option(help="Most seconds to wait for the writer to catch up.")] = 30.0,
) -> int:
    """Prove what is stored: offered = inserted + duplicate + quarantined, and nothing is stored twice.

    The journals on disk are compared with what is loaded of them, and what a restore or a removed journal has cost is
    named with its hours. Every file of the archive on this host is read and compared by SHA-256. Every slot of the
    poller's schedules must be accounted for once. With the simulator's truth
    also: stored + declared gaps = sent, nothing is missing undeclared, no value is wrong; the same for the snapshots,
    large trades, labels and bars of what its REST services answered. While the appliance runs,
    everything up to the moment of the call is checked, once the writer has stored it. If something seems to be missing,
    all is checked once more five seconds later.

    The last line says whether it is clean, and how many declared gaps are open, healed or cannot be filled: a declared
    gap is no fault of the tape, but what is in it is not stored. It also names what was not looked at. A writer that
    does not catch up within --wait, or journals that wait for a writer that does not run, are a problem: what is not
    in the database yet was not checked.

    Exit code: 0 when it is clean, with or without declared gaps, 1 when it is not or not all could be checked, 2 when
    you must change something.

    Example: `tapedeck verify --truth var/simulator`
    """
    loaded: Settings = context.obj.settings()
    _truth_logs(truth)  # a wrong folder is an error before the wait
    now_ns = SystemClock().wall_ns()
    agent = loaded.websocket.user_agent
    large = loaded.poller.polymarket.whale_usdc, loaded.poller.polymarket.whale_row_usdc
    with ProgressBar(shown=not as_json) as progress:
        progress(_WAITING, 0, 0)
        waited = _wait_for_writer(loaded, now_ns, wait)
        until_ns = now_ns if waited.runs else None
        connection = connect(
            database_url(loaded, READER), application_name="tapedeck", role=READER, statement_timeout_s=0
        )
        try:
            report = check(
                connection, _truth_logs(truth), until_ns=until_ns, agent=agent, large=large, progress=progress
            )
            if not report.ok and until_ns is not None:
                progress(_WAITING, 0, 0)
                waited = _wait_for_writer(loaded, now_ns + _STALL_NS, wait)
            if not report.ok and until_ns is not None and waited.runs:
                # A message may have been in a socket. If it is not stored now either, it is missing.
                report = check(
                    connection, _truth_logs(truth), until_ns=until_ns, agent=agent, large=large, progress=progress,
                    files=report.archive,
                )  # fmt: skip
            progress("journals", 0, 0)
            compared = compare(connection, loaded.journal.dir, _recorders(loaded))
        finally:
            connection.close()
    _add(report, compared, waited, with_truth=truth is not None)
    if as_json:
        say_json(report, indented=True)
    else:
        for line in lines(report, console().width):
            say(line)
    return 0 if report.ok else 1


def _add(report: Report, compared: JournalComparison, waited: Waited, *, with_truth: bool) -> None:
    """Add what the journals show, and say what could not be checked."""
    report.problems += compared.problems
    report.notes += compared.notes
    if not compared.seen:
        report.unseen.append("the journals")
    if waited.behind:
        report.problems.append(f"not all was checked: {waited.behind}; `tapedeck verify --wait 300` waits longer")
    elif not waited.runs and compared.waiting:
        report.problems.append(
            f"not all was checked: no writer runs that loads the {compared.waiting:,} bytes of journals; "
            f"{hint('up')} starts it"
        )
    if with_truth and not report.streams and not report.served:
        report.problems.append(
            "nothing was compared with the truth: these logs have no message that was sent to this appliance"
        )
    report.ok = not report.problems


def _recorders(settings: Settings) -> list[str]:
    recorders = [name for key, venue in settings.venues.items() for name in venue.recorders(key)]
    names = [program_of(name, slot) for name in recorders for slot in SLOTS]
    return [*names, "poller"]


def _truth_logs(truth: Path | None) -> list[Path]:
    """Return the truth logs of now: a running simulator begins a new one every few minutes.

    Raises:
        ConfigError: there is none.
    """
    if truth is None:
        return []
    logs = sorted([*truth.glob("truth-*.jsonl"), *truth.glob("answers-*.jsonl")]) if truth.is_dir() else [truth]
    if not logs or not logs[0].is_file():
        raise ConfigError(f"there is no truth log in {truth}; a running simulator writes one")
    return logs


def _wait_for_writer(settings: Settings, since_ns: int, wait_s: float) -> Waited:
    """Wait until everything received before `since_ns` is stored."""
    since_s = since_ns / 1e9

    def writer() -> HealthReport | None:
        report = read_all(settings.home).get("writer")
        return None if report is None or report.stale(time.time()) else report

    def caught_up() -> bool:
        report = writer()
        if report is None:
            return True
        # A recorder holds a frame for less than a second before it writes it to its journal.
        needed = since_s + 1.0
        stored = isinstance(report.figures, WriterFigures) and report.figures.has_stored(needed)
        return stored and report.updated_at > needed

    done = wait_until(caught_up, wait_s)
    report = writer()
    if report is None:
        return Waited(False)
    if done:
        return Waited(True)
    figures = report.figures if isinstance(report.figures, WriterFigures) else WriterFigures()
    why = "" if figures.database in ("", "up") else f" (the database is {figures.database})"
    return Waited(
        True, f"after {wait_s:g} s the writer still has to load {size(figures.lag_bytes)} of the journals{why}"
    )


def lines(report: Report, width: int) -> Iterator[str]:
    """Yield the counts of each table, the result for each stream, and the problems, in lines of this width."""
    yield from _ledger(report, width)
    yield f"trade ids stored twice: {report.doubled_ids}"
    if report.polls is not None:
        yield ""
        yield from _polls(report.polls, width)
    if report.streams:
        yield ""
        yield from _streams(report, width)
    if report.served:
        yield ""
        yield from _served(report, width)
    yield ""
    if report.losses:
        yield from fold(_LOSSES, width)
        for loss in report.losses:
            yield from fold(f"  {printable(str(loss))}", width, "    ")
        yield ""
    for sentence in (*report.notes, *report.problems):
        yield from fold(printable(sentence), width, "  ")
    yield from fold(verdict(report), width, "  ")


def verdict(report: Report) -> str:
    """Return the last line: whether it is clean, the declared gaps, and what was not looked at."""
    if not report.ok:
        text = "NOT clean"
    elif report.losses:
        text = "accounted for: what the losses above cost is declared, nothing doubled"
    elif report.gaps.open or report.gaps.unhealable:
        text = "clean: every loss is declared, nothing doubled, everything accounted for"
    else:
        text = "clean: nothing lost, nothing doubled, everything accounted for"
    unseen = f"not looked at: {', '.join(report.unseen)}" if report.unseen else ""
    return "; ".join(filter(None, (text, unseen, report.gaps.sentence())))


def _ledger(report: Report, width: int) -> Iterator[str]:
    rows = []
    for row in report.ledger:
        counts = (row.offered, row.inserted, row.duplicate, row.quarantined)
        stored = "unknown" if row.rows is None else f"{row.rows:,}"
        name = row.table if row.ok else f"{row.table} WRONG"
        rows.append([name, *(f"{count:,}" for count in counts), stored])
    yield from grid(["table", "offered", "inserted", "duplicate", "quarantined", "rows"], rows, width)
    yield from fold(
        "offered = inserted + duplicate + quarantined. Of trade, quote, book: rows = inserted; of gap, session, and of "
        "what is polled: no fewer.",
        width,
    )
    if any(row.table in _ALSO_WRITTEN and row.rows != row.inserted for row in report.ledger):
        yield from fold(
            "The lists of venues add rows to instrument, refused rows and damage to quarantine and gap.", width
        )


def _polls(polls: PollCheck, width: int) -> Iterator[str]:
    rows = []
    for job in polls.jobs:
        counts = (job.expected, job.accounted, job.missing, job.doubled, job.unplanned)
        rows.append([printable(job.job), *(f"{count:,}" for count in counts)])
    yield from grid(["poll", "slots", "accounted", "missing", "twice", "unplanned"], rows, width)
    # Sessions report how many answers they have once a minute, so a young poller has used more than they say.
    among = f"of {polls.frames:,} in the journal{'' if polls.complete else ' a minute ago'}"
    if polls.answers > polls.frames and not polls.complete:
        among = "and not all of them counted yet: the journal's count is up to a minute old"
    yield from fold(
        f"polls: {polls.answers:,} answers used {among}; {polls.rows:,} rows made, "
        f"{polls.offered:,} read from the journal.",
        width,
        "  ",
    )


def _streams(report: Report, width: int) -> Iterator[str]:
    rows = []
    for stream in report.streams:
        counts = (stream.sent, stream.stored, stream.declared, stream.missing, stream.duplicates, stream.wrong)
        name = printable(f"{stream.venue} {short(stream.symbol)} {stream.channel}")
        rows.append([name, *(f"{count:,}" for count in counts)])
    yield from grid(["stream", "sent", "stored", "declared", "missing", "twice", "wrong"], rows, width)
    for sentence in _LEGEND:
        yield from fold(sentence, width, "  ")
    more = sum(max(0, stream.stored - stream.sent) for stream in report.streams if stream.channel == "trade")
    if more:
        yield from fold(
            f"{more:,} trades more are stored than were sent: they were read from the history of their venue, which "
            "fills gaps and times that were not recorded.",
            width, "  ",
        )  # fmt: skip
    withheld = sum(stream.withheld for stream in report.streams)
    if withheld:
        yield from fold(f"{withheld:,} trades more were sent to no connection, and lie inside a gap.", width, "  ")


def _served(report: Report, width: int) -> Iterator[str]:
    rows = []
    for one in report.served:
        counts = (one.served, one.declared, one.missing, one.stored, one.wrong, one.unknown)
        rows.append([printable(f"{one.services} {one.what}"), *(f"{count:,}" for count in counts)])
    yield from grid(["answers", "served", "declared", "missing", "stored", "wrong", "unknown"], rows, width)
    for sentence in _LEGEND_SERVED:
        yield from fold(sentence, width, "  ")


class ProgressBar:
    """Shows on standard error what is read and how much is left, when that is a terminal.

    Args:
        shown: False shows nothing.
    """

    def __init__(self, *, shown: bool) -> None:
        err = console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), TextColumn("{task.fields[rows]}"), BarColumn(),
            TaskProgressColumn(),
            console=err, transient=True, disable=not (shown and err.is_terminal),
        )  # fmt: skip
        self._task = self._bar.add_task("verify", total=None, rows="")

    def __call__(self, what: str, rows: int, total: int) -> None:
        """Show the rows read so far. The total is 0 while it is unknown."""
        venue, _, rest = what.partition(" ")
        symbol, _, channel = rest.rpartition(" ")
        name = f"{venue} {short(symbol)} {channel}" if symbol else what
        self._bar.update(
            self._task,
            description=printable(name),
            rows=f"{rows:,} {'MiB' if what == ARCHIVE else 'rows'}" if total else "",
            completed=rows,
            total=total or None,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
