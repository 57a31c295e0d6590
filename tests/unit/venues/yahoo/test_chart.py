"""Chart answers of Yahoo as bars: the captured ones, the live quote, unfinished and doubled rows, hostile rows."""

import random
from datetime import date
from typing import Any

import msgspec
import pytest
from support.captured_data import CAPTURES, require
from support.venues.yahoo_charts import CLOSED_S, OPENED_S, chart_body

from recorder.errors import RecorderError, RestInvalidResponse
from recorder.venues import VENUES
from recorder.venues.yahoo.chart import decode_chart
from recorder.venues.yahoo.model import Action, Asked, Bar, Chart

MINUTE = Asked("AAPL", "1m")
DAILY = Asked("AAPL", "1d")
LATER_S = CLOSED_S + 86_400


def decode(body: bytes, asked: Asked = MINUTE, received_s: int = LATER_S) -> Chart:
    return decode_chart(200, body, asked, received_s * 10**9)


def minute(
    index: int, close: float = 10.0, volume: int | None = 5
) -> tuple[int, float, float, float, float, int | None]:
    return OPENED_S + 60 * index, close, close + 1, close - 1, close, volume


def captured(name: str) -> bytes:
    return (require(CAPTURES / "yahoo") / name).read_bytes()


def test_yahoo_is_no_recorded_venue() -> None:
    assert "yahoo" not in VENUES


def test_captured_days_have_clean_prices_and_their_split_and_dividend() -> None:
    chart = decode(captured("chart_AAPL_1d_split_and_dividend.json"), DAILY)
    assert (chart.currency, chart.exchange, chart.timezone, chart.odd) == ("USD", "NMS", "America/New_York", ())
    assert len(chart.bars) == 8
    assert chart.bars[0] == Bar(1_598_880_600, date(2020, 8, 31), 127.58, 131.0, 126.0, 129.04, 225_702_700, 125.05753)
    # 14:30 UTC after the clock change, although gmtoffset is that of summer time
    assert (chart.bars[-1].start_s, chart.bars[-1].day) == (1_604_673_000, date(2020, 11, 6))
    assert chart.actions == (
        Action("split", 1_598_880_600, date(2020, 8, 31), None, 4.0, 1.0),
        Action("dividend", 1_604_673_000, date(2020, 11, 6), 0.205),
    )


def test_a_captured_answer_without_rows_and_currency_has_no_bars() -> None:
    chart = decode(captured("chart_LUCYW_1d_no_rows_null_currency.json"), Asked("LUCYW", "1d"))
    assert (chart.bars, chart.actions, chart.currency, chart.odd) == ((), (), None, ())


def test_captured_minutes_drop_nulls_and_mark_the_live_quote_and_the_unfinished_bar() -> None:
    body = captured("chart_PETR4.SA_1m_null_row_live_last_row.json")
    chart = decode(body, Asked("PETR4.SA", "1m"), 1_678_108_480)
    assert [(bar.start_s, bar.close, bar.volume, bar.partial, bar.live) for bar in chart.bars] == [
        (1_678_108_200, 25.62, 0, False, False),
        (1_678_108_260, 25.64, 214_400, False, False),
        (1_678_108_320, 25.6, 400_600, False, False),
        (1_678_108_380, 25.65, 106_000, True, False),
        (1_678_108_476, 25.69, 0, True, True),
    ]
    assert chart.odd == ()


def test_a_bar_is_final_one_interval_after_its_end() -> None:
    body = chart_body([minute(0), minute(1)])
    assert [bar.partial for bar in decode(body, received_s=OPENED_S + 120).bars] == [False, True]
    assert [bar.partial for bar in decode(body, received_s=OPENED_S + 179).bars] == [False, True]
    assert [bar.partial for bar in decode(body, received_s=OPENED_S + 180).bars] == [False, False]


def test_a_live_quote_on_the_full_minute_is_no_bar() -> None:
    quote = (OPENED_S + 120, 10.0, 10.0, 10.0, 10.0, 0)
    body = chart_body([minute(0), minute(1), quote], regularMarketTime=OPENED_S + 120)
    assert [bar.live for bar in decode(body).bars] == [False, False, True]
    assert not decode(chart_body([minute(0), quote], regularMarketTime=OPENED_S + 121)).bars[-1].live


def test_a_live_quote_never_replaces_the_bar_of_its_time() -> None:
    chart = decode(chart_body([minute(0), minute(1), (OPENED_S + 60, 9.0, 9.0, 9.0, 9.0, 0)]))
    assert [bar.close for bar in chart.bars] == [10.0, 10.0]
    assert chart.odd == (f"row at {OPENED_S + 60}: a second one with this time",)


