"""Gaps of simulated venues, filled from their history and compared value by value with what the venue made."""

import random
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fault_rig import Rig
from support.poller.journals import Poller

from recorder.cli.polls.reads import failures_of
from recorder.clock import ManualClock, SystemClock
from recorder.healer.verdict import SETTLED_NS
from recorder.journal.reader import JournalReader
from recorder.poller.healing.configured import NAME, pages_of
from recorder.poller.healing.job import PERIOD_S, Healing, Source
from recorder.poller.job import Every, Job
from recorder.poller.journal import RunRow
from recorder.poller.round import LiveRound
from recorder.poller.services import ClientService
from recorder.position import Position
from recorder.rest.client import RestClient
from recorder.venues import VENUES
from recorder.venues.base import RestLimits
from recorder.venues.history import TimedHistory, TradeHistory
from recorder.verify.check import Report

BY_ID = sorted(name for name, kind in VENUES.items() if isinstance(kind.trade_history, TradeHistory))
BY_TIME = sorted(name for name, kind in VENUES.items() if isinstance(kind.trade_history, TimedHistory))
OPEN = "channel = 'trade' AND state = 'open'"


class Healer:
    """The job `healing` in this process, on the journal of a rig, with a clock of its own.

    Args:
        rig: The appliance.
        venue: The venue to heal.
        pages: Of a round; None as many as the budget of the venue allows.
    """

    def __init__(self, rig: Rig, venue: str, pages: int | None = None) -> None:
        self.rig = rig
        history = VENUES[venue].trade_history
        assert history is not None
        most = pages_of(VENUES[venue].rest, history, PERIOD_S) if pages is None else pages
        self.clock = ManualClock(time.time_ns() + 2 * SETTLED_NS)
        self.handler = Healing(
            {venue: Source(venue, history, most, VENUES[venue].minute_candles)}, lambda: rig.url, self.clock
        )
        job = Job(NAME, Every(PERIOD_S, 11), 20.0, self.handler, "", repeatable=False)
        self.poller = Poller(rig.journals, [job], self.clock, services={venue: self._service(venue)})

    def _service(self, venue: str) -> ClientService:
        limits = RestLimits(per_s=1000, burst=1000, attempts=1)
        url = self.rig.venues[venue].rest_url
        return ClientService(
            RestClient(venue, url, limits, "healer-test", threading.Event(), SystemClock(), random.Random(1))
        )

    def pass_time(self, seconds: float) -> None:
        self.poller.pass_time(seconds)

    def round(self) -> RunRow:
        run = self.poller.runner.extra(NAME, "by hand")
        assert run is not None
        return run

    def until_healed(self, most: int = 50) -> list[RunRow]:
        """Run rounds until no gap is open."""
        rounds = []
        for _ in range(most):
            if not self.rig.gaps(OPEN):
                break
            rounds.append(self.round())
            assert rounds[-1].state in ("done", "skipped"), rounds[-1]
            self.pass_time(PERIOD_S)
            self.rig.wait("the block is loaded", lambda: loaded(self.rig), 20.0)
        assert not self.rig.gaps(OPEN), (rounds, self.rig.gaps(OPEN))
        return rounds

    def __enter__(self) -> "Healer":
        return self

    def __exit__(self, *_: object) -> None:
        self.poller.end()


def loaded(rig: Rig) -> bool:
    """Return whether the writer has loaded the journal of the poller too."""
    rows = rig.query("SELECT segment, position FROM journal WHERE recorder = 'poller'")
    return bool(rows) and JournalReader(rig.journals / "poller").lag_bytes(Position(*rows[0])) <= 0 and rig.loaded()


def lose_trades(rig: Rig, venue: str, symbol: str, skipped: int = 7) -> None:
    """Cause two gaps of trades: trades left out of the stream, and a connection that breaks."""
    before = len(rig.gaps(OPEN))
    rig.do(venue, "skip", times=skipped, symbol=symbol)
    rig.wait("the left out trades are declared", lambda: len(rig.gaps(f"{OPEN} AND ended_at IS NOT NULL")) > before)
    made = rig.venues[venue].venue.symbols[symbol]
    until_id = made.next_id + 60  # a venue may send its last 50 trades again to a new connection
    rig.wait("more trades are made", lambda: made.next_id > until_id, 60.0)
    rig.do(venue, "close")
    rig.wait_subscribed()


