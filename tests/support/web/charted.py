"""Rows of what the pages of charts, books, markets, spreads and models show, written by SQL; they end now."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2
from psycopg2.extras import execute_values

from recorder.identity import instrument_id
from support.web.rows import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Page

TAPE, OTHER = instrument_id("kraken", "TAPE/USD"), instrument_id("coinbase", "TAPE-USD")
THIN = instrument_id("kraken", HOSTILE)
TOKENS = ("7" * 76, "8" * 76)
BARS = 3_000
HOLE = range(2_800, 2_830)  # minutes without bars, in a gap
QUIET = range(2_900, 2_904)  # minutes without bars and without a gap
PARTIAL = 2_830  # the minute after the hole: half of it is in the gap
QUESTION = f"Will it close above 100? {HOSTILE}"
CONDITION = "0x" + "ab" * 32
SESSION = 4_611_686_018_427_387_001

# The tables of the deriver's indicators, where this version has none yet.
_INDICATOR = """
CREATE TABLE IF NOT EXISTS indicator (
    instrument_id bigint, interval_s integer, start timestamptz, bar_revision integer, version text,
    updated_at timestamptz, {columns}, PRIMARY KEY (instrument_id, interval_s, start));
GRANT SELECT ON indicator TO tapedeck_reader"""
_BARS = """
INSERT INTO bar (instrument_id, interval_s, start, open, high, low, close, volume, notional, vwap, trade_count,
                 buy_volume, sell_volume, coverage, in_gap, complete, revision, updated_at)
SELECT %(id)s, 60, %(first)s + n * interval '1 minute', p, p + 3, p - 2, p + sin(n * 0.7), v, v * p, p, 10, v / 2,
       v / 2, CASE WHEN n = %(partial)s THEN 0.5 ELSE 1 END, n = %(partial)s, n < %(bars)s - 1, 1,
       now() - interval '1 hour'
  FROM generate_series(0, %(bars)s - 1) AS n,
       LATERAL (SELECT 1000 + 20 * sin(n / 40.0) + 5 * sin(n / 7.0) AS p, 3 + 2 * sin(n / 5.0) AS v) AS x
 WHERE n NOT BETWEEN %(hole)s AND %(partial)s - 1 AND n NOT BETWEEN %(quiet)s AND %(quiet_end)s"""
_ROLL = """
INSERT INTO bar (instrument_id, interval_s, start, open, high, low, close, volume, notional, vwap, trade_count,
                 buy_volume, sell_volume, coverage, in_gap, complete, revision, updated_at)
SELECT instrument_id, %(width)s, date_bin(%(width)s * interval '1 second', start, 'epoch') AS s,
       (array_agg(open ORDER BY start))[1], max(high), min(low), (array_agg(close ORDER BY start DESC))[1], sum(volume),
       sum(notional), sum(notional) / sum(volume), sum(trade_count), sum(buy_volume), sum(sell_volume), 1, false,
       bool_and(complete), 1, now() - interval '1 hour'
  FROM bar WHERE instrument_id = %(id)s AND interval_s = 60 GROUP BY instrument_id, s"""
_VALUES = """
INSERT INTO indicator (instrument_id, interval_s, start, bar_revision, version, updated_at, sma_20, rsi_14, macd,
                       macd_signal, macd_hist)
SELECT instrument_id, interval_s, start, 1, 'test', now() - interval '1 hour',
       CASE WHEN n > 19 THEN avg(close) OVER (PARTITION BY interval_s, part ORDER BY start ROWS 19 PRECEDING) END,
       CASE WHEN n > 14 THEN 50 + 30 * sin(n / 9.0) END, sin(n / 11.0), sin(n / 13.0), sin(n / 11.0) - sin(n / 13.0)
  FROM (SELECT *, row_number() OVER (PARTITION BY interval_s, part ORDER BY start) AS n
          FROM (SELECT *, start >= %(after)s AS part FROM bar
                 WHERE instrument_id = %(id)s AND complete) AS halves) AS b"""
_MARKET = """
INSERT INTO market (market_id, condition_id, tokens, outcomes, slug, question, category, tags, phase, neg_risk,
                    neg_risk_other, active, end_at, volume, volume_24h, liquidity, known_since, known_at, revision)