def test_a_row_off_the_grid_before_the_last_is_odd() -> None:
    chart = decode(chart_body([minute(0), (OPENED_S + 61, 1.0, 1.0, 1.0, 1.0, 1), minute(2)]))
    assert [bar.start_s for bar in chart.bars] == [OPENED_S, OPENED_S + 120]
    assert len(chart.odd) == 1


def test_a_live_quote_is_the_last_row_also_where_a_bar_has_begun_after_it() -> None:
    chart = decode(chart_body([minute(0), minute(1), (OPENED_S + 59, 9.0, 9.0, 9.0, 9.0, 0)]))
    assert [(bar.start_s - OPENED_S, bar.live) for bar in chart.bars] == [(0, False), (59, True), (60, False)]
    assert chart.odd == ()


def test_hours_are_counted_from_the_open_of_the_session() -> None:
    body = chart_body([(OPENED_S + 3600 * hour, 2.0, 2.5, 1.5, 2.0, 7) for hour in range(7)], interval="60m")
    assert [bar.live for bar in decode(body, Asked("AAPL", "1h")).bars] == [False] * 7


def test_a_minute_outside_of_the_regular_session_is_flagged() -> None:
    body = chart_body([minute(-1), minute(0), minute(389), minute(390)])
    assert [bar.flags for bar in decode(body).bars] == [("extended",), (), (), ("extended",)]


def test_a_running_day_that_comes_twice_is_one_partial_row_at_the_open() -> None:
    rows = [
        (OPENED_S - 86_400, 10.0, 11.0, 9.0, 10.5, 100),
        (OPENED_S, 10.5, 12.0, 10.0, 11.0, 40),
        (OPENED_S + 5_000, 11.0, 12.5, 10.5, 12.0, 50),
    ]
    body = chart_body(rows, interval="1d", adjclose=[10.5, 11.0, 12.0])
    yesterday, today = decode(body, DAILY, OPENED_S + 5_000).bars
    assert (yesterday.partial, yesterday.flags) == (False, ())
    assert today == Bar(OPENED_S, date(2026, 10, 2), 10.5, 12.5, 10.0, 12.0, 50, 12.0, partial=True, flags=("merged",))


def test_a_running_day_stamped_with_the_last_trade_gets_the_time_of_the_open() -> None:
    body = chart_body([(OPENED_S + 5_000, 10.5, 12.0, 10.0, 11.0, 40)], interval="1d")
    assert [bar.start_s for bar in decode(body, DAILY).bars] == [OPENED_S]


def test_a_day_stamped_with_its_last_trade_keeps_the_time_of_its_open_when_the_next_session_is_named() -> None:
    day = 86_400
    monday = {"regular": {"start": OPENED_S + 3 * day, "end": CLOSED_S + 3 * day}}
    row = (CLOSED_S + 1, 10.5, 12.0, 10.0, 11.0, 40)
    for last_s in (CLOSED_S + 1, CLOSED_S + 3 * day):
        stamped = row if last_s == CLOSED_S + 1 else (OPENED_S, *row[1:])
        body = chart_body([stamped], interval="1d", regularMarketTime=last_s, currentTradingPeriod=monday)
        (bar,) = decode(body, DAILY).bars
        assert (bar.start_s, bar.day, bar.partial) == (OPENED_S, date(2026, 10, 2), False)


def test_a_day_is_final_half_an_hour_after_its_close() -> None:
    body = chart_body([(OPENED_S, 10.5, 12.0, 10.0, 11.0, 40)], interval="1d")
    assert decode(body, DAILY, CLOSED_S + 1_799).bars[0].partial
    assert not decode(body, DAILY, CLOSED_S + 1_800).bars[0].partial


def test_without_a_session_the_local_date_decides_whether_a_day_is_over() -> None:
    body = chart_body([(OPENED_S, 10.5, 12.0, 10.0, 11.0, 40)], interval="1d", currentTradingPeriod=None)
    midnight_s = OPENED_S + 14 * 3600 + 1800
    assert decode(body, DAILY, midnight_s - 1).bars[0].partial
    assert not decode(body, DAILY, midnight_s).bars[0].partial


@pytest.mark.parametrize(("unit", "currency"), [("GBp", "GBP"), ("GBX", "GBP"), ("ZAc", "ZAR"), ("ILA", "ILS")])
def test_hundredths_of_a_currency_become_units(unit: str, currency: str) -> None:
    events = {"dividends": {"1": {"amount": 4.1875, "date": OPENED_S}}}
    body = chart_body(
        [(OPENED_S, 518.4210205078125, 535.0, 515.0, 530.1314697265625, 3)], interval="1d",
        adjclose=[383.20037841796875], currency=unit, events=events,
    )  # fmt: skip
    chart = decode(body, DAILY)
    assert chart.currency == currency
    assert chart.bars[0].prices == (5.18421, 5.35, 5.15, 5.301315)
    assert chart.actions[0].amount == 0.041875


