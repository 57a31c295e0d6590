"""`tapedeck-analysis bars`."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.common import From, GapChoice, MinGrade, Symbols, Venue, source_of
from analysis.cli.tables import print_arrow
from recorder.process.terminal import say

Start = Annotated[
    str | None, typer.Option("--start", help="First instant, UTC; without it, the first complete bar recorded.")
]
End = Annotated[
    str | None, typer.Option("--end", help="First instant after (exclusive), UTC; without it, the last complete bar.")
]

_PRINTED = ("symbol", "start", "open", "high", "low", "close", "volume", "vwap", "trade_count", "coverage", "in_gap")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bars)


def bars(
    context: typer.Context,
    venue: Venue,
    symbols: Symbols,
    start: Start = None,
    end: End = None,
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="1m, 5m, 15m, 1h, 4h or 1d.")] = "1m",
    archive: From = None,
    on_gap: GapChoice = "raise",
    min_grade: MinGrade = None,
    out: Annotated[Path | None, typer.Option("--out", help="Parquet file to write; without it, print.")] = None,
) -> int:
    """Compute time bars from the trades of a range: OHLC, volume, vwap, buy and sell volume, coverage.

    A span without a trade has no bar. Where a gap touches the range, the command stops and names the gap, unless
    --on-gap says otherwise: mask marks the bars that a gap touches, ignore uses them as they are.

    Example: `tapedeck-analysis bars kraken BTC/USD --start 2026-03-05 --end 2026-03-06 -t 5m --on-gap mask`
    """
    from analysis import load
    from analysis.load.frames import masked_of

    source = source_of(context.obj, archive)
    table = load.bars(venue, symbols, start, end, timeframe, source=source, on_gap=on_gap, min_grade=min_grade)
    for line in masked_of(table):
        say(f"masked: {line}", err=True)
    if out is None:
        print_arrow(table, [name for name in _PRINTED if name in table.schema.names], keys=2)
        return 0
    import pyarrow.parquet as pq

    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out, compression="zstd")
    say(f"wrote {table.num_rows:,} bars of {timeframe} to {out}")
    return 0
