"""What `tapedeck status --trades` shows: messages and errors of each venue, trades of each instrument."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from recorder.cli.columns import Column, duration, table_of
from recorder.printable import printable
from recorder.process.health import read_all
from recorder.process.screen import fold, shown
from recorder.watchdog.activity.figures import Activity, InstrumentTrades, TradeFigures, VenueTraffic, read_activity
from recorder.watchdog.delivery.message import utc

_SHOWN = 30  # instruments
_NAME_LENGTH = 24


def current(home: Path, now: float) -> Activity:
    """Return the figures of the last interval; what is not known says why.

    Args:
        home: State directory of the appliance.
        now: Unix seconds.
    """
    report = read_all(home).get("watchdog")
    if report is None or report.stale(now):
        return Activity(0.0, problem="the watchdog, which computes them, does not run")
    found = read_activity(home)
    return Activity(0.0, problem="the watchdog has not computed them yet") if found is None else found


def view(activity: Activity, width: int, now: float) -> RenderableType:
    """Return the figures for a terminal of this many columns.

    Args:
        activity: The figures.
        width: Columns of the terminal.
        now: Unix seconds.
    """
    parts: list[RenderableType] = []
    if activity.traffic:
        parts.append(table_of(_venue_columns(activity.traffic, activity.trades), width))
    if activity.trades is None:
        lines = fold(f"trades: unknown: {printable(activity.problem)}", width, "  ")
        return Group(*parts, *(shown(line, style="yellow") for line in lines))
    trades = activity.trades
    listed = trades.instruments[:_SHOWN]
    if listed:
        parts.append(table_of(_instrument_columns(listed, now), width))
    more = trades.left_out + len(trades.instruments) - len(listed)
    text = f"trades executed from {utc(trades.since)} to {utc(trades.until)}"
    text += f"; {more:,} more instruments: `tapedeck status --trades --json`" if more else ""
    return Group(*parts, *(shown(line) for line in fold(text, width, "  ")))


def _venue_columns(traffic: Sequence[VenueTraffic], trades: TradeFigures | None) -> list[Column]:
    by_venue = {} if trades is None else {one.venue: one for one in trades.venues}
    known = trades is not None
    counts = [by_venue.get(one.venue) for one in traffic]
    return [
        Column("venue", [one.venue for one in traffic], 100, right=False),
        Column("msg/s", [f"{one.messages_per_s:,.1f}" for one in traffic], 90),
        Column("reconnects", [f"{one.reconnects:,}" for one in traffic], 60),
        Column("errors", [f"{one.errors:,}" for one in traffic], 80),
        Column("last message", ["" if (age := one.last_message_s) is None else duration(age) for one in traffic], 50),
        Column("trades", [f"{one.trades:,}" if one else "0" if known else "unknown" for one in counts], 85),
        Column("large", [f"{one.large:,}" if one else "0" if known else "unknown" for one in counts], 70),
    ]


def _instrument_columns(listed: Sequence[InstrumentTrades], now: float) -> list[Column]:
    return [
        Column("instrument", [_name(one) for one in listed], 100, right=False),
        Column("trades", [f"{one.trades:,}" for one in listed], 80),
        Column("VWAP", [_price(one.vwap) for one in listed], 90),
        Column("high", [_price(one.high) for one in listed], 70),
        Column("low", [_price(one.low) for one in listed], 71),
        Column("volume", [_price(one.volume) for one in listed], 20),
        Column("buy/sell", ["" if (r := one.buy_sell_ratio) is None else f"{r:.2f}" for one in listed], 60),
        Column("large", [f"{one.large:,}" for one in listed], 50),
        Column("last", [f"{duration(max(0.0, now - one.last_at))} ago" for one in listed], 30),
    ]


def _name(one: InstrumentTrades) -> str:
    symbol = printable(one.symbol)
    if len(symbol) > _NAME_LENGTH:
        symbol = symbol[: _NAME_LENGTH - 2] + ".."
    return f"{one.venue} {symbol}"


def _price(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"
