"""One answer to a chart request as bars and corporate actions.

An odd row costs itself. An answer to another request (other bars, another symbol), or one that is not understood, is
refused as a unit. Source of the traps: yahoo.md.
"""

from datetime import datetime

import msgspec

from recorder.errors import RestInvalidResponse
from recorder.venues.wire import MALFORMED
from recorder.venues.yahoo.actions import actions_of
from recorder.venues.yahoo.anomalies import flag_bars
from recorder.venues.yahoo.answers import result_of
from recorder.venues.yahoo.days import merge_days
from recorder.venues.yahoo.dividends import flag_actions
from recorder.venues.yahoo.meta import Meta, meta_of
from recorder.venues.yahoo.model import DAY_S, Asked, Bar, Chart
from recorder.venues.yahoo.prices import price_of
from recorder.venues.yahoo.rows import Row, rows_of

ODD_MAX = 1000
"""Reasons that one answer may leave; the rest is one line."""

EXTENDED = "extended"  # outside of the regular session
_NS = 10**9


class _Result(msgspec.Struct, gc=False):
    meta: msgspec.Raw
    indicators: msgspec.Raw = msgspec.Raw(b"{}")
    timestamp: msgspec.Raw = msgspec.Raw(b"null")
    events: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Result).decode


def decode_chart(status: int, body: bytes, asked: Asked, received_ns: int) -> Chart:
    """Return what an answer to a chart request says.

    Args:
        status: HTTP status of the answer.
        body: Its content.
        asked: What was requested.
        received_ns: When it was received. It decides which bars Yahoo may still change.

    Raises:
        RestUnavailable: Yahoo asks us to wait, or its server failed.
        RestRefused: There is no data for this request.
        RestInvalidResponse: The answer is not understood, or answers another request.
    """
    try:
        result = _decode(result_of(status, body))
    except MALFORMED as error:
        raise RestInvalidResponse(f"chart answer: {error}") from error
    meta = meta_of(result.meta, asked)
    odd: list[str] = []
    received_s = received_ns // _NS
    interval_s = asked.interval_s
    rows = rows_of(result.timestamp, result.indicators, received_s, odd)
    bars = _converted(rows, meta, odd)
    bars = (
        merge_days(bars, meta, received_s)
        if interval_s >= DAY_S
        else _intraday(bars, rows, meta, interval_s, received_s, odd)
    )
    actions = actions_of(result.events, meta, received_s, odd)
    bars = flag_bars(bars, actions, interval_s, _reference(bars, meta))
    if interval_s >= DAY_S:
        actions = flag_actions(actions, bars, minor_unit=meta.unit.minor)
    if len(odd) > ODD_MAX:
        odd[ODD_MAX:] = [f"and {len(odd) - ODD_MAX} more"]
    return Chart(
        meta.symbol, interval_s, meta.unit.currency, meta.exchange, meta.zone_name, meta.regular,
        tuple(bars), tuple(actions), tuple(odd),
    )  # fmt: skip


def _converted(rows: list[Row], meta: Meta, odd: list[str]) -> list[Bar]:
    """Return rows with prices in the major unit and local dates, in the order of time, each time once."""
    bars: dict[int, Bar] = {}
    for row in rows:
        try:
            opened, high, low, close = (price_of(value, meta.unit) for value in row.prices)
            adjclose = None if row.adjclose is None else price_of(row.adjclose, meta.unit)
        except ValueError as error:
            odd.append(f"row at {row.at_s}: {error}")
            continue
        day = datetime.fromtimestamp(row.at_s, meta.zone).date()
        before = bars.get(row.at_s)
        if before is not None:
            odd.append(f"row at {row.at_s}: a second one with this time")
            if before.volume and not row.volume:
                continue  # the live quote, stamped with the time of a bar
        bars[row.at_s] = Bar(row.at_s, day, opened, high, low, close, row.volume, adjclose)
    return [bars[at_s] for at_s in sorted(bars)]


def _intraday(
    bars: list[Bar], rows: list[Row], meta: Meta, interval_s: int, received_s: int, odd: list[str]
) -> list[Bar]:
    """Return intraday bars with their marks: the live quote, bars that may change, bars outside of the session."""
    last_s = rows[-1].at_s if rows else None
    anchor_s = meta.regular[0] if meta.regular else 0
    found = []
    for bar in bars:
        last = bar.start_s == last_s  # in the order of the answer, since a bar may have begun after the last trade
        off_grid = (bar.start_s - anchor_s) % interval_s != 0
        if off_grid and not last:
            odd.append(f"row at {bar.start_s}: not a multiple of {interval_s} s from the open of the session")
            continue
        live = off_grid or (last and _is_quote(bar, meta))
        found.append(
            msgspec.structs.replace(
                bar,
                live=live,
                # Yahoo revises the last two or three minutes.
                partial=live or bar.start_s + 2 * interval_s > received_s,
                flags=(EXTENDED,) if not live and _is_extended(bar, meta) else (),
            )
        )
    return found


def _is_quote(bar: Bar, meta: Meta) -> bool:
    """Return whether the last row is the live quote although its time is that of a bar."""
    return bar.start_s == meta.market_time_s and not bar.volume and len(set(bar.prices)) == 1


def _is_extended(bar: Bar, meta: Meta) -> bool:
    """Return whether a bar is outside of the regular session, on the one day whose session the answer names."""
    if meta.regular is None or bar.day != datetime.fromtimestamp(meta.regular[0], meta.zone).date():
        return False
    return not meta.regular[0] <= bar.start_s < meta.regular[1]


def _reference(bars: list[Bar], meta: Meta) -> float | None:
    """Return the market price, in the major unit, where it is of the same day as the newest bar."""
    if not bars or meta.market_price is None or meta.market_time_s is None:
        return None
    if datetime.fromtimestamp(meta.market_time_s, meta.zone).date() != bars[-1].day:
        return None
    return price_of(meta.market_price, meta.unit)
