"""`tapedeck replay`: decodes journalled frames again, shows what differs, and applies it on request."""

import secrets
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from recorder.appliance.embedded_postgres import database_url
from recorder.certify.make import feed_of
from recorder.cli.certificates.made import DAY_US
from recorder.cli.certificates.replayed import compare_stored
from recorder.cli.common import Context, console, instant_ns, make_venue
from recorder.clock import SystemClock
from recorder.errors import ConfigError
from recorder.journal.reader import JournalReader, segments
from recorder.poller.job import Job
from recorder.poller.jobs import all_jobs
from recorder.position import Position
from recorder.process.screen import Screen
from recorder.process.terminal import say_json
from recorder.replay.apply import ReplayStore
from recorder.replay.archived import named
from recorder.replay.polls import PollReplay, is_polls, replay_polls
from recorder.replay.redecode import venue_of
from recorder.replay.report import Example, ReplayReport, TableCount
from recorder.replay.run import ReplayApplier, Request
from recorder.replay.run import replay as run
from recorder.settings import Settings
from recorder.store.database import REPLAY

_MEMBERS = {"symbol", "trade_id", "ts_event", "frame_seq"}  # columns that identify a row to a person
_NAMED_DAYS = 3
_PROGRESS_BYTES = 1 << 18  # of journal, between two updates of the bar


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)