def settle(rig: Rig) -> None:
    """Let the markets stand still until everything is stored and every gap has ended."""
    rig.wait("no gap goes on", lambda: not rig.gaps("ended_at IS NULL"), 60.0)
    rig.stop_market()
    rig.wait("the writer has loaded the journals", rig.loaded)


def prove_complete(rig: Rig, venue: str) -> Report:
    """Assert that every trade that the venue made is stored once, with its values, and that nothing is declared."""
    report = rig.prove(resume=False)
    trades = [one for one in report.streams if one.channel == "trade"]
    assert trades
    assert all(one.declared == one.withheld == one.missing == one.duplicates == one.wrong == 0 for one in trades), (
        trades
    )
    assert report.doubled_ids == 0
    ids = rig.query(
        "SELECT instrument_id, count(*), count(DISTINCT trade_id), max(trade_id)::numeric - min(trade_id) + 1 AS span"
        " FROM trade GROUP BY 1"
    )
    for _, rows, distinct, span in ids:
        assert rows == distinct
        if not getattr(VENUES[venue].trade_history, "merged", True):
            assert rows == span, "ids follow each other from the first to the last"
    return report


@pytest.mark.parametrize("venue", BY_ID)
def test_trades_that_were_lost_are_filled_in_and_equal_what_the_venue_made(
    venue: str, tmp_path: Path, database: str
) -> None:
    with Rig(tmp_path, database, 11, venues=(venue,), rate=200.0) as rig:
        rig.up()
        lose_trades(rig, venue, rig.symbols[venue][0])
        settle(rig)
        lost = rig.gaps(OPEN)
        assert lost
        with Healer(rig, venue) as healer:
            healer.until_healed()
        filled = rig.number("SELECT count(*) FROM past_trade")
        assert filled >= 7
        prove_complete(rig, venue)
        states: Sequence[str] = [one["state"] for one in rig.gaps("channel = 'trade'")]
        assert set(states) == {"healed"}
        offered, inserted = rig.query(
            "SELECT sum(offered)::int, sum(inserted)::int FROM load_ledger WHERE table_name = 'past_trade'"
        )[0]
        assert offered == inserted == filled


def test_a_large_hole_is_filled_in_parts_of_which_each_is_proved(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 12, venues=("coinbase",), rate=400.0) as rig:
        rig.up()
        rig.do("coinbase", "refuse_handshake", status=503)
        rig.do("coinbase", "close")
        made = rig.venues["coinbase"].venue.symbols[rig.symbols["coinbase"][0]]
        rig.do("coinbase", "burst", events=20_000)
        begin = made.next_id
        rig.wait("thousands of trades are lost", lambda: made.next_id > begin + 2_500, 60.0)
        rig.do("coinbase", "heal")
        rig.wait_subscribed()
        settle(rig)
        with Healer(rig, "coinbase", pages=1) as healer:
            rounds = healer.until_healed()
        assert len(rounds) > 3, "one page a round"
        prove_complete(rig, "coinbase")


def test_reads_that_are_repeated_while_the_writer_is_away_double_nothing(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 13, venues=("coinbase",), rate=200.0) as rig:
        rig.up()
        lose_trades(rig, "coinbase", rig.symbols["coinbase"][0])
        settle(rig)
        rig.kill("writer")
        for _ in range(2):  # the second process knows nothing of the first
            with Healer(rig, "coinbase") as healer:
                assert healer.round().rows > 0
                assert healer.round().rows == 0, "it waits until its block is loaded"
        rig.start("writer")
        rig.wait("the gaps are healed", lambda: not rig.gaps(OPEN))
        rig.wait("the writer has loaded the journals", lambda: loaded(rig))
        prove_complete(rig, "coinbase")


