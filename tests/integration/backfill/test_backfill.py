"""The history of simulated venues, read into a database and compared value by value with what the venue made."""

import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.fault_rig import Rig, Sections
from support.poller.journals import Poller

from recorder.backfill.database import opened
from recorder.backfill.progress import Asked, Progress, What
from recorder.clock import ManualClock, SystemClock
from recorder.identity import instrument_id
from recorder.journal.reader import JournalReader
from recorder.poller.backfilling.configured import NAME
from recorder.poller.backfilling.feeds import LoadedFeeds
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

    def __init__(self, rig: Rig, venue: str, *, days: float = 0.0, pause_s: float = 0.0) -> None:
        self.rig = rig
        self.venue = venue
        kind = VENUES[venue]
        assert kind.trade_history is not None
        self.clock = ManualClock(time.time_ns() + 300 * _SECOND)
        source = Source(venue, kind.trade_history, kind.minute_candles, pause_s, pause_s)
        feeds = LoadedFeeds(rig.journals, lambda: rig.url, lambda name: [f"recorder-{name}"])
        self.handler = Backfilling({venue: source}, lambda: rig.url, self.clock, days, feeds=feeds)
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
        rounds: list[RunRow] = []
        for _ in range(most):
            self.rig.wait("the block is loaded", lambda: loaded(self.rig), 20.0)
            if all(progress is not None and not progress.is_due(asked) for asked, progress in questions(self.rig)):
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


def start_writer(rig: Rig) -> None:
    rig.start("writer")
    rig.wait("there are tables", lambda: bool(rig.query("SELECT to_regclass('backfill')")[0][0]))


def progress_of(rig: Rig) -> Progress:
    ((_, progress),) = questions(rig)
    assert progress is not None
    return progress


def progress_by_id(rig: Rig) -> dict[int, Progress | None]:
    return {asked.backfill_id: progress for asked, progress in questions(rig)}


def grow(rig: Rig, venue: str, symbol: str, trades: int) -> None:
    """Let a venue make trades that no recorder receives."""
    market = rig.venues[venue].venue.symbols[symbol]
    until_id = market.next_id + trades
    rig.do(venue, "burst", events=trades * 6)
    rig.wait("the venue makes trades", lambda: market.next_id > until_id and not rig.venues[venue].venue.burst, 60.0)
    rig.pause(2.0)  # trades that lie apart: beyond the end of a time there must be some


@pytest.mark.parametrize("venue", VENUES_READ)
def test_a_time_that_was_not_recorded_is_filled_and_equals_what_the_venue_made(
    venue: str, tmp_path: Path, database: str
) -> None:
    with Rig(tmp_path, database, 31, venues=(venue,), rate=200.0) as rig:
        start_writer(rig)
        symbol = rig.symbols[venue][0]
        grow(rig, venue, symbol, 2_500)
        rig.stop_market()
        past = made(rig, venue, symbol)
        since_ns, until_ns = past[10].ts_ns, past[-1].ts_ns - 3 * _SECOND // 2
        asked = ask(rig, venue, symbol, since_ns, until_ns)
        with Filler(rig, venue) as filler:
            filler.until_ended()
        expected = truth(rig, venue, symbol, made(rig, venue, symbol, asked.since_ns, asked.until_ns))
        assert len(expected) > 2_000
        assert stored(rig, venue, symbol) == expected
        progress = progress_of(rig)
        assert (progress.state, progress.listed, progress.missing) == ("done", len(expected), 0)
        assert progress.grade == ("proved" if venue in BY_ID else "claimed"), progress.reason


