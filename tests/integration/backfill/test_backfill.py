"""The history of simulated venues, read into a database and compared value by value with what the venue made."""

import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.fault_rig import Rig
from support.poller.journals import Poller

from recorder.backfill.database import opened
from recorder.backfill.progress import Asked, Progress, What
from recorder.clock import ManualClock, SystemClock
from recorder.identity import instrument_id
from recorder.journal.reader import JournalReader
from recorder.poller.backfilling.configured import NAME
from recorder.poller.backfilling.job import PERIOD_S, Backfilling
from recorder.poller.backfilling.reading import Source
from recorder.poller.job import Every, Job
from recorder.poller.journal import RunRow
from recorder.poller.services import ClientService
from recorder.position import Position
from recorder.rest.client import RestClient
from recorder.simulator.market import Trade
from recorder.simulator.venues.okx.fills import fills
from recorder.venues import VENUES
from recorder.venues.base import RestLimits
from recorder.venues.history import TradeHistory

VENUES_READ = sorted(name for name, kind in VENUES.items() if kind.trade_history is not None)
BY_ID = sorted(name for name, kind in VENUES.items() if isinstance(kind.trade_history, TradeHistory))
_SECOND = 10**9


class Filler:
    """The job `backfill` in this process, on the journal of a rig, without a pause between two pages."""

    def __init__(self, rig: Rig, venue: str, *, days: float = 0.0, round_s: float = 20.0, pause_s: float = 0.0) -> None:
        self.rig = rig
        self.venue = venue
        kind = VENUES[venue]
        assert kind.trade_history is not None
        self.clock = ManualClock(time.time_ns() + 300 * _SECOND)
        source = Source(venue, kind.trade_history, kind.minute_candles, pause_s, pause_s)
        self.handler = Backfilling({venue: source}, lambda: rig.url, self.clock, days, round_s=round_s)
        job = Job(NAME, Every(PERIOD_S, 21), 20.0, self.handler, "", repeatable=False)
        limits = RestLimits(per_s=1000, burst=1000, attempts=1)
        client = RestClient(
            venue, rig.venues[venue].rest_url, limits, "test", threading.Event(), SystemClock(), random.Random(1)
        )
        self.poller = Poller(rig.journals, [job], self.clock, services={venue: ClientService(client)})

    def round(self) -> RunRow:
        run = self.poller.runner.extra(NAME, "by hand")
        assert run is not None
        self.poller.pass_time(PERIOD_S)
        return run

    def until_ended(self, most: int = 100) -> list[RunRow]:
        rounds = []
        for _ in range(most):
            self.rig.wait("the block is loaded", lambda: loaded(self.rig), 20.0)
            if all(progress is not None and progress.state != "running" for _, progress in questions(self.rig)):
                return rounds
            rounds.append(self.round())
            assert rounds[-1].state in ("done", "skipped"), rounds[-1]
        raise AssertionError((rounds, questions(self.rig)))

    def __enter__(self) -> "Filler":
        return self

    def __exit__(self, *_: object) -> None:
        self.poller.end()


def loaded(rig: Rig) -> bool:
    """Return whether the writer has loaded the journal of the poller."""
    reader = JournalReader(rig.journals / "poller")
    rows = rig.query("SELECT segment, position FROM journal WHERE recorder = 'poller'")
    return bool(rows) and reader.lag_bytes(Position(*rows[0])) <= 0


def questions(rig: Rig) -> list[tuple[Asked, Progress | None]]:
    with opened(rig.url) as database:
        return database.questions()


