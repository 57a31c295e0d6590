"""What services answered against what is stored: a loss or another value is found, and a declared loss is none."""

import json
from pathlib import Path

import msgspec
import pytest

from recorder.errors import ConfigError
from recorder.identity import instrument_id
from recorder.truth import (
    Answered,
    Ended,
    Line,
    MarketLife,
    ServedBar,
    ServedBook,
    ServedTrade,
    ServiceStarted,
    Started,
    TruthLog,
)
from recorder.verify.served.bars import BarCheck, StoredBar
from recorder.verify.served.books import COLUMNS, STORED_NS, BookCheck, Declared, StoredSnapshot
from recorder.verify.served.labels import LabelCheck
from recorder.verify.served.logs import choose
from recorder.verify.served.trades import Bounds, TradeCheck

S = 10**9
T = 1_790_000_000 * S
TOKEN = "100"
NUMBER = instrument_id("site", TOKEN)
VALUES = dict.fromkeys(COLUMNS, 0.0) | {
    "bid": 0.45, "bid_size": 100.0, "ask": 0.47, "ask_size": 300.0, "mid": 0.46, "spread": 0.02,
    "bid_depth_1c": 100.0, "bid_depth_2c": 100.0, "bid_depth_5c": 100.0, "bid_depth_10c": 100.0,
    "ask_depth_1c": 300.0, "ask_depth_2c": 300.0, "ask_depth_5c": 300.0, "ask_depth_10c": 300.0,
    "bid_levels": 2, "ask_levels": 2, "bid_shares": 1100.0, "ask_shares": 2300.0,
    "last_trade_price": 0.46, "tick_size": 0.01, "min_size": 5.0,
}  # fmt: skip


