"""`tapedeck-analysis bars`."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.common import End, From, GapChoice, Start, Symbols, Venue, instant, show, source_of

_PRINTED = ("symbol", "start", "open", "high", "low", "close", "volume", "vwap", "trade_count", "coverage", "in_gap")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bars)


def bars(
    context: typer.Context,
    venue: Venue,
    symbols: Symbols,
    start: Start,
    end: End,
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="1m, 5m, 15m, 1h, 4h or 1d.")] = "1m",
    archive: From = None,
    on_gap: GapChoice = "raise",
    out: Annotated[Path | None, typer.Option("--out", help="Write a Parquet; without it, print.")] = None,
) -> int:
    """Make time bars of the trades of a range: OHLC, volume, vwap, buy and sell volume, coverage.

    A span without a trade has no bar. Where a gap touches the range the command stops and names it, unless --on-gap
    says otherwise: mask marks the bars a gap touches, ignore takes them as they are.

    Example: `tapedeck-analysis bars kraken BTC/USD --start 2026-03-05 --end 2026-03-06 -t 5m --on-gap mask`
    """
    from analysis import load

    span = instant(start), instant(end)
    source = source_of(context.obj, archive)
    table = load.bars(source, venue, symbols, *span, timeframe, on_gap=on_gap)
    if out is None:
        show(table, [name for name in _PRINTED if name in table.schema.names])
        return 0
    import pyarrow.parquet as pq

    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out, compression="zstd")
    typer.echo(f"{table.num_rows:,} bars of {timeframe} in {out}")
    return 0
