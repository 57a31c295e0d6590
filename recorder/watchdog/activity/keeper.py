"""Keeps the figures of the last interval: for the pages, `tapedeck status --trades`, and the log."""

import time
from collections.abc import Mapping, Sequence

from recorder.process.health import RecorderFigures, Report
from recorder.process.log import get_logger
from recorder.settings import Settings
from recorder.shards import venue_of
from recorder.watchdog.activity.figures import Activity, InstrumentTrades, TradeFigures, VenueTraffic, write_activity
from recorder.watchdog.activity.question import TradeQuestion
from recorder.watchdog.evidence import DatabaseEvidence
from recorder.watchdog.totals import Totals

MOST_CHARTED = 400
"""Instruments with series of their own in /metrics, of all venues together and since the start of the watchdog."""
_SYMBOL_LENGTH = 100
_LOGGED = 5  # instruments of each venue, those with the most trades

_log = get_logger(__name__)


class Charted:
    """Chooses the instruments that have series of their own, at most an equal part for each venue.

    Symbols come from venues, and those of prediction markets are new every day: without a bound the series that a
    Prometheus keeps would grow without end. What is not chosen is in the figures of its venue.
    """

    def __init__(self, venues: Sequence[str]) -> None:
        self._symbols: dict[str, set[str]] = {venue: set() for venue in venues}
        self._most = MOST_CHARTED // max(1, len(venues))

    def of(self, activity: Activity) -> list[InstrumentTrades]:
        """Return the instruments of an interval that have series; those that come first, keep them."""
        return [one for one in ([] if activity.trades is None else activity.trades.instruments) if self._has(one)]

    def _has(self, one: InstrumentTrades) -> bool:
        symbols = self._symbols.get(one.venue)
        if symbols is None:
            return False
        if len(symbols) < self._most:
            symbols.add(one.symbol)
        return one.symbol in symbols


class ActivityKeeper:
    """Makes the figures of the last interval, round after round."""

    def __init__(self, settings: Settings, venues: Sequence[str], question: TradeQuestion) -> None:
        """
        Args:
            settings: Of the appliance.
            venues: That these settings record.
            question: Has the last answer of Postgres.
        """
        self._home = settings.home
        self._interval_s = settings.watchdog.trades_interval_s
        self._logs = settings.monitoring.enabled
        self._venues = tuple(venues)
        self._question = question
        self._totals = Totals()
        self._before: tuple[float, dict[str, float]] | None = None  # monotonic, counts
        self._traffic: list[VenueTraffic] = []
        self._logged_until = 0.0
        self._written: Activity | None = None

    def update(self, reports: Mapping[str, Report], database: DatabaseEvidence, now_s: float) -> Activity:
        """Take a round, and return the figures.

        Args:
            reports: Of all programs.
            database: The state of Postgres.
            now_s: Monotonic.
        """
        counts = self._counts(reports)
        measured = self._before is not None and now_s - self._before[0] >= self._interval_s
        if self._before is None:
            self._before = now_s, counts
        elif measured:
            self._traffic = self._traffic_since(*self._before, counts, reports, now_s)
            self._before = now_s, counts
        problem = self._problem(database)
        trades = None if problem else self._question.figures
        activity = Activity(self._interval_s, self._traffic, trades, problem)
        if self._logs:
            self._log(activity, measured=measured)
        if activity != self._written:
            self._written = activity
            write_activity(self._home, activity)
        return activity

    def _problem(self, database: DatabaseEvidence) -> str:
        """Return why the trades of the last interval are unknown; empty where they are known."""
        if database.state != "up":
            return f"Postgres is {database.state}: {database.reason}"
        figures = self._question.figures
        if figures is None or time.time() - figures.until > 2 * self._interval_s + 30 or figures.until > time.time():
            return self._question.problem or "Postgres has not been asked about the last interval yet"
        return ""

    def _counts(self, reports: Mapping[str, Report]) -> dict[str, float]:
        counts: dict[str, float] = {}
        for program, report in reports.items():
            if isinstance(report.figures, RecorderFigures) and venue_of(program) in self._venues:
                of = report.figures
                values = {"messages": of.frames, "reconnects": of.reconnects, "errors": of.errors + of.quarantined}
                for what, value in values.items():
                    name = f"{what} {venue_of(program)}"
                    total = self._totals.add(f"{what} {program}", value, report.started_at)
                    counts[name] = counts.get(name, 0.0) + total
        return counts

    def _traffic_since(
        self,
        before_s: float,
        before: Mapping[str, float],
        counts: Mapping[str, float],
        reports: Mapping[str, Report],
        now_s: float,
    ) -> list[VenueTraffic]:
        def rise(name: str) -> float:
            count = counts.get(name, before.get(name, 0.0))
            return max(0.0, count - before.get(name, count))

        return [
            VenueTraffic(
                venue,
                round(rise(f"messages {venue}") / max(now_s - before_s, 1e-9), 1),
                int(rise(f"reconnects {venue}")),
                int(rise(f"errors {venue}")),
                _last_message_s(reports, venue),
            )
            for venue in self._venues
        ]

    def _log(self, activity: Activity, *, measured: bool) -> None:
        if measured:
            for venue in activity.traffic:
                _log.info(
                    "activity", venue=venue.venue, interval_s=self._interval_s, messages_per_s=venue.messages_per_s,
                    reconnects=venue.reconnects, errors=venue.errors, last_message_s=venue.last_message_s,
                )  # fmt: skip
            if activity.problem:
                _log.info("trades.unknown", reason=activity.problem)
        if activity.trades is not None and activity.trades.until != self._logged_until:
            self._logged_until = activity.trades.until
            _log_trades(activity.trades)


def _log_trades(figures: TradeFigures) -> None:
    for venue in figures.venues:
        _log.info("trades", venue=venue.venue, interval_s=figures.until - figures.since, trades=venue.trades,
                  large=venue.large, instruments=venue.instruments)  # fmt: skip
        busiest = [one for one in figures.instruments if one.venue == venue.venue][:_LOGGED]
        for one in busiest:
            _log.info(
                "trades.instrument", venue=one.venue, symbol=one.symbol[:_SYMBOL_LENGTH], trades=one.trades,
                vwap=one.vwap, high=one.high, low=one.low, volume=one.volume, buy_sell_ratio=one.buy_sell_ratio,
                large=one.large,
            )  # fmt: skip


def _last_message_s(reports: Mapping[str, Report], venue: str) -> float | None:
    ages = [
        report.figures.last_message_s
        for program, report in reports.items()
        if venue_of(program) == venue and isinstance(report.figures, RecorderFigures)
    ]
    return min((age for age in ages if age is not None), default=None)
