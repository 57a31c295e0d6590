"""Indicators, features and findings of stored bars and snapshots, one change at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from support.workers.bars import rows
from support.workers.values import expected, stored, unequal

from analysis import load, prediction_markets
from analysis.indicators import COLUMNS
from analysis.load.source import to_ns
from analysis.workers.bar_values import FEATURES, BarValues
from analysis.workers.snapshot_values import NAMES, SnapshotValues
from recorder.store.database import DERIVER, Connection, connect

DAY = datetime(2026, 3, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NUMBER = 7


class Stored:
    """A database with bars of one instrument, and a deriver of what follows from them."""

    def __init__(self, url: str, count: int = 1_500) -> None:
        self.url = url
        self.values = BarValues()
        self.connection: Connection = connect(url, application_name="deriver", role=DERIVER)
        self.sql("INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'test', 'X', %s)",
                 NUMBER, DAY - 5 * MINUTE)  # fmt: skip
        rng = np.random.default_rng(3)
        close = 100 * np.exp(np.cumsum(rng.normal(0, 5e-4, count)))
        close[1::7] = close[0::7][: len(close[1::7])]
        self.put(DAY, close, rng.uniform(1, 3, count))

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return rows(self.url, query, values or None)

    def put(self, start: datetime, close: Any, volume: Any) -> None:
        """Store bars of a minute, one after the other."""
        self.sql(
            "INSERT INTO bar SELECT %s, 60, %s + (n - 1) * interval '1 minute', c, c * 1.0004, c * 0.9996, c, v, c * v,"
            " c, 10, v / 2, v / 2, 1, false, true, 1, now(), 0 FROM unnest(%s, %s) WITH ORDINALITY AS x (c, v, n)",
            NUMBER, start, [float(x) for x in close], [float(x) for x in volume],
        )  # fmt: skip

    def derive(self) -> int:
        """Take every mark, and return of how many bars the values were computed."""
        before = self.values.rows
        while self.values.derive(self.connection, live=False):
            pass
        assert self.sql("SELECT count(*) FROM derived_dirty") == [(0,)]
        return self.values.rows - before

    def check(self) -> None:
        """Require what the batch functions make of all bars."""
        for table, columns, want in zip(
            ("indicator", "bar_feature"), (COLUMNS, FEATURES), expected(self.url), strict=True
        ):
            assert unequal(stored(self.url, table, columns), want, columns) == []

    def findings(self, at: datetime) -> dict[str, float]:
        return dict(self.sql("SELECT rule, value FROM bar_finding WHERE instrument_id = %s AND start = %s", NUMBER, at))


@pytest.fixture
def bars(database: str) -> Iterator[Stored]:
    found = Stored(database)
    yield found
    found.connection.close()


def test_values_bar_by_bar_are_those_of_the_batch_to_the_bit(bars: Stored) -> None:
    bars.derive()
    rng = np.random.default_rng(4)
    for minute in range(1_500, 1_530):
        bars.put(DAY + minute * MINUTE, [101 + rng.normal()], [2.0])
        assert bars.derive() == 1
    bars.check()
    ((known,),) = bars.sql("SELECT count(*) FROM indicator WHERE sma_200 IS NOT NULL AND obv IS NOT NULL")
    assert known > 1_300
    ((known,),) = bars.sql("SELECT count(*) FROM bar_feature WHERE kurt_240 IS NOT NULL AND tfi_1 IS NOT NULL")
    assert known > 1_250


def test_a_revised_bar_changes_its_block_and_the_next_and_none_before(bars: Stored) -> None:
    bars.derive()
    at = DAY + 700 * MINUTE
    bars.sql(
        "UPDATE bar SET close = close * 1.01, high = high * 1.02, revision = 2 WHERE start = %s",
        at,
    )
    ((before,),) = bars.sql("SELECT max(updated_at) FROM indicator")
    assert bars.derive() == 800
    ((first,),) = bars.sql("SELECT min(start) FROM indicator WHERE updated_at > %s", before)
    assert first == at
    assert bars.sql("SELECT bar_revision FROM indicator WHERE start = %s", at) == [(2,)]
    bars.check()


def test_the_values_of_a_bar_that_is_removed_are_removed(bars: Stored) -> None:
    bars.derive()
    bars.sql("DELETE FROM bar WHERE start = %s", DAY + 900 * MINUTE)
    bars.derive()
    for table in ("indicator", "bar_feature"):
        assert bars.sql(f"SELECT count(*) FROM {table} WHERE start = %s", DAY + 900 * MINUTE) == [(0,)]
    bars.check()


def test_values_after_a_gap_are_null_until_they_are_known_again(bars: Stored) -> None:
    bars.derive()
    at = DAY + 1_000 * MINUTE
    bars.sql("INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, ended_at, revision) "
             "VALUES (1, %s, 'trade', 'test', 'open', %s, %s, 1)", NUMBER, at, at + MINUTE / 2)  # fmt: skip
    bars.sql("UPDATE bar SET coverage = 0.5, in_gap = true, revision = 2 WHERE start = %s", at)
    bars.derive()
    query = "SELECT rsi_14 IS NULL, sma_20 IS NULL FROM indicator WHERE start = %s"
    assert bars.sql(query, at - MINUTE) == [(False, False)]
    assert bars.sql(query, at) == [(True, True)]
    assert bars.sql(query, at + 15 * MINUTE) == [(False, True)]
    assert bars.sql(query, at + 20 * MINUTE) == [(False, False)]
    bars.check()


def test_the_same_minute_of_earlier_days_is_compared_and_its_change_reaches_later_days(bars: Stored) -> None:
    for day in range(1, 13):
        bars.put(DAY + timedelta(days=day + 1), [100 + day], [1.0 + day % 3])
    bars.derive()
    last = DAY + timedelta(days=13)
    query = "SELECT vol_z_tod FROM bar_feature WHERE start = %s"
    ((before,),) = bars.sql(query, last)
    assert before is not None
    bars.sql("UPDATE bar SET volume = 9, revision = 2 WHERE start = %s", DAY + timedelta(days=2))
    bars.derive()
    assert bars.sql(query, last) != [(before,)]
    bars.check()


def test_a_second_deriver_leaves_the_marks_to_the_first(bars: Stored) -> None:
    bars.derive()
    bars.put(DAY + 1_500 * MINUTE, [100], [1])
    other = connect(bars.url, application_name="deriver", role=DERIVER)
    with other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE derived_list IN SHARE ROW EXCLUSIVE MODE")
        assert not bars.values.derive(bars.connection, live=False)
        cursor.execute("ROLLBACK")
    second = BarValues()
    assert second.derive(other, live=False)
    assert second.rows == 1
    assert bars.derive() == 0
    bars.put(DAY + 1_501 * MINUTE, [100.5], [1])
    bars.derive()
    bars.check()
    other.close()


def test_unusual_bars_are_found_and_kept_as_they_are(bars: Stored) -> None:
    at = DAY + 1_500 * MINUTE
    bars.put(at, [50.0], [500.0])
    bars.derive()
    ((close, before),) = bars.sql(
        "SELECT close, (SELECT close FROM bar WHERE start = %s) FROM bar WHERE start = %s", at - MINUTE, at
    )
    found = bars.findings(at)
    assert found.keys() == {"jump", "volume_spike"} | ({"split_like"} if abs(before / close / 2 - 1) <= 0.01 else set())
    assert found["volume_spike"] == pytest.approx(250, rel=0.2)
    assert close == 50.0
    assert bars.sql("SELECT bars, flagged, score FROM quality_hour WHERE hour = %s", at) == [(1, 1, 0.0)]
    ((ordinary,),) = bars.sql("SELECT count(*) FROM bar_finding WHERE start < %s", at)
    assert ordinary == 0


def test_every_rule_of_bars_finds_what_it_is_for(bars: Stored) -> None:
    at = DAY + 1_500 * MINUTE
    bars.put(at, [100.0] * 62, [1.0] * 62)
    bars.sql("UPDATE bar SET high = close, low = close WHERE start >= %s", at)
    split, wide = at + 62 * MINUTE, at + 63 * MINUTE
    bars.put(split, [25.0, 25.0], [1.0, 1.0])
    bars.sql("UPDATE bar SET high = 40 WHERE start = %s", wide)
    bars.sql("SELECT ensure_partition('quote', %s)", wide.date())
    bars.sql("INSERT INTO quote (instrument_id, ts_recv, session_id, frame_seq, bid, ask) "
             "VALUES (%s, %s, 1, 1, 26, 25)",
             NUMBER, wide + MINUTE / 2)  # fmt: skip
    bars.sql("INSERT INTO quote (instrument_id, ts_recv, session_id, frame_seq, bid, ask) "
             "VALUES (%s, %s, 1, 2, 20, 30)",
             NUMBER, split + MINUTE / 2)  # fmt: skip
    bars.derive()
    assert bars.findings(at + 59 * MINUTE) == {"stale": 60.0}
    assert bars.findings(at + 58 * MINUTE) == {}
    assert bars.findings(split).keys() == {"jump", "split_like", "spread"}
    assert bars.findings(split)["split_like"] == 0.0
    assert bars.findings(wide).keys() == {"range", "crossed"}


def test_absurd_prices_are_a_finding_and_stop_no_derivation(bars: Stored) -> None:
    """A statement that always fails would hold up the values of every instrument."""
    at = DAY + 1_500 * MINUTE
    bars.put(at, [1e300, 5e-324, 1e300], [1.0, 1.0, 1.0])
    bars.sql("UPDATE bar SET high = 1e300, low = 5e-324 WHERE start >= %s AND interval_s = 60", at)
    bars.derive()
    assert bars.findings(at)["range"] == 1e300
    assert bars.sql("SELECT count(*) FROM derived_dirty") == [(0,)]


def test_a_changed_threshold_is_used_when_a_range_is_checked_again(bars: Stored) -> None:
    at = DAY + 1_500 * MINUTE
    bars.put(at, [50.0], [2.0])
    bars.derive()
    assert "jump" in bars.findings(at)
    bars.sql("UPDATE quality_rule SET threshold = 1e9 WHERE subject = 'bar' AND rule = 'jump'")
    bars.sql("UPDATE quality_rule SET enabled = false WHERE subject = 'bar' AND rule = 'split_like'")
    assert bars.sql("SELECT recheck_quality(%s, %s)", DAY, at + MINUTE) == [(2,)]
    bars.derive()
    assert bars.findings(at) == {}


def put_market(url: str) -> None:
    rows(url, f"""
        INSERT INTO market (market_id, condition_id, tokens, outcomes, slug, question, category, tags, phase, neg_risk,
                            neg_risk_other, active, known_since, known_at, revision)
        VALUES (1, '0x{1:064x}', '{{100,101}}', '{{Up,Down}}', 'm', '?', 'crypto', '{{}}', 'open', false, false, true,
                now(), now(), 1);
        INSERT INTO market_snapshot (market_id, ts_recv, ts_event, instrument_id, tier, source, bid, bid_size, ask,
                                     ask_size, mid, spread, gamma_recv, gamma_price, volume, volume_24h)
        SELECT 1, t, t, 1, 'T2', 'rest', m - 0.01, 10, m + 0.01, 20, m, 0.02, t, m, 1000, 200
          FROM (SELECT timestamptz '2026-03-05' + n * interval '1 minute' AS t, 0.4 + n % 5 * 0.001 AS m
                  FROM generate_series(0, 89) AS n) AS one""")  # fmt: skip


def test_snapshots_get_the_features_of_the_batch_and_findings(database: str) -> None:
    put_market(database)
    rows(database, "UPDATE market_snapshot SET bid = 0.9, ask = 0.89, mid = 0.895 WHERE ts_recv = '2026-03-05 01:29Z'")
    connection = connect(database, application_name="deriver", role=DERIVER)
    snapshots = SnapshotValues(database, 2.0, wait_s=0.0)
    assert snapshots.derive(connection)
    connection.close()
    assert snapshots.rows == 90
    assert rows(database, "SELECT count(*) FROM snapshot_dirty") == [(0,)]
    tape = load.recorded_market(1, DAY, DAY + timedelta(hours=2), source=database)
    found = rows(database, f"SELECT ts_recv, {', '.join(NAMES)} FROM snapshot_feature ORDER BY ts_recv")
    assert len(found) == 90
    for at, *values in found:
        want = prediction_markets.compute(tape, to_ns(at))
        assert values == [x if isinstance(x, str) or np.isfinite(x) else None for x in want.values()]
    assert sum(value is not None for value in found[-1]) > 20
    marked = dict(rows(database, "SELECT rule, value FROM snapshot_finding WHERE ts_recv = '2026-03-05 01:29Z'"))
    assert marked.keys() == {"crossed", "jump", "range"}
    assert rows(database, "SELECT flagged, score FROM market_quality_hour ORDER BY hour") == [(0, 1.0), (1, 29 / 30)]


def test_a_gap_that_is_declared_later_derives_the_snapshots_after_it_again(database: str) -> None:
    put_market(database)
    connection = connect(database, application_name="deriver", role=DERIVER)
    assert SnapshotValues(database, 2.0, wait_s=0.0).derive(connection)
    rows(
        database,
        "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (5, 'polymarket', '100', now())",
    )
    rows(database, "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, revision) "
                   "VALUES (1, 5, 'book', 'test', 'open', '2026-03-05 01:00Z', 1)")  # fmt: skip
    again = SnapshotValues(database, 2.0, wait_s=0.0)
    assert again.derive(connection)
    connection.close()
    assert again.rows == 30


def test_a_market_that_cannot_be_computed_keeps_no_other_waiting(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_market(database)
    connection = connect(database, application_name="deriver", role=DERIVER)
    assert SnapshotValues(database, 2.0, wait_s=0.0).derive(connection)
    rows(database, "UPDATE market_snapshot SET bid_size = 11 WHERE ts_recv < '2026-03-05 00:10Z'")

    def odd(*_: object) -> None:
        raise ZeroDivisionError("an odd market")

    monkeypatch.setattr("analysis.workers.snapshot_values.prediction_markets.compute", odd)
    snapshots = SnapshotValues(database, 2.0, wait_s=0.0)
    assert snapshots.derive(connection)
    connection.close()
    assert snapshots.failed == snapshots.rows > 0
    assert rows(database, "SELECT count(*) FROM snapshot_dirty") == [(0,)]
    left = rows(database, "SELECT count(*) FROM snapshot_feature")
    assert left == [(90 - snapshots.failed,)], "values of before would look like those of now"
