"""The DEBUG log of a connection that lives."""

import pytest
import structlog

from recorder.capture.counting import log_rows
from recorder.capture.liveness.health_log import HealthLog
from recorder.events import Book, Quote, Trade


def events(by_text: bool, *, pongs: int, last_frame_s: float, data: bool = False) -> list[dict[str, object]]:
    log = HealthLog("kraken", 1, by_text=by_text, heartbeat_failures=2)
    with structlog.testing.capture_logs() as found:
        log.pinged(10.0)
        log.passed(0.25, last_frame_s, pongs, data=data)
        log.passed(0.25, last_frame_s, pongs, data=data)
    return [dict(one) for one in found]


def test_a_check_that_passes_says_how_long_ago_the_last_message_was() -> None:
    first, second = events(False, pongs=0, last_frame_s=9.0)
    assert first == second
    assert (first["event"], first["log_level"]) == ("health.passed", "debug")
    assert (first["seconds_since_last_message"], first["heartbeat_failures"]) == (0.25, 2)
    assert events(False, pongs=0, last_frame_s=9.0, data=True)[0]["heartbeat_failures"] == 0


@pytest.mark.parametrize(
    ("by_text", "pongs", "last_frame_s", "answered"),
    [(False, 1, 10.02, True), (False, 0, 10.02, False), (True, 0, 10.02, True), (True, 0, 9.0, False)],
)
def test_a_ping_that_is_answered_is_logged_once(by_text: bool, pongs: int, last_frame_s: float, answered: bool) -> None:
    names = [one["event"] for one in events(by_text, pongs=pongs, last_frame_s=last_frame_s)]
    assert names.count("pong.received") == answered


def test_rows_are_logged_with_the_words_that_people_look_for_and_many_are_bounded() -> None:
    trade = Trade("BTC/USD", 7, 1, 2, 100.5, 0.25, "b", None)
    quote = Quote("BTC/USD", 1, 2, None, 100.0, 1.0, 101.0, 2.0)
    book = Book("BTC/USD", 1, 2, False, None, [(99.0, 1.0), (100.0, 0.0)], [])
    with structlog.testing.capture_logs() as found:
        log_rows("kraken", [trade] * 25, [quote], [book])
    by_event: dict[str, list[dict[str, object]]] = {}
    for one in found:
        by_event.setdefault(one["event"], []).append(dict(one))
    assert {name: len(lines) for name, lines in by_event.items()} == {
        "trade.recorded": 20, "quote.recorded": 1, "book.recorded": 1, "rows.recorded": 1,
    }  # fmt: skip
    first = by_event["trade.recorded"][0]
    assert (first["trade_id"], first["price"], first["quantity"], first["side"]) == ("7", 100.5, 0.25, "b")
    line = by_event["book.recorded"][0]
    assert (line["bid_price"], line["ask_price"], line["bids"]) == (99.0, None, 2), "a level of size 0 is removed"
    assert by_event["rows.recorded"][0]["left_out"] == 5
