"""What a chart answer says: bars, splits and dividends, with the marks that the decoder puts on doubtful ones."""

from datetime import date
from typing import Literal

import msgspec

from recorder.errors import ConfigError, nearest

INTERVALS = {
    "1m": 60, "2m": 120, "5m": 300, "15m": 900, "30m": 1800, "60m": 3600, "90m": 5400, "1h": 3600, "1d": 86_400,
}  # fmt: skip
"""Seconds by Yahoo's name of an interval. Coarser bars are built from days, so they are not requested."""

DAY_S = 86_400

Kind = Literal["dividend", "split", "capital_gain"]


class Asked(msgspec.Struct, frozen=True):
    """What was requested. Yahoo may answer with other bars, so the answer is compared with it."""

    symbol: str
    interval: str

    @property
    def interval_s(self) -> int:
        """Return the length of a bar in seconds.

        Raises:
            ConfigError: Yahoo offers no such interval.
        """
        try:
            return INTERVALS[self.interval]
        except KeyError:
            raise ConfigError(f"no interval {self.interval!r}{nearest(self.interval, INTERVALS)}") from None


class Bar(msgspec.Struct, frozen=True):
    """One row of prices in the major unit of the currency: pounds, not pence. It is split-adjusted, as Yahoo sends it.

    Attributes:
        start_s: Seconds since 1970, UTC. A daily bar has the open of its session.
        day: Local date of the exchange.
        volume: Units traded; None where Yahoo sends none.
        adjclose: Yahoo's close adjusted for dividends too; None on intraday bars.
        live: Whether this is the latest quote, which Yahoo appends as a row: it is no bar.
        partial: Whether Yahoo may still change the row.
        flags: What is odd about it. Nothing is repaired.
    """

    start_s: int
    day: date
    open: float
    high: float
    low: float
    close: float
    volume: int | None
    adjclose: float | None = None
    live: bool = False
    partial: bool = False
    flags: tuple[str, ...] = ()

    @property
    def prices(self) -> tuple[float, float, float, float]:
        """Return open, high, low and close."""
        return self.open, self.high, self.low, self.close


class Action(msgspec.Struct, frozen=True):
    """A dividend, a split or a distributed capital gain.

    Attributes:
        ex_at_s: Time that Yahoo gives it, seconds since 1970, UTC.
        ex_day: Local date of the exchange from which the price is without it.
        amount: Major currency units per share, adjusted for the splits until the receipt; None for a split.
        numerator: New shares, and `denominator` old ones; None where it is no split.
        flags: What is odd about it. Nothing is repaired.
    """

    kind: Kind
    ex_at_s: int
    ex_day: date
    amount: float | None = None
    numerator: float | None = None
    denominator: float | None = None
    flags: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Return the new shares for one old share; 1.0 where this is no split."""
        if self.numerator is None or self.denominator is None:
            return 1.0
        return self.numerator / self.denominator


class Chart(msgspec.Struct, frozen=True):
    """One answer.

    Attributes:
        currency: ISO code of the major unit; None where Yahoo names none.
        exchange: Yahoo's code of the exchange, such as NMS; empty where it names none.
        timezone: IANA name of the exchange's time zone.
        regular: Open and close of the present or last regular session, seconds since 1970; None where not named.
        bars: In the order of time, each time once.
        actions: In the order of time; one of a kind a day.
        odd: The rows that were left out, each with the reason.
    """

    symbol: str
    interval_s: int
    currency: str | None
    exchange: str
    timezone: str
    regular: tuple[int, int] | None
    bars: tuple[Bar, ...]
    actions: tuple[Action, ...]
    odd: tuple[str, ...]


def with_flags(flags: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """Return flags and some more, each once, in the order of the alphabet."""
    return tuple(sorted({*flags, *more}))
