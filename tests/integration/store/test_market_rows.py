"""Rows of markets in a real database: the newest state, each change once, and labels of one share."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import psycopg2
import pytest
from support.batches import HandPart, batch
from support.venues.polymarket import CONDITION, HOUR_NS, NO, NOW_NS, YES, gamma_body, gamma_row, iso, market

from recorder.pgcopy.encode import COLUMNS
from recorder.pgcopy.polled import encode_rows
from recorder.poller.polymarket.labels import Label
from recorder.poller.polymarket.rows import changes, event_row, market_row, resolution_row, rules_row
from recorder.position import Position
from recorder.store.batch import Counts
from recorder.store.loader import Store
from recorder.venues.polymarket.polls import gamma


class Tables:
    """A database that batches are loaded into one after the other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._store = Store(url)
        self._end: Position | None = None

    def load(self, table: str, *rows: Sequence[object]) -> Counts:
        """Load one batch of rows, and return its counts."""
        part = HandPart(table, COLUMNS[table], len(rows), encode_rows(table, rows))
        loaded = self._store.load(batch(self._end, [part]))
        self._end = loaded.end
        return loaded.tables[table]

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        connection = psycopg2.connect(self.url, options="-c timezone=UTC")
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall()
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connection."""
        self._store.close()


@pytest.fixture
def tables(database: str) -> Iterator[Tables]:
    tables = Tables(database)
    yield tables
    tables.close()


FULL: dict[str, Any] = {
    "description": "Rules.", "feeSchedule": {"rate": 0.07, "exponent": 1, "takerOnly": True, "rebateRate": 0.2},
    "gameStartTime": "2026-09-21 15:00:00+00", "sportsMarketType": "totals", "line": 225.5, "gameId": "77",
    "clobRewards": [{"rewardsDailyRate": 10}], "rewardsMinSize": 20, "rewardsMaxSpread": 4.5, "negRisk": True,
    "umaResolutionStatus": "requested", "questionID": "0x12", "groupItemTitle": "Over", "resolutionSource": "nba.com",
}  # fmt: skip


def test_every_column_of_a_market_round_trips(tables: Tables) -> None:
    full = market(**FULL)
    assert tables.load("market", market_row(full, NOW_NS - HOUR_NS, 7)) == Counts(1, 1, 1)
    [row] = tables.query("SELECT to_jsonb(market) FROM market")
    stored = row[0]
    assert stored["tokens"] == [YES, NO]
    assert stored["outcomes"] == ["Up", "Down"]
    assert stored["tags"] == ["crypto"]
    assert (stored["condition_id"], stored["version"], stored["event_id"]) == (CONDITION, "v1", 260654)
    assert (stored["fee_rate"], stored["fee_taker_only"], stored["line"]) == (0.07, True, 225.5)
    assert (stored["rewards_daily_rate"], stored["neg_risk"], stored["uma_status"]) == (10, True, "requested")
    assert (stored["price"], stored["volume"], stored["liquidity"]) == (0.505, 5000.5, 2000.25)
    assert stored["end_at"] == "2026-09-21T16:13:20+00:00"
    assert stored["game_start_at"] == "2026-09-21T15:00:00+00:00"
    assert (stored["known_since"], stored["known_at"]) == ("2026-09-21T13:13:20+00:00", "2026-09-21T14:13:20+00:00")
    assert stored["updated_at"] == "2026-09-21T14:00:00.123456+00:00"
    unset = {name for name, value in stored.items() if value is None}
    assert unset == {"resolution_status", "closed_at", "neg_risk_market_id"}


def test_the_newest_revision_is_kept_and_the_first_sight_is_the_earliest(tables: Tables) -> None:
    old, new = market(volumeNum=1000), market(NOW_NS + 1_000, volumeNum=2000)
    tables.load("market", market_row(old, NOW_NS, 1))
    tables.load("market", market_row(new, NOW_NS + 1_000, 3), market_row(old, NOW_NS - 1_000, 2))
    tables.load("market", market_row(old, NOW_NS, 2))
    found = tables.query("SELECT volume, revision, known_since < known_at FROM market")
    assert found == [(2000.0, 3, True)]


def test_a_change_is_stored_once_however_often_it_is_found(tables: Tables) -> None:
    states = [
        market(NOW_NS + number * 10**9, orderPriceMinTickSize=tick, endDate=iso(NOW_NS + number * HOUR_NS))
        for number, tick in enumerate((0.01, 0.001, 0.001, 0.01))
    ]
    rows = [row for before, after in pairwise(states) for row in changes(before, after, "")]
    counts = tables.load("market_history", *rows)
    assert (counts.offered, counts.inserted) == (5, 5)
    assert tables.load("market_history", *rows) == Counts(1, 5, 0, 5)
    # A poller whose memory is older than the journal finds the last change again, a little later.
    late = states[3].numbers
    again = [(row[0], row[1], late.received_ns + 5 * 10**9, *row[3:]) for row in rows[-2:]]
    assert tables.load("market_history", *again) == Counts(1, 2, 0, 2)
    ticks = tables.query("SELECT old_value, value FROM market_history WHERE field = 'tick_size' ORDER BY known_at")
    assert ticks == [(0.01, 0.001), (0.001, 0.01)]
    ends = tables.query("SELECT value FROM market_history WHERE field = 'end_at' ORDER BY known_at")
    assert [end[0] for end in ends] == [iso(NOW_NS + number * HOUR_NS) for number in (1, 2, 3)]


def test_a_value_that_returns_is_a_change_also_within_one_batch(tables: Tables) -> None:
    phases = ["open", "proposed", "open", "proposed"]
    rows = [
        (5, "phase", NOW_NS + number * 10**9, phases[number - 1], phases[number], None) for number in range(1, 4)
    ]  # fmt: skip
    assert tables.load("market_history", *rows).inserted == 3


def test_rules_and_events_keep_their_newest_state(tables: Tables) -> None:
    page = gamma.markets(gamma_body(gamma_row(description="x" * 3000)), NOW_NS)
    [row] = page.rows
    tables.load("market_rules", rules_row(row.market, row.rules, 1))
    tables.load("market_rules", rules_row(row.market, "new", 2))
    assert tables.query("SELECT market_id, rules FROM market_rules") == [(1557558, "new")]
    assert row.event is not None
    tables.load("market_event", event_row(row.event, NOW_NS, 1))
    assert tables.query("SELECT event_id, title, volume, open_interest FROM market_event") == [
        (260654, "Bitcoin", 9000.0, 70.0)
    ]


@pytest.mark.parametrize("payouts", [(1_000_000, 0), (500_000, 500_000)])
def test_a_resolution_has_its_sources_and_their_answers(tables: Tables, payouts: tuple[int, int]) -> None:
    raw = {"resolutions": b'{"status":"resolved"}', "gamma": json.dumps({"text": 'a "quoted" text'}).encode()}
    label = Label(payouts, ("resolutions", "gamma"), NOW_NS, False, raw)  # type: ignore[arg-type]
    tables.load("resolution", resolution_row(7, CONDITION, label, NOW_NS, None, 1))
    tables.load("resolution", resolution_row(7, CONDITION, label, NOW_NS, NOW_NS + 72 * HOUR_NS, 2))
    found = tables.query("SELECT payout_0, payout_1, sources, raw, checked_at IS NULL FROM resolution")
    assert found == [
        (*payouts, ["resolutions", "gamma"], {"resolutions": {"status": "resolved"}, "gamma": json.loads(raw["gamma"])},
         False)
    ]  # fmt: skip


def label(*payouts: int) -> Label:
    """Return a label of the CLOB."""
    return Label((payouts[0], payouts[1]), ("clob",), NOW_NS, None, {"clob": b"{}"})


def test_a_label_that_is_decided_again_is_known_since_it_was_decided_first(tables: Tables) -> None:
    later_ns = NOW_NS + HOUR_NS
    tables.load("resolution", resolution_row(7, CONDITION, label(1_000_000, 0), NOW_NS, None, 1))
    tables.load("resolution", resolution_row(7, CONDITION, label(1_000_000, 0), NOW_NS, later_ns, 2))
    tables.load("resolution", resolution_row(7, CONDITION, label(1_000_000, 0), later_ns, None, 3))
    found = tables.query(
        "SELECT extract(epoch FROM known_at), extract(epoch FROM checked_at), revision FROM resolution"
    )
    assert found == [(NOW_NS // 10**9, later_ns // 10**9, 3)]
    assert tables.query("SELECT count(*) FROM resolution_history") == [(0,)]


def test_a_label_that_changed_has_its_own_time_and_the_earlier_one_can_be_found(tables: Tables) -> None:
    times = [NOW_NS + number * HOUR_NS for number in range(3)]
    for revision, (up, known_ns) in enumerate(zip((1_000_000, 0, 1_000_000), times, strict=True), 1):
        tables.load("resolution", resolution_row(7, CONDITION, label(up, 1_000_000 - up), known_ns, None, revision))
    assert tables.query("SELECT payout_0, extract(epoch FROM known_at) FROM resolution") == [
        (1_000_000, times[2] // 10**9)
    ]
    earlier = tables.query(
        "SELECT payout_0, extract(epoch FROM known_at), extract(epoch FROM replaced_at)"
        "  FROM resolution_history ORDER BY known_at"
    )
    assert earlier == [
        (1_000_000, times[0] // 10**9, times[1] // 10**9), (0, times[1] // 10**9, times[2] // 10**9)
    ]  # fmt: skip


def test_payouts_that_are_no_share_are_quarantined(tables: Tables) -> None:
    label = Label((1_000_000, 1_000_000), ("clob",), None, None, {"clob": b"{}"})
    assert tables.load("resolution", resolution_row(7, CONDITION, label, NOW_NS, None, 1)).quarantined == 1
    assert tables.query("SELECT count(*) FROM resolution") == [(0,)]
