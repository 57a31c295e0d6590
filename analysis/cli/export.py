"""`tapedeck-analysis export`."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from analysis.cli.common import instant
from analysis.cli.tables import console
from recorder.errors import ConfigError
from recorder.printable import printable
from recorder.process.terminal import say

if TYPE_CHECKING:
    from analysis.export import Exported

Venues = Annotated[list[str], typer.Argument(help="Venues, such as kraken.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    context: typer.Context,
    venues: Venues,
    to: Annotated[Path, typer.Option("--to", help="Folder of the archive; created when missing.")],
    start: Annotated[str, typer.Option("--start", help="First day, UTC: 2026-03-05.")],
    end: Annotated[str, typer.Option("--end", help="First day after (exclusive): 2026-03-06 for one day.")],
    open_day: Annotated[bool, typer.Option("--open-day", help="Export a day that is not over, too.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Write days again that seem unchanged.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Afterwards read every file of these days and compare its SHA-256.")
    ] = False,
) -> int:
    """Write whole days of recorded data to a Parquet archive with manifests; existing days are skipped.

    An archive has folders trade, quote and book by venue= and date= (zstd), and a manifest for each venue and day:
    rows, hashes, gaps. A day appears completely or not at all. Running the same command again continues where it
    stopped and rewrites the days of which the database has more rows by now.

    Example: `tapedeck-analysis export kraken okx --to archive --start 2026-03-01 --end 2026-03-08`
    """
    from analysis.export import STEPS_PER_DAY, export
    from analysis.load.postgres import PostgresSource

    now = datetime.now(UTC)
    days = _days(start, end, now.date())
    source = PostgresSource.of(context.obj.settings())
    say(f"{'venue':<20}{'day':<12}{'trades':>12}{'quotes':>12}{'books':>12}{'gaps':>7}")
    shown = console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("export", total=len(days) * len(venues) * STEPS_PER_DAY)

        def report(one: "Exported") -> None:
            counts = "".join(f"{one.rows.get(name, 0):>12,}" for name in ("trade", "quote", "book"))
            say(f"{one.venue:<20}{one.day!s:<12}{counts}{one.gaps:>7}  {one.outcome}")

        def advance(what: str, steps: int) -> None:
            progress.update(task, advance=steps, description=printable(what), refresh=True)

        for venue in venues:
            export(source, to, venue, days, now=now, open_day=open_day, again=again, done=report, step=advance)
    return _verify(to, venues, days) if verify else 0


def _days(start: str, end: str, today: date) -> list[date]:
    """Return the days of a range.

    Raises:
        ConfigError: The range holds no day; the message says how to write the one that was meant.
    """
    from analysis.export import days_of

    first, last = instant(start), instant(end)
    if first == last:
        day = first.date()
        open_day = " --open-day" if day >= today else ""
        raise ConfigError(
            f"--end is exclusive, so --start {start} --end {end} holds no day; "
            f"for this one day write: --start {day} --end {day + timedelta(days=1)}{open_day}"
        )
    return days_of(first, last)


def _verify(root: Path, venues: list[str], days: Sequence[date]) -> int:
    from analysis.load.manifest import problems, read_manifest

    wrong = []
    for venue in venues:
        for day in days:
            manifest = read_manifest(root, venue, day)
            wrong += [f"{venue} {day} is missing"] if manifest is None else problems(root, manifest, hashes=True)
    for sentence in wrong:
        say(sentence, err=True)
    say("verification FAILED" if wrong else "every file matches its manifest")
    return 1 if wrong else 0
