"""`tapedeck replay`: decode journalled frames again, show what differs, and apply it when asked to."""

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from recorder.cli.common import Context, console, make_venue
from recorder.errors import ConfigError
from recorder.journal_reader import JournalReader, segments
from recorder.position import Position
from recorder.postgres import database_url
from recorder.replay import Account, Example, TableCount, venue_of
from recorder.replay_run import Correction, Request
from recorder.replay_run import replay as run
from recorder.store_replay import ReplayStore

_MEMBERS = {"symbol", "trade_id", "ts_event", "frame_seq"}  # what names a row to a person
_PROGRESS_BYTES = 1 << 20


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
    examples: Annotated[int, typer.Option(min=0, help="Rows to show of each kind of difference.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """Decode journalled frames again with the adapters as they are now, and show what differs from what was recorded.

    For use after an adapter was corrected. Nothing is changed without `--apply`. With it the stored rows become what
    the frames say: piece by piece, each in one transaction, so it may be killed and started again at any time, and
    applying twice changes nothing the second time. The difference shown is always that to the recording itself.

    Exit code: 0 when every frame could be replayed, whether or not anything differs; 1 when some could not (damaged
    frames, rows Postgres refuses, differing blocks the writer has yet to load); 2 when you must change something.

    Examples:

    `tapedeck replay`

    `tapedeck replay --journal recorder-kraken --from 2026-11-20T00:00Z --to 2026-11-21T00:00Z --examples 10`

    `tapedeck replay --journal recorder-kraken --apply && tapedeck verify`
    """
    options: Context = context.obj
    settings = options.settings()
    from_ns, until_ns = _instant("--from", since), _instant("--to", until)
    if from_ns is not None and until_ns is not None and from_ns >= until_ns:
        raise ConfigError("--from must be before --to")
    readers = [JournalReader(folder) for folder in _folders(settings.journal.dir, journal or [])]
    venues = [venue_of(reader) for reader in readers]
    replay_id = secrets.randbits(63) or 1
    results = []
    for reader, name in zip(readers, venues, strict=True):
        venue = make_venue(settings, name)
        request = Request(venue.session, from_ns or 0, until_ns, examples)
        store = ReplayStore(database_url(settings), reader.journal_id, name, replay_id) if apply else None
        try:
            with _Bar(reader, shown=not as_json) as progress:
                results.append(run(reader, request, store, progress))
        finally:
            reader.close()
            if store is not None:
                store.close()
    if as_json:
        answer = [as_values(account, correction) for account, correction in results]
        typer.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())
    else:
        show(console(), results)
    whole = all(
        not account.skipped and (correction is None or not correction.not_loaded) for account, correction in results
    )
    return 0 if whole else 1


def _folders(home: Path, wanted: list[str]) -> list[Path]:
    """Folders of the journals asked for.

    Raises:
        ConfigError: there is none, or none of this name.
    """
    found = {path.parent.name: path.parent for path in sorted(home.glob("*/journal.id"))}
    if not found:
        raise ConfigError(f"there is no journal in {home}; a recorder writes one there (journal.dir)")
    for name in wanted:
        if name not in found:
            raise ConfigError(f"there is no journal {name!r} in {home}; there are: {', '.join(found)}")
    if wanted:
        return [found[name] for name in dict.fromkeys(wanted)]
    return [folder for folder in found.values() if segments(folder)]  # one that was just made has nothing to say


def _instant(option: str, text: str | None) -> int | None:
    """Nanoseconds of an ISO 8601 instant; without an offset it is UTC.

    Raises:
        ConfigError: it is no instant.
    """
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is no instant; write it like 2026-11-21T13:30:00Z") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return int(instant.timestamp()) * 10**9 + instant.microsecond * 1000


class _Bar:
    """A bar over the bytes of a journal, on standard error, when that is a terminal."""

    def __init__(self, reader: JournalReader, *, shown: bool) -> None:
        err = console(stderr=True)
        self._reader = reader
        self._bar = Progress(
            TextColumn(f"replay {reader.folder.name}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
            console=err, transient=True, disable=not (shown and err.is_terminal),
        )  # fmt: skip
        self._total = reader.lag_bytes(reader.first())
        self._segment, self._before, self._told = 0, 0, 0

    def __enter__(self) -> Callable[[Position], None]:
        self._bar.start()
        self._task = self._bar.add_task("", total=self._total)
        return self._at

    def _at(self, position: Position) -> None:
        if position.segment != self._segment:
            self._segment = position.segment
            self._before = self._total - self._reader.lag_bytes(Position(position.segment, 0))
            self._told = 0
        elif position.offset - self._told < _PROGRESS_BYTES:
            return
        self._told = position.offset
        self._bar.update(self._task, completed=self._before + position.offset)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


# ---- what is shown -----------------------------------------------------------------------------------


def as_values(account: Account, correction: Correction | None) -> dict[str, Any]:
    """A result as plain values, for --json."""
    values: dict[str, Any] = msgspec.to_builtins(account)
    values["differs"] = account.differs
    values["applied"] = None
    if correction is not None:
        values["applied"] = msgspec.to_builtins(correction.applied)
        values["not_loaded_blocks"] = correction.not_loaded
    return values


def show(target: Console, results: list[tuple[Account, Correction | None]]) -> None:
    """A table over all venues and channels, examples, what was left out, and what was done."""
    table = Table("venue", "channel", box=None, header_style="bold")
    for name in ("same", "changed", "only now", "no longer"):
        table.add_column(name, justify="right")
    for account, _ in results:
        for channel, count in account.tables.items():
            numbers = (count.same, count.changed, count.only_now, count.no_longer)
            table.add_row(account.venue, channel, *(f"{number:,}" for number in numbers))
    target.print(table)
    tell = partial(target.print, markup=False, soft_wrap=True)
    for account, correction in results:
        tell(f"\n{account.journal}: {account.frames:,} frames in {account.blocks:,} blocks; quarantined when recorded "
             f"{account.quarantined_before:,}, now {account.quarantined_now:,}")  # fmt: skip
        for line in _details(account):
            tell(f"  {line}")
        for line in _outcome(account, correction):
            tell(line)


def _details(account: Account) -> Iterator[str]:
    for example in account.examples:
        yield example_line(example)
    for reason in account.unread:
        yield f"cannot be decoded: {reason}"
    if account.sessions_without_beginning:
        yield f"{account.sessions_without_beginning} sessions are decoded without their beginning, which is gone"
    for place in account.skipped_examples:
        yield f"skipped {place}"
    if account.skipped > len(account.skipped_examples):
        yield f"skipped {account.skipped - len(account.skipped_examples)} places more"


def example_line(example: Example) -> str:
    """One difference as a line: what names the row, then what is different."""
    row = example.new or example.old or {}
    name = " ".join(value if key == "symbol" else f"{key}={value}" for key, value in row.items() if key in _MEMBERS)
    head = f"{example.table} {name} {example.what}"
    if example.old is not None and example.new is not None:
        new = example.new
        cells = [f"{key} {old} -> {new[key]}" for key, old in example.old.items() if old != new[key]]
    else:
        cells = [f"{key}={value}" for key, value in row.items() if key not in _MEMBERS and value != "-"]
    return f"{head}: {', '.join(cells)} (block {example.at})"


def _outcome(account: Account, correction: Correction | None) -> Iterator[str]:
    total = TableCount()
    for count in account.tables.values():
        total.changed += count.changed
        total.only_now += count.only_now
        total.no_longer += count.no_longer
    if correction is None:
        if account.restorable_gaps:
            yield f"{account.restorable_gaps} gaps of damaged blocks can be healed: their frames are intact"
        if account.differs:
            yield "nothing was changed; --apply corrects the stored rows"
        else:
            yield "the adapter makes the same rows today"
        return
    if correction.not_loaded:
        yield f"{correction.not_loaded:,} blocks that differ are left out: the writer has yet to load them"
    if not correction.applied.any:
        yield "nothing to apply: what is stored is what the frames say"
        return
    for name, changed in correction.applied.tables.items():
        if changed.any:
            yield f"{name}: {changed.removed:,} removed, {changed.inserted:,} inserted, {changed.updated:,} updated"
    if correction.applied.gaps_healed:
        yield f"gap: {correction.applied.gaps_healed:,} healed"
