"""What the values of bars must be: the batch functions over all of table bar, apart from the deriver's way."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from analysis.arrays import Floats, Gaps, Ints
from analysis.bars import Bars
from analysis.features.blocks import BLOCK, Block, features_of, past_of
from support.workers.bars import rows

NS = 1_000_000_000
_BARS = """
SELECT extract(epoch FROM start)::bigint, open, high, low, close, volume, notional, vwap, trade_count, buy_volume,
       sell_volume, signed_notional, coverage, in_gap, complete, revision
  FROM bar WHERE instrument_id = %s AND interval_s = %s ORDER BY start"""
_SPANS = """
SELECT (extract(epoch FROM greatest(lower(span), '2000-01-01')) * 1000000)::bigint,
       (extract(epoch FROM least(upper(span), '2100-01-01')) * 1000000)::bigint
  FROM (SELECT instrument_id, tstzrange(coalesce(lower(span), '2000-01-01'), coalesce(upper(span), '2100-01-01'))
               AS span FROM trade_gap) AS g
 WHERE instrument_id = %s AND NOT isempty(span)"""

Values = dict[tuple[int, int, int], tuple[Any, ...]]
"""(instrument_id, interval_s, start in seconds) -> revision of the bar, and the values, NaN for null."""


def _bars(found: Sequence[tuple[Any, ...]], width_s: int) -> Bars:
    columns = np.array([[np.nan if x is None else float(x) for x in row[1:13]] for row in found]).reshape(-1, 12)
    start: Ints = np.array([row[0] for row in found], np.int64) * NS
    o, h, low, c, volume, notional, vwap, count, buy, sell, signed, coverage = columns.T
    return Bars(start, start + width_s * NS, o, h, low, c, volume, notional, vwap, count.astype(np.int64), buy, sell,
                signed, coverage)  # fmt: skip


def expected(url: str) -> tuple[Values, Values]:
    """Return what indicator and bar_feature must hold, a whole block of each instrument at a time."""
    indicator: Values = {}
    feature: Values = {}
    known = {number for (number,) in rows(url, "SELECT instrument_id FROM instrument")}
    for number, width_s in rows(url, "SELECT DISTINCT instrument_id, interval_s FROM bar ORDER BY 1, 2"):
        found = rows(url, _BARS, (number, width_s))
        bars = _bars(found, width_s)
        spans = [(low * 1000, high * 1000) for low, high in rows(url, _SPANS, (number,))]
        spans += [(row[0] * NS, (row[0] + width_s) * NS) for row in found if not row[14]]
        spans += [] if number in known else [(0, 4_000_000_000 * NS)]
        pairs = np.array(spans, np.int64).reshape(-1, 2)
        complete = {row[0]: row[15] for row in found if row[14]}
        width = BLOCK * width_s
        sound = np.array([row[14] and row[13] is False for row in found], np.bool_)
        past = bars.start[sound], {
            "volume": bars.volume[sound], "trade_count": bars.trade_count[sound].astype(np.float64)
        }  # fmt: skip
        for block_s in sorted({row[0] // width * width for row in found}):
            block = Block.of(bars, Gaps(pairs[:, 0], pairs[:, 1]), block_s * NS, width_s * NS, 0)
            _put(indicator, number, width_s, block.starts, block.indicators, complete)
            if width_s == 60:
                values = features_of([block], past_of(block.starts, past))
                _put(feature, number, width_s, block.starts, values, complete)
    return indicator, feature


def _put(
    into: Values, number: int, width_s: int, starts: Ints, values: Mapping[str, Floats], complete: Mapping[int, int]
) -> None:
    for at, start in enumerate((starts // NS).tolist()):
        if start in complete:
            into[number, width_s, start] = (complete[start], *(float(column[at]) for column in values.values()))


def stored(url: str, table: str, columns: Sequence[str]) -> Values:
    """Return what a table holds."""
    query = f"SELECT instrument_id, interval_s, start, bar_revision, {', '.join(columns)} FROM {table}"
    found: Values = {}
    for number, width_s, start, revision, *values in rows(url, query):
        assert isinstance(start, datetime)
        found[number, width_s, int(start.timestamp())] = (revision, *(np.nan if x is None else x for x in values))
    return found


def unequal(have: Values, want: Values, columns: Sequence[str]) -> list[str]:
    """Return where stored values are not those of the batch to the bit, in words."""
    found = [f"no row {key}" for key in want.keys() - have.keys()]
    found += [f"a row without a bar {key}" for key in have.keys() - want.keys()]
    for key in want.keys() & have.keys():
        for name, one, other in zip(("revision", *columns), have[key], want[key], strict=True):
            if not (one == other or (one != one and not np.isfinite(other))):
                found.append(f"{key} {name}: {one!r} is not {other!r}")
    return found
