"""Prediction markets that the poller recorded and that have ended: snapshot features, and the payout as the label.

rows = recorded.load("2026-03-01", "2026-04-01")
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from analysis import prediction_markets
from analysis.arrays import Ints
from analysis.datasets.frame import Dataset, check_usable, once_each
from analysis.definition import definitions
from analysis.load.frames import nanoseconds
from analysis.load.hours import grades
from analysis.load.hours.grades import Grade
from analysis.load.polled import rows as polled
from analysis.load.polled import tapes
from analysis.load.rows import SourceLike, open_source
from analysis.load.source import US, Instant, Range, Reader, to_instant, to_ns
from analysis.prediction_markets import MARKET_FEATURES
from analysis.splits import Scheme

NAME = "recorded"
FEATURES = tuple(name for name in prediction_markets.names() if name != "category")
"""All but the one that is no number; it is a column of the frame."""

_WARMUP = timedelta(days=1, hours=1)  # what the features of a day need
_MASKED_MAX = 100  # lines of a report
_COLUMNS = ("market_id", "ts_recv", "tier", "mid")


def load(
    start: Instant,
    end: Instant,
    *,
    source: SourceLike = None,
    every: timedelta = timedelta(minutes=10),
    names: Iterable[str] = FEATURES,
    min_grade: Grade | Literal["default"] | None = "default",
) -> Dataset:
    """Return snapshots of markets whose payout is known, with their features, the market's price and the label.

    A market that was split, such as 0.5, has no label and is left out, and so are snapshots without a middle, which is
    the forecast to beat, and those received after the payout was known.

    Args:
        start: First instant of receipt.
        end: First instant after the range.
        source: A database, as for `load.trades`.
        every: A market gives one row in each of these spans at most, its first snapshot.
        names: Features to compute.
        min_grade: Least grade of an hour of the streams whose trades and books features use; "default" is
            `grades.for_training`, claimed at Polymarket. None uses hours of any grade. Snapshots are not graded.

    Raises:
        UnusableFeature: A feature does not exist or must not be used.
        ConfigError: The source is an archive.
    """
    chosen = list(names)
    check_usable(NAME, chosen, FEATURES)
    span = Range(to_instant(start), to_instant(end))
    with open_source(source).reading() as reader:
        ends = {row["market_id"]: row for row in polled.resolutions(reader).to_pylist() if row["payout"] in (0.0, 1.0)}
        markets = {row["market_id"]: row for row in polled.markets(reader, list(ends)).to_pylist()}
        table = polled.snapshots(reader, list(markets), span, _COLUMNS)
        kept = table.filter(pa.array(_kept(table, ends, every), pa.bool_()))
        least = grades.for_training(tapes.VENUE) if min_grade == "default" else min_grade
        values, masked = _features(reader, kept, chosen, least)
    ids = kept["market_id"].to_pylist()
    at = nanoseconds(kept["ts_recv"])
    features = {name: values[:, number] for number, name in enumerate(chosen)}
    label = np.array([ends[one]["payout"] for one in ids], np.float64)
    known = np.array([_known(ends[one]) for one in ids], np.int64)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in (at, label, known, values)))
    subject = _texts(markets[one]["slug"] for one in ids)
    return Dataset(
        name=NAME,
        baseline="market mid",
        features=features,
        definitions=definitions(MARKET_FEATURES[name] for name in chosen),
        sources={"rows of the database": digest.hexdigest()},
        label=label,
        market=np.array(kept["mid"].to_pylist(), np.float64),
        start=at,
        end=known,
        event=_texts(_event(markets[one]) for one in ids),
        subject=subject,
        horizon=_texts(kept["tier"].to_pylist()),
        tier=_texts(kept["tier"].to_pylist()),
        category=_texts(markets[one]["category"] for one in ids),
        weight=once_each(subject),
        masked=masked,
        scheme=Scheme.EXPANDING,
    )


def _known(resolution: Mapping[str, Any]) -> int:
    return to_ns(resolution["known_at"])


def _event(market: Mapping[str, Any]) -> str:
    """Return the group of a market: rows of one event are never on both sides of a split."""
    event_id = market["event_id"]
    return f"market {market['market_id']}" if event_id is None else f"event {event_id}"


def _kept(table: pa.Table, ends: Mapping[int, Mapping[str, Any]], every: timedelta) -> list[bool]:
    """Return which snapshots are rows: with a middle, before the end, the first of their span."""
    step = every // US * 1000
    ended = {market_id: _known(row) for market_id, row in ends.items()}
    for market_id, row in ends.items():
        if row["resolved_at"] is not None:
            ended[market_id] = min(ended[market_id], to_ns(row["resolved_at"]))
    used: set[tuple[int, int]] = set()
    kept = []
    for market_id, at, mid in zip(
        table["market_id"].to_pylist(), nanoseconds(table["ts_recv"]).tolist(), table["mid"].to_pylist(), strict=True
    ):
        place = (market_id, at // step)
        wanted = mid is not None and at < ended[market_id] and place not in used
        if wanted:
            used.add(place)
        kept.append(wanted)
    return kept


def _features(
    reader: Reader, rows: pa.Table, names: Sequence[str], min_grade: Grade | None
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], tuple[str, ...]]:
    """Return (n, features) of the snapshots, one tape for each market, and what was masked because of its grade."""
    masked: dict[str, None] = {}
    values = np.full((rows.num_rows, len(names)), np.nan)
    ids, at = np.array(rows["market_id"].to_pylist(), np.int64), nanoseconds(rows["ts_recv"])
    for market_id in np.unique(ids).tolist():
        own: Ints = np.flatnonzero(ids == market_id)
        first, last = (rows["ts_recv"][int(place)].as_py() for place in (own[0], own[-1]))
        tape = tapes.market_tape(reader, market_id, Range(first, last + US), warmup=_WARMUP, min_grade=min_grade)
        masked.update(dict.fromkeys(tape.masked))
        for place in own.tolist():
            found = prediction_markets.compute(tape, int(at[place]), names)
            values[place] = [float(value) for value in found.values()]
    lines = list(masked)
    more = (f"and {len(lines) - _MASKED_MAX:,} more ranges",) if len(lines) > _MASKED_MAX else ()
    return values, (*lines[:_MASKED_MAX], *more)


def _texts(values: Iterable[str]) -> np.ndarray[Any, np.dtype[np.str_]]:
    return np.array(list(values), dtype=np.str_)
