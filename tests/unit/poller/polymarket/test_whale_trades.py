"""The walk of the site-wide trades: back to known rows, across pages, and never for ever."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.poller.snapshots import NOW_NS, ScriptedRound, board, market

from recorder.errors import DecodeError, RestUnavailable
from recorder.pgcopy.polled import POLLED, encode_rows
from recorder.poller.polymarket.whales import PAGES_MAX, WhaleTrades

COLUMNS = [column for column, _ in POLLED["whale_event"]]


def row(transaction: int, cash: float, *, age_s: int = 0, condition: int = 1) -> dict[str, Any]:
    return {
        "proxy_wallet": "0x" + "ab" * 20,
        "side": "SELL",
        "token_id": "100",
        "condition_id": f"0x{condition:064x}",
        "size": cash * 2,
        "price": 0.5,
        "timestamp": NOW_NS // 10**9 - age_s,
        "outcome": "Yes",
        "outcome_index": 0,
        "transaction_hash": f"0x{transaction:064x}",
    }


class Feed:
    """Pages by cursor."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages = pages
        self.paths: list[str] = []

    def __call__(self, service: str, path: str, body: bytes) -> tuple[int, bytes]:
        assert (service, body) == ("data", b"")
        self.paths.append(path)
        number = int(parse_qs(urlsplit(path).query).get("cursor", ["0"])[0])
        following = str(number + 1) if number + 1 < len(self.pages) else None
        return 200, json.dumps({"data": self.pages[number], "pagination": {"next_cursor": following}}).encode()


def handler() -> WhaleTrades:
    return WhaleTrades("whales", board(market(1)), 1000, 100, 10_000)


def stored(round: ScriptedRound) -> list[dict[str, Any]]:
    assert encode_rows("whale_event", round.rows["whale_event"]) or not round.rows["whale_event"]
    return [dict(zip(COLUMNS, values, strict=True)) for values in round.rows["whale_event"]]


def test_a_whale_is_the_sum_of_its_rows_on_several_pages() -> None:
    round = ScriptedRound(Feed([row(1, 600), row(2, 300)], [row(1, 500)]))
    assert handler().run(round).state == "done"
    (whale,) = stored(round)
    assert (whale["cash"], whale["shares"], whale["side"], whale["revision"]) == (1100, 2200, "s", 2)
    assert (whale["transaction_hash"], whale["condition_id"]) == (f"0x{1:064x}", f"0x{1:064x}")
    assert (whale["ts_event"], whale["ts_recv"]) == (NOW_NS, round.now_ns)


def test_the_next_round_ends_at_rows_that_are_known_and_stores_nothing_twice() -> None:
    one = handler()
    one.run(ScriptedRound(Feed([row(1, 2000), row(2, 3000, age_s=100)], [row(3, 200, age_s=200)])))
    feed = Feed([row(4, 5000), row(1, 2000), row(2, 3000, age_s=100)], [row(3, 200, age_s=200)])
    round = ScriptedRound(feed)
    one.run(round)
    assert len(feed.paths) == 1
    assert [whale["cash"] for whale in stored(round)] == [5000]


def test_a_walk_that_failed_is_walked_again_behind_its_first_page() -> None:
    one = handler()
    one.run(ScriptedRound(Feed([row(1, 200, age_s=500)])))
    pages = Feed([row(3, 200, age_s=100)], [row(2, 4000, age_s=300), row(1, 200, age_s=500)])
    failing = ScriptedRound(lambda *call: RestUnavailable("503") if "cursor" in call[1] else pages(*call))
    with pytest.raises(RestUnavailable):
        one.run(failing)
    round = ScriptedRound(pages)
    one.run(round)
    assert [whale["cash"] for whale in stored(round)] == [4000]


def test_no_address_is_asked_for_twice() -> None:
    one, feed = handler(), Feed([row(1, 200)])
    for slot in range(20):
        one.run(ScriptedRound(feed, slot_ns=NOW_NS + slot * 30 * 10**9))
    assert len(set(feed.paths)) == 20


def test_a_feed_without_an_end_is_given_up_and_said_so() -> None:
    one = handler()
    endless = Feed(*([row(number, 150)] for number in range(PAGES_MAX + 5)))
    round = ScriptedRound(endless)
    one.run(round)
    assert len(round.kept) == PAGES_MAX
    assert [what for what, _ in round.odds] == ["feed of trades"]


def test_a_cursor_that_comes_again_ends_the_round() -> None:
    echo = json.dumps({"data": [row(1, 150)], "pagination": {"next_cursor": "same"}}).encode()
    round = ScriptedRound(lambda *_: (200, echo))
    with pytest.raises(DecodeError, match="repeats a cursor"):
        handler().run(round)
    assert len(round.kept) == 2


