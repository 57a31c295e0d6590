"""Which stocks are requested when: in sessions only, within the budget of a day, and once after each close."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from recorder.exchanges.table import ALWAYS, exchange
from recorder.poller.yahoo.pause import Pause
from recorder.poller.yahoo.plan import SETTLED_S, SPREAD, Plan, Symbol, due_at, plan_day
from recorder.venues.yahoo.exchanges import exchange_of_code, exchange_of_symbol

MONDAY = date(2026, 11, 30)
HOLIDAY = date(2026, 12, 25)


def symbols(number: int, name: str = "XNYS") -> list[Symbol]:
    return [Symbol(f"S{index}", exchange(name)) for index in range(number)]


def slots(day: date, days: int = 1) -> range:
    start_s = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return range(start_s, start_s + 86_400 * days, 60)


@pytest.mark.parametrize(
    ("stocks", "day", "period_s", "requests"),
    [
        (symbols(1), MONDAY, 60, 392),  # 390 minutes, and two requests after the close
        (symbols(5), MONDAY, 60, 1960),
        (symbols(6), MONDAY, 120, 1182),
        (symbols(50), MONDAY, 660, 1900),
        (symbols(1, ALWAYS), MONDAY, 60, 1442),
        (symbols(2, ALWAYS), MONDAY, 120, 1444),
        (symbols(1, "XHKG"), MONDAY, 60, 332),  # a break of an hour
        (symbols(50), HOLIDAY, 120, 0),  # not more than 30 in a slot
        ([], MONDAY, 60, 0),
    ],
)
def test_the_period_stretches_to_fit_the_budget(
    stocks: list[Symbol], day: date, period_s: int, requests: int
) -> None:  # fmt: skip
    assert plan_day(stocks, day, 2000) == Plan(len(stocks), period_s, requests, 2000)


def test_the_plan_is_a_sentence() -> None:
    assert (
        plan_day(symbols(6), MONDAY, 2000).text
        == "6 symbols every 120 s: 1182 requests planned today, 2000 are allowed"
    )
    assert plan_day(symbols(6), MONDAY, 10).text.endswith("; the last of them wait for tomorrow")


def test_a_day_never_takes_more_requests_than_its_plan() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    names = ["XNYS", "XLON", "XTKS", "XHKG", "XETR", ALWAYS, "FX", "CME"]
    for _ in range(6):
        stocks = [Symbol(f"S{index}", exchange(rng.choice(names))) for index in range(rng.randrange(1, 25))]
        day = MONDAY + timedelta(days=rng.randrange(-60, 300))
        plan = plan_day(stocks, day, 2000)
        assert plan.requests <= 2000
        sent = sum(one.what == "minutes" for slot_s in slots(day) for one in due_at(stocks, plan, slot_s, {}))
        assert sent <= plan.requests


def test_symbols_share_the_slots_of_a_period() -> None:
    stocks = symbols(12)
    plan = Plan(12, 240, 0, 2000)
    open_slots = [slot_s for slot_s in slots(MONDAY) if stocks[0].exchange.is_open(slot_s)]
    closed = {stock.name: MONDAY for stock in stocks}
    sizes = {len(due_at(stocks, plan, slot_s, closed)) for slot_s in open_slots}
    assert sizes == {3}
    polled = Counter(one.symbol.name for slot_s in open_slots[:4] for one in due_at(stocks, plan, slot_s, closed))
    assert set(polled.values()) == {1}
    assert len(polled) == 12


def test_the_final_bars_are_requested_once_after_each_close() -> None:
    stocks = symbols(30)
    plan = plan_day(stocks, MONDAY, 2000)
    closed = {stock.name: date(2026, 11, 27) for stock in stocks}
    close_s = int(datetime(2026, 11, 30, 21, tzinfo=UTC).timestamp())
    asked: Counter[tuple[str, str]] = Counter()
    for slot_s in slots(MONDAY):
        for one in due_at(stocks, plan, slot_s, closed):
            if one.session is None:
                continue
            assert close_s + SETTLED_S <= slot_s < close_s + SETTLED_S + SPREAD * 60
            asked[one.symbol.name, one.what] += 1
            closed[one.symbol.name] = one.session.day
    # Both requests of a slot are made from one list, so `closed` does not stop the second.
    assert set(asked.values()) == {1}
    assert len(asked) == 60


def test_a_slot_has_no_more_requests_than_it_has_time_for() -> None:
    stocks = symbols(200)
    plan = plan_day(stocks, MONDAY, 100_000)
    assert plan.period_s == 420
    closed = {stock.name: date(2026, 11, 27) for stock in stocks[:100]}
    finals = set()
    for slot_s in slots(MONDAY):
        due = due_at(stocks, plan, slot_s, closed)
        assert len(due) <= 30
        for one in due:
            if one.session is not None and one.what == "days":
                closed[one.symbol.name] = one.session.day
                finals.add((one.symbol.name, one.session.day))
    assert {stock.name for stock in stocks} == {name for name, day in finals if day == MONDAY}


def test_a_program_that_was_away_requests_the_last_session_when_it_is_back() -> None:
    (stock,) = symbols(1)
    sunday_s = int(datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp())
    due = due_at([stock], plan_day([stock], MONDAY, 2000), sunday_s, {"S0": date(2026, 11, 20)})
    assert [(one.what, one.session and one.session.day) for one in due] == [
        ("session", date(2026, 11, 27)),
        ("days", date(2026, 11, 27)),
    ]


@pytest.mark.parametrize("name", ["XNYS", "XLON", "XTKS"])
def test_a_year_polls_minutes_in_sessions_only_and_each_session_is_closed_once(name: str) -> None:
    stocks = symbols(1, name)
    calendar = stocks[0].exchange
    closed = {"S0": date(2025, 12, 31)}
    finals: list[date] = []
    polled = 0
    start = date(2026, 1, 2)
    for day in (start + timedelta(days=index) for index in range(364)):
        parts = [
            part
            for near in (-1, 0, 1)
            if (found := calendar.session(day + timedelta(days=near)))
            for part in found.parts
        ]
        plan = plan_day(stocks, day, 2000)
        for slot_s in slots(day):
            for one in due_at(stocks, plan, slot_s, closed) if slot_s % 300 == 0 else ():
                if one.session is None:
                    assert any(opens <= slot_s < closes for opens, closes in parts)
                    polled += 1
                elif one.what == "days":
                    assert slot_s >= one.session.close_s + SETTLED_S
                    closed["S0"] = one.session.day
                    finals.append(one.session.day)
    sessions = [one.day for one in calendar.sessions(start, date(2026, 12, 31))]
    assert finals == sessions[: len(finals)]
    assert len(sessions) - len(finals) <= 1  # the last one may end in the next year
    assert polled > 200 * 60


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("AAPL", "XNYS"), ("BRK-B", "XNYS"), ("^GSPC", "XNYS"), ("OCDO.L", "XLON"), ("BTC-USD", ALWAYS),
        ("7203.T", "XTKS"), ("EURUSD=X", "FX"), ("BZ=F", "CME"), ("SHOP.TO", "XTSE"), ("X.UNKNOWN", "XNYS"),
    ],
)  # fmt: skip
def test_the_spelling_of_a_symbol_names_its_exchange(symbol: str, name: str) -> None:
    assert exchange_of_symbol(symbol).name == name


def test_the_code_of_an_answer_names_its_exchange() -> None:
    for code, name in (("NMS", "XNYS"), ("LSE", "XLON"), ("SAO", "BVMF"), ("CCC", ALWAYS)):
        found = exchange_of_code(code)
        assert found is not None
        assert found.name == name
    assert exchange_of_code("SIM") is None


def test_the_pause_doubles_from_a_minute_to_an_hour_and_an_answer_ends_it() -> None:
    pause = Pause()
    assert pause.left_s(0.0) == 0.0
    assert [pause.failed(0.0) for _ in range(8)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert pause.left_s(3599.0) == 1.0
    assert pause.left_s(3600.0) == 0.0
    pause.passed()
    assert pause.failed(10.0) == 60