@pytest.mark.parametrize("venue", BY_ID)
def test_a_time_before_all_that_the_venue_lists_is_never_proved(venue: str, tmp_path: Path, database: str) -> None:
    """A trade after the end of the time shows nothing about what was before it."""
    with Rig(tmp_path, database, 33, venues=(venue,), rate=200.0) as rig:
        start_writer(rig)
        symbol = rig.symbols[venue][0]
        grow(rig, venue, symbol, 200)
        rig.stop_market()
        hour_ns = 3600 * _SECOND
        first_ns = made(rig, venue, symbol)[0].ts_ns
        ask(rig, venue, symbol, first_ns - 200 * hour_ns, first_ns - 199 * hour_ns)
        with Filler(rig, venue) as filler:
            filler.until_ended()
        progress = progress_of(rig)
        assert (progress.listed, progress.grade == "proved") == (0, False), progress


@pytest.mark.parametrize("venue", sorted(name for name, kind in VENUES.items() if kind.minute_candles is not None))
def test_candles_of_a_venue_are_what_it_sums_up_and_stay_apart_from_trades(
    venue: str, tmp_path: Path, database: str
) -> None:
    with Rig(tmp_path, database, 32, venues=(venue,), rate=200.0) as rig:
        start_writer(rig)
        symbol = rig.symbols[venue][0]
        grow(rig, venue, symbol, 200)
        rig.stop_market()
        over_ns = time.time_ns() // (60 * _SECOND) * 60 * _SECOND  # the minute that goes on has no final candle
        past = made(rig, venue, symbol, 0, over_ns)
        ask(rig, venue, symbol, past[0].ts_ns - 60 * _SECOND, over_ns, "candles")
        with Filler(rig, venue) as filler:
            filler.until_ended()
            progress = progress_of(rig)
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
        check = "SELECT agrees FROM venue_bar_check WHERE venue_volume > 0 ORDER BY start"
        assert {row[0] for row in rig.query(check)} == {False}, "no trade is stored"
        ask(rig, venue, symbol, past[0].ts_ns - 60 * _SECOND, over_ns)
        with Filler(rig, venue) as filler:
            filler.until_ended()
        assert {row[0] for row in rig.query(check)} == {True}
        rig.query("DELETE FROM trade WHERE trade_id = (SELECT min(trade_id) FROM trade)")
        assert sorted(row[0] for row in rig.query(check)).count(False) == 1


@pytest.mark.parametrize("seed", [41, 42])
def test_a_poller_that_is_killed_in_the_middle_goes_on_and_nothing_is_lost_or_doubled(
    seed: int, tmp_path: Path, database: str
) -> None:
    settings: Sections = {"poller": {"off": ["discovery", "healing"]}, "poller.every_s": {NAME: 2}}
    with Rig(tmp_path, database, seed, venues=("coinbase",), rate=200.0, settings=settings) as rig:
        start_writer(rig)
        symbol = rig.symbols["coinbase"][0]
        grow(rig, "coinbase", symbol, 12_000)
        rig.stop_market()
        past = made(rig, "coinbase", symbol)
        asked = ask(rig, "coinbase", symbol, past[10].ts_ns, past[-1].ts_ns)

        def answers() -> int:
            ((_, progress),) = questions(rig)
            return 0 if progress is None else progress.answers

        for _ in range(3):
            before = answers()
            rig.start("poller")
            rig.wait("it reads", lambda before=before: answers() > before, 60.0)  # type: ignore[misc]
            rig.pause(rig.rng.uniform(0.0, 1.5))
            rig.kill("poller")
        assert progress_of(rig).state == "running", "the kills were in the middle"
        rig.start("poller")
        rig.wait("all is read", lambda: progress_of(rig).state != "running", 90.0)
        assert rig.stop("poller") == 0
        progress = progress_of(rig)
        assert (progress.state, progress.grade, progress.missing) == ("done", "proved", 0), progress.reason
        expected = truth(rig, "coinbase", symbol, made(rig, "coinbase", symbol, asked.since_ns, asked.until_ns))
        assert stored(rig, "coinbase", symbol) == expected
        assert rig.number("SELECT count(*) FROM past_trade") == len(expected)
        (inserted,) = rig.query("SELECT sum(inserted)::int FROM load_ledger WHERE table_name = 'past_trade'")[0]
        assert inserted == len(expected)