def test_a_kill_between_the_answer_and_its_rows_leaves_the_gap_and_the_next_read_fills_it(
    tmp_path: Path, database: str
) -> None:
    with Rig(tmp_path, database, 14, venues=("coinbase",), rate=200.0) as rig:
        rig.up()
        lose_trades(rig, "coinbase", rig.symbols["coinbase"][0])
        settle(rig)
        killed = Healer(rig, "coinbase")
        runner, journal = killed.poller.runner, killed.poller.journal
        with journal.lock:
            opened = journal.ledger.open_extra(NAME, 0, "by hand", killed.clock.wall_ns())
        round = LiveRound(opened, killed.poller.stop, runner.services, journal, killed.clock)
        killed.handler.run(round)
        assert round.rows["past_trade"].data, "the answers are in the journal, their rows are not"
        killed.poller.abandon()
        with Healer(rig, "coinbase") as healer:
            assert rig.gaps(OPEN)
            healer.until_healed()
        prove_complete(rig, "coinbase")


def lost_ids(rig: Rig) -> list[tuple[int, int]]:
    """Return the ends of the open gaps by id."""
    return [(one["last_id"], one["first_id"]) for one in rig.gaps(OPEN)]


def test_an_id_that_the_history_lists_late_is_filled_by_a_later_read(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 15, venues=("coinbase",), rate=200.0) as rig:
        rig.up()
        symbol = rig.symbols["coinbase"][0]
        rig.do("coinbase", "skip", times=7, symbol=symbol)
        rig.wait("a gap is declared", lambda: bool(rig.gaps(f"{OPEN} AND ended_at IS NOT NULL")))
        settle(rig)
        last_id, _ = max(lost_ids(rig), key=lambda ends: ends[1] - ends[0])
        late = last_id + 1
        rig.do("coinbase", "history", kind="omit", symbol=symbol, first=late, last=late)
        with Healer(rig, "coinbase") as healer:
            healer.round()
            rig.wait("the rest is filled", lambda: lost_ids(rig) == [(late - 1, late + 1)])
            rig.wait("the block is loaded", lambda: loaded(rig))
            report = rig.prove(resume=False)
            assert sum(one.withheld for one in report.streams) == 1, "the id is declared, and nothing else"
            assert healer.round().rows == 0, "it is not due for a minute"
            (reads, reason) = rig.query("SELECT reads, reason FROM gap_read")[0]
            assert (reads, reason) == (1, f"the venue does not list id {late}")
            rig.do("coinbase", "heal")
            healer.pass_time(61)
            healer.until_healed()
        prove_complete(rig, "coinbase")


def test_an_id_that_is_never_listed_is_unhealable_after_a_day_and_stays_declared(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 16, venues=("coinbase",), rate=200.0) as rig:
        rig.up()
        symbol = rig.symbols["coinbase"][0]
        rig.do("coinbase", "skip", times=5, symbol=symbol)
        rig.wait("a gap is declared", lambda: bool(rig.gaps(f"{OPEN} AND ended_at IS NOT NULL")))
        settle(rig)
        (last_id, first_id) = max(lost_ids(rig), key=lambda ends: ends[1] - ends[0])
        rig.do("coinbase", "history", kind="omit", symbol=symbol, first=last_id + 1, last=first_id - 1)
        states = []
        with Healer(rig, "coinbase") as healer:
            for wait_s in (0, 61, 601, 3_601, 86_401):
                states.append([one["state"] for one in rig.gaps(f"last_id = {last_id}")])
                healer.pass_time(wait_s)
                healer.round()
                rig.wait("the block is loaded", lambda: loaded(rig))
        assert states == [["open"]] * 5
        (gap,) = rig.gaps(f"last_id = {last_id}")
        assert gap["state"] == "unhealable"
        assert str(gap["reason"]).startswith("the venue does not list id")
        (evidence,) = rig.query("SELECT jsonb_array_length(evidence) FROM gap_read")[0]
        assert evidence == 5
        rig.prove(resume=False)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("side", "control row"), ("late", "does not list control row"), ("floor", "beyond retention")],
)
def test_a_history_that_differs_at_the_ends_of_a_hole_fills_nothing(
    kind: str, reason: str, tmp_path: Path, database: str
) -> None:
    venue = "binance" if kind == "floor" else "coinbase"
    with Rig(tmp_path, database, 17, venues=(venue,), rate=200.0) as rig:
        rig.up()
        symbol = rig.symbols[venue][0]
        rig.do(venue, "skip", times=5, symbol=symbol)
        rig.wait("a gap is declared", lambda: bool(rig.gaps(f"{OPEN} AND ended_at IS NOT NULL")))
        settle(rig)
        (last_id, first_id) = max(lost_ids(rig), key=lambda ends: ends[1] - ends[0])
        newer = rig.venues[venue].venue.symbols[symbol].next_id - first_id
        rig.do(venue, "history", kind=kind, symbol=symbol, first=last_id + 2, last=newer + 1)
        with Healer(rig, venue) as healer:
            healer.round()
            rig.wait("the block is loaded", lambda: loaded(rig))
        assert rig.number("SELECT count(*) FROM past_trade") == 0
        assert (last_id, first_id) in lost_ids(rig)
        reasons = [row[0] for row in rig.query("SELECT reason FROM gap_read")]
        assert any(reason in one for one in reasons), reasons


