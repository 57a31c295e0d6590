"""`tapedeck-analysis export`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from analysis.cli.common import console, instant

if TYPE_CHECKING:
    from analysis.export import Exported

Venues = Annotated[list[str], typer.Argument(help="Venues, such as kraken.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    context: typer.Context,
    venues: Venues,
    to: Annotated[Path, typer.Option("--to", help="Folder of the archive; made where it is missing.")],
    start: Annotated[str, typer.Option("--start", help="First day, UTC: 2026-03-05.")],
    end: Annotated[str, typer.Option("--end", help="First day after: 2026-03-06 for one day.")],
    open_day: Annotated[bool, typer.Option("--open-day", help="Take a day that is not over, too.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Write also days that seem unchanged.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Afterwards read every file of these days and compare its SHA-256.")
    ] = False,
) -> int:
    """Write whole days of the tape to a Parquet archive, with manifests; only what is not there yet.

    An archive is folders trade, quote and book by venue= and date= (zstd), and a manifest for each venue and day: rows,
    hashes, gaps. A day appears at once or not at all; the same command again goes on where it was stopped, and writes
    anew the days of which the database knows more now.

    Example: `tapedeck-analysis export kraken okx --to archive --start 2026-03-01 --end 2026-03-08`
    """
    from analysis.export import days_of, export
    from analysis.load.postgres import PostgresSource

    days = days_of(instant(start), instant(end))
    source = PostgresSource.of(context.obj.settings())
    now = datetime.now(UTC)
    typer.echo(f"{'venue':<20}{'day':<12}{'trades':>12}{'quotes':>12}{'books':>12}{'gaps':>7}")
    with Progress(console=console(stderr=True), transient=True, disable=not console(stderr=True).is_terminal) as bar:
        task = bar.add_task("days", total=len(days) * len(venues))

        def told(one: "Exported") -> None:
            bar.advance(task)
            counts = "".join(f"{one.rows.get(name, 0):>12,}" for name in ("trade", "quote", "book"))
            typer.echo(f"{one.venue:<20}{one.day!s:<12}{counts}{one.gaps:>7}  {one.outcome}")

        for venue in venues:
            export(source, to, venue, days, now=now, open_day=open_day, again=again, done=told)
    return _verify(to, venues, start, end) if verify else 0


def _verify(root: Path, venues: list[str], start: str, end: str) -> int:
    from analysis.export import days_of
    from analysis.load.manifest import problems, read_manifest

    wrong = []
    for venue in venues:
        for day in days_of(instant(start), instant(end)):
            manifest = read_manifest(root, venue, day)
            wrong += [f"{venue} {day} is not there"] if manifest is None else problems(root, manifest, hashes=True)
    for sentence in wrong:
        typer.echo(sentence, err=True)
    typer.echo("NOT good" if wrong else "every file is the one its manifest names")
    return 1 if wrong else 0
