"""Snapshots of a tier: a row per market that was asked for, whatever the answers do."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from support.poller.snapshots import NOW_NS, ScriptedRound, board, books_of, market, tokens_of, wire_book

from recorder.errors import DecodeError, RestCircuitOpen, RestInvalidResponse, RestRefused, RestUnavailable
from recorder.pgcopy.polled import POLLED, encode_rows
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.own_book import answer as answers
from recorder.poller.polymarket.own_book.answer import Compared, Own
from recorder.poller.polymarket.snapshots import BookTier, Snapshots, StoredBooks
from recorder.poller.polymarket.tiers import Tier
from recorder.venues.polymarket.polls import books

LOOKED_NS = NOW_NS + 8 * 10**8
COLUMNS = [column for column, _ in POLLED["market_snapshot"]]


def handler(markets: Board, tier: Tier = "T4", since: BookTier = "T2") -> Snapshots:
    return Snapshots(markets, tier, StoredBooks(since))


def all_books(_service: str, _path: str, body: bytes) -> tuple[int, bytes]:
    return books_of(body)


def named(round: ScriptedRound) -> dict[int, dict[str, Any]]:
    rows: list[dict[str, Any]] = [dict(zip(COLUMNS, row, strict=True)) for row in round.rows["market_snapshot"]]
    found = {int(str(row["market_id"])): row for row in rows}
    assert len(found) == len(rows)
    return found


def test_a_snapshot_is_the_book_with_the_numbers_of_the_listing() -> None:
    round = ScriptedRound(all_books)
    assert handler(board(market(1))).run(round).state == "done"
    row = named(round)[1]
    assert (row["ts_recv"], row["ts_event"], row["tier"], row["source"]) == (round.now_ns, NOW_NS, "T4", "rest")
    assert (row["bid"], row["ask"], row["spread"], row["mid"]) == (0.45, 0.47, 0.02, 0.46)
    assert (row["bid_depth_1c"], row["ask_depth_10c"], row["bid_levels"]) == (100.0, 300.0, 2)
    assert (row["largest_bid"], row["largest_bid_size"], row["largest_ask_size"]) == (0.01, 1000.0, 2000.0)
    assert (row["last_trade_price"], row["tick_size"], row["min_size"], row["hash"]) == (0.46, 0.01, 5.0, "aa")
    assert (row["end_at"], row["gamma_recv"], row["event_id"]) == (market(1).end_ns, NOW_NS, 7)
    assert (row["gamma_price"], row["volume"], row["liquidity"]) == (0.46, 5000.0, 250.0)
    assert (row["event_volume"], row["event_open_interest"]) == (9000.0, 400.0)
    assert encode_rows("market_snapshot", round.rows["market_snapshot"])
    assert round.rows["market_book"] == [
        (1, round.now_ns, NOW_NS, "aa", [[0.45, 100.0], [0.01, 1000.0]], [[0.47, 300.0], [0.99, 2000.0]])
    ]
    assert encode_rows("market_book", round.rows["market_book"])
    assert round.odds == []


def test_one_token_of_each_market_is_asked_for_in_chunks_of_250() -> None:
    round = ScriptedRound(all_books)
    handler(board(*map(market, range(1, 602)))).run(round)
    assert [len(tokens_of(kept.request)) for kept in round.kept] == [250, 250, 101]
    assert sorted(named(round)) == list(range(1, 602))


def test_a_market_that_the_answer_leaves_out_has_a_row_without_a_book() -> None:
    markets = board(market(1), market(2))

    def without_second(_service: str, _path: str, _body: bytes) -> tuple[int, bytes]:
        return 200, json.dumps([wire_book("100")]).encode()

    for number in range(3):
        assert len(markets.polled("T4")) == 2, number
        round = ScriptedRound(without_second)
        handler(markets).run(round)
        row = named(round)[2]
        assert (row["source"], row["ts_event"], row["bid"], row["bid_levels"], row["hash"]) == (
            "none", None, None, None, None,
        )  # fmt: skip
        assert row["volume"] == 5000.0
        assert encode_rows("market_snapshot", round.rows["market_snapshot"])
    assert [market.market_id for market in markets.polled("T4")] == [1]  # after three rounds


def test_an_odd_book_is_no_missing_book() -> None:
    round = ScriptedRound(lambda *_: (200, json.dumps([wire_book("100"), wire_book("200", timestamp="x")]).encode()))
    handler(board(market(1), market(2))).run(round)
    assert list(named(round)) == [1]
    assert [what for what, _ in round.odds] == ["200"]


@pytest.mark.parametrize("other", [wire_book("900"), wire_book("100", market="0x" + "ab" * 32)])
def test_a_book_of_another_market_is_odd(other: dict[str, Any]) -> None:
    round = ScriptedRound(lambda *_: (200, json.dumps([other, wire_book("200")]).encode()))
    handler(board(market(1), market(2))).run(round)
    assert len(round.odds) == 1
    assert [(row["market_id"], row["source"]) for row in named(round).values() if row["source"] == "rest"] == [
        (2, "rest")
    ]


def test_the_padded_condition_of_version_two_is_the_market() -> None:
    condition = "0x01" + "ab" * 30
    round = ScriptedRound(lambda *_: (200, json.dumps([wire_book("100", market=condition, version="v2")]).encode()))
    handler(board(market(1, condition_id=condition + "00", version="v2"))).run(round)
    assert named(round)[1]["bid"] == 0.45
    assert round.odds == []


@pytest.mark.parametrize(
    "fault", [RestRefused("400"), (404, b'{"error":"no"}'), (200, b'[{"asset_id"'), (200, b"<html>")], ids=str
)
def test_a_bad_token_costs_one_half_of_its_chunk(fault: tuple[int, bytes] | Exception) -> None:
    def bad_token(_service: str, _path: str, body: bytes) -> tuple[int, bytes] | Exception:
        return fault if "300" in tokens_of(body) else books_of(body)

    round = ScriptedRound(bad_token)
    with pytest.raises((RestRefused, DecodeError), match="1 of 2 requests or their halves"):
        handler(board(*map(market, range(1, 301)))).run(round)
    assert sorted(named(round)) == list(range(126, 301))


def test_a_service_that_is_away_costs_the_chunks_that_it_missed() -> None:
    calls = 0

    def second_fails(_service: str, _path: str, body: bytes) -> tuple[int, bytes] | Exception:
        nonlocal calls
        calls += 1
        return RestUnavailable("503") if calls == 2 else books_of(body)

    round = ScriptedRound(second_fails)
    with pytest.raises(RestUnavailable, match="1 of 3"):
        handler(board(*map(market, range(1, 701)))).run(round)
    assert len(named(round)) == 450


def test_a_service_that_stays_away_is_asked_twice_and_no_more() -> None:
    calls: list[str] = []

    def away(_service: str, path: str, _body: bytes) -> Exception:
        calls.append(path)
        return RestUnavailable("breaker open")

    with pytest.raises(RestUnavailable):
        handler(board(*map(market, range(1, 1500)))).run(ScriptedRound(away))
    assert len(calls) == 2


def test_a_tier_without_markets_is_skipped() -> None:
    outcome = handler(board(market(1)), "T2").run(ScriptedRound(all_books))
    assert (outcome.state, outcome.detail) == ("skipped", "nothing due")


def test_an_answer_that_outlived_its_process_gives_the_same_row() -> None:
    round = ScriptedRound(all_books)
    handler(board(market(1), market(2))).run(round)
    later = ScriptedRound(all_books)
    handler(board(market(1), market(2), market(3))).take(later, round.kept[0])
    assert later.rows == round.rows


def test_numbers_that_became_known_after_the_book_are_left_out() -> None:
    round = ScriptedRound(all_books)
    first = market(1)
    late = msgspec.structs.replace(
        first, numbers=msgspec.structs.replace(first.numbers, received_ns=NOW_NS + 2 * 10**9)
    )
    handler(board(late)).run(round)
    row = named(round)[1]
    assert (row["bid"], row["gamma_recv"], row["end_at"], row["volume"]) == (0.45, None, None, None)


def test_a_book_that_does_not_change_is_stored_again_after_a_quarter_of_an_hour() -> None:
    one = handler(board(market(1)))
    stored = []
    for minute in (0, 1, 14, 15, 16):
        round = ScriptedRound(all_books)
        round.now_ns += minute * 60 * 10**9
        one.run(round)
        assert len(round.rows["market_snapshot"]) == 1
        stored.append(len(round.rows["market_book"]))
    assert stored == [1, 0, 0, 1, 0]


def test_a_book_without_a_hash_is_always_stored() -> None:
    one = handler(board(market(1)))
    for _ in range(2):
        round = ScriptedRound(lambda *_: (200, json.dumps([wire_book("100", hash=None)]).encode()))
        one.run(round)
        assert len(round.rows["market_book"]) == 1


@pytest.mark.parametrize(("since", "kept"), [("T2", 0), ("T1", 1), ("none", 0)])
def test_complete_books_are_stored_from_a_tier_on(since: BookTier, kept: int) -> None:
    round = ScriptedRound(all_books)
    handler(board(market(1, end_ns=NOW_NS + 20 * 3600 * 10**9)), "T1", since).run(round)
    assert len(round.rows["market_snapshot"]) == 1
    assert len(round.rows["market_book"]) == kept


def compared(*own: Own, seconds: float = 0.5) -> Callable[[str, str, bytes], tuple[int, bytes]]:
    """Return the service `stream`, whose books of the venue were received some time before its answer."""

    def answer(service: str, _path: str, body: bytes) -> tuple[int, bytes]:
        assert service == "stream"
        received_ns = NOW_NS + 10**9 - int(seconds * 1e9)
        return 200, answers.encode(Compared(received_ns, list(own), msgspec.Raw(books_of(body)[1])))

    return answer


def test_a_book_that_agrees_is_ours_as_it_was_when_it_was_looked_at() -> None:
    gone_on = Own(
        "200",
        "agrees",
        looked_ns=LOOKED_NS,
        stamp_ns=NOW_NS + 10**8,
        same=False,
        bids=[(0.44, 7.0)],
        asks=[(0.48, 9.0)],
    )
    round = ScriptedRound(compared(Own("100", "agrees", looked_ns=LOOKED_NS, stamp_ns=NOW_NS), gone_on))
    outcome = Snapshots(board(market(1), market(2)), "T4", StoredBooks("T2"), "stream").run(round)
    assert (outcome.detail, outcome.counts) == ("agrees 2", {"agrees": 2})
    same, later = named(round)[1], named(round)[2]
    assert (same["source"], same["ts_recv"], same["ts_event"]) == ("stream", LOOKED_NS, NOW_NS)
    assert (same["bid"], same["hash"], same["book_check"], same["check_reason"]) == (0.45, "aa", "agrees", None)
    assert (later["source"], later["ts_event"], later["hash"]) == ("stream", NOW_NS + 10**8, None)
    assert (later["bid"], later["bid_size"], later["ask"], later["mid"]) == (0.44, 7.0, 0.48, 0.46)
    assert (later["last_trade_price"], later["tick_size"]) == (0.46, 0.01)  # what no message of the stream says
    assert (2, LOOKED_NS, NOW_NS + 10**8, None, [[0.44, 7.0]], [[0.48, 9.0]]) in round.rows["market_book"]


def test_a_book_that_differs_or_is_not_certain_is_the_venues_and_says_so() -> None:
    round = ScriptedRound(compared(Own("100", "differs"), Own("200", "uncompared", "gap")))
    outcome = Snapshots(board(market(1), market(2)), "T4", StoredBooks("T2"), "stream").run(round)
    assert outcome.detail == "differs 1, uncompared 1 (gap 1)"
    assert outcome.counts == {"differs": 1, "uncompared": 1}
    received_ns = round.now_ns - 5 * 10**8
    found = [
        [row[name] for name in ("source", "ts_recv", "bid", "hash", "book_check", "check_reason")]
        for row in named(round).values()
    ]
    assert found == [["rest", received_ns, 0.45, "aa", "differs", None],
                     ["rest", received_ns, 0.45, "aa", "uncompared", "gap"]]  # fmt: skip


def test_an_answer_of_the_clob_alone_is_taken_as_before() -> None:
    round = ScriptedRound(all_books)
    assert Snapshots(board(market(1)), "T4", StoredBooks("T2"), "stream").run(round).detail == ""
    assert (named(round)[1]["source"], named(round)[1]["book_check"]) == ("rest", None)


@pytest.mark.parametrize("body", [b"{}", b'{"received_ns":1,"own":[],"books":{}}', b'{"own":[{"token":1}]}'])
def test_a_malformed_answer_of_the_stream_fails_the_round(body: bytes) -> None:
    with pytest.raises(DecodeError):
        Snapshots(board(market(1)), "T4", StoredBooks("T2"), "stream").run(ScriptedRound(lambda *_: (200, body)))


def test_an_answer_taken_again_gives_the_same_rows() -> None:
    markets = board(market(1), market(2))
    round = ScriptedRound(compared(Own("100", "agrees", looked_ns=LOOKED_NS, stamp_ns=NOW_NS), Own("200", "differs")))
    Snapshots(markets, "T4", StoredBooks("T2"), "stream").run(round)
    again = ScriptedRound(all_books)
    Snapshots(markets, "T4", StoredBooks("T2"), "stream").take(again, round.kept[0])
    assert again.rows == round.rows


def own_books(failure: Exception, **certain: bool) -> Callable[[str, str, bytes], tuple[int, bytes] | Exception]:
    """Return a stream whose CLOB fails, and that has certain books of its own of all tokens but those named False."""

    def answer(_service: str, path: str, body: bytes) -> tuple[int, bytes] | Exception:
        if path == books.PATH:
            return failure
        own = [
            Own(token, "unchecked", path.rpartition("/")[2], LOOKED_NS, NOW_NS + 10**8, False, [(0.44, 7.0)], [])
            if certain.get(f"t{token}", True)
            else Own(token, "uncompared", "gap")
            for token in tokens_of(body)
        ]
        return 200, answers.encode(Compared(LOOKED_NS, own, msgspec.Raw(b"[]")))

    return answer


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (RestUnavailable("/books answers HTTP 503"), "unavailable"),
        (RestCircuitOpen("failed too often"), "breaker"),
        (RestRefused("/books answers HTTP 400"), "refused"),
        (RestInvalidResponse("not JSON"), "invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failed_check_leaves_the_snapshots_of_our_own_books(failure: Exception, reason: str) -> None:
    round = ScriptedRound(own_books(failure))
    outcome = Snapshots(board(market(1), market(2)), "T4", StoredBooks("T2"), "stream").run(round)
    assert (outcome.state, outcome.counts) == ("done", {"unchecked": 2})
    assert outcome.detail == f"unchecked 2 ({reason} 2); no check: {failure}"
    for row in named(round).values():
        assert (row["source"], row["book_check"], row["check_reason"]) == ("stream", "unchecked", reason)
        assert (row["ts_recv"], row["ts_event"], row["hash"]) == (LOOKED_NS, NOW_NS + 10**8, None)
        assert (row["bid"], row["bid_size"], row["ask"], row["last_trade_price"]) == (0.44, 7.0, None, None)
        assert row["tick_size"] == 0.01  # of the listing
    again = ScriptedRound(all_books)
    for kept in round.kept:
        Snapshots(board(market(1), market(2)), "T4", StoredBooks("T2"), "stream").take(again, kept)
    assert again.rows == round.rows


def test_a_failed_check_fails_the_slot_where_a_market_has_no_book_of_our_own() -> None:
    round = ScriptedRound(own_books(RestUnavailable("503"), t200=False))
    with pytest.raises(RestUnavailable, match=r"1 of 1 requests .* and 1 own books are stored unchecked"):
        Snapshots(board(market(1), market(2)), "T4", StoredBooks("T2"), "stream").run(round)
    assert list(named(round)) == [1]


def test_the_chunks_behind_two_failed_ones_are_of_our_own_books_without_a_request() -> None:
    round = ScriptedRound(own_books(RestUnavailable("503")))
    outcome = Snapshots(board(*map(market, range(1, 1002))), "T4", StoredBooks("none"), "stream").run(round)
    assert outcome.counts == {"unchecked": 1001}
    assert sorted(named(round)) == list(range(1, 1002))
