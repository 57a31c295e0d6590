"""Trading hours: holidays, half days, daylight saving, breaks, and the next open and close."""

from datetime import UTC, date, datetime, timedelta

import pytest

from recorder.errors import ConfigError
from recorder.exchanges.table import ALWAYS, exchange, exchanges, hours_of, parse, text_of


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("name", "instant", "opened"),
    [
        ("XNYS", "2026-03-06T14:29", False),  # Friday before the clock change: opens at 14:30 UTC
        ("XNYS", "2026-03-06T14:30", True),
        ("XNYS", "2026-03-09T13:29", False),  # Monday after it: 13:30 UTC
        ("XNYS", "2026-03-09T13:30", True),
        ("XNYS", "2026-03-09T19:59", True),
        ("XNYS", "2026-03-09T20:00", False),
        ("XNYS", "2026-11-26T16:00", False),  # Thanksgiving
        ("XNYS", "2026-11-27T17:59", True),  # half day: closes at 13:00 local time
        ("XNYS", "2026-11-27T18:00", False),
        ("XNYS", "2026-11-28T16:00", False),  # Saturday
        ("XNAS", "2026-11-27T17:59", True),
        ("XLON", "2026-12-24T12:29", True),
        ("XLON", "2026-12-24T12:30", False),
        ("XLON", "2026-12-25T10:00", False),
        ("XTKS", "2026-11-30T02:29", True),
        ("XTKS", "2026-11-30T02:30", False),  # lunch
        ("XTKS", "2026-11-30T03:30", True),
        ("XTKS", "2024-11-01T06:10", False),  # closed at 15:00 until 2024-11-01
        ("XTKS", "2024-11-05T06:10", True),  # and at 15:30 since
        (ALWAYS, "2026-12-25T23:59", True),
        ("FX", "2026-11-29T21:59", False),  # Sunday, 17:00 in New York is 22:00 UTC
        ("FX", "2026-11-29T22:00", True),
        ("FX", "2026-11-27T22:00", False),
        ("CME", "2026-11-30T22:30", False),  # the daily pause
    ],
)  # fmt: skip
def test_a_market_is_open_in_its_sessions(name: str, instant: str, opened: bool) -> None:
    assert exchange(name).is_open(at(instant)) is opened


def test_the_next_open_and_close_pass_over_nights_weekends_and_holidays() -> None:
    new_york = exchange("XNYS")
    assert new_york.next_open(at("2026-11-25T21:00")) == at("2026-11-27T14:30")
    assert new_york.next_open(at("2026-11-27T14:30")) == at("2026-11-30T14:30")
    assert new_york.next_close(at("2026-11-27T14:30")) == at("2026-11-27T18:00")
    assert exchange("XTKS").next_open(at("2026-11-30T02:30")) == at("2026-11-30T03:30")


def test_trading_that_continues_over_midnight_has_no_close_there() -> None:
    assert exchange(ALWAYS).next_close(at("2026-11-30T12:00")) is None
    assert exchange("FX").next_close(at("2026-11-30T12:00")) == at("2026-12-04T22:00")


def test_the_last_session_is_the_one_that_has_ended() -> None:
    new_york = exchange("XNYS")
    session = new_york.last_session(at("2026-11-27T17:59"))
    assert session is not None
    assert (session.day, session.length_s) == (date(2026, 11, 25), 23_400)
    assert new_york.last_session(at("2026-11-27T18:00")) == new_york.session(date(2026, 11, 27))


def test_a_break_is_no_part_of_a_session() -> None:
    session = exchange("XHKG").session(date(2026, 11, 30))
    assert session is not None
    assert session.length_s == 5.5 * 3600
    assert session.close_s - session.open_s == 6.5 * 3600


def test_a_day_after_the_table_has_the_usual_hours() -> None:
    new_york = exchange("XNYS")
    assert not new_york.covers(date(2029, 1, 2))
    assert new_york.session(date(2029, 1, 2)) is not None
    assert new_york.session(date(2029, 1, 6)) is None


def test_the_table_reaches_at_least_a_year_ahead_of_its_release_for_the_large_exchanges() -> None:
    for name in ("XNYS", "XNAS", "XLON", "XETR", "XTKS", "XHKG", "XTSE", "XPAR"):
        assert exchange(name).covers(date(2027, 12, 31))


def test_an_unknown_exchange_is_an_error_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="did you mean XLON"):
        exchange("XLOM")


def test_a_foreign_line_is_refused() -> None:
    with pytest.raises(ValueError, match="no line of a calendar"):
        parse(["exchange A UTC 2026-01-01 2026-12-31", "holiday 2026"])


def test_hours_survive_their_text() -> None:
    for text in ("09:30-16:00", "09:30-12:00,13:00-16:00", "00:00-24:00"):
        assert text_of(hours_of(text)) == text


def test_next_open_agrees_with_is_open_on_every_hour_of_a_year() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for name in ("XNYS", "XLON", "XHKG"):
        calendar = exchange(name)
        for day in range(0, 365, 7):
            instant = (start + timedelta(days=day, hours=day % 24)).timestamp()
            opens = calendar.next_open(instant)
            assert opens is not None
            assert calendar.is_open(opens)
            assert not calendar.is_open(opens - 1)


def test_every_calendar_has_sessions_in_order() -> None:
    for calendar in exchanges().values():
        edges = [edge for session in calendar.sessions(date(2026, 2, 1), date(2026, 4, 30)) for part in session.parts
                 for edge in part]  # fmt: skip
        assert edges == sorted(edges)
        assert len(edges) > 100