def test_a_trade_of_a_market_in_memory_is_noted_there() -> None:
    markets = board(market(1), market(2))
    WhaleTrades("whales", markets, 1000, 100, 10_000).run(ScriptedRound(Feed([row(1, 150, age_s=-1)])))
    seen = [markets.seen(number) for number in (1, 2)]
    assert [entry.traded_ns for entry in seen if entry] == [NOW_NS + 10**9, NOW_NS]


@pytest.mark.parametrize("status", [404, 422])
def test_a_status_that_is_no_page_fails_the_round(status: int) -> None:
    with pytest.raises(DecodeError, match=str(status)):
        handler().run(ScriptedRound(lambda *_: (status, b"{}")))


def test_a_page_taken_again_after_a_kill_gives_the_same_row() -> None:
    round = ScriptedRound(Feed([row(1, 600), row(1, 500)]))
    handler().run(round)
    later = ScriptedRound(Feed([]))
    handler().take(later, round.kept[0])
    assert later.rows == round.rows


def test_what_a_person_is_to_see_is_counted_apart() -> None:
    outcome = handler().run(ScriptedRound(Feed([row(1, 1500), row(2, 10_000), row(3, 9_999.5)])))
    assert outcome.detail == "3 large trades, 1 from 10,000 USDC up"
    assert outcome.counts == {"large": 3, "shown": 1}


HOUR_S = 3600


def kept(path: Path, pages: Feed) -> tuple[WhaleTrades, ScriptedRound]:
    """Run two rounds of a process: the second keeps how far the first has read."""
    one = WhaleTrades("whales", board(market(1)), 1000, 100, 10_000, path)
    round = ScriptedRound(pages)
    one.run(round)
    one.run(ScriptedRound(pages, slot_ns=NOW_NS + 30 * 10**9))
    return one, round


def test_after_an_outage_of_any_length_a_new_process_walks_back_to_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "poller" / "whales.json"
    kept(path, Feed([row(1, 2000, age_s=9 * HOUR_S)]))
    pages = Feed(
        [row(9, 1500)], [row(8, 1600, age_s=3 * HOUR_S)], [row(7, 1700, age_s=8 * HOUR_S)],
        [row(1, 2000, age_s=9 * HOUR_S)], [row(0, 1200, age_s=9 * HOUR_S + 100)], [row(20, 1300, age_s=20 * HOUR_S)],
    )  # fmt: skip
    one = WhaleTrades("whales", board(market(1)), 1000, 100, 10_000, path)
    round = ScriptedRound(pages)
    one.run(round)
    assert {whale["cash"] for whale in stored(round)} >= {1500, 1600, 1700}
    assert "poll_hole" not in round.rows
    assert len(pages.paths) == 5, "and no further"
    without = Feed(*pages.pages)
    WhaleTrades("whales", board(market(1)), 1000, 100, 10_000).run(ScriptedRound(without))
    assert len(without.paths) == 2, "a first start reads an hour"


@pytest.mark.parametrize("restarted", [True, False])
def test_what_is_too_far_back_is_a_hole(restarted: bool, tmp_path: Path) -> None:
    path = tmp_path / "whales.json"
    one, _ = kept(path, Feed([row(1, 2000, age_s=100 * HOUR_S)]))
    if restarted:
        one = WhaleTrades("whales", board(market(1)), 1000, 100, 10_000, path)
    endless = Feed(*([row(number, 150, age_s=number * 60)] for number in range(100, PAGES_MAX + 105)))
    round = ScriptedRound(endless)
    outcome = one.run(round)
    read_ns, oldest_ns = NOW_NS - 100 * HOUR_S * 10**9, NOW_NS - (99 + PAGES_MAX) * 60 * 10**9
    assert round.rows["poll_hole"] == [
        ("whales", read_ns, oldest_ns, f"{PAGES_MAX} pages did not reach known rows", round.slot_ns)
    ]
    assert encode_rows("poll_hole", round.rows["poll_hole"])
    assert (outcome.counts, outcome.detail) == (
        {"holes": 1},
        f"a hole of {(oldest_ns - read_ns) // 10**9} s in the feed is stored",
    )
    after = ScriptedRound(Feed([row(500, 1500), *endless.pages[0]]), slot_ns=NOW_NS + 60 * 10**9)
    assert one.run(after).counts == {"large": 1, "shown": 0}, "it is stored once"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"read_ns": "x"}', b"[" * 5000])
def test_a_damaged_file_counts_as_a_first_start(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "whales.json"
    path.write_bytes(damage)
    one = WhaleTrades("whales", board(market(1)), 1000, 100, 10_000, path)
    assert one.run(ScriptedRound(Feed([row(1, 2000)]))).counts == {"large": 1, "shown": 0}