def test_a_history_that_rounds_its_times_adds_no_second_row(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 18, venues=("coinbase",), rate=200.0) as rig:
        rig.up()
        lose_trades(rig, "coinbase", rig.symbols["coinbase"][0])
        settle(rig)
        rig.kill("writer")
        with Healer(rig, "coinbase") as healer:
            healer.round()
        rig.do("coinbase", "history", kind="round")
        with Healer(rig, "coinbase") as healer:  # it knows nothing of the first, and reads other times
            assert healer.round().rows > 0
        rig.start("writer")
        rig.wait("the gaps are healed", lambda: not rig.gaps(OPEN))
        rig.wait("the writer has loaded the journals", lambda: loaded(rig))
        rig.do("coinbase", "heal")
        prove_complete(rig, "coinbase")


def test_a_cursor_that_loops_ends_the_read_and_a_refusal_pauses_the_venue(tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 19, venues=("coinbase",), rate=400.0) as rig:
        rig.up()
        symbol = rig.symbols["coinbase"][0]
        rig.do("coinbase", "refuse_handshake", status=503)
        rig.do("coinbase", "close")
        made = rig.venues["coinbase"].venue.symbols[symbol]
        begin = made.next_id
        rig.do("coinbase", "burst", events=10_000)
        rig.wait("a page does not hold the hole", lambda: made.next_id > begin + 1_100, 60.0)
        rig.do("coinbase", "heal")
        rig.wait_subscribed()
        settle(rig)
        rig.do("coinbase", "history", kind="loop")
        with Healer(rig, "coinbase") as healer:
            assert healer.round().state == "done"
            rig.wait("the block is loaded", lambda: loaded(rig))
            reasons = [row[0] for row in rig.query("SELECT reason FROM gap_read")]
            assert "cursor does not advance" in reasons
            assert lost_ids(rig)
            rig.do("coinbase", "heal")
            healer.pass_time(61)
            rig.do("coinbase", "rest", status=429, times=1)
            refused = healer.round()
            assert refused.state == "failed"
            now = datetime.fromtimestamp(healer.clock.wall_ns() / 1e9, UTC)
            failure = failures_of([(now, refused.reason)])["coinbase"]
            assert "429" in failure.reason, "`tapedeck gaps` finds in poll_run why, and when it is tried again"
            assert 55 <= (failure.again_at - now).total_seconds() <= 60
            assert healer.round().state == "skipped", "the venue is left alone for a minute"
            healer.pass_time(61)
            healer.until_healed()
        prove_complete(rig, "coinbase")


