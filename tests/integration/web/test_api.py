"""The API on a real Postgres: the rows of SQL, page by page, with how complete they are."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

import psycopg2
import pytest
from support.web.rows import BTC, HOSTILE, SESSION, TRADES, Market
from support.web.server import RunningWeb
from support.workers.bars import rows

from recorder.web.answers.ranges import Span
from recorder.web.queries import prediction_markets, resources
from recorder.web.queries.listing import Listing

KRAKEN = "kraken:BTC/USD"


def span(market: Market, **more: Any) -> str:
    """Return the query of the range that was written."""
    start, end = (at.isoformat().replace("+00:00", "Z") for at in (market.start, market.end))
    return urlencode({"instrument": KRAKEN, "start": start, "end": end, **more})


def revise(database: str, market: Market, close: float) -> None:
    """Change the first bar as the deriver does."""
    rows(
        database,
        "UPDATE bar SET revision = revision + 1, close = %s, updated_at = now() "
        "WHERE instrument_id = %s AND start = %s",
        (close, BTC, market.start),
    )


def pages(web: RunningWeb, path: str) -> Iterator[dict[str, Any]]:
    """Yield every page of a list, by the link of the one before."""
    while path:
        answer = web.get(path)
        assert answer.status == 200, answer.body
        yield answer.json
        link = answer.headers.get("link", "")
        path = link.partition(">")[0].removeprefix("<")


def test_trades_are_those_of_sql_in_order_and_none_is_twice_over_pages(public_web: RunningWeb, market: Market) -> None:
    found = [item for page in pages(public_web, f"/api/v1/trades?{span(market, limit=100)}") for item in page["items"]]
    ids = [item["trade_id"] for item in found]
    assert len(ids) == len(set(ids)) == TRADES
    assert ids == sorted(ids)
    assert ids[0] == "9007199254740993"  # a number would be rounded to ...992 in a browser
    assert found[0]["side"] == "sell"
    assert found[0]["ts_event"].endswith(":00.000000Z")


def test_quotes_are_those_of_sql_over_pages(public_web: RunningWeb, market: Market, web_database: str) -> None:
    found = [item for page in pages(public_web, f"/api/v1/quotes?{span(market, limit=7)}") for item in page["items"]]
    within = "instrument_id = %s AND ts_recv >= %s AND ts_recv < %s"
    ordered = f"SELECT bid, ask FROM quote WHERE {within} ORDER BY ts_recv, frame_seq, session_id"
    stored = rows(web_database, ordered, (BTC, market.start, market.end))
    assert [(item["bid"], item["ask"]) for item in found] == stored != []
    assert {item["session_id"] for item in found} == {str(SESSION)}


@pytest.mark.parametrize("listing", [*resources.LISTINGS, *prediction_markets.LISTINGS], ids=lambda one: one.name)
def test_every_list_is_one_statement_that_postgres_takes_from_any_place(listing: Listing, web_database: str) -> None:
    span = Span(datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC))
    examples = {"text": "a", "timestamptz": span.start, "boolean": True}
    after = [examples.get(column.kind, 1) for column in listing.key]
    with closing(psycopg2.connect(web_database)) as connection, connection.cursor() as cursor:
        orders: tuple[Literal["asc", "desc"], ...] = ("asc", "desc")
        for order in orders:
            bounded = span if listing.time or listing.overlap else None
            cursor.execute(*listing.statement(bounded, 1 if listing.instrument else None, {}, after, order, 2))
            assert len(cursor.fetchall()) <= 2


def test_an_answer_says_how_complete_its_range_is(public_web: RunningWeb, market: Market) -> None:
    answer = public_web.get(f"/api/v1/trades?{span(market, limit=10_000)}")
    quality = answer.json["quality"]
    assert quality["coverage"] == pytest.approx(115 / 120, abs=1e-4)
    assert (quality["gaps"], quality["open"], quality["healed"], quality["certified"]) == (1, 1, 0, False)
    assert answer.headers["tapedeck-quality"].startswith("coverage=0.958333; gaps=1; open=1")
    marked = [item for item in answer.json["items"] if item["in_gap"]]
    assert next(item["ts_event"][11:16] for item in marked) == market.gap_start.strftime("%H:%M")
    assert len(marked) == 31  # both edges are in


def test_a_range_with_gaps_is_refused_masked_or_ignored_as_asked(public_web: RunningWeb, market: Market) -> None:
    refused = public_web.get(f"/api/v1/bars?{span(market, on_gap='refuse')}")
    assert refused.status == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert len(refused.json["gaps"]) == 1
    masked = public_web.get(f"/api/v1/bars?{span(market)}").json["items"]
    ignored = public_web.get(f"/api/v1/bars?{span(market, on_gap='ignore')}").json["items"]
    assert [item["close"] for item in masked].count(None) == 5
    assert all(item["close"] == 101 for item in ignored)
    assert len(masked) == len(ignored) == 120
    assert all({"coverage", "trade_count", "revision"} <= item.keys() for item in ignored)


def test_a_changed_place_is_refused_and_one_of_another_question_too(public_web: RunningWeb, market: Market) -> None:
    path = f"/api/v1/trades?{span(market, limit=5)}"
    place = public_web.get(path).json["next"]
    assert public_web.get(f"{path}&after={place}").status == 200
    changed = place[:-3] + ("AAA" if place[-3:] != "AAA" else "BBB")
    for url in (f"{path}&after={changed}", f"{path}&after=x", f"/api/v1/quotes?{span(market)}&after={place}"):
        answer = public_web.get(url)
        assert (answer.status, answer.json["type"]) == (400, "/docs/problems#wrong-place")


def test_a_closed_range_is_kept_until_its_revision_changes(
    public_web: RunningWeb, market: Market, web_database: str
) -> None:
    path = f"/api/v1/bars?{span(market, limit=50)}"
    first = public_web.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"].startswith("private")
    assert public_web.get(path, If_None_Match=tag).status == 304
    assert "tapedeck_web_cache_hit_ratio 0." in public_web.get("/metrics").body.decode()
    revise(web_database, market, 102)
    again = public_web.get(path, If_None_Match=tag)
    assert (again.status, again.json["items"][0]["close"]) == (200, 102)
    revise(web_database, market, 101)
    assert public_web.get("/api/v1/bars?instrument=" + quote(KRAKEN)).headers["cache-control"] == "no-store"


def test_the_book_at_an_instant_is_made_again_from_its_messages(public_web: RunningWeb, market: Market) -> None:
    at = market.start.replace(second=30).isoformat().replace("+00:00", "Z")
    found = public_web.get(f"/api/v1/books/{quote(KRAKEN)}?at={at}").json
    assert found["bids"] == [[98.5, 3.0], [98.0, 2.0]]
    assert found["asks"] == [[101.0, 1.0], [102.0, 2.0]]
    assert (found["spread"], found["mid"]) == (2.5, 99.75)
    before = public_web.get(f"/api/v1/books/{BTC}?at=2020-01-01T00:00:00Z").json
    assert (before["known"], before["bids"]) == (False, [])


def test_a_symbol_of_several_venues_is_a_409_with_the_candidates(public_web: RunningWeb) -> None:
    answer = public_web.get("/bars/BTC/USD?timeframe=5m")
    assert answer.status == 409
    assert answer.json["candidates"] == ["coinbase:BTC/USD", KRAKEN]
    assert public_web.get("/bars/BTC/USD?timeframe=1m&venue=kraken").json["instrument"]["venue"] == "kraken"
    assert public_web.get("/bars/BTC-USD?venue=kraken").status == 200
    assert public_web.get("/bars/NO-SUCH").status == 404


def test_evidence_is_listed_with_ids_as_text(public_web: RunningWeb, market: Market) -> None:
    (gap,) = public_web.get("/api/v1/gaps?state=open").json["items"]
    assert (gap["gap_id"], gap["session_id"], gap["venue"]) == ("9007199254740995", str(SESSION), "kraken")
    (frame,) = public_web.get("/api/v1/quarantine?start=-3h").json["items"]
    assert HOSTILE in frame["reason"]
    names = [item["symbol"] for item in public_web.get("/api/v1/instruments?recorded=true").json["items"]]
    assert HOSTILE in names
    (connection,) = public_web.get("/api/v1/connections").json["items"]
    assert connection["session_id"] == str(SESSION)
    share = public_web.get("/api/v1/fields?table=trade&start=-3h").json["fields"]
    assert (share["price"], share["venue_trade_id"]) == (1, 0)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/trades", 422),
        ("/api/v1/trades?instrument=kraken:NO", 404),
        ("/api/v1/trades?instrument=99999999999999999999", 404),
        ("/api/v1/gaps?start=yesterday", 422),
        ("/api/v1/gaps?start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", 422),
        ("/api/v1/gaps?start=2020-01-01T00:00:00Z", 422),
        ("/api/v1/gaps?limit=0", 422),
        ("/api/v1/gaps?venue=%00", 422),
        ("/api/v1/nothing", 404),
    ],
)
def test_every_error_is_a_problem_document(path: str, status: int, public_web: RunningWeb) -> None:
    answer = public_web.get(path, X_Request_ID="mine-1")
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json["request_id"] == "mine-1"
    assert answer.json["detail"]
    assert answer.json["status"] == status


def test_status_lists_the_programs_and_needs_no_postgres(public_web: RunningWeb) -> None:
    answer = public_web.get("/api/v1/status")
    assert answer.status == 200
    assert answer.json["healthy"] is False  # no appliance runs in the home of the test
    assert public_web.get("/critical").json["type"] == "/docs/problems#watchdog-away"
