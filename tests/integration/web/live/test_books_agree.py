"""One book: the API, the page and the stream say the same of the same messages, also while Postgres is behind."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from support.web.server import RunningWeb
from support.web.stored import StoredRows

from recorder.store.database import connect
from recorder.web.answers.encode import instant
from recorder.web.live.protocol import Topic
from recorder.web.live.reading import Reader
from recorder.web.market_data.books import Books
from recorder.web.market_data.rebuild import Rebuilt
from recorder.web.queries import books as stored

SNAPSHOT: tuple[list[list[float]], list[list[float]]] = ([[10.0, 1.0], [9.0, 2.0]], [[11.0, 1.0]])


def of_the_stream(reader: Reader, one: int) -> dict[str, Any]:
    (item,) = reader.snapshot([Topic("book", one)]).items.values()
    found: dict[str, Any] = json.loads(item)
    return found


def test_api_page_and_stream_have_the_same_book(live_web: RunningWeb, live_database: str, rows: StoredRows) -> None:
    one = rows.instrument("kraken", "AGREE/USD")
    reader = Reader(lambda: live_database, lambda: 0.0)
    api, page = f"/api/v1/books/{quote('kraken:AGREE/USD')}", f"/data/book/{quote('kraken:AGREE/USD')}"

    def all_three() -> tuple[Any, Any, Any]:
        book = live_web.get(page).json["book"]
        levels = [[level[:2] for level in book[side]] for side in ("bids", "asks")]
        item, answer = of_the_stream(reader, one), live_web.get(api).json
        return [answer["bids"], answer["asks"]], levels, [item["bids"], item["asks"]]

    rows.book(one, "s", *SNAPSHOT)
    rows.book(one, "d", [[10.0, 0.0], [9.5, 4.0]], [])
    expected = [[[9.5, 4.0], [9.0, 2.0]], [[11.0, 1.0]]]
    assert all_three() == (expected, expected, expected)
    began = datetime.now(UTC)
    rows.gap(one, "book", began)
    rows.book(one, "d", [[9.4, 1.0]], [])
    assert all_three() == ([[], []], [[], []], [[], []])
    answer = live_web.get(api).json
    assert (answer["known"], answer["unknown_since"]) == (False, instant(began))
    assert live_web.get(page).json["book"]["unknown_since"] == pytest.approx(began.timestamp())
    assert of_the_stream(reader, one)["unknown_since"] == instant(began)
    rows.book(one, "s", *SNAPSHOT, session=2)
    assert all_three() == ([*SNAPSHOT],) * 3
    reader.close()


def test_messages_that_are_loaded_long_after_they_were_received_are_applied(database: str) -> None:
    rows = StoredRows(database)
    one = rows.instrument("kraken", "LATE/USD")
    received = datetime.now(UTC) - timedelta(minutes=2)
    rows.book(one, "s", *SNAPSHOT, at=received)
    books, connection = Books(), connect(database, application_name="a-test")
    with connection.cursor() as cursor:
        first = books.now(cursor, one).levels
        assert first is not None
        assert first.bids[0] == (10.0, 1.0)
        rows.book(one, "d", [[10.0, 0.0]], [], at=received + timedelta(seconds=20))  # the writer was behind until now
        second = books.now(cursor, one).levels
        assert second is not None
        assert second.bids == [(9.0, 2.0)]
    connection.close()
    rows.close()


def test_a_book_that_is_still_read_is_not_shown_as_that_of_now(database: str) -> None:
    rows = StoredRows(database)
    one = rows.instrument("kraken", "MANY/USD")
    rows.book(one, "s", *SNAPSHOT)
    for number in range(5):
        rows.book(one, "d", [[9.5, 1.0 + number]], [])
    rebuilt, connection, until = Rebuilt(), connect(database, application_name="a-test"), datetime.now(UTC)
    with connection.cursor() as cursor:
        place = stored.begin(cursor, one, until)
        assert place is not None
        place, complete = stored.read(cursor, one, rebuilt, place, until, most=3)
        assert not complete
        place, complete = stored.read(cursor, one, rebuilt, place, until, most=3)
        assert complete
        levels = rebuilt.at(until, 2)
        assert levels is not None
        assert levels.bids == [(10.0, 1.0), (9.5, 5.0)]
    connection.close()
    rows.close()
