"""An hour without ids that was healed by time: what the candles of the venue make of its grade."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from support.certify.home import BEGIN_US
from support.certify.simulated import SimulatedSession
from support.certify.venues import VenueHome, faults_of, forged
from support.poller.journals import Poller

from recorder.certify.database import opened
from recorder.certify.document import HOUR_US, CandleFacts, Certificate
from recorder.clock import ManualClock
from recorder.pgcopy.polled import POLLED
from recorder.poller.job import Every, Job, Kept, Outcome, Round
from recorder.venues.bitfinex.candles import MINUTE_CANDLES
from recorder.venues.bitfinex.history import TRADE_HISTORY
from recorder.venues.history import Candle

MINUTE_NS = 60 * 10**9
REASON = "two reads agree, 9 control trades found, candle not comparable"

Rows = Sequence[tuple[object, ...]]


class Stores:
    """A handler that writes rows of some tables in one block of the poller's journal."""

    def __init__(self, tables: Mapping[str, Rows]) -> None:
        self._tables = tables

    def run(self, round: Round) -> Outcome:
        """Store the rows."""
        for table, rows in self._tables.items():
            round.store(table, rows)
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: it asks no service."""


def store(home: VenueHome, tables: Mapping[str, Rows]) -> None:
    """Write rows to the poller's journal, and load them."""
    poller = Poller(home.journals, [Job("stores", Every(60), 20.0, Stores(tables), "")], ManualClock(time.time_ns()))
    run = poller.runner.extra("stores", "by hand")
    assert run is not None
    assert run.state == "done", run
    poller.end()
    home.load()


def heal(home: VenueHome) -> None:
    """Fill the one gap of trades from the history of the venue, as two equal reads do."""
    instants = {name for name, kind in POLLED["gap"] if kind == "instant"}
    columns = ", ".join(
        f"(extract(epoch FROM {name}) * 1000000)::bigint * 1000" if name in instants else name
        for name, _ in POLLED["gap"]
    )
    (row,) = home.rows(f"SELECT {columns} FROM gap WHERE channel = 'trade'")
    gap = dict(zip((name for name, _ in POLLED["gap"]), row, strict=True))
    gap |= {"state": "healed", "reason": REASON, "revision": 1 << 20}
    session = home.session
    begin_ns, end_ns = gap["started_at"] - MINUTE_NS, gap["ended_at"] + MINUTE_NS
    listed = TRADE_HISTORY.decode(session.rest(TRADE_HISTORY.path(session.symbol, begin_ns, end_ns)))
    stored = {one for (one,) in home.rows("SELECT trade_id FROM trade")}
    past = [
        (session.instrument_id, one.trade_id, one.ts_event_ns, time.time_ns(), one.price, one.size, one.aggressor, None)
        for one in listed
        if one.trade_id not in stored
    ]
    assert past
    store(home, {"past_trade": past, "gap": [tuple(gap[name] for name, _ in POLLED["gap"])]})


def candles(session: SimulatedSession) -> list[Candle]:
    """Return the candles of the hour and of the minutes beside it."""
    first_s = BEGIN_US // 10**6 - 60
    path = MINUTE_CANDLES.path(session.symbol, first_s, first_s + 62 * 60)
    return list(MINUTE_CANDLES.decode(session.rest(path)))


def bar_rows(session: SimulatedSession, some: Sequence[Candle]) -> Rows:
    now_ns = time.time_ns()
    return [
        (session.instrument_id, 60, one.start_s * 10**9, float(one.open), float(one.high), float(one.low),
         float(one.close), float(one.volume), max(0, -int(one.volume.as_tuple().exponent)), one.trade_count,
         now_ns, now_ns)
        for one in some
    ]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, database: str) -> VenueHome:
    """An hour of Bitfinex with a lost connection, healed by time."""
    found = VenueHome(tmp_path, database, "bitfinex")
    found.session.run(1200)
    found.session.drop()
    found.session.run(1200, connected=False)  # longer than the trades that a new subscription brings
    found.session.reopen()
    found.session.run(1500)
    found.session.close()
    found.load()
    heal(found)
    return found


def trades_of(home: VenueHome) -> Certificate:
    (one,) = [one for one in home.certify() if one.channel == "trade"]
    return one


def due(home: VenueHome) -> list[str]:
    with opened(home.url) as database:
        found = database.due("bitfinex", BEGIN_US, BEGIN_US + HOUR_US, candles=True)
    return [hour.channel for hour in found]


def test_candles_of_all_minutes_raise_a_healed_hour_and_are_checked_in_the_journal(home: VenueHome) -> None:
    before = trades_of(home)
    assert (before.grade, before.candles, before.rows.healed > 0) == ("consistent", msgspec.UNSET, True)
    assert due(home) == []
    listed = candles(home.session)
    assert len(listed) > 40
    store(home, {"venue_bar": bar_rows(home.session, listed)})
    assert due(home) == ["trade"]
    after = trades_of(home)
    assert (after.grade, after.revision) == ("witnessed", 2)
    assert after.candles == CandleFacts(equal=60, differing=0, differences=[])
    assert due(home) == []
    assert faults_of([before, after], home.journals) == [[], []]
    named = forged(before, candles=after.candles)
    assert named.grade == "witnessed"
    assert faults_of([named], home.journals) == [["candles are named, and its journals have none"]]


def test_a_candle_that_differs_is_named_and_raises_nothing(home: VenueHome) -> None:
    listed = candles(home.session)
    listed[5] = listed[5]._replace(volume=listed[5].volume + 1)
    store(home, {"venue_bar": bar_rows(home.session, listed)})
    one = trades_of(home)
    assert (one.grade, len(one.reasons)) == ("consistent", 2)
    assert one.reasons[1].startswith("1 of 60 candles of the venue differ, such as minute ")
    assert faults_of([one], home.journals) == [[]]
    equal = CandleFacts(equal=60, differing=0, differences=[])
    (faults,) = faults_of([forged(one, candles=equal)], home.journals)
    assert len(faults) == 1
    assert faults[0].startswith("candles are ")
