"""What is not loaded yet is never silently left out: it lowers the coverage, is refused, and is not kept."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from support.web.rows import BTC, Market
from support.web.server import RunningWeb
from support.web.stored import StoredRows
from support.workers.bars import rows

from recorder.web.answers.encode import instant
from recorder.web.queries.loaded import loaded_until

KRAKEN = "kraken:BTC/USD"
Load = Callable[[datetime], object]

_JOURNAL = """
INSERT INTO journal (journal_id, recorder, segment, position, block_seq, written_at) VALUES (%s, %s, 1, 0, 1, %s)
    ON CONFLICT (journal_id) DO UPDATE SET written_at = excluded.written_at"""
_SESSION = """
INSERT INTO session (session_id, venue, recorder, link, url, started_at, ended_at, frames, bytes, trades, quotes,
                     books, quarantined, revision)
VALUES (%s, 'kraken', %s, 0, 'wss://example.org', now() - interval '2 days', %s, 1, 1, 1, 1, 1, 0, 1)"""


@pytest.fixture
def load(web_database: str, market: Market) -> Iterator[Load]:
    """Set until when the journal of the venue is loaded."""
    yield lambda until: rows(web_database, _JOURNAL, ("f" * 32, "recorder-kraken", until))
    rows(web_database, "DELETE FROM journal WHERE recorder = 'recorder-kraken'")


def end_of(market: Market) -> datetime:
    """Return an end that was at least a minute ago."""
    return market.end - timedelta(minutes=1)


def asked(market: Market, **more: Any) -> str:
    """Return the query of 50 minutes, which no gap touches."""
    start, end = instant(end_of(market) - timedelta(minutes=50)), instant(end_of(market))
    return urlencode({"instrument": KRAKEN, "start": start, "end": end, **more})


def test_what_is_behind_the_loaded_time_is_not_covered_nor_kept(
    public_web: RunningWeb, market: Market, load: Load
) -> None:
    path = f"/api/v1/trades?{asked(market)}"
    load(end_of(market) + timedelta(seconds=10))
    whole = public_web.get(path)
    assert whole.json["quality"]["not_loaded"] is None
    assert (whole.json["quality"]["coverage"], "etag" in whole.headers) == (1, True)
    load(end_of(market) - timedelta(minutes=5))
    behind = public_web.get(path, If_None_Match=whole.headers["etag"])
    since = end_of(market) - timedelta(minutes=5, seconds=5)  # a trade may come some seconds after the time it bears
    assert behind.status == 200
    assert "etag" not in behind.headers
    quality = behind.json["quality"]
    assert quality["coverage"] == pytest.approx(1 - 305 / 3000, abs=1e-6)
    assert quality["not_loaded"] == {"start": instant(since), "end": instant(end_of(market))}
    assert f"not-loaded-since={instant(since)}" in behind.headers["tapedeck-quality"]
    load(end_of(market) - timedelta(minutes=4))
    assert public_web.get(path).json["quality"]["revision"] != quality["revision"]
    load(end_of(market) + timedelta(seconds=4))  # a row may still be on its way
    assert "etag" not in public_web.get(path).headers


def test_an_export_and_a_list_that_refuse_gaps_refuse_what_is_not_loaded(
    web: RunningWeb, tokens: dict[str, str], market: Market, load: Load
) -> None:
    load(end_of(market) - timedelta(minutes=5))
    for path in ("export/trades", "export/bars", "export/quotes", "trades", "bars", "features"):
        answer = web.get(f"/api/v1/{path}?{asked(market, on_gap='refuse')}", tokens["analyst"])
        assert answer.status == 409, path
        since = instant(end_of(market) - timedelta(minutes=5, seconds=0 if path.endswith("quotes") else 5))
        assert (answer.json["type"], answer.json["known_until"]) == ("/docs/problems#not-loaded", since)
        assert f"rows are known until {since} only; end the range there" in answer.json["detail"]
        known = {"start": instant(end_of(market) - timedelta(minutes=50)), "end": since, "on_gap": "refuse"}
        until_then = web.get(f"/api/v1/{path}?{urlencode({'instrument': KRAKEN, **known})}", tokens["analyst"])
        assert until_then.status == 200, f"{path}: a range that ends where the known rows end is answered"
        assert [one["reason"] for one in answer.json["gaps"]] == ["not loaded yet"]
    to_now = urlencode({"instrument": KRAKEN, "start": instant(market.start + timedelta(minutes=70))})
    assert web.get(f"/api/v1/features?{to_now}", tokens["analyst"]).status == 409
    load(datetime.now(UTC))
    assert web.get(f"/api/v1/features?{to_now}", tokens["analyst"]).status == 200


def test_a_gap_of_the_last_seconds_is_refused_although_they_are_not_loaded_either(
    public_web: RunningWeb, web_database: str, market: Market, load: Load
) -> None:
    load(datetime.now(UTC))
    query = urlencode({"instrument": KRAKEN, "start": "-30s", "on_gap": "refuse"})
    assert public_web.get(f"/api/v1/quotes?{query}").status == 200
    rows(
        web_database,
        "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, revision)"
        " VALUES (77, %s, 'quote', 'disconnect', 'open', clock_timestamp(), 1)",
        (BTC,),
    )
    refused = public_web.get(f"/api/v1/quotes?{query}")
    rows(web_database, "DELETE FROM gap WHERE gap_id = 77")
    assert (refused.status, refused.json["type"]) == (409, "/docs/problems#gaps")
    ahead = instant(datetime.now(UTC) + timedelta(minutes=5))
    query = urlencode({"instrument": KRAKEN, "start": "-30s", "end": ahead, "on_gap": "refuse"})
    future = public_web.get(f"/api/v1/quotes?{query}")
    assert (future.status, future.json["type"]) == (409, "/docs/problems#not-loaded")


def test_an_answer_is_not_kept_while_bars_wait_to_be_derived(
    public_web: RunningWeb, market: Market, web_database: str
) -> None:
    path = f"/api/v1/trades?{asked(market)}"
    before = public_web.get(path)
    assert "etag" in before.headers
    late = market.end - timedelta(minutes=20)
    rows(
        web_database,
        "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size) VALUES (%s, 7, %s, %s, 1, 1)",
        (BTC, late, late),
    )
    after = public_web.get(path, If_None_Match=before.headers["etag"])
    rows(web_database, "DELETE FROM trade WHERE instrument_id = %s AND trade_id = 7", (BTC,))
    rows(web_database, "DELETE FROM bar_dirty")
    assert after.status == 200
    assert len(after.json["items"]) == len(before.json["items"]) + 1
    assert "etag" not in after.headers
    assert after.json["quality"]["revision"] != before.json["quality"]["revision"]


def test_a_bar_that_reaches_beyond_its_range_is_kept_only_when_it_is_complete(
    public_web: RunningWeb, market: Market, web_database: str
) -> None:
    rows(
        web_database,
        "INSERT INTO bar (instrument_id, interval_s, start, open, high, low, close, volume, notional, vwap,"
        " trade_count, buy_volume, sell_volume, coverage, in_gap, complete, revision, updated_at)"
        " VALUES (%s, 86400, date_trunc('day', %s::timestamptz, 'UTC'), 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, false, false,"
        " 1, now())",
        (BTC, market.end - timedelta(minutes=1)),
    )
    day = (market.end - timedelta(minutes=1)).replace(hour=0, minute=0)
    query = urlencode({"instrument": KRAKEN, "start": instant(day), "end": instant(market.end), "width": "1d"})
    found = public_web.get(f"/api/v1/bars?{query}")
    rows(web_database, "DELETE FROM bar WHERE interval_s = 86400")
    assert len(found.json["items"]) == 1
    assert "etag" not in found.headers


def test_the_process_that_is_loaded_least_decides_unless_it_has_ended(database: str) -> None:
    stored = StoredRows(database)
    now = datetime.now(UTC)
    journals = {"recorder-kraken-00": 3, "recorder-kraken-01": 60, "recorder-kraken-02": 900, "recorder-okx": 1}
    with stored.cursor() as cursor:
        assert now <= loaded_until(cursor, "kraken", timedelta(seconds=5))  # without a journal the clock decides
        for number, (name, age_s) in enumerate(journals.items(), 1):
            cursor.execute(_JOURNAL, (f"{number:032x}", name, now - timedelta(seconds=age_s)))
            ended = now - timedelta(seconds=900) if name.endswith("02") else None
            cursor.execute(_SESSION, (number, name, ended))
        assert loaded_until(cursor, "kraken", timedelta()) == now - timedelta(seconds=60)
        assert loaded_until(cursor, "kraken", timedelta(seconds=5)) == now - timedelta(seconds=65)
        cursor.execute(_JOURNAL, ("a" * 32, "recorder-kraken-01-b", now - timedelta(seconds=2)))  # its other slot
        assert loaded_until(cursor, "kraken", timedelta()) == now - timedelta(seconds=3)
    stored.close()
