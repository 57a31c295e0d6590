"""The simulated chart service answers as the protocol page says, over real HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from support.simulator.services import ServiceClient

from recorder.clock import ManualClock
from recorder.simulator.services.running import RunningServices, running_services
from recorder.truth import ServedBar, read_truth

CHART = "/v8/finance/chart/"
MONDAY = datetime(2026, 11, 30, 15, 30, 20, tzinfo=UTC)  # an hour after New York has opened
HOLIDAY = datetime(2026, 11, 26, 18, 0, 20, tzinfo=UTC)


def chart(client: ServiceClient, symbol: str, **query: object) -> dict[str, Any]:
    answer = client.get("yahoo", CHART + symbol, **query)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["chart"]["result"][0]
    return result


def clock_at(moment: datetime) -> ManualClock:
    return ManualClock(int(moment.timestamp()) * 10**9)


@pytest.fixture
def clock() -> ManualClock:
    return clock_at(MONDAY)


@pytest.fixture
def services(clock: ManualClock, tmp_path: Path) -> Iterator[RunningServices]:
    with running_services(["yahoo"], clock=clock, folder=tmp_path) as running:
        yield running


@pytest.fixture
def client(services: RunningServices) -> Iterator[ServiceClient]:
    client = ServiceClient(services)
    yield client
    client.close()


def test_minutes_of_a_session_have_nulls_a_first_bar_without_volume_and_a_live_row(client: ServiceClient) -> None:
    result = chart(client, "AAPL", interval="1m", range="1d")
    times, quote = result["timestamp"], result["indicators"]["quote"][0]
    opens = result["meta"]["currentTradingPeriod"]["regular"]["start"]
    assert datetime.fromtimestamp(opens, UTC).time().isoformat() == "14:30:00"
    assert times[:-1] == list(range(opens, int(MONDAY.timestamp()), 60))
    assert (times[-1] - opens) % 60
    assert quote["open"][-1] == quote["high"][-1] == quote["low"][-1] == quote["close"][-1]
    assert (quote["volume"][0], quote["volume"][-1]) == (0, 0)
    empty = [place for place, price in enumerate(quote["close"]) if price is None]
    assert empty
    assert all(quote[name][place] is None for name in quote for place in empty)


def test_a_closed_day_has_no_bars_of_its_own(tmp_path: Path) -> None:
    with running_services(["yahoo"], clock=clock_at(HOLIDAY)) as running:
        client = ServiceClient(running)
        result = chart(client, "AAPL", interval="1m", range="1d")
        period = result["meta"]["currentTradingPeriod"]["regular"]
        client.close()
    assert datetime.fromtimestamp(period["start"], UTC).date().isoformat() == "2026-11-25"
    assert period["start"] <= result["timestamp"][0] <= result["timestamp"][-1] < period["end"]


def test_the_stock_that_is_always_open_trades_now(client: ServiceClient) -> None:
    result = chart(client, "TAPE", interval="1m", range="1d")
    assert result["timestamp"][-1] >= int(MONDAY.timestamp()) - 60
    assert result["meta"]["exchangeTimezoneName"] == "UTC"


def test_daily_rows_have_splits_dividends_and_adjusted_closes(client: ServiceClient) -> None:
    result = chart(client, "TAPE", interval="1d", range="1mo", events="div,splits")
    events = result["events"]
    assert {one["splitRatio"] for one in events["splits"].values()} == {"2:1", "1:2"}
    assert len(events["dividends"]) >= 4
    closes, adjusted = result["indicators"]["quote"][0]["close"], result["indicators"]["adjclose"][0]["adjclose"]
    assert adjusted[0] < closes[0]
    assert adjusted[-1] == closes[-1]


def test_a_split_rescales_what_was_served_before(client: ServiceClient, clock: ManualClock) -> None:
    before = chart(client, "TAPE", interval="1d", range="5d")
    clock.advance(7 * 86_400)
    after = chart(client, "TAPE", interval="1d", range="1mo", events="splits")
    ratios = [
        new / old
        for at, old in zip(before["timestamp"][:-2], before["indicators"]["quote"][0]["close"][:-2], strict=True)
        for new in [after["indicators"]["quote"][0]["close"][after["timestamp"].index(at)]]
    ]
    assert ratios
    assert all(abs(ratio / ratios[0] - 1) < 1e-6 for ratio in ratios)
    assert round(ratios[0], 4) in (0.5, 2.0)


def test_the_running_day_is_now_and_then_there_twice(client: ServiceClient, clock: ManualClock) -> None:
    counts = set()
    for _ in range(3):
        result = chart(client, "AAPL", interval="1d", range="5d")
        days = [datetime.fromtimestamp(at, UTC).date() for at in result["timestamp"]]
        counts.add(days.count(MONDAY.date()))
        clock.advance(60)
    assert counts == {1, 2}


@pytest.mark.parametrize(
    ("symbol", "query", "status", "words"),
    [
        ("NOPE", {}, 404, "No data found, symbol may be delisted"),
        ("AAPL", {"interval": "7d"}, 400, "Valid intervals: [1m, 2m"),
        ("AAPL", {"interval": "1m", "range": "1mo"}, 422, "Only 8 days worth of 1m granularity data"),
        ("AAPL", {"interval": "1m", "range": "1y"}, 422, "within the last 30 days"),
        ("AAPL", {"period1": 5, "period2": 4}, 400, "start date cannot be after end date"),
    ],
)
def test_errors_have_their_status_and_description(
    client: ServiceClient, symbol: str, query: dict[str, object], status: int, words: str
) -> None:
    answer = client.get("yahoo", CHART + symbol, **query)
    assert answer.status_code == status
    assert words in answer.json()["chart"]["error"]["description"]


def test_a_stock_without_trades_has_no_timestamps_and_no_currency(client: ServiceClient) -> None:
    result = chart(client, "LUCYW", interval="1d", range="5d")
    assert "timestamp" not in result
    assert result["indicators"] == {"quote": [{}], "adjclose": [{}]}
    assert result["meta"]["currency"] is None


def test_all_history_by_day_is_served_by_month(client: ServiceClient) -> None:
    assert chart(client, "VOD.L", interval="1d", range="max")["meta"]["dataGranularity"] == "1mo"


def test_an_answer_is_cached_for_ten_seconds(client: ServiceClient, clock: ManualClock) -> None:
    first = chart(client, "TAPE", interval="1m", range="1d")
    clock.advance(9)
    assert chart(client, "TAPE", interval="1m", range="1d") == first
    clock.advance(2)
    assert chart(client, "TAPE", interval="1m", range="1d") != first


def test_a_bare_client_and_one_that_asks_too_much_get_plain_text(
    services: RunningServices, client: ServiceClient, clock: ManualClock
) -> None:
    bare = requests.get(services.urls["yahoo"] + CHART + "AAPL", timeout=10)
    assert (bare.status_code, bare.headers["content-type"]) == (429, "text/plain")
    states = [client.get("yahoo", CHART + "NOPE").status_code for _ in range(70)]
    assert set(states) == {404, 429}
    clock.advance(120)
    assert client.get("yahoo", CHART + "NOPE").status_code == 404


def test_the_log_has_the_finished_bars_before_later_splits(clock: ManualClock, tmp_path: Path) -> None:
    with running_services(["yahoo"], clock=clock, folder=tmp_path) as running:
        client = ServiceClient(running)
        result = chart(client, "TAPE", interval="1m", range="1d")
        client.close()
        path = running.truth_path("yahoo")
    bars = {one.ts: one for one in read_truth(path) if isinstance(one, ServedBar)}
    closes = dict(zip(result["timestamp"], result["indicators"]["quote"][0]["close"], strict=True))
    assert len(bars) > 800
    assert all(closes[at] == bar.c for at, bar in bars.items())
    assert all(at not in bars for at in result["timestamp"][-3:])
