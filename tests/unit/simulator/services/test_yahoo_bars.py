"""The simulated exchanges keep their hours, and splits rescale what was served before."""

from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from recorder.simulator.services.yahoo.bars import STOCKS, actions, factor, level, minute_bars
from recorder.simulator.services.yahoo.calendar import ALWAYS, LONDON, NEW_YORK, Exchange

HOLIDAYS = {
    NEW_YORK: {
        2026: ["01-01", "01-19", "02-16", "04-03", "05-25", "06-19", "07-03", "09-07", "11-26", "12-25"],
        2027: ["01-01", "01-18", "02-15", "03-26", "05-31", "06-18", "07-05", "09-06", "11-25", "12-24"],
    },
    LONDON: {2026: ["01-01", "04-03", "04-06", "05-04", "05-25", "08-31", "12-25", "12-28"]},
}  # fmt: skip
HALF_DAYS = {
    (NEW_YORK, date(2026, 11, 27)): time(13),
    (NEW_YORK, date(2026, 12, 24)): time(13),
    (NEW_YORK, date(2025, 7, 3)): time(13),
    (LONDON, date(2026, 12, 24)): time(12, 30),
    (LONDON, date(2026, 12, 31)): time(12, 30),
}


@pytest.mark.parametrize("exchange", [NEW_YORK, LONDON])
def test_holidays_are_those_that_the_exchanges_publish(exchange: Exchange) -> None:
    for year, expected in HOLIDAYS[exchange].items():
        days = [date(year, 1, 1) + timedelta(days=number) for number in range(365)]
        closed = [day for day in days if day.weekday() < 5 and exchange.session(day) is None]
        assert [day.strftime("%m-%d") for day in closed] == expected


def test_half_days_end_early() -> None:
    for (exchange, day), expected in HALF_DAYS.items():
        session = exchange.session(day)
        assert session is not None
        assert datetime.fromtimestamp(session.close_s, ZoneInfo(exchange.zone)).time() == expected


def test_sessions_open_at_the_local_time_through_the_year() -> None:
    opens = {datetime.fromtimestamp(one.open_s, ZoneInfo("UTC")).time()
             for one in NEW_YORK.sessions(date(2026, 1, 1), date(2026, 12, 31))}  # fmt: skip
    assert opens == {time(13, 30), time(14, 30)}


def test_the_stock_that_is_always_open_has_no_second_without_a_session() -> None:
    sessions = list(ALWAYS.sessions(date(2026, 10, 1), date(2027, 1, 31)))
    assert all(one.close_s == other.open_s for one, other in pairwise(sessions))


@pytest.mark.parametrize("symbol", ["TAPE", "AAPL", "VOD.L"])
def test_a_split_changes_the_price_and_not_the_level(symbol: str) -> None:
    stock = STOCKS[symbol]
    found = list(actions(stock, date(2026, 1, 1), date(2027, 12, 31)))
    splits = [one for one in found if one.numerator]
    assert splits
    assert any(one.amount for one in found)
    for one in splits:
        ratio = factor(stock, one.at_s) / factor(stock, one.at_s - 1)
        assert ratio == one.numerator / one.denominator
        assert level(1, stock, one.at_s) == pytest.approx(level(1, stock, one.at_s - 1), rel=1e-4)


def test_a_finished_bar_stays_and_a_running_one_grows() -> None:
    stock = STOCKS["TAPE"]
    session = ALWAYS.session(date(2026, 11, 30))
    assert session is not None
    now_s = session.open_s + 600.5
    early, late = (list(minute_bars(1, stock, session, 60, at_s)) for at_s in (now_s, now_s + 600))
    final = [one for one in early if isinstance(one, int) or one.final]
    assert len(early) == 11
    assert len(final) == 8
    assert late[: len(final)] == final
    assert not isinstance(early[0], int)
    assert early[0].volume == 0  # of the first minute