@pytest.mark.parametrize(
    "answer",
    [
        {"dataGranularity": "1mo"},
        {"dataGranularity": None},
        {"symbol": "MSFT"},
        {"exchangeTimezoneName": "../../etc/passwd"},
        {"exchangeTimezoneName": "Mars/Olympus"},
        {"exchangeTimezoneName": "America"},
        {"exchangeTimezoneName": 5},
    ],
)
def test_an_answer_to_another_request_or_without_a_time_zone_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(RestInvalidResponse):
        decode(chart_body([minute(0)], **answer))


@pytest.mark.parametrize(
    "row",
    [
        (OPENED_S + 60, "ten", 11.0, 9.0, 10.0, 5),
        (OPENED_S + 60, 10.0, 11.0, 9.0, 10.0, -5),
        (OPENED_S + 60, 10.0, 11.0, 9.0, 10.0, 1.5),
        (OPENED_S + 60, 10.0, 11.0, 9.0, 10.0, 10**30),
        (OPENED_S + 60, 1e300, 11.0, 9.0, 10.0, 5),
        (10**18, 10.0, 11.0, 9.0, 10.0, 5),
        (-(10**18), 10.0, 11.0, 9.0, 10.0, 5),
        ("soon", 10.0, 11.0, 9.0, 10.0, 5),
        (None, 10.0, 11.0, 9.0, 10.0, 5),
        (OPENED_S + 60.5, 10.0, 11.0, 9.0, 10.0, 5),
        (OPENED_S + 60, [], 11.0, 9.0, 10.0, 5),
    ],
)
def test_an_odd_row_of_a_chart_costs_itself(row: tuple[object, ...]) -> None:
    chart = decode(chart_body([minute(0), row, minute(2)]))
    assert [bar.start_s for bar in chart.bars] == [OPENED_S, OPENED_S + 120]
    assert len(chart.odd) == 1


@pytest.mark.parametrize(
    "events",
    [
        {"dividends": {"1": {"amount": 1e30, "date": OPENED_S}}},
        {"dividends": {"1": {"amount": -1.0, "date": OPENED_S}}},
        {"dividends": {"1": {"amount": 1.0, "date": 10**15}}},
        {"dividends": [1]},
        {"splits": {"1": {"numerator": 0, "denominator": 1, "date": OPENED_S}}},
        {"splits": {"1": {"numerator": 4, "denominator": 0, "date": OPENED_S}}},
        {"splits": {"1": {"numerator": 1e300, "denominator": 1, "date": OPENED_S}}},
        {"splits": {"1": None}},
    ],
)
def test_an_odd_event_of_a_chart_costs_itself(events: dict[str, object]) -> None:
    good = {"capitalGains": {"1": {"amount": 1.0, "date": OPENED_S}}}
    chart = decode(chart_body([(OPENED_S, 10.0, 11.0, 9.0, 10.0, 5)], interval="1d", events=events | good), DAILY)
    assert len(chart.bars) == 1
    assert [action.kind for action in chart.actions] == ["capital_gain"]
    assert len(chart.odd) == 1


def test_two_dividends_of_one_day_are_added() -> None:
    events = {"dividends": {"1": {"amount": 0.1, "date": OPENED_S}, "2": {"amount": 0.2, "date": OPENED_S + 60}}}
    chart = decode(chart_body([], interval="1d", events=events), DAILY)
    assert chart.actions == (Action("dividend", OPENED_S, date(2026, 10, 2), 0.3, flags=("summed",)),)


def test_an_odd_field_of_the_description_counts_as_absent() -> None:
    chart = decode(
        chart_body([minute(0)], currency=7, exchangeName="\x1b[31m", priceHint="two", currentTradingPeriod=3)
    )
    assert (chart.currency, chart.exchange, chart.regular, len(chart.bars)) == (None, "", None, 1)


def test_the_reasons_of_odd_rows_are_bounded() -> None:
    chart = decode(chart_body([("soon", 1.0, 1.0, 1.0, 1.0, 1)] * 5000))
    assert len(chart.odd) == 1001
    assert chart.odd[-1] == "and 4000 more"


def test_a_damaged_answer_raises_nothing_but_our_errors() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    events = {"dividends": {"1": {"amount": 0.1, "date": OPENED_S}}}
    body = chart_body([minute(index) for index in range(20)], events=events)
    for _ in range(500):
        damaged = bytearray(body)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            msgspec.json.encode(decode(bytes(damaged)))
        except RecorderError:
            continue
