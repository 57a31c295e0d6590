"""The captured defects of Yahoo: each is flagged where it is, and its repaired version is not."""

from typing import Any, NamedTuple

import pytest
from support.captured_data import CAPTURES, require
from support.venues.yahoo_charts import OPENED_S, answer_of_history, chart_body

from recorder.venues.yahoo.chart import decode_chart
from recorder.venues.yahoo.model import Asked, Chart

NOW_NS = 1_796_000_000 * 10**9
WRONG_SCALE = {"scale_100", "scale_split"}


class Defect(NamedTuple):
    """What is wrong in a captured history: days with prices off by a factor, dividends and splits with flags."""

    name: str
    zone: str
    currency: str
    scaled: tuple[str, ...] = ()
    actions: tuple[tuple[str, str], ...] = ()  # day, flag


def on(flag: str, *days: str) -> tuple[tuple[str, str], ...]:
    return tuple((day, flag) for day in days)


_SPM = ("01", "02", "03", "06", "07", "08", "09", "10", "13", "14", "15", "16", "17")
_SSW = (
    "02",
    "03",
    "04",
    "05",
    *(f"{day:02d}" for day in (*range(8, 13), *range(15, 20), *range(22, 27))),
    "29",
    "30",
    "31",
)
_TENT = (
    "2022-03-03", "2022-06-23", "2022-09-08", "2022-12-15", "2023-03-16", "2023-06-29", "2023-09-14", "2023-12-21",
    "2024-03-21", "2024-07-04", "2024-09-05",
)  # fmt: skip
_PSH = (
    "2022-02-17", "2022-05-19", "2022-08-18", "2022-11-17", "2023-02-16", "2023-05-18", "2023-08-17", "2023-11-16",
    "2024-02-15", "2024-05-16", "2024-08-15",
)  # fmt: skip
_ADIG = (
    "2022-03-03", "2022-06-16", "2022-09-22", "2022-12-22", "2023-03-09", "2023-06-08", "2023-09-21", "2023-11-02",
    "2023-12-21", "2024-03-07", "2024-07-03",
)  # fmt: skip
_RGL = (
    "2022-03-03", "2022-06-01", "2022-09-01", "2022-11-17", "2023-03-02", "2023-06-01", "2023-09-21", "2023-11-16",
    "2024-02-29", "2024-05-30",
)  # fmt: skip

DEFECTS = [
    Defect("1398-HK-1d-bad-div", "Asia/Hong_Kong", "HKD", (), on("not_in_adjclose", "2024-07-08")),
    Defect("4063-T-1d-bad-div", "Asia/Tokyo", "JPY", (), on("differs_from_adjclose", "2023-03-30")),
    Defect("8TRA-DE-1d-missing-div-adjust", "Europe/Berlin", "EUR", (), on("not_in_adjclose", "2023-06-02")),
    Defect("ADIG-L-1d-bad-div", "Europe/London", "GBp", (), on("differs_from_adjclose", *_ADIG)),
    Defect(
        "ALPHA-PA-1d-bad-stock-split", "Europe/Paris", "EUR", ("2023-05-08",), on("prices_not_scaled", "2023-05-10")
    ),
    Defect("CNE-L-1d-bad-stock-split", "Europe/London", "GBp", ("2023-05-09",), on("prices_not_scaled", "2023-05-16")),
    Defect("DODFX-1d-cg-double-count", "America/New_York", "USD", (), on("gain_counted_twice", "2025-12-18")),
    Defect(
        "KEN-TA-1d-bad-div", "Asia/Jerusalem", "ILA", (),
        on("repeated", "2022-01-18", "2022-01-19") + on("not_in_adjclose", "2024-04-08"),
    ),
    Defect("LA-V-1d-bad-stock-split", "America/Toronto", "CAD", ("2020-08-26",), on("prices_not_scaled", "2020-08-26")),
    Defect(
        "MOB-ST-1d-bad-stock-split", "Europe/Stockholm", "SEK", ("2023-05-22",), on("prices_not_scaled", "2023-05-24")
    ),
    Defect(
        "PSH-L-1d-bad-div", "Europe/London", "GBp", (),
        on("differs_from_adjclose", *_PSH) + on("no_price_drop", *_PSH),
    ),
    Defect("RGL-L-1d-bad-div", "Europe/London", "GBp", (), on("differs_from_adjclose", *_RGL)),
    Defect(
        "SCR-TO-1d-bad-div", "America/Toronto", "CAD", (),
        on("no_price_drop", "2023-03-14", "2023-06-14", "2023-09-14"),
    ),
    Defect(
        "SPM-MI-1d-bad-stock-split", "Europe/Rome", "EUR", tuple(f"2022-06-{day}" for day in _SPM),
        on("prices_not_scaled", "2022-06-13"),
    ),
    Defect("SSW-JO-1d-100x-error", "Africa/Johannesburg", "ZAc", tuple(f"2023-05-{day}" for day in _SSW)),
    Defect("TENT-L-1d-bad-div", "Europe/London", "GBp", (), on("wrong_unit", *_TENT)),
    Defect(
        "VWILX-1d-cg-double-count", "America/New_York", "USD", (), on("gain_counted_twice", "2024-12-18", "2025-12-17")
    ),
]  # fmt: skip
BY_NAME = pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)