@pytest.mark.parametrize("venue", BY_TIME)
def test_a_time_without_data_is_filled_once_two_reads_agree(venue: str, tmp_path: Path, database: str) -> None:
    with Rig(tmp_path, database, 20, venues=(venue,), rate=100.0) as rig:
        rig.up()
        stored = rig.stored()
        rig.wait("some trades are stored", lambda: rig.stored() > stored + 50)
        rig.do(venue, "refuse_handshake", status=503)
        rig.do(venue, "close")
        symbols = [rig.venues[venue].venue.symbols[symbol] for symbol in rig.symbols[venue]]
        begun = [len(one.history) for one in symbols]
        more = 60  # than the newest trades with which a new subscription may begin
        rig.wait(
            "trades are lost", lambda: all(len(one.history) > n + more for one, n in zip(symbols, begun, strict=True))
        )
        rig.do(venue, "heal")
        rig.wait_subscribed()
        rig.pause(2.0)
        settle(rig)
        assert rig.gaps(OPEN)
        with Healer(rig, venue, pages=10) as healer:
            states = []
            for wait_s in (180, 61, 601):
                healer.pass_time(wait_s)
                states.append((healer.round().state, rig.number("SELECT count(*) FROM past_trade")))
                rig.wait("the block is loaded", lambda: loaded(rig))
            assert states == [("done", 0)] * 3
            reasons = {row[0] for row in rig.query("SELECT reason FROM gap_read")}
            assert reasons == {"a second read must list the same"}
        assert not rig.gaps(OPEN), rig.gaps(OPEN)
        assert rig.number("SELECT count(*) FROM past_trade") > 0
        prove_complete(rig, venue)
        assert all(str(one["reason"]).startswith("two reads agree") for one in rig.gaps("channel = 'trade'"))


def test_an_id_that_was_never_issued_is_closed_when_five_reads_and_the_candles_agree(
    tmp_path: Path, database: str
) -> None:
    with Rig(tmp_path, database, 21, venues=("coinbase",), rate=100.0) as rig:
        rig.up()
        symbol = rig.symbols["coinbase"][0]
        minute = time.time() // 60
        rig.wait("a minute begins whose trades are all stored", lambda: time.time() // 60 > minute, 65.0)
        stored = rig.stored()
        rig.wait("it has trades", lambda: rig.stored() > stored + 20)
        rig.do("coinbase", "skip_ids", symbol=symbol, count=3)
        rig.wait("a gap is declared", lambda: bool(rig.gaps(f"{OPEN} AND ended_at IS NOT NULL")))
        settle(rig)
        ((last_id, first_id),) = lost_ids(rig)
        assert first_id - last_id == 4
        with Healer(rig, "coinbase") as healer:
            for wait_s in (0, 61, 601, 3_601, 86_401):
                assert lost_ids(rig) == [(last_id, first_id)]
                healer.pass_time(wait_s)
                assert healer.round().state == "done"
                rig.wait("the block is loaded", lambda: loaded(rig))
        (gap,) = rig.gaps(f"last_id = {last_id}")
        assert gap["state"] == "healed"
        assert str(gap["reason"]).startswith(f"never issued: ids {last_id + 1} to {first_id - 1};")
        (evidence, following) = rig.query("SELECT jsonb_array_length(evidence), next_at FROM gap_read")[0]
        assert (evidence, following) == (5, None), "the reads are kept"
        report = rig.prove(resume=False)
        assert all(one.declared == one.withheld == 0 for one in report.streams if one.channel == "trade")


def test_the_program_fills_gaps_by_itself(tmp_path: Path, database: str) -> None:
    settings = {"poller.every_s": {NAME: 2}}
    with Rig(tmp_path, database, 22, venues=("coinbase",), rate=100.0, settings=settings) as rig:
        rig.up()
        rig.start("poller")
        rig.do("coinbase", "skip", times=5, symbol=rig.symbols["coinbase"][0])
        rig.wait("a gap is declared", lambda: bool(rig.gaps(f"{OPEN} AND ended_at IS NOT NULL")))
        rig.wait("it is filled", lambda: not rig.gaps(OPEN), 180.0)
        assert rig.number("SELECT count(*) FROM past_trade") >= 5
        assert rig.stop("poller") == 0
        settle(rig)
        rig.wait("the writer has loaded the journals", lambda: loaded(rig))
        prove_complete(rig, "coinbase")