def replay(
    context: typer.Context,
    journal: Annotated[
        list[str] | None, typer.Option("--journal", help="Name of a journal, such as recorder-kraken. Default: all.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Only what was recorded from this instant on, UTC.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Only what was recorded before this instant, UTC.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Correct the stored rows, the appliance may be running.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the stored rows with the frames, hour by hour.")
    ] = False,
    examples: Annotated[int, typer.Option(min=0, help="Rows to show of each kind of difference.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """Decode journalled frames again with the adapters as they are now, and show what differs from what was recorded.

    Use it after an adapter was corrected. Nothing is changed without `--apply`. With it the stored rows become what
    the frames give now. Each batch is one transaction, so the command may be killed and started again at any time, and
    applying twice changes nothing the second time. The differences shown are always those to the recording itself.

    With `--check` the rows in the database are compared with those that the frames give, value by value, for each
    complete hour of the last day, or from `--from` to `--to`. The exit code is 1 when any differ, and when no hour
    could be compared. Certificates hold the same verdict (`tapedeck certify`).

    Exit code: 0 when every frame could be replayed, whether or not anything differs; 1 when some could not (damaged
    frames, rows Postgres refuses, differing blocks the writer has yet to load, or of days in the archive, which stay as
    they were recorded); 2 when you must change something.

    Examples:

    `tapedeck replay`

    `tapedeck replay --journal recorder-kraken --from 2026-11-20T00:00Z --to 2026-11-21T00:00Z --examples 10`

    `tapedeck replay --journal recorder-kraken --apply && tapedeck verify`

    `tapedeck replay --check --from 2026-11-20T00:00Z --to 2026-11-21T00:00Z`
    """
    options: Context = context.obj
    settings = options.settings()
    from_ns, until_ns = instant_ns("--from", since), instant_ns("--to", until)
    if from_ns is not None and until_ns is not None and from_ns >= until_ns:
        raise ConfigError("--from must be before --to")
    if check:
        if apply:
            raise ConfigError("--check changes nothing; use it without --apply, or after it")
        names = [folder.name for folder in _folders(settings.journal.dir, journal or [])]
        feeds = sorted({feed for feed in map(feed_of, names) if feed is not None})
        now_us = SystemClock().wall_ns() // 1000
        end_us = now_us if until_ns is None else until_ns // 1000
        return compare_stored(
            settings, feeds, end_us - DAY_US if from_ns is None else from_ns // 1000, end_us, now_us, as_json=as_json
        )
    found = [JournalReader(folder) for folder in _folders(settings.journal.dir, journal or [])]
    readers = [reader for reader in found if not is_polls(reader)]
    venues = [venue_of(reader) for reader in readers]
    replay_id = secrets.randbits(63) or 1
    results = []
    for reader, name in zip(readers, venues, strict=True):
        venue = make_venue(settings, name)
        request = Request(venue.decoder, from_ns or 0, until_ns, examples)
        store = ReplayStore(database_url(settings, REPLAY), reader.journal_id, name, replay_id) if apply else None
        try:
            with _Bar(reader, shown=not as_json) as progress:
                results.append(run(reader, request, store, progress))
        finally:
            reader.close()
            if store is not None:
                store.close()
    polls = [
        _polls(settings, reader, from_ns or 0, until_ns, shown=not as_json) for reader in found if is_polls(reader)
    ]
    if as_json:
        answer = [as_values(report, applier) for report, applier in results]
        say_json([*answer, *({**msgspec.to_builtins(one), "differs": one.differs} for one in polls)], indented=True)
    else:
        if results:
            show(console(), results)
        for one in polls:
            for line in poll_lines(one, applied=apply):
                console().print(line, soft_wrap=True, markup=False)
    complete = all(
        not report.skipped and (applier is None or not (applier.not_loaded or applier.archived))
        for report, applier in results
    )
    complete = complete and not any(one.skipped for one in polls)
    return 0 if complete else 1


def _polls(settings: Settings, reader: JournalReader, from_ns: int, until_ns: int | None, *, shown: bool) -> PollReplay:
    """Take the answers of the poller's journal again, with what jobs keep in files in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-replay-") as folder:
        apart = settings.model_copy(update={"home": Path(folder)})

        def make_jobs() -> dict[str, Job]:
            return {job.name: job for job in all_jobs(apart, SystemClock())}

        try:
            with _Bar(reader, shown=shown) as progress:
                return replay_polls(reader, make_jobs, from_ns, until_ns, progress)
        finally:
            reader.close()


def poll_lines(report: PollReplay, *, applied: bool) -> Iterator[str]:
    """Yield the result for the poller's journal in lines."""
    yield ""
    yield f"{report.journal}: {report.answers:,} answers of {report.rounds:,} rounds; {report.odd:,} odd rows now"
    for table, count in report.tables.items():
        yield f"  {table}: {count.same:,} same, {count.added:,} added, {count.removed:,} removed"
    for name, one in sorted(report.left_out.items()):
        yield f"  {name}: {one.rounds:,} rounds are left out: {one.reason}"
    if report.without_answers:
        yield f"  {report.without_answers:,} rounds are left out: not all of their answers are in the journal"
    if report.unknown:
        yield f"  {report.unknown:,} rounds are left out: they are of jobs that these settings do not have"
    if report.skipped:
        yield f"  skipped {report.skipped:,} damaged blocks"
    for reason in report.reasons:
        yield f"  cannot be taken: {reason}"
    if applied:
        yield "  rows of polls are compared only: --apply does not change them yet"
    elif not report.differs:
        yield "  the answers give the same rows now"


def _folders(home: Path, wanted: list[str]) -> list[Path]:
    """Return the folders of the requested journals; all without a request.

    Raises:
        ConfigError: There is no journal, or none of this name.
    """
    found = {path.parent.name: path.parent for path in sorted(home.glob("*/journal.id"))}
    if not found:
        raise ConfigError(f"there is no journal in {home}; a recorder writes one there (journal.dir)")
    for name in wanted:
        if name not in found:
            raise ConfigError(f"there is no journal {name!r} in {home}; there are: {', '.join(found)}")
    if wanted:
        return [found[name] for name in dict.fromkeys(wanted)]
    return [folder for folder in found.values() if segments(folder)]  # a new journal without a segment is left out


class _Bar:
    """Shows on standard error how much of a journal is replayed, when that is a terminal."""

    def __init__(self, reader: JournalReader, *, shown: bool) -> None:
        err = console(stderr=True)
        self._reader = reader
        self._bar = Progress(
            TextColumn(f"replay {reader.folder.name}", markup=False), TextColumn("{task.fields[blocks]:,} blocks"),
            BarColumn(), TaskProgressColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
            console=err, transient=True, disable=not (shown and err.is_terminal),
        )  # fmt: skip
        self._total = reader.lag_bytes(reader.first())
        self._segment, self._before, self._shown, self._blocks = 0, 0, 0, 0

    def __enter__(self) -> Callable[[Position], None]:
        self._bar.start()
        self._task = self._bar.add_task("", total=self._total, blocks=0)
        return self._at

    def _at(self, position: Position) -> None:
        self._blocks += 1
        if position.segment != self._segment:
            self._segment = position.segment
            self._before = self._total - self._reader.lag_bytes(Position(position.segment, 0))
            self._shown = 0
        elif position.offset - self._shown < _PROGRESS_BYTES:
            return
        self._shown = position.offset
        self._bar.update(self._task, completed=self._before + position.offset, blocks=self._blocks)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def as_values(report: ReplayReport, applier: ReplayApplier | None) -> dict[str, Any]:
    """Return a result as plain values, for --json."""
    values: dict[str, Any] = msgspec.to_builtins(report)
    values["differs"] = report.differs
    values["applied"] = None
    if applier is not None:
        values["applied"] = msgspec.to_builtins(applier.applied)
        values["not_loaded_blocks"] = applier.not_loaded
        values["archived_blocks"] = applier.archived
        values["archived_days"] = [named(day) for day in sorted(applier.archived_days)]
    return values


def show(target: Screen, results: list[tuple[ReplayReport, ReplayApplier | None]]) -> None:
    """Print a table over all venues and channels, examples, skipped blocks, and the changes."""
    table = Table("venue", "channel", box=None, header_style="bold")
    for name in ("same", "changed", "added", "removed"):
        table.add_column(name, justify="right")
    for report, _ in results:
        for channel, count in report.tables.items():
            numbers = (count.same, count.changed, count.added, count.removed)
            table.add_row(report.venue, channel, *(f"{number:,}" for number in numbers))
    target.print(table)
    print_line = partial(target.print, soft_wrap=True)
    for report, applier in results:
        print_line("")
        print_line(
            f"{report.journal}: {report.frames:,} frames in {report.blocks:,} blocks; "
            f"quarantined when recorded {report.quarantined_before:,}, now {report.quarantined_now:,}"
        )
        for line in _details(report):
            print_line(f"  {line}")
        for line in _outcome(report, applier):
            print_line(line)


def _days(applier: ReplayApplier) -> str:
    """Return the archived days of a result for a person."""
    days = [named(day) for day in sorted(applier.archived_days, key=lambda day: (day[1], day[0]))]
    more = f" and {len(days) - _NAMED_DAYS} more days" if len(days) > _NAMED_DAYS else ""
    return ", ".join(days[:_NAMED_DAYS]) + more


def _details(report: ReplayReport) -> Iterator[str]:
    for example in report.examples:
        yield example_line(example)
    for reason in report.undecodable:
        yield f"cannot be decoded: {reason}"
    if report.sessions_without_beginning:
        yield f"{report.sessions_without_beginning} sessions are decoded without their first frames, which are deleted"
    for place in report.skipped_examples:
        yield f"skipped {place}"
    if report.skipped > len(report.skipped_examples):
        yield f"skipped {report.skipped - len(report.skipped_examples)} more blocks"


def example_line(example: Example) -> str:
    """Return one difference as a line: what identifies the row, then what differs."""
    row = example.new or example.old or {}
    name = " ".join(value if key == "symbol" else f"{key}={value}" for key, value in row.items() if key in _MEMBERS)
    head = f"{example.table} {name} {example.what}"
    if example.old is not None and example.new is not None:
        new = example.new
        cells = [f"{key} {old} -> {new[key]}" for key, old in example.old.items() if old != new[key]]
    else:
        cells = [f"{key}={value}" for key, value in row.items() if key not in _MEMBERS and value != "-"]
    return f"{head}: {', '.join(cells)} (block {example.at})"


def _outcome(report: ReplayReport, applier: ReplayApplier | None) -> Iterator[str]:
    total = TableCount()
    for count in report.tables.values():
        total.changed += count.changed
        total.added += count.added
        total.removed += count.removed
    if applier is None:
        if report.restorable_gaps:
            yield f"{report.restorable_gaps} gaps of damaged blocks can be healed, because their frames are intact"
        if report.differs:
            yield "nothing was changed; --apply corrects the stored rows"
        elif not report.frames:
            yield "nothing was decoded: the journal has no frame of this time"
        else:
            yield "the adapter makes the same rows now"
        return
    if applier.not_loaded:
        yield f"{applier.not_loaded:,} blocks that differ are left out, because the writer has not loaded them yet"
    if applier.archived:
        yield f"{applier.archived:,} blocks that differ are left out, because the archive has {_days(applier)}"
    if not applier.applied.any:
        if not applier.archived:
            yield "nothing to apply: the stored rows are those of the frames"
        return
    for name, changed in applier.applied.tables.items():
        if changed.any:
            yield f"{name}: {changed.removed:,} removed, {changed.inserted:,} inserted, {changed.updated:,} updated"
    if applier.applied.gaps_healed:
        yield f"gap: {applier.applied.gaps_healed:,} healed"
