"""Rows of equity_bar and corporate_action from a decoded chart, in the order of their columns."""

from recorder.exchanges.calendar import Exchange
from recorder.identity import instrument_id
from recorder.venues.yahoo.model import DAY_S, Action, Bar, Chart, with_flags
from recorder.venues.yahoo.requests import NAME

OFF_SESSION = "off_session"  # a day on which the exchange was closed

_NS = 10**9

Row = tuple[object, ...]


def bar_row(bar: Bar, chart: Chart, exchange: Exchange, received_ns: int) -> Row:
    """Return the row of a bar."""
    flags = bar.flags
    if chart.interval_s >= DAY_S and exchange.covers(bar.day) and exchange.session(bar.day) is None:
        flags = with_flags(flags, OFF_SESSION)
    return (
        instrument_id(NAME, chart.symbol), chart.interval_s, bar.start_s * _NS, bar.day, *bar.prices, bar.volume,
        bar.adjclose, chart.currency, bar.live, bar.partial, flags, received_ns, received_ns,
    )  # fmt: skip


def action_row(action: Action, chart: Chart, received_ns: int) -> Row:
    """Return the row of a corporate action."""
    return (
        instrument_id(NAME, chart.symbol), action.kind, action.ex_day, action.ex_at_s * _NS, action.amount,
        action.numerator, action.denominator, chart.currency, action.flags, received_ns, received_ns,
    )  # fmt: skip


def instrument_row(chart: Chart, received_ns: int) -> Row:
    """Return the row that names the instrument of a chart."""
    return instrument_id(NAME, chart.symbol), NAME, chart.symbol, received_ns
