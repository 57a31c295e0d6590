"""`tapedeck-analysis features`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from analysis.cli.common import End, From, MinGrade, Start, Venue, instant, pair, source_of
from recorder.process.terminal import say

Symbol = Annotated[str, typer.Argument(help="Symbol; for a prediction market, the token of outcome 0.")]
Out = Annotated[Path, typer.Option("--out", help="Parquet file to write; its manifest is written beside it as .json.")]
Every = Annotated[float, typer.Option("--every", help="Seconds between two decision times.")]
Kind = Annotated[
    Literal["bars", "snapshots"],
    typer.Option("--set", help="bars: the 64 features of a series; snapshots: the 66 of a prediction market."),
]
Token = Annotated[str | None, typer.Option("--no", help="For a prediction market: the token of outcome 1.")]
Other = Annotated[
    list[str] | None, typer.Option("--other", help="venue:symbol of the same instrument elsewhere; repeat for more.")
]
Leader = Annotated[str | None, typer.Option("--leader", help="venue:symbol of the venue that tends to move first.")]
Warmup = Annotated[
    float | None,
    typer.Option(
        "--warmup-days", help="Days to read before --start; without it, as many as the longest feature needs."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(features)


def features(
    context: typer.Context,
    venue: Venue,
    symbol: Symbol,
    start: Start,
    end: End,
    out: Out,
    every: Every = 60.0,
    kind: Kind = "bars",
    no: Token = None,
    other: Other = None,
    leader: Leader = None,
    warmup_days: Warmup = None,
    archive: From = None,
    min_grade: MinGrade = None,
) -> int:
    """Compute every feature at regular decision times, point-in-time, and write a table with a manifest.

    An unknown value is null, never 0: a feature has no value when its window lies in a gap or begins before the
    recording.

    Example: `tapedeck-analysis features kraken BTC/USD --start 2026-03-05 --end 2026-03-06 --out btc.parquet`
    """
    from analysis import feature_tables

    recipe = feature_tables.Recipe(
        kind=kind,
        venue=venue,
        symbol=symbol,
        start=instant(start),
        end=instant(end),
        every_s=every,
        other_token=no,
        others=tuple(pair(text) for text in other or ()),
        leader=None if leader is None else pair(leader),
        warmup_s=None if warmup_days is None else warmup_days * 86_400,
        min_grade=min_grade,
    )
    tape = feature_tables.tape_of(source_of(context.obj, archive), recipe)
    columns = feature_tables.compute(tape, recipe.times)
    manifest = feature_tables.write(out, recipe, columns, datetime.now(UTC), tape.masked)
    for line in manifest.masked:
        say(f"masked: {line}", err=True)
    say(f"wrote {len(manifest.columns)} features at {manifest.rows:,} times to {out}")
    return 0