def history(name: str, zone: str, currency: str) -> Chart:
    body = answer_of_history(require(CAPTURES / "yahoo") / f"anomaly_{name}.csv.gz", "X", zone, currency)
    chart = decode_chart(200, body, Asked("X", "1d"), NOW_NS)
    assert chart.odd == ()
    return chart


def scaled(chart: Chart) -> list[str]:
    return [str(bar.day) for bar in chart.bars if WRONG_SCALE.intersection(bar.flags)]


def flagged(chart: Chart) -> list[tuple[str, str]]:
    return sorted((str(action.ex_day), flag) for action in chart.actions for flag in action.flags)


@BY_NAME
def test_a_captured_defect_is_flagged_where_it_is(defect: Defect) -> None:
    chart = history(defect.name, defect.zone, defect.currency)
    assert scaled(chart) == list(defect.scaled)
    assert flagged(chart) == sorted(defect.actions)


@BY_NAME
def test_a_repaired_history_has_no_such_flag(defect: Defect) -> None:
    chart = history(f"{defect.name}-fixed", defect.zone, defect.currency)
    assert scaled(chart) == []
    assert flagged(chart) == []


def test_the_captured_weeks_of_a_split_are_flagged_around_it() -> None:
    chart = history("AV-L-1wk-bad-stock-split", "Europe/London", "GBp")
    assert scaled(chart) == ["2022-05-23"]  # its low is that of the old share
    assert {("2022-05-16", "prices_not_scaled"), ("2022-05-16", "not_in_adjclose")} <= set(flagged(chart))


def test_every_captured_history_is_in_this_test() -> None:
    names = {path.name.removeprefix("anomaly_") for path in require(CAPTURES / "yahoo").glob("anomaly_*.csv.gz")}
    here = {defect.name for defect in DEFECTS} | {"AV-L-1wk-bad-stock-split"}
    assert names == {f"{name}{version}.csv.gz" for name in here for version in ("", "-fixed")}


def days(closes: list[float], **meta: Any) -> Chart:
    rows = [(OPENED_S + 86_400 * index, close, close, close, close, 5) for index, close in enumerate(closes)]
    body = chart_body(rows, interval="1d", **meta)
    return decode_chart(200, body, Asked("AAPL", "1d"), (OPENED_S + 86_400 * len(closes)) * 10**9)


def test_the_market_price_tells_that_the_newest_row_is_the_wrong_one() -> None:
    newest_s = OPENED_S + 86_400 * 2
    assert scaled(days([10.0, 10.1, 1020.0])) == ["2026-10-02", "2026-10-03"]  # the newest is believed
    trusted = days([10.0, 10.1, 1020.0], regularMarketTime=newest_s, regularMarketPrice=10.2)
    assert scaled(trusted) == ["2026-10-04"]


def test_a_single_price_of_a_day_that_is_off_by_100_is_flagged() -> None:
    rows = [(OPENED_S, 10.0, 10.2, 9.9, 10.0, 5), (OPENED_S + 86_400, 10.0, 1010.0, 9.9, 10.0, 5)]
    chart = decode_chart(200, chart_body(rows, interval="1d"), Asked("AAPL", "1d"), NOW_NS)
    assert [bar.flags for bar in chart.bars] == [(), ("scale_100",)]


def test_a_market_that_doubles_years_after_a_split_is_not_flagged() -> None:
    events = {"splits": {"1": {"numerator": 2, "denominator": 1, "date": OPENED_S - 86_400 * 400}}}
    assert scaled(days([10.0, 20.0, 40.0], events=events)) == []


def test_zero_prices_and_days_without_volume_are_flagged_and_kept() -> None:
    rows = [
        (OPENED_S, 0.0, 10.0, 0.0, 10.0, 5),
        (OPENED_S + 86_400, 10.0, 10.0, 10.0, 10.0, 0),
        (OPENED_S + 172_800, 10.0, 9.0, 8.0, 9.0, 5),
    ]
    chart = decode_chart(200, chart_body(rows, interval="1d"), Asked("AAPL", "1d"), NOW_NS)
    assert [bar.flags for bar in chart.bars] == [("zero_price",), ("zero_volume",), ("inconsistent",)]