@pytest.mark.parametrize("venue", ["coinbase", "kraken", "okx", "bitfinex"])
def test_beside_a_live_recorder_nothing_is_doubled(venue: str, tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 33, venues=(venue,), rate=200.0) as rig:
        rig.up()
        symbol = rig.symbols[venue][0]
        begin_ns = made(rig, venue, symbol)[0].ts_ns
        count = rig.stored()
        rig.wait("more trades are recorded", lambda: rig.stored() > count + 200)
        if venue == "coinbase":
            rig.do(venue, "history", kind="round")  # the times of the history are those of the feed, rounded
        asked = ask(rig, venue, symbol, begin_ns + 2 * _SECOND, time.time_ns() - _SECOND)
        rig.wait("they are loaded", rig.loaded)
        with Filler(rig, venue) as filler:
            filler.until_ended()
        progress = progress_of(rig)
        assert progress.state == "done", progress.reason
        assert progress.controls > 50
        rig.do(venue, "heal")
        rig.do(venue, "republish", symbol=symbol, count=5_000, now=True)
        rig.do(venue, "close")
        if venue == "coinbase":  # verify compares times, which are those of the history
            rig.wait_subscribed()
            rig.stop_market()
            rig.wait("they are loaded", rig.loaded)
        else:
            assert rig.prove(resume=False).doubled_ids == 0
        rows = stored(rig, venue, symbol)
        assert all(row[-1] == 1 for row in rows.values())
        if venue != "okx":  # it sends groups live, and lists their parts
            expected = truth(rig, venue, symbol, made(rig, venue, symbol, asked.since_ns, asked.until_ns))
            assert {number: rows[number] for number in expected} == expected


def test_a_venue_that_lists_too_little_is_named_and_nothing_more_is_claimed(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 34, venues=("coinbase",), rate=200.0) as rig:
        start_writer(rig)
        symbol = rig.symbols["coinbase"][0]
        grow(rig, "coinbase", symbol, 1_500)
        rig.stop_market()
        past = made(rig, "coinbase", symbol)
        first, last = past[700].id, past[704].id
        rig.do("coinbase", "history", kind="omit", symbol=symbol, first=first, last=last)
        ask(rig, "coinbase", symbol, past[10].ts_ns, past[-1].ts_ns)
        with Filler(rig, "coinbase") as filler:
            filler.until_ended()
            progress = progress_of(rig)
            assert (progress.state, progress.grade, progress.missing) == ("done", "claimed", 5)
            assert progress.reason == "the venue does not list 5 ids; each is in a gap"
            gap = {"last_id": first - 1, "first_id": last + 1, "state": "open", "cause": "history"}
            assert [{key: one[key] for key in gap} for one in rig.gaps()] == [gap]
            assert not {one.id for one in past[700:705]} & stored(rig, "coinbase", symbol).keys()

            rig.do("coinbase", "heal")
            rig.do("coinbase", "history", kind="floor", symbol=symbol, first=past[300].id)
            asked = ask(rig, "coinbase", symbol, past[5].ts_ns, past[-1].ts_ns)
            filler.until_ended()
            ended = progress_by_id(rig)[asked.backfill_id]
            assert ended is not None
            assert (ended.state, ended.grade) == ("short", None)
            assert str(ended.reason).startswith(f"beyond retention: the first trade listed is id {past[300].id} of")
            assert ended.span(asked)[0] == past[300].ts_ns // 1000 * 1000

            rig.do("coinbase", "heal")
            ask(rig, "coinbase", symbol, asked.since_ns, asked.until_ns)  # the same question goes on
            filler.until_ended()
            again = progress_by_id(rig)[asked.backfill_id]
            assert again is not None
            assert (again.state, again.grade) == ("done", "proved"), again.reason

            rig.do("coinbase", "history", kind="side")
            other = ask(rig, "coinbase", symbol, past[20].ts_ns, past[-1].ts_ns)
            filler.until_ended()
            spoilt = progress_by_id(rig)[other.backfill_id]
            assert spoilt is not None
            assert spoilt.state == "stopped"
            assert str(spoilt.reason).startswith("stored trade")
        assert all(row[-1] == 1 for row in stored(rig, "coinbase", symbol).values())


