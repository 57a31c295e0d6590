"""Past trades: each is stored in trade once, whatever came by the feed, and one that is refused is declared."""

import time
from collections.abc import Iterator
from datetime import date, timedelta

import psycopg2
import pytest
from support.batches import IDS, HandPart, batch, trade, trade_part

from recorder.events import Trade
from recorder.pgcopy.encode import COLUMNS
from recorder.pgcopy.polled import encode_rows
from recorder.store.batch import Counts, Group
from recorder.store.database import Cursor
from recorder.store.loader import Store
from recorder.store.staging.merge import merge
from recorder.verify.check import verify

US, SECOND = 1_000, 1_000_000_000


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def past_part(*trades: Trade) -> HandPart:
    rows = [
        (IDS[one.symbol], one.trade_id, one.ts_event_ns, one.ts_recv_ns, one.price, one.size, one.aggressor, None)
        for one in trades
    ]
    days = tuple(sorted({one.ts_event_ns // (86_400 * SECOND) for one in trades}))
    return HandPart("past_trade", COLUMNS["past_trade"], len(rows), encode_rows("past_trade", rows), days)


def query(url: str, text: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()
    finally:
        connection.close()


def day_name(day: int) -> str:
    return f"{date(1970, 1, 1) + timedelta(days=day):%Y%m%d}"


def later(number: int, ns: int) -> Trade:
    one = trade(number)
    return trade(number, ts_event_ns=one.ts_event_ns + ns)


def test_what_the_feed_brought_is_a_duplicate_also_with_another_time(store: Store, database: str) -> None:
    feed = trade_part([trade(1), trade(2), trade(5)])
    history = past_part(trade(2), later(5, 3 * US), trade(3), trade(4))
    loaded = store.load(batch(None, [feed], [history]))
    assert loaded.tables["past_trade"] == Counts(1, 4, 2, 2)
    again = store.load(batch(loaded.end, [past_part(later(3, US), trade(4))]))
    assert again.tables["past_trade"] == Counts(1, 2, 0, 2)
    assert query(database, "SELECT count(*), count(DISTINCT trade_id) FROM trade") == [(5, 5)]
    assert query(database, "SELECT trade_id FROM past_trade ORDER BY 1") == [(3,), (4,)]
    connection = psycopg2.connect(database)
    try:
        report = verify(connection)
    finally:
        connection.close()
    assert report.ok, report.problems


@pytest.mark.parametrize("restarted", [False, True])
def test_a_filled_trade_that_the_feed_sends_again_with_another_time_is_a_duplicate(
    store: Store, database: str, restarted: bool
) -> None:
    now = trade(3, ts_recv_ns=time.time_ns())
    loaded = store.load(batch(None, [trade_part([trade(1)])], [past_part(now)]))
    other = Store(database) if restarted else store
    again = other.load(batch(loaded.end, [trade_part([later(3, US), trade(4)])]))
    assert again.tables["trade"] == Counts(1, 2, 1, 1)
    assert query(database, "SELECT trade_id FROM trade ORDER BY 1") == [(1,), (3,), (4,)]
    if restarted:
        other.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_trade_that_the_feed_sends_again_hours_after_it_was_filled_is_a_duplicate(
    store: Store, database: str, restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = trade(3, ts_recv_ns=time.time_ns() - 7 * 3600 * SECOND)
    loaded = store.load(batch(None, [trade_part([trade(1)])], [past_part(filled)]))
    begun_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: begun_s + 7 * 3600)
    other = Store(database) if restarted else store
    again = other.load(batch(loaded.end, [trade_part([later(3, US), later(4, 8 * 3600 * SECOND)])]))
    assert again.tables["trade"] == Counts(1, 2, 1, 1)
    assert query(database, "SELECT trade_id FROM trade ORDER BY 1") == [(1,), (3,), (4,)]
    if restarted:
        other.close()


def test_trades_later_than_all_history_are_copied_without_a_look_up(
    store: Store, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = store.load(batch(None, [past_part(trade(1), trade(2))]))
    merged: list[str] = []

    def noted(cursor: Cursor, group: Group) -> int:
        merged.append(group.table)
        return merge(cursor, group)

    monkeypatch.setattr("recorder.store.loader.merge", noted)
    live = store.load(batch(loaded.end, [trade_part([later(5, 60 * SECOND)])]))
    assert merged == []
    store.load(batch(live.end, [trade_part([later(6, -1)])]))
    assert merged == ["trade"]


def test_past_trades_of_a_year_ago_are_stored_in_partitions_of_their_days(store: Store, database: str) -> None:
    old = [later(number, -365 * 86_400 * SECOND) for number in (1, 2)]
    day = old[0].ts_event_ns // (86_400 * SECOND)
    store.load(batch(None, [past_part(*old)]))
    assert query(database, f"SELECT count(*) FROM partition.trade_{day_name(day)}") == [(2,)]


def test_an_id_that_comes_again_much_later_is_another_trade(store: Store, database: str) -> None:
    store.load(batch(None, [trade_part([trade(1)])], [past_part(later(1, 3600 * SECOND))]))
    assert query(database, "SELECT count(*) FROM trade") == [(2,)]


def test_a_past_trade_that_is_refused_is_declared_again(store: Store, database: str) -> None:
    loaded = store.load(batch(None, [past_part(trade(1), trade(2, size=-1.0), trade(4))]))
    assert loaded.tables["past_trade"] == Counts(1, 3, 2, 0, 1)
    assert query(database, "SELECT count(*) FROM trade") == [(2,)]
    assert query(database, "SELECT channel, state, cause, last_id, first_id FROM gap") == [
        ("trade", "open", "row_refused", 1, 3)
    ]
    assert query(database, "SELECT table_name FROM quarantine") == [("past_trade",)]
