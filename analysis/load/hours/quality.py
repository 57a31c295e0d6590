"""Hours with unusual values, by the checks of bars that the deriver stores (docs/bars.md)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from analysis.load.postgres import PostgresReader, PostgresSource, literal
from analysis.load.rows import SourceLike, open_source
from analysis.load.source import Instrument, Range
from analysis.load.tables import GAP
from recorder.errors import ConfigError

LOW_QUALITY = "low_quality"
"""State and cause of a range that no gap row declares: an hour whose score is too low."""

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class QualitySource:
    """A database in which the hours of low quality count as gaps of every channel."""

    source: PostgresSource
    min_quality: float  # hours with a lower score are such gaps

    @contextmanager
    def reading(self) -> Iterator[PostgresReader]:
        """Open the database."""
        with self.source.reading() as reader:
            yield _Reader(reader, self.min_quality)


class _Reader(PostgresReader):
    def __init__(self, reader: PostgresReader, min_quality: float) -> None:
        super().__init__(reader._cursor)
        self._min_quality = min_quality

    def gaps(self, whose: Sequence[Instrument], span: Range) -> pa.Table:
        """Return gaps that may touch the range, and the hours of low quality."""
        found = super().gaps(whose, span)
        low = [row for row in hours(self, whose, span).to_pylist() if row["score"] < self._min_quality]
        nothing = dict.fromkeys(GAP.names)
        rows = [
            nothing
            | {"instrument_id": row["instrument_id"], "channel": channel, "cause": LOW_QUALITY, "state": LOW_QUALITY}
            | {"reason": f"quality {row['score']:.3f}", "started_at": row["hour"], "ended_at": row["hour"] + _HOUR}
            for row in low
            for channel in ("trade", "quote", "book")
        ]
        return pa.concat_tables([found, pa.Table.from_pylist(rows, GAP)])


def strict(source: SourceLike, min_quality: float | None) -> SourceLike:
    """Return a source in which hours with a score below `min_quality` count as gaps; the same source without one.

    Raises:
        ConfigError: The score is not from 0 to 1, or the source is an archive, which has no scores.
    """
    if min_quality is None:
        return source
    opened = open_source(source)
    if not 0 <= min_quality <= 1:
        raise ConfigError(f"min_quality is a score from 0 to 1, not {min_quality}")
    if not isinstance(opened, PostgresSource):
        raise ConfigError("an archive has no scores of quality; give the address of a database, or no min_quality")
    return QualitySource(opened, min_quality)


def hours(reader: PostgresReader, whose: Sequence[Instrument], span: Range) -> pa.Table:
    """Return instrument_id, hour, bars, flagged and score of each hour with a complete bar of a minute, by hour."""
    ids = ", ".join(str(one.instrument_id) for one in whose) or "NULL"
    within = f"instrument_id IN ({ids}) AND interval_s = 60 AND start < {literal(span.end)}"
    # A gap that touches the range by an hour of low quality begins up to an hour before it.
    within += f" AND start >= {literal(span.start)} - interval '1 hour'"
    return reader.polled(
        "SELECT b.instrument_id, date_bin('1 hour', b.start, 'epoch') AS hour, count(*) AS bars,"
        " count(f.start) AS flagged, 1 - count(f.start)::double precision / count(*) AS score"
        f" FROM (SELECT instrument_id, start FROM bar WHERE {within} AND complete) AS b"
        f" LEFT JOIN (SELECT DISTINCT instrument_id, start FROM bar_finding WHERE {within}) AS f"
        " ON f.instrument_id = b.instrument_id AND f.start = b.start GROUP BY 1, 2 ORDER BY 2, 1"
    )


def findings(reader: PostgresReader, whose: Sequence[Instrument], span: Range) -> pa.Table:
    """Return the findings of bars of any length that start in a range, by start."""
    ids = ", ".join(str(one.instrument_id) for one in whose) or "NULL"
    return reader.polled(
        "SELECT instrument_id, interval_s, start, rule, value, threshold FROM bar_finding"
        f" WHERE instrument_id IN ({ids}) AND start >= {literal(span.start)} AND start < {literal(span.end)}"
        " ORDER BY start, instrument_id, interval_s, rule"
    )