def test_a_history_that_ends_below_what_is_stored_is_short(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 35, venues=("binance",), rate=200.0) as rig:
        start_writer(rig)
        symbol = rig.symbols["binance"][0]
        grow(rig, "binance", symbol, 500)
        rig.stop_market()
        past = made(rig, "binance", symbol)
        ask(rig, "binance", symbol, past[400].ts_ns, past[-1].ts_ns)
        with Filler(rig, "binance") as filler:
            filler.until_ended()
            newer = len(past) - 300
            rig.do("binance", "history", kind="late", symbol=symbol, last=newer)
            asked = ask(rig, "binance", symbol, past[100].ts_ns, past[-1].ts_ns)
            filler.until_ended()
        progress = progress_by_id(rig)[asked.backfill_id]
        assert progress is not None
        assert progress.state == "short"
        assert str(progress.reason).startswith(f"the venue lists nothing after id {past[299].id}, though id")
        (gap,) = rig.gaps()
        assert (gap["last_id"], gap["state"], gap["cause"]) == (past[299].id, "open", "history")


def test_pages_keep_their_distance_and_a_refusal_pauses_the_venue(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 36, venues=("kraken",), rate=200.0) as rig:
        start_writer(rig)
        symbol = rig.symbols["kraken"][0]
        grow(rig, "kraken", symbol, 5_000)
        rig.stop_market()
        past = made(rig, "kraken", symbol)
        ask(rig, "kraken", symbol, past[10].ts_ns, past[-1].ts_ns - 3 * _SECOND // 2)
        with Filler(rig, "kraken", pause_s=0.3) as filler:
            began_s = time.monotonic()
            run = filler.round()
            assert 3 < run.answers <= 1 + (time.monotonic() - began_s) / 0.3
            filler.until_ended()
            assert progress_of(rig).grade == "proved"
            ask(rig, "kraken", symbol, past[10].ts_ns, past[-1].ts_ns)
            rig.do("kraken", "rest", status=429, times=1)
            refused = filler.round()
            assert refused.state == "failed"
            assert "429" in refused.reason
            assert filler.round().state == "skipped", "the venue is left alone for a minute"
            filler.poller.pass_time(61)
            filler.until_ended()
        assert all(progress is not None and progress.state == "done" for _, progress in questions(rig))


def test_a_new_instrument_is_filled_with_the_days_of_the_setting(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 37, venues=("coinbase",), rate=200.0) as rig:
        rig.up()
        symbol = rig.symbols["coinbase"][0]
        rig.wait("they are loaded", rig.loaded)
        with Filler(rig, "coinbase") as off:
            assert off.round().state == "skipped"
        with Filler(rig, "coinbase", days=30) as filler:
            assert filler.round().state == "done"
            assert len(questions(rig)) == 2, "one for each instrument"
            filler.until_ended()
            assert len(questions(rig)) == 2
        begin = made(rig, "coinbase", symbol)[0]
        for _, progress in questions(rig):
            assert progress is not None
            assert progress.state == "short"
            assert f"the first trade listed is id {begin.id}" in str(progress.reason)
        report = rig.prove(resume=False)
        assert report.doubled_ids == 0
        assert (
            set(truth(rig, "coinbase", symbol, made(rig, "coinbase", symbol))) <= stored(rig, "coinbase", symbol).keys()
        )


def test_fills_of_one_instant_over_two_pages_are_listed_though_the_first_page_ends_there(
    tmp_path: Path, database: str
) -> None:
    """Fills of one block share a time with nanoseconds, and the tables have microseconds."""
    with Rig(tmp_path, database, 41, venues=("figure",), rate=200.0) as rig:
        start_writer(rig)
        symbol = rig.symbols["figure"][0]
        grow(rig, "figure", symbol, 700)
        rig.stop_market()
        past = made(rig, "figure", symbol)
        for first in range(0, len(past) - 7, 7):  # no page of 200 ends where a block ends
            at_ns = past[first].ts_ns // 1000 * 1000 + 789
            for one in past[first : first + 7]:
                one.ts_ns = at_ns
        ask(rig, "figure", symbol, past[0].ts_ns, past[-1].ts_ns - 3 * _SECOND // 2)
        with Filler(rig, "figure") as filler:
            filler.until_ended()
            again = ask(rig, "figure", symbol, past[7].ts_ns, past[-1].ts_ns - 3 * _SECOND // 2)
            filler.until_ended()
        progress = progress_by_id(rig)[again.backfill_id]
        assert progress is not None
        assert (progress.state, progress.listed) == ("done", progress.controls), progress.reason
        assert progress.listed > 600


def test_a_history_that_begins_later_is_read_from_its_first_trade_on(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 42, venues=("binance",), rate=200.0) as rig:
        start_writer(rig)
        symbol = rig.symbols["binance"][0]
        grow(rig, "binance", symbol, 1_500)
        rig.stop_market()
        past = made(rig, "binance", symbol)
        first = past[300]
        rig.do("binance", "history", kind="floor", symbol=symbol, first=first.id)
        # The venue has milliseconds, so the time ends with one.
        until_ns = (past[-1].ts_ns - 3 * _SECOND // 2) // 10**6 * 10**6
        asked = ask(rig, "binance", symbol, past[50].ts_ns, until_ns)
        with Filler(rig, "binance") as filler:
            filler.until_ended()
        ((state, since_us),) = rig.query(
            "SELECT state, (extract(epoch FROM since) * 1000000)::bigint FROM backfill_range WHERE backfill_id = %s",
            asked.backfill_id,
        )
        listed = truth(
            rig, "binance", symbol, [one for one in past if one.id >= first.id and one.ts_ns < asked.until_ns]
        )
        assert stored(rig, "binance", symbol) == listed
        assert (state, since_us) == ("short", first.ts_ns // 10**6 * 1000), "binance has milliseconds"


def test_a_feed_that_joins_trades_is_awaited_while_the_writer_is_late(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 43, venues=("okx",), rate=200.0) as rig:
        rig.up()
        symbol = rig.symbols["okx"][0]
        rig.wait("trades are loaded", lambda: rig.stored() > 50)
        rig.stop("writer")
        known = len(made(rig, "okx", symbol))
        rig.wait("the venue sends more", lambda: len(made(rig, "okx", symbol)) > known + 200)
        rig.stop_market()
        # The venue has milliseconds, so the time begins and ends with one.
        begin_ns, end_ns = (made(rig, "okx", symbol)[place].ts_ns // 10**6 * 10**6 for place in (known, -20))
        asked = ask(rig, "okx", symbol, begin_ns + _SECOND, end_ns)
        with Filler(rig, "okx") as filler:
            early = filler.round()
            assert (early.state, early.reason) == ("skipped", "by hand; nothing due")
            rig.start("writer")
            rig.wait("the feed is loaded", rig.loaded)
            filler.until_ended()
        progress = progress_of(rig)
        assert progress.state == "done", progress.reason
        assert progress.controls > 50
        spec = rig.venues["okx"].venue.symbols[symbol].spec
        sent = (
            sum(one.size for one in made(rig, "okx", symbol, asked.since_ns, asked.until_ns)) / 10**spec.size_decimals
        )
        ((volume,),) = rig.query(
            "SELECT sum(size::numeric)::float8 FROM trade WHERE instrument_id = %s AND ts_event >= to_timestamp(%s)"
            " AND ts_event < to_timestamp(%s)",
            instrument_id("okx", symbol), asked.since_ns / 1e9, asked.until_ns / 1e9,
        )  # fmt: skip
        assert volume == pytest.approx(sent, rel=1e-6), "each trade counts once"
