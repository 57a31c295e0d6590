"""Load recorded rows of a time range, from Postgres or from a Parquet archive, as data frames.

    from analysis import load

    frame = load.trades("kraken", "BTC/USD", "2026-03-05", "2026-03-06", to="pandas")

`api` documents the functions, `source` the interface of a source, `missing_ranges` how gaps are found.
"""

from analysis.errors import extra_packages

with extra_packages("analysis.load"):
    from analysis.load.api import (
        bars,
        books,
        chunks,
        gaps,
        market_snapshots,
        market_tape,
        markets,
        quotes,
        recorded_market,
        resolutions,
        snapshots,
        tape,
        trades,
    )
    from analysis.load.archive import ArchiveSource
    from analysis.load.dask_parts import Part, part, parts
    from analysis.load.frames import Frame, To
    from analysis.load.hours.grades import Grade
    from analysis.load.mapped.column_files import columns
    from analysis.load.missing_ranges import OnGap
    from analysis.load.polled.stocks import corporate_actions, stocks
    from analysis.load.postgres import PostgresSource
    from analysis.load.rows import SourceLike, open_source
    from analysis.load.source import Instant, Instrument, Range, Reader, Source

__all__ = [
    "ArchiveSource",
    "Frame",
    "Grade",
    "Instant",
    "Instrument",
    "OnGap",
    "Part",
    "PostgresSource",
    "Range",
    "Reader",
    "Source",
    "SourceLike",
    "To",
    "bars",
    "books",
    "chunks",
    "columns",
    "corporate_actions",
    "gaps",
    "market_snapshots",
    "market_tape",
    "markets",
    "open_source",
    "part",
    "parts",
    "quotes",
    "recorded_market",
    "resolutions",
    "snapshots",
    "stocks",
    "tape",
    "trades",
]
