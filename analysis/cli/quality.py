"""`tapedeck-analysis quality`."""

from typing import Annotated

import typer

from analysis.cli.common import instant, source_of
from analysis.cli.tables import print_table
from recorder.process.terminal import say

_SHOWN = 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(quality)


def quality(
    context: typer.Context,
    venue: Annotated[str, typer.Argument(help="Name of the venue, such as kraken.")],
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; without one, all of the venue.")] = None,
    start: Annotated[str, typer.Option("--start", help="First instant, UTC: 2026-03-05 or 2026-03-05T14:00.")] = "",
    end: Annotated[str, typer.Option("--end", help="First instant after the range (exclusive), UTC.")] = "",
    below: Annotated[float, typer.Option("--below", help="Show hours with a lower score.", min=0, max=2)] = 1.0,
    findings: Annotated[bool, typer.Option("--findings", help="Show the findings, each with its value.")] = False,
) -> int:
    """Show hours in which the checker of data quality found unusual values, the worst of them by score.

    The deriver checks every complete bar by the rules of table quality_rule: range, jump, volume_spike, stale,
    split_like, spread and crossed. The score of an hour is the part of its bars of a minute without a finding. A value
    that was found stays as it is; loaders leave such hours to you, with min_quality.

    Without --start the last day is shown. Exit code 1 when an hour was shown.

    Example: `tapedeck-analysis quality kraken BTC/USD --start 2026-03-05 --end 2026-03-06 --findings`
    """
    from datetime import UTC, datetime, timedelta

    from analysis.load.hours import quality as stored
    from analysis.load.polled.rows import database
    from analysis.load.rows import instruments
    from analysis.load.source import Range

    until = instant(end) if end else datetime.now(UTC)
    span = Range(instant(start) if start else until - timedelta(days=1), until)
    with source_of(context.obj, None).reading() as reader:
        whose = instruments(reader, venue, symbols) if symbols else reader.instruments(venue)
        names = {one.instrument_id: one.symbol for one in whose}
        hours = stored.hours(database(reader), whose, span).to_pylist()
        low = sorted((row for row in hours if row["score"] < below), key=lambda row: (row["score"], row["hour"]))
        found = stored.findings(database(reader), whose, span).to_pylist() if findings else []
    if low:
        print_table(
            ["symbol", "hour", "bars", "flagged", "score"],
            [
                [names[row["instrument_id"]], f"{row['hour']:%Y-%m-%d %H:%M}", str(row["bars"]), str(row["flagged"]),
                 f"{row['score']:.3f}"]
                for row in low[:_SHOWN]
            ],
            keys=2,
        )  # fmt: skip
    if found:
        print_table(
            ["symbol", "start", "length_s", "rule", "value", "threshold"],
            [
                [names[row["instrument_id"]], f"{row['start']:%Y-%m-%d %H:%M}", str(row["interval_s"]), row["rule"],
                 f"{row['value']:.6g}", f"{row['threshold']:.6g}"]
                for row in found[:_SHOWN]
            ],
            keys=2,
        )  # fmt: skip
    hidden = max(0, len(low) - _SHOWN) + max(0, len(found) - _SHOWN)
    more = f"; {hidden:,} rows are not shown, choose a shorter range" if hidden else ""
    say(f"{len(low):,} of {len(hours):,} hours have a score below {below:g}{more}")
    return 1 if low else 0
