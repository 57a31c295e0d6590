"""The heat map's states: by certificates and gaps, and the same whether a market is quiet or busy."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from msgspec.json import encode
from support.web.stored import StoredRows, hour_before

from recorder.web.queries import coverage
from recorder.web.queries.coverage import HOUR, Window

NOW = datetime.now(UTC)
START = hour_before(NOW, 7)


@pytest.fixture
def rows(database: str) -> Iterator[StoredRows]:
    stored = StoredRows(database)
    yield stored
    stored.close()


def shown(stored: StoredRows, **changes: Any) -> list[coverage.Row]:
    with stored.cursor() as cursor:
        return coverage.grid(cursor, Window("trade", START, 8)._replace(**changes))


def test_each_hour_has_the_state_that_gaps_and_certificates_give_it(rows: StoredRows) -> None:
    btc = rows.instrument("kraken", "BTC/USD", START + timedelta(minutes=70))
    for number in range(2, 6):
        rows.certificate(btc, "trade", START + number * HOUR, "claimed")
    at = START + 3 * HOUR
    rows.gap(btc, "trade", at + timedelta(minutes=5), at + timedelta(minutes=6), "healed")
    at += HOUR
    for minute in (10, 20):  # they overlap, and count once
        rows.gap(btc, "trade", at + timedelta(minutes=minute), at + timedelta(minutes=40), "unhealable")
    at += HOUR
    rows.gap(btc, "trade", at + timedelta(minutes=45))
    (row,) = shown(rows)
    assert row.cells == "nuchgooo"
    assert row.missing["4"] == pytest.approx(0.5, abs=0.001)
    assert row.missing["5"] == pytest.approx(0.25, abs=0.001)
    assert row.missing["6"] == pytest.approx(1, abs=0.001)
    assert coverage.counts([row]) == {"o": 3, "g": 1, "n": 1, "h": 1, "c": 1, "u": 1, "p": 0}


def test_an_hour_without_rows_is_complete_when_its_certificate_says_so(rows: StoredRows) -> None:
    quiet, busy = rows.instrument("kraken", "QUIET"), rows.instrument("kraken", "BUSY")
    for one in (quiet, busy):
        rows.certificate(one, "trade", START, "proved")
    for _ in range(5):
        rows.trade(busy, 1, at=START + timedelta(hours=2, minutes=1))
    assert [(row.symbol, row.cells) for row in shown(rows)] == [("BUSY", "cuuuuuuu"), ("QUIET", "cuuuuuuu")]


def test_the_newest_revision_counts_and_a_hole_without_a_gap_is_a_gap(rows: StoredRows) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    rows.certificate(btc, "trade", START, "holed", open_gaps=1)
    rows.gap(btc, "trade", START + timedelta(minutes=1), START + timedelta(minutes=2), "healed")
    rows.certificate(btc, "trade", START + HOUR, "proved")
    rows.certificate(btc, "trade", START + HOUR, "holed", revision=2)
    (row,) = shown(rows)
    assert row.cells == "hguuuuuu"
    assert row.missing == {}


def test_the_hour_in_which_recording_began_is_subscribed_in_part_and_no_gap(rows: StoredRows) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    began = "subscribed only since 55:09 of the hour"
    for number, reasons in enumerate(([began], [began, "REST had another book"])):
        rows.certificate(btc, "trade", START + number * HOUR, "holed", document=encode({"reasons": reasons}).decode())
    (row,) = shown(rows)
    assert row.cells == "pguuuuuu"
    early = rows.instrument("kraken", "NEW")
    rows.certificate(early, "trade", START, "holed", document=encode({"reasons": [began]}).decode())
    assert [one.symbol for one in shown(rows, trouble=True)] == ["BTC/USD"]


def test_a_stream_that_was_unsubscribed_is_not_missing_and_alone_not_listed(rows: StoredRows) -> None:
    btc, ended = rows.instrument("kraken", "BTC/USD"), rows.instrument("polymarket", "over")
    rows.certificate(btc, "trade", START, "claimed")
    for one in (btc, ended):
        rows.gap(one, "trade", START + HOUR, cause="unsubscribed")
    (row,) = shown(rows)
    assert row.cells == "cnnnnnnn"
    assert [one.cause for one in _gaps(rows, btc, START + HOUR)] == ["unsubscribed"]
    assert _gaps(rows, btc, START) == []


def test_channels_filters_and_pages(rows: StoredRows) -> None:
    for symbol in ("A", "B", "C"):
        one = rows.instrument("okx", symbol)
        rows.certificate(one, "quote", START, "claimed")
    rows.gap(one, "quote", START + HOUR, START + 2 * HOUR, "unhealable")
    rows.certificate(rows.instrument("kraken", "AB"), "quote", START, "claimed")
    assert shown(rows) == []
    assert [row.symbol for row in shown(rows, channel="quote", venue="okx")] == ["A", "B", "C"]
    assert [row.symbol for row in shown(rows, channel="quote", text="b")] == ["AB", "B"]
    assert [row.symbol for row in shown(rows, channel="quote", trouble=True)] == ["C"]
    first = shown(rows, channel="quote", rows=2)
    rest = shown(rows, channel="quote", rows=2, after=(first[-1].venue, first[-1].symbol))
    assert [row.symbol for row in [*first, *rest]] == ["AB", "A", "B", "C"]


def test_a_cell_names_its_gaps_and_certificates(rows: StoredRows) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    gap = rows.gap(btc, "trade", START + timedelta(minutes=5), START + timedelta(minutes=6), "unhealable", "sequence")
    rows.certificate(btc, "trade", START, "claimed")
    rows.certificate(btc, "trade", START, "holed", revision=2)
    (line,) = _gaps(rows, btc, START)
    assert (line.gap_id, line.cause, line.state) == (gap, "sequence", "unhealable")
    with rows.cursor() as cursor:
        assert [one.grade for one in coverage.certificates(cursor, btc, "trade", START)] == ["holed", "claimed"]


def test_a_week_of_two_hundred_instruments_is_answered_within_the_time_of_a_page(rows: StoredRows) -> None:
    start = hour_before(NOW, 167)
    with rows.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen)"
            " SELECT n, 'many', 'S' || n, '2020-01-01' FROM generate_series(1, 200) AS n"
        )
        cursor.execute(
            "INSERT INTO certificate SELECT i, 'trade', %s + h * interval '1 hour', 1, h + 1, 'proved', 'equal', 1,"
            " 0, now(), CASE WHEN h > 0 THEN repeat('0', 64) END, repeat('0', 64), '{}'"
            " FROM generate_series(1, 200) AS i, generate_series(0, 166) AS h",
            (start,),
        )
        cursor.execute(
            "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, ended_at, revision)"
            " SELECT 1000 * i + k, i, 'trade', 'disconnect', (ARRAY['healed', 'unhealable'])[1 + k %% 2],"
            " %s + k * interval '3 hours', %s + k * interval '3 hours' + interval '5 minutes', 1"
            " FROM generate_series(1, 200) AS i, generate_series(0, 49) AS k",
            (start, start),
        )
        cursor.execute("ANALYZE certificate, gap, instrument")
        began = time.process_time(), time.monotonic()
        found = coverage.grid(cursor, Window("trade", start, 168))
        took = time.process_time() - began[0], time.monotonic() - began[1]
    print(f"heat map of 200 x 168: {1000 * took[1]:.0f} ms, of these {1000 * took[0]:.0f} ms of our own CPU")
    assert [len(row.cells) for row in found] == [168] * 200
    assert coverage.counts(found) == {"o": 0, "g": 5000, "n": 0, "h": 5000, "c": 167 * 200 - 10_000, "u": 200, "p": 0}
    assert took[1] < 2


def _gaps(rows: StoredRows, instrument: int, hour: datetime) -> list[coverage.GapLine]:
    with rows.cursor() as cursor:
        return coverage.gaps(cursor, instrument, "trade", hour, hour + HOUR)


def test_times_are_read_in_utc(database: str) -> None:
    connection = psycopg2.connect(database, options="-c timezone=Asia/Kolkata")
    with connection.cursor() as cursor:
        assert coverage.grid(cursor, Window("trade", START, 8)) == []
    connection.close()