VALUES (%s, %s, %s, %s, %s, %s, 'crypto', '{bitcoin,daily}', %s, false, false, true, %s, 5000, 1200, 900, now(), now(),
        1)"""


def figures(page: "Page") -> Any:
    """Return what a page with a chart says of it."""
    return json.loads(page.evaluate("JSON.stringify(tapedeck.chart)"))


class Charted(NamedTuple):
    """What was written."""

    first: datetime  # start of the first bar, a full minute
    now: datetime  # start of the forming bar
    book_gap: datetime  # begin of the gap of the book

    def minute(self, number: int) -> int:
        """Return the start of a bar of one minute, seconds since 1970."""
        return int(self.first.timestamp()) + 60 * number


def fill(url: str) -> Charted:
    """Write the rows into a migrated database."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    first = now - timedelta(minutes=BARS - 1)
    connection = psycopg2.connect(url, options="-c timezone=UTC")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for table in ("trade", "quote", "book", "market_snapshot"):
            for day in {(now - timedelta(hours=hours)).date() for hours in range(25)}:
                cursor.execute("SELECT ensure_partition(%s, %s)", (table, day))
        _instruments(cursor, first)
        _bars(cursor, first)
        book_gap = _book(cursor, now)
        _markets(cursor, now)
        _models(cursor, now)
    connection.close()
    touch(url)
    return Charted(first, now, book_gap)


def touch(url: str, seconds: float = 0.0) -> None:
    """Say that all is loaded up to now, less some seconds, and that the newest quotes are of then."""
    connection = psycopg2.connect(url, options="-c timezone=UTC")
    connection.autocommit = True
    with connection.cursor() as cursor:
        age = timedelta(seconds=seconds)
        cursor.execute("UPDATE journal SET written_at = clock_timestamp() - %s", (age,))
        for number, bid, ask in ((TAPE, 999.9, 1000.1), (OTHER, 1004.0, 1004.5)):
            cursor.execute("SELECT coalesce(max(frame_seq), 0) + 1 FROM quote WHERE instrument_id = %s", (number,))
            values = (number, age, SESSION, *(cursor.fetchone() or (1,)), bid, 2.0, ask, 3.0)
            cursor.execute(
                "INSERT INTO quote (instrument_id, ts_recv, session_id, frame_seq, bid, bid_size, ask, ask_size) "
                "VALUES (%s, clock_timestamp() - %s, %s, %s, %s, %s, %s, %s)",
                values,
            )
    connection.close()


def _instruments(cursor: Any, first: datetime) -> None:
    listed = [
        (TAPE, "kraken", "TAPE/USD", "TAPE", "USD", "spot", 0.1, first, "TAPE-USD"),
        (OTHER, "coinbase", "TAPE-USD", "TAPE", "USD", "spot", 0.01, first, "TAPE-USD"),
        (THIN, "kraken", HOSTILE, "X", "USD", "spot", None, first, None),
        *(
            (instrument_id("polymarket", token), "polymarket", token, f"close-above:{side}", "USDC", "outcome", 0.01,
             first, None)
            for token, side in zip(TOKENS, ("Up", "Down"), strict=True)
        ),
    ]  # fmt: skip
    execute_values(
        cursor,
        "INSERT INTO instrument (instrument_id, venue, symbol, base, quote, kind, tick_size, first_seen, canonical) "
        "VALUES %s",
        listed,
    )
    cursor.execute(
        "INSERT INTO session (session_id, venue, recorder, link, url, started_at, frames, bytes, trades, quotes, "
        "books, quarantined, revision) "
        "VALUES (%s, 'kraken', 'recorder-kraken', 0, 'wss://example.org', %s, 1, 1, 1, 1, 1, 0, 1)",
        (SESSION, first),
    )
    cursor.execute(
        "INSERT INTO journal (journal_id, recorder, segment, position, block_seq) "
        "VALUES ('j', 'recorder-kraken', 0, 0, 0)"
    )


def _bars(cursor: Any, first: datetime) -> None:
    from recorder.web.market_data.bars import INDICATORS

    cursor.execute(_INDICATOR.format(columns=", ".join(f"{name} double precision" for name in INDICATORS)))
    values = {
        "id": TAPE, "first": first, "bars": BARS, "partial": PARTIAL, "hole": HOLE.start, "quiet": QUIET.start,
        "quiet_end": QUIET.stop - 1, "after": first + timedelta(minutes=PARTIAL),
    }  # fmt: skip
    cursor.execute(_BARS, values)
    for width in (300, 900, 3_600, 14_400, 86_400):
        cursor.execute(_ROLL, {**values, "width": width})
    cursor.execute(_VALUES, values)
    gap = first + timedelta(minutes=HOLE.start), first + timedelta(minutes=PARTIAL, seconds=30)
    cursor.execute(
        "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, ended_at, last_ts_event, "
        "first_ts_event, revision) VALUES (1, %s, 'trade', 'disconnect', 'open', %s, %s, %s, %s, 1)",
        (TAPE, *gap, *gap),
    )