def ask(rig: Rig, venue: str, symbol: str, since_ns: int, until_ns: int, what: What = "trades") -> Asked:
    asked = Asked(venue, symbol, what, since_ns // 1000 * 1000, until_ns // 1000 * 1000, time.time_ns())
    with opened(rig.url) as database:
        database.ask(asked, "command")
    return asked


def made(rig: Rig, venue: str, symbol: str, since_ns: int = 0, until_ns: int = 1 << 62) -> list[Trade]:
    return [one for one in rig.venues[venue].venue.symbols[symbol].history if since_ns <= one.ts_ns < until_ns]


def truth(rig: Rig, venue: str, symbol: str, trades: list[Trade]) -> dict[int, tuple[object, ...]]:
    """Return price, size, side and number of rows of each trade that the venue made, by the id in its history."""
    venue_of = rig.venues[venue].venue
    spec = venue_of.symbols[symbol].spec
    price, size = 10**spec.price_decimals, 10**spec.size_decimals
    found: dict[int, tuple[object, ...]] = {}
    for one in trades:
        parts = fills(one.id, one.size) if venue == "okx" else [(venue_of.trade_item(symbol, one).id, one.size)]
        for number, part in parts:
            found[number] = (one.price / price, part / size, None if venue == "figure" else one.taker, 1)
    return found


def stored(rig: Rig, venue: str, symbol: str) -> Mapping[int, tuple[object, ...]]:
    rows = rig.query(
        "SELECT trade_id, min(price), min(size), min(aggressor::text), count(*) FROM trade WHERE instrument_id = %s"
        " GROUP BY 1",
        instrument_id(venue, symbol),
    )
    return {row[0]: row[1:] for row in rows}


def grow(rig: Rig, venue: str, symbol: str, trades: int) -> None:
    """Let a venue make trades that nobody records."""
    market = rig.venues[venue].venue.symbols[symbol]
    until_id = market.next_id + trades
    rig.do(venue, "burst", events=trades * 8)
    rig.wait("the venue makes trades", lambda: market.next_id > until_id, 60.0)


@pytest.mark.parametrize("venue", VENUES_READ)
def test_a_time_that_nobody_recorded_is_filled_and_equals_what_the_venue_made(
    venue: str, tmp_path: Path, database: str
) -> None:
    with Rig(tmp_path, database, 31, venues=(venue,), rate=200.0) as rig:
        rig.start("writer")
        rig.wait("there are tables", lambda: bool(rig.query("SELECT to_regclass('backfill')")[0][0]))
        symbol = rig.symbols[venue][0]
        grow(rig, venue, symbol, 2_500)
        rig.stop_market()
        past = made(rig, venue, symbol)
        since_ns, until_ns = past[10].ts_ns, past[-1].ts_ns // _SECOND * _SECOND
        asked = ask(rig, venue, symbol, since_ns, until_ns)
        with Filler(rig, venue) as filler:
            filler.until_ended()
        expected = truth(rig, venue, symbol, made(rig, venue, symbol, asked.since_ns, asked.until_ns))
        assert len(expected) > 2_000
        assert stored(rig, venue, symbol) == expected
        ((_, progress),) = questions(rig)
        assert progress is not None
        assert (progress.state, progress.listed, progress.missing) == ("done", len(expected), 0)
        assert progress.grade == ("proved" if venue in BY_ID else "claimed"), progress.reason


@pytest.mark.parametrize("venue", sorted(name for name, kind in VENUES.items() if kind.minute_candles is not None))
def test_candles_of_a_venue_are_what_it_sums_up_and_stay_apart_from_trades(
    venue: str, tmp_path: Path, database: str
) -> None:
    with Rig(tmp_path, database, 32, venues=(venue,), rate=200.0) as rig:
        rig.start("writer")
        rig.wait("there are tables", lambda: bool(rig.query("SELECT to_regclass('backfill')")[0][0]))
        symbol = rig.symbols[venue][0]
        grow(rig, venue, symbol, 200)
        rig.stop_market()
        over_ns = time.time_ns() // (60 * _SECOND) * 60 * _SECOND  # the minute that goes on has no final candle
        past = made(rig, venue, symbol, 0, over_ns)
        ask(rig, venue, symbol, past[0].ts_ns - 60 * _SECOND, over_ns, "candles")
        with Filler(rig, venue) as filler:
            filler.until_ended()
        ((_, progress),) = questions(rig)
        assert progress is not None
        assert (progress.state, progress.grade) == ("done", "claimed"), progress.reason
        minutes = {one.ts_ns // (60 * _SECOND) * 60 for one in past}
        rows = rig.query(
            "SELECT extract(epoch FROM start)::bigint, open, high, low, close, volume, trade_count FROM venue_bar"
            " WHERE instrument_id = %s AND volume > 0 ORDER BY 1",
            instrument_id(venue, symbol),
        )
        assert [row[0] for row in rows] == sorted(minutes)
        spec = rig.venues[venue].venue.symbols[symbol].spec
        for start_s, *prices, volume, count in rows:
            trades = [one for one in past if one.ts_ns // (60 * _SECOND) * 60 == start_s]
            made_prices = [one.price / 10**spec.price_decimals for one in trades]
            assert prices == [made_prices[0], max(made_prices), min(made_prices), made_prices[-1]]
            assert volume == sum(one.size for one in trades) / 10**spec.size_decimals
            assert count in (None, len(trades))
        assert not rig.query("SELECT 1 FROM trade")