def book(at_ns: int, hashed: str = "aa") -> ServedBook:
    body = {
        "bids": [{"price": "0.01", "size": "1000"}, {"price": "0.45", "size": "100"}],
        "asks": [{"price": "0.99", "size": "2000"}, {"price": "0.47", "size": "300"}],
        "hash": hashed, "last_trade_price": "0.46", "tick_size": "0.01", "min_order_size": "5",
    }  # fmt: skip
    return ServedBook(TOKEN, at_ns // 10**6, msgspec.Raw(json.dumps(body).encode()))


def answered(at_ns: int, *books: ServedBook, target: str = "/books?") -> Answered:
    return Answered(at_ns, "clob", target, 200, 1, "tapedeck", False, [(one.token, one.ts) for one in books])


def row(
    at_ns: int, of: ServedBook, *, source: str = "rest", hashed: str | None = "aa", **values: float
) -> StoredSnapshot:
    stamp = of.ts if source == "rest" else of.ts + 7
    return StoredSnapshot(at_ns, NUMBER, stamp, source, hashed, tuple((VALUES | values)[name] for name in COLUMNS))


def test_rows_of_answers_are_compared_and_given_to_their_answer() -> None:
    check = BookCheck("site", [], None)
    for second in range(4):
        one = book(T + second * S)
        check.served(one)
        check.answered(answered(T + second * S, one))
        source = ("rest", "stream")[second % 2]
        check.stored(row(T + second * S + 10**8, one, source=source))
    result = check.end()
    assert (result.served, result.stored, result.missing, result.wrong) == (4, 4, 0, 0), result
    assert result.ok


def test_a_changed_value_is_wrong_and_named() -> None:
    check = BookCheck("site", [], None)
    one = book(T)
    check.served(one)
    check.answered(answered(T, one))
    check.stored(row(T + 10**8, one, ask_depth_5c=301.0))
    result = check.end()
    assert (result.stored, result.wrong) == (1, 1)
    assert "ask_depth_5c 301.0 stored, 300.0 served" in result.examples[0]


def test_a_book_that_was_never_served_is_wrong() -> None:
    check = BookCheck("site", [], None)
    check.served(book(T))
    check.stored(row(T + S, book(T + 5 * S), hashed="bb"))
    assert check.end().wrong == 1


def test_rows_are_no_business_of_services_without_books() -> None:
    check = BookCheck("stocks", [], None)
    check.stored(row(T + S, book(T)))
    result = check.end()
    assert (result.stored, result.wrong) == (0, 0)


def test_an_answer_without_its_row_is_missing_unless_its_round_says_that_it_failed() -> None:
    for declared, counts in (([], (1, 0)), ([Declared(T + 10 * S, T + 12 * S)], (0, 1))):
        check = BookCheck("site", declared, None)
        one = book(T)
        check.served(one)
        for second in (0, 11, 30):
            check.answered(answered(T + second * S, one))
        for second in (0, 30):  # the row of the second answer is lost
            check.stored(row(T + second * S + 10**8, one))
        result = check.end()
        assert (result.missing, result.declared) == counts
        assert result.ok == bool(declared)


def test_our_own_book_that_no_answer_checked_is_of_an_answer_and_not_compared() -> None:
    check = BookCheck("site", [], None)
    one = book(T)
    check.served(one)
    check.answered(answered(T, one))
    check.stored(row(T + S, one, source="stream", hashed=None, bid=0.3))
    result = check.end()
    assert (result.missing, result.wrong, result.unknown) == (0, 0, 1)


def test_what_is_on_its_way_is_not_missing_yet() -> None:
    check = BookCheck("site", [], T + STORED_NS - 1)
    one = book(T)
    check.served(one)
    check.answered(answered(T, one))
    assert check.end().served == 0


def test_memory_does_not_grow_with_the_log() -> None:
    check = BookCheck("site", [], None)
    for second in range(0, 3600, 15):
        one = book(T + second * S, hashed=f"{second}")
        check.served(one)
        check.answered(answered(T + second * S, one))
        check.stored(row(T + second * S + 10**8, one, hashed=f"{second}"))
    assert len(check._versions[NUMBER]) <= 8
    assert len(check._order) <= STORED_NS // S // 15 + 2
    assert check.end().ok


def trade(tx: str, cash: float, at_s: int, condition: str = "0xab") -> ServedTrade:
    return ServedTrade(at_s, tx, "0xw", TOKEN, condition, "BUY", cash * 2, 0.5)


def test_large_trades_are_sums_and_a_lost_one_is_missing() -> None:
    stored = {("0x1", "0xw"): (1100.0, 2200.0, 2), ("0x2", "0xw"): (1500.0, 3001.0, 1)}
    bounds = Bounds(1000.0, 100.0, 0.0, 1000.0, [(40.0, 60.0)])
    check = TradeCheck("site", bounds, lambda keys: {key: stored[key] for key in keys if key in stored})
    for line in (
        trade("0x1", 600, 10), trade("0x1", 500, 10), trade("0x1", 99, 10), trade("0x2", 1500, 20),
        trade("0x3", 5000, 30), trade("0x4", 999, 35), trade("0x5", 2000, 50), trade("0x6", 9000, 2000),
        trade("0x7", 9000, 36, "0x03" + "ab" * 30 + "00"),
    ):  # fmt: skip
        check.served(line)
    result = check.end()
    assert (result.served, result.stored, result.declared, result.missing, result.wrong) == (4, 2, 1, 1, 1)
    assert result.examples[0].startswith("transaction 0x2: shares 3001.0 stored, 3000.0 served")


def test_services_that_start_again_may_serve_the_same_trades_again() -> None:
    stored = {("0x1", "0xw"): (1500.0, 3000.0, 2)}
    check = TradeCheck("site", Bounds(1000.0, 100.0, 0, 1000), lambda keys: {k: stored[k] for k in keys if k in stored})
    for _ in range(3):
        check.begin()
        for usdc in (600, 900):
            check.served(trade("0x1", usdc, 10))
    result = check.end()
    assert (result.served, result.stored, result.missing, result.wrong) == (1, 1, 0, 0), result


def life(number: int, payouts: list[int] | None = None, **more: object) -> MarketLife:
    values = {
        "id": str(number), "slug": "m", "conditions": [f"0x{number}"], "tokens": [[f"{number}00", f"{number}01"]],
        "outcomes": ["Yes", "No"], "version": "v1", "created": 0, "booked": 0, "stopped": 0, "way": "proposed",
        "resolved": T // S if payouts else None, "payouts": payouts,
    }  # fmt: skip
    return MarketLife(**(values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stored", "counts"),
    [
        ((1_000_000, 0, T + S), (1, 1, 0, 0)),
        ((0, 1_000_000, T + S), (1, 1, 0, 1)),
        ((1_000_000, 0, T - S), (1, 1, 0, 1)),
        (None, (1, 0, 1, 0)),
    ],
)
def test_labels_are_payouts(stored: tuple[int, int, int] | None, counts: tuple[int, ...]) -> None:
    check = LabelCheck("site", None, lambda _: {7: stored} if stored else {})
    check.lives(life(7, [1_000_000, 0]))
    for target in ("/v2/resolutions?condition=0x7", "/v2/tokens?token_id=700,701"):
        check.answered(answered(T + 100 * S, target=target))
    result = check.end()
    assert (result.served, result.stored, result.missing, result.wrong) == counts


def test_a_label_that_only_one_source_named_is_not_missing_and_one_without_a_payout_is_wrong() -> None:
    check = LabelCheck("site", None, lambda _: {8: (500_000, 500_000, T)})
    check.lives(life(7, [1_000_000, 0]))
    check.lives(life(8))
    check.answered(answered(T + 100 * S, target="/v2/resolutions?condition=0x7,0x8"))
    check.answered(answered(T - 100 * S, target="/v2/tokens?token_id=700"))
    result = check.end()
    assert (result.served, result.missing, result.wrong) == (0, 0, 1)


def test_bars_are_compared_in_units_and_before_later_splits() -> None:
    stored = {
        (instrument_id("stocks", "A"), 60, 60): StoredBar((10.0, 11.0, 9.0, 10.5, 5), "USD", True, 1.0),
        (instrument_id("stocks", "B.L"), 60, 60): StoredBar((0.1, 0.11, 0.09, 0.1, 5), "GBP", True, 1.0),
        (instrument_id("stocks", "C"), 86_400, 0): StoredBar((5.0, 5.5, 4.5, 5.25, 10), "USD", True, 2.0),
        (instrument_id("stocks", "D"), 60, 60): StoredBar((10.0, 11.0, 9.0, 10.6, 5), "USD", True, 1.0),
        (instrument_id("stocks", "E"), 60, 60): StoredBar((1.0, 1.0, 1.0, 1.0, 5), "USD", False, 1.0),
    }
    check = BarCheck("stocks", lambda keys: {key: stored[key] for key in keys if key in stored})
    check.served([
        *(ServedBar(symbol, "1m", 60, 10.0, 11.0, 9.0, 10.5, 5) for symbol in ("A", "D", "E", "F")),
        ServedBar("B.L", "1m", 60, 10.0, 11.0, 9.0, 10.0, 5), ServedBar("C", "1d", 0, 10.0, 11.0, 9.0, 10.5, 5),
        ServedBar("A", "1wk", 60, 1.0, 1.0, 1.0, 1.0, 5),
    ])  # fmt: skip
    result = check.end()
    assert (result.served, result.stored, result.unknown, result.missing, result.wrong) == (6, 4, 1, 1, 1)
    assert "close 10.6 stored, 10.5 served" in " ".join(result.examples)


def log(path: Path, first: Line, *rest: Line) -> Path:
    written = TruthLog(path)
    for line in (first, *rest):
        written.line(line)
    written.close()
    return path


def test_logs_are_sorted_by_group_run_and_part_and_a_missing_part_is_noticed(tmp_path: Path) -> None:
    def part(name: str, began: int, number: int) -> Path:
        first = ServiceStarted("site", began, 1, 60, number, began + number if number > 1 else 0)
        return log(tmp_path / name, first, Ended(began + number))

    paths = [
        part("c", 200, 1), part("b", 100, 3), part("a", 100, 1), part("d", 300, 2),
        log(tmp_path / "venue", Started("kraken", 1, 1, 1)),
    ]  # fmt: skip
    chosen = choose(paths)
    assert chosen.venues == [tmp_path / "venue"]
    found = [(one.path.name, one.since_ns, one.follows) for one in chosen.services["site"]]
    assert found == [("a", 100, False), ("b", 103, False), ("c", 200, True), ("d", 302, False)]
    odd = log(tmp_path / "odd", Ended(1))
    with pytest.raises(ConfigError, match="does not begin like a truth log"):
        choose([odd])
