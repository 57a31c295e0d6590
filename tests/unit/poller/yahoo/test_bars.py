"""The job yahoo-bars: what a round requests and stores, and how it treats refusals, the budget and restarts."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from support.poller.polling import Storing
from support.venues.yahoo_charts import CLOSED_S, OPENED_S, chart_body

from recorder.clock import ManualClock
from recorder.errors import DecodeError, RestInvalidResponse, RestRefused, RestUnavailable
from recorder.exchanges.table import exchange
from recorder.poller.job import Kept, Outcome
from recorder.poller.yahoo.bars import YahooBars
from recorder.poller.yahoo.ledger import Spent, read_spent, write_spent
from recorder.venues.yahoo.requests import span_path, today_path

NS = 10**9
DAY = date(2026, 10, 2)
Answer = Callable[[str], bytes]


class Round(Storing):
    """A round at a slot whose answers a function gives."""

    def __init__(self, slot_s: int, answer: Answer) -> None:
        super().__init__("yahoo-bars", slot_s * NS)
        self._answer = answer
        self.asked: list[str] = []

    def get(self, service: str, path: str) -> Kept:
        assert service == "yahoo"
        self.asked.append(path)
        return Kept(service, path, b"", 200, self._answer(path), self.slot_ns + NS, "r")


def chart(path: str) -> bytes:
    symbol = path.partition("?")[0].rpartition("/")[2]
    if "interval=1d" in path:
        rows = [(OPENED_S - 86_400, 9.0, 9.5, 8.5, 9.0, 90), (OPENED_S, 10.0, 11.0, 9.0, 10.5, 100)]
        events = {
            "dividends": {"1": {"amount": 0.1, "date": OPENED_S}, "2": {"amount": 0.1, "date": OPENED_S - 86_400}}
        }
        return chart_body(rows, interval="1d", symbol=symbol, adjclose=[8.9, 10.5], events=events)
    return chart_body([(OPENED_S + 60 * index, 10.0, 11.0, 9.0, 10.5, 5) for index in range(3)], symbol=symbol)


def refusing(error: Exception) -> Answer:
    def answer(path: str) -> bytes:
        raise error

    return answer


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "poller" / "yahoo.json"
    write_spent(path, Spent(DAY, 0, {"AAPL": date(2026, 10, 1), "MSFT": date(2026, 10, 1)}))
    return path


def job(state: Path, *symbols: str, budget: int = 2000, clock: ManualClock | None = None) -> YahooBars:
    clock = clock or ManualClock(OPENED_S * NS)
    return YahooBars(symbols or ("AAPL",), {}, budget, state, clock)


def test_a_closed_market_is_asked_nothing(state: Path) -> None:
    bars = job(state)
    for slot_s in (OPENED_S - 60, CLOSED_S, OPENED_S - 86_400 * 5):
        asked = Round(slot_s, chart)
        assert bars.run(asked) == Outcome("skipped", "nothing due")
        assert asked.asked == []


def test_an_open_market_is_asked_for_the_minutes_of_its_session(state: Path) -> None:
    asked = Round(OPENED_S + 600, chart)
    assert job(state).run(asked) == Outcome("done", "1 symbol every 60 s: 392 requests planned today, 2000 are allowed")
    assert asked.asked == [today_path("AAPL")]
    assert [row[1] for row in asked.rows["equity_bar"]] == [60, 60, 60]
    assert len(asked.rows["instrument"]) == 1
    assert "corporate_action" not in asked.rows


def test_only_changed_rows_are_stored_again(state: Path) -> None:
    bars = job(state)
    bars.run(Round(OPENED_S + 600, chart))
    again = Round(OPENED_S + 660, chart)
    bars.run(again)
    assert "equity_bar" not in again.rows
    changed = Round(
        OPENED_S + 720,
        lambda path: chart_body(
            [(OPENED_S + 60 * index, 10.0, 11.0, 9.0, 10.5, 5 + (index == 2)) for index in range(3)]
        ),
    )
    bars.run(changed)
    assert [row[2] for row in changed.rows["equity_bar"]] == [(OPENED_S + 120) * NS]


def test_after_the_close_all_minutes_the_days_and_their_dividends_are_stored(state: Path) -> None:
    bars = job(state)
    bars.run(Round(OPENED_S + 600, chart))
    final = Round(CLOSED_S + 2100, chart)
    bars.run(final)
    assert final.asked == [
        span_path("AAPL", "1m", OPENED_S, CLOSED_S),
        span_path("AAPL", "1d", OPENED_S - 366 * 86_400, CLOSED_S),
    ]
    assert [(row[1], row[3]) for row in final.rows["equity_bar"]] == [
        (60, DAY), (60, DAY), (60, DAY), (86_400, date(2026, 10, 1)), (86_400, DAY)
    ]  # fmt: skip
    # The dividend of the first day has no day before it in this answer, so its flags are not judged.
    assert [(row[1], row[2], row[8]) for row in final.rows["corporate_action"]] == [("dividend", DAY, ("repeated",))]
    assert bars.run(Round(CLOSED_S + 2160, chart)) == Outcome("skipped", "nothing due")


def test_the_bars_of_an_earlier_session_do_not_make_those_of_today_new(state: Path) -> None:
    write_spent(state, Spent(DAY))
    bars = job(state)
    first = Round(OPENED_S + 600, chart)
    bars.run(first)
    assert len(first.asked) == 3  # today, and the final bars of the session before
    again = Round(OPENED_S + 660, chart)
    bars.run(again)
    assert "equity_bar" not in again.rows


def test_a_day_on_which_the_exchange_was_closed_is_flagged(state: Path) -> None:
    sunday_s = OPENED_S - 5 * 86_400
    body = chart_body([(sunday_s, 9.0, 9.5, 8.5, 9.0, 90), (OPENED_S, 10.0, 11.0, 9.0, 10.5, 100)], interval="1d")
    final = Round(CLOSED_S + 2100, lambda path: body if "interval=1d" in path else chart(path))
    job(state).run(final)
    assert [row[13] for row in final.rows["equity_bar"][-2:]] == [("off_session",), ()]


def test_a_refusal_to_wait_pauses_every_symbol_and_each_further_one_doubles_the_pause(state: Path) -> None:
    clock = ManualClock(OPENED_S * NS)
    bars = job(state, "AAPL", "MSFT", clock=clock)
    for wait_s in (60, 120, 240):
        asked = Round(OPENED_S + 600, refusing(RestUnavailable("HTTP 429")))
        with pytest.raises(RestUnavailable, match=f"HTTP 429; next request in {wait_s} s"):
            bars.run(asked)
        assert len(asked.asked) == 1
        clock.advance(wait_s - 1.0)
        paused = Round(OPENED_S + 660, chart)
        assert bars.run(paused) == Outcome("skipped", "breaker")
        assert paused.asked == []
        clock.advance(1.0)
    assert bars.run(Round(OPENED_S + 720, chart)).state == "done"


def test_a_text_in_place_of_an_answer_pauses_too(state: Path) -> None:
    bars = job(state)
    with pytest.raises(RestUnavailable, match="next request in 60 s"):
        bars.run(Round(OPENED_S + 600, refusing(RestInvalidResponse("HTTP 200 is not JSON: Too Many Requests"))))
    assert bars.run(Round(OPENED_S + 660, chart)) == Outcome("skipped", "breaker")


def test_an_unknown_symbol_costs_itself(state: Path) -> None:
    def answer(path: str) -> bytes:
        if "AAPL" in path:
            raise RestRefused("HTTP 404: No data found")
        return chart(path)

    asked = Round(OPENED_S + 600, answer)
    assert job(state, "AAPL", "MSFT").run(asked).state == "done"
    assert asked.odds == [("AAPL", "HTTP 404: No data found")]
    assert len(asked.rows["equity_bar"]) == 3


def test_a_round_without_a_usable_answer_fails(state: Path) -> None:
    other = Round(OPENED_S + 600, lambda path: chart_body([], symbol="MSFT"))
    with pytest.raises(RestInvalidResponse, match="AAPL: chart answer of 'MSFT' in place of AAPL"):
        job(state).run(other)


def test_the_budget_of_a_day_survives_a_restart_and_ends_with_the_day(state: Path) -> None:
    for index in range(3):
        asked = Round(OPENED_S + 60 * index, chart)
        assert job(state).run(asked).state == "done"
    asked = Round(OPENED_S + 240, chart)
    spent = read_spent(state, DAY)
    assert spent.requests == 3
    write_spent(state, Spent(DAY, 10**6, spent.closed))
    assert job(state).run(asked) == Outcome("skipped", "budget")
    assert asked.asked == []
    assert read_spent(state, date(2026, 10, 3)).requests == 0


def test_a_damaged_state_counts_as_a_first_start(state: Path) -> None:
    state.write_bytes(b"{")
    assert read_spent(state, DAY) == Spent(DAY)


def test_the_exchange_of_the_settings_wins_over_that_of_an_answer(state: Path) -> None:
    bars = YahooBars(["AAPL"], {"AAPL": exchange("24/7")}, 2000, state, ManualClock(OPENED_S * NS))
    assert bars.run(Round(CLOSED_S + 60, chart)).state == "done"
    assert bars.run(Round(CLOSED_S + 120, chart)).state == "done"


def test_an_answer_names_the_exchange_that_the_spelling_did_not(state: Path) -> None:
    bars = job(state)
    assert bars.plan(DAY).requests == 392
    bars.run(Round(OPENED_S + 600, lambda path: chart_body([], exchangeName="JPX")))
    assert bars.plan(DAY).requests == 332  # Tokyo trades for 330 minutes
    after = Round(OPENED_S + 660, chart)
    bars.run(after)
    assert today_path("AAPL") not in after.asked


def test_a_kept_answer_is_taken_again_completely(state: Path) -> None:
    bars = job(state)
    path = today_path("AAPL")
    bars.run(Round(OPENED_S + 600, chart))
    bars = job(state)  # of the process after a kill
    again = Storing()
    bars.take(again, Kept("yahoo", path, b"", 200, chart(path), (OPENED_S + 601) * NS, "r"))
    assert len(again.rows["equity_bar"]) == 3
    for status, body, at in ((404, b"{}", path), (200, b"<html>", path), (200, chart(path), "/v8/finance/quote/AAPL")):
        with pytest.raises(DecodeError):
            bars.take(again, Kept("yahoo", at, b"", status, body, OPENED_S * NS, "r"))


def test_the_pause_after_a_refusal_goes_on_after_a_restart(state: Path) -> None:
    clock = ManualClock(OPENED_S * NS)
    bars = job(state, clock=clock)
    for wait_s in (60, 120):
        with pytest.raises(RestUnavailable, match=f"next request in {wait_s} s"):
            bars.run(Round(OPENED_S + 600, refusing(RestUnavailable("HTTP 429"))))
        clock.advance(wait_s)
    with pytest.raises(RestUnavailable, match="next request in 240 s"):
        bars.run(Round(OPENED_S + 600, refusing(RestUnavailable("HTTP 429"))))
    clock.advance(100.0)
    later = ManualClock(clock.wall_ns())  # of another boot: its monotonic time begins again
    again = job(state, clock=later)
    paused = Round(OPENED_S + 660, chart)
    assert again.run(paused) == Outcome("skipped", "breaker")
    later.advance(139.0)
    assert job(state, clock=later).run(paused) == Outcome("skipped", "breaker")
    assert paused.asked == []
    later.advance(1.0)
    with pytest.raises(RestUnavailable, match="next request in 480 s"):
        again.run(Round(OPENED_S + 720, refusing(RestUnavailable("HTTP 429"))))
    later.set(-86_400)  # the clock is set back by a day: the pause is no longer than it was
    behind = job(state, clock=later)
    later.advance(481.0)
    assert behind.run(Round(OPENED_S + 780, chart)).state == "done"
    assert job(state, clock=later).run(Round(OPENED_S + 840, chart)).state == "done"


@pytest.mark.parametrize("status", [403, 999])
def test_an_address_that_is_refused_pauses_too(status: int, state: Path) -> None:
    error = RestRefused(f"HTTP {status}")
    error.status = status
    bars = job(state, "AAPL", "MSFT")
    asked = Round(OPENED_S + 600, refusing(error))
    with pytest.raises(RestUnavailable, match="next request in 60 s"):
        bars.run(asked)
    assert len(asked.asked) == 1
    assert job(state).run(Round(OPENED_S + 660, chart)) == Outcome("skipped", "breaker")