def _book(cursor: Any, now: datetime) -> datetime:
    """Write a snapshot, a change, a gap, and 20 minutes later another snapshot with a change."""

    def at(minutes: float) -> datetime:
        return now - timedelta(minutes=minutes)

    bids, asks = [[999.9, 2.0], [999.8, 3.0], [999.0, 5.0]], [[1000.1, 1.0], [1000.2, 4.0], [1001.5, 6.0]]
    messages = [
        (at(60), 1, "s", bids, asks),
        (at(50), 2, "d", [[999.9, 0.0], [999.7, 1.5]], [[1000.2, 2.5]]),
        (at(20), 3, "s", bids, asks),
        (at(2), 4, "d", [[999.8, 1.0]], [[1000.1, 0.0], [1000.3, 0.5]]),
    ]
    execute_values(
        cursor,
        "INSERT INTO book (instrument_id, ts_recv, session_id, frame_seq, kind, bids, asks) VALUES %s",
        [(TAPE, moment, SESSION, number, kind, b, a) for moment, number, kind, b, a in messages],
        template="(%s, %s, %s, %s, %s, %s::float8[], %s::float8[])",
    )
    cursor.execute(
        "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, ended_at, revision) "
        "VALUES (2, %s, 'book', 'disconnect', 'unhealable', %s, %s, 1)",
        (TAPE, at(40), at(20)),
    )
    execute_values(
        cursor,
        "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor) VALUES %s",
        [(TAPE, n, at(60 - n), at(60 - n), 1000 + n % 5 / 10, 0.25, "b" if n % 2 else "s") for n in range(40)],
    )
    return at(40)


def _markets(cursor: Any, now: datetime) -> None:
    cursor.execute(
        _MARKET,
        (11, CONDITION, list(TOKENS), ["Up", "Down"], "close-above", QUESTION, "open", now + timedelta(hours=2)),
    )
    cursor.execute(
        _MARKET,
        (
            12,
            "0x" + "cd" * 32,
            [],
            ["Harbour", "Valley"],
            "rain",
            "Rain on Sunday?",
            "resolved",
            now - timedelta(hours=5),
        ),
    )
    cursor.execute(
        "INSERT INTO resolution (market_id, condition_id, payout_0, payout_1, sources, known_at, raw, revision) "
        "VALUES (12, %s, 0, 1000000, '{gamma,clob}', now(), '{}', 1)",
        ("0x" + "cd" * 32,),
    )
    rows = []
    for n in range(120):
        moment, mid = now - timedelta(minutes=120 - n), round(0.5 + 0.002 * n, 4)
        empty = n == 119  # the last book has no bid
        bid, ask = (None if empty else round(mid - 0.01, 4)), round(mid + 0.01, 4)
        rows.append((11, moment, moment, instrument_id("polymarket", TOKENS[0]), "T2", "rest", bid,
                     None if empty else 100.0, ask, 50.0, None if empty else 0.02, None if empty else mid, 700.0,
                     500.0, mid))  # fmt: skip
    execute_values(
        cursor,
        "INSERT INTO market_snapshot (market_id, ts_recv, ts_event, instrument_id, tier, source, bid, bid_size, ask, "
        "ask_size, spread, mid, bid_depth_5c, ask_depth_5c, last_trade_price) VALUES %s",
        rows,
    )
    execute_values(
        cursor,
        "INSERT INTO whale_event (transaction_hash, wallet, ts_event, ts_recv, instrument_id, condition_id, outcome, "
        "outcome_index, side, shares, cash, tokens, revision) VALUES %s",
        [
            (f"0x{n:064x}", "0x" + "ef" * 20, now - timedelta(minutes=n), now, instrument_id("polymarket", TOKENS[0]),
             CONDITION, "Up", 0, "b" if n % 2 else "s", 2.0 * cash, cash, 1, 1)
            for n, cash in enumerate((700.0, 1500.0, 20_000.0))
        ],
    )  # fmt: skip


def _models(cursor: Any, now: datetime) -> None:
    metadata = json.dumps({"n_trials": 12, "markets": 40, "base_rate": 0.41, "horizons": ["1h"], "note": HOSTILE})
    cursor.execute(
        "INSERT INTO model (name, version, created_at, dataset, baseline, features, sources, first_decision_at, "
        "last_label_at, row_count, seed, code, trees, shrinkage, metadata) "
        "VALUES ('rain-1h', '20260101-abc', %s, 'recorded', 'mid', '{}', '{}', %s, %s, 1200, 7, '0.1', 40, 0.5, %s)",
        (now, now, now, metadata),
    )
    execute_values(
        cursor,
        "INSERT INTO prediction (model_name, model_version, subject, decided_at, probability, baseline) VALUES %s",
        [
            ("rain-1h", "20260101-abc", "rain", now - timedelta(hours=6), 0.2, 0.4),
            ("rain-1h", "20260101-abc", "close-above", now, 0.7, 0.6),
        ],
    )
